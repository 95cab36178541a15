"""Clips of hand signals: the competition's layout (Dacon 235806) and folders of classes, as rows.

What train.py and predict.py want of a data.py, for a contest of your own too (docs/new_competition.md):

COMPETITION_FILES     option -> file or folder name in data/
TaskArguments         the options of train.py
TaskPredictArguments  the options of predict.py
read_examples         path, preprocessing -> rows, with the names of their labels
submission_format     rows -> what is handed in: SUBMISSION, for the competition's clips COMPETITION_SUBMISSION
flip_map              pairs of labels -> the label of each one's mirror image
"""

import hashlib
import os
import re
import runpy
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from common.console import InputError, print_once
from common.files import natural, read_json_data
from common.guards import listing
from common.guards.options import OWN
from common.guards.spelling import nfc
from common.options import DATA_FIELDS, PredictArguments, StoppingArguments
from common.options.checks import check_folder
from common.submission import SubmissionFormat, most_likely_label, probability
from common.tables import read_table
from common.targets import as_target

COMPETITION_FILES = {"train_file": "train", "test_file": "test", "sample_submission_file": "sample_submission.csv"}
COMPETITION_SUBMISSION = SubmissionFormat("file_path", {"Label_{label}": probability})
SUBMISSION = SubmissionFormat("Id", {"Predicted": most_likely_label, "{label}": probability})
VIDEO_SUFFIXES = (*listing.VIDEO_SUFFIXES, ".gif")
IMAGE_SUFFIXES = tuple(suffix for suffix in listing.IMAGE_SUFFIXES if suffix != ".gif")
ACTIONS_FILE = "action_information.csv"  # columns action, Label: the competition's list of classes
AUTO = "auto"  # model_name_or_path: pose_tcn where clips have key points, else scratch
# options that only models of frames read, and only those of key points; of these what --crop_to_person reads, too
READ_OF_FRAMES = ("crop_size", "person_box", "upscale", "min_crop_scale", "color_jitter", "num_crops", "cache_dir")
READ_BY_CROPS = ("pose_file", "pose_names")
READ_OF_POSES = ("pose_rotation", "pose_scale", "pose_shear", "pose_noise", "pose_drop", "pose_min_time")
READ_OF_POSES += (*READ_BY_CROPS, "pose_streams", "flip_labels")
STAMP = r"\d+-[0-9a-f]{32}-\d+"  # of a clip
RECIPE = "drawn.json"  # in a folder of the sample: what sample/draw.py is to draw there


@dataclass
class TaskArguments(StoppingArguments):
    """Fields of train.py beside TrainingArguments."""

    LOOP: ClassVar[str] = OWN
    DATA_FIELDS: ClassVar[tuple[str, ...]] = (*DATA_FIELDS, "pose_file")
    MIXED: ClassVar[tuple[str, ...]] = (*StoppingArguments.MIXED, "flip_labels")  # which check() makes flip_pairs
    LIMITS: ClassVar[dict] = {
        "num_frames": (1, None),
        "frame_stride": (0, None),
        "crop_size": (32, None),
        "alpha": (1, None),
        "beta": (1, None),
        "dropout": (0, 0.999),
        "min_crop_scale": (0, 1),
        "color_jitter": (0, 1),
        "num_clips": (1, None),
        "group_by_number": (1, None),
        "pose_rotation": (0, 180),
        "pose_scale": (0, 0.9),
        "pose_shear": (0, 1),
        "pose_noise": (0, 1),
        "pose_drop": (0, 0.9),
        "pose_min_time": (0, 1),
    }

    model_name_or_path: str = field(
        default=AUTO,
        metadata={
            "help": "auto: pose_tcn where clips have key points, else scratch; pose_tcn, pose_gcn, pose_c3d; "
            "slowfast_r50_4x16, slowfast_r50_8x8, slowfast_r101_8x8, slowfast_r101_16x8, slow_r50_8x8, "
            "slowfast_small (scratch), "
            "slow_small, timm/<model> for a classifier of frames, or the folder or hub id of a VideoMAE"
        },
    )
    pretrained_weights: str | None = field(
        default=None,
        metadata={"help": "file of weights of the same architecture, or hub: what timm names for a timm/<model>"},
    )
    num_frames: int | None = field(
        default=None, metadata={"help": "frames of a clip (of the Fast pathway); default: the architecture's"}
    )
    frame_stride: int | None = field(
        default=None,
        metadata={"help": "frames from one to the next, 0: spread over the whole video; default: the architecture's"},
    )
    crop_size: int | None = field(
        default=None,
        metadata={
            "help": "height and width in pixels, of pose_c3d those of its heat maps; default: the architecture's"
        },
    )
    alpha: int | None = field(
        default=None, metadata={"help": "SlowFast: frames of the Fast pathway for one of the Slow"}
    )
    beta: int | None = field(
        default=None, metadata={"help": "SlowFast: how many times fewer channels the Fast pathway has"}
    )
    temporal_head: Literal["mean", "lstm", "attention"] | None = field(
        default=None,
        metadata={"help": "classifier of frames: what looks at their sequence; default: mean, blind to order"},
    )
    dropout: float | None = field(
        default=None, metadata={"help": "in front of the classifier; default: the architecture's"}
    )
    person_box: bool = field(
        default=True, metadata={"help": "crop to the person's bounding box where the data has one"}
    )
    upscale: str = field(
        default="none",
        metadata={"help": "enlarge frames that are smaller than the model wants: none, bicubic, or an ONNX file"},
    )
    min_crop_scale: float = field(
        default=0.5, metadata={"help": "random resized crop: smallest share of a frame's area; 1: off"}
    )
    color_jitter: float = field(
        default=0.2, metadata={"help": "largest change of brightness, contrast and saturation; 0: off"}
    )
    mixup_alpha: float = field(
        default=0.0, metadata={"help": "mixup: both parameters of the beta distribution; 0: off"}
    )
    flip_pairs: list[str] | None = field(
        default=None,
        metadata={
            "help": "turn horizontal flips on: a:b for labels that swap, a:a for one that stays (the others stay, too)"
        },
    )
    flip_labels: list[str] | None = field(
        default=None,
        metadata={
            "help": "the same for key points, which needs pose_names: a:b for labels that swap, a:a for one that "
            "stays; only clips of these are flipped"
        },
    )
    pose_file: str | None = field(
        default=None,
        metadata={"help": "JSON of key points, clip -> size and 2d_pos, or a folder of them; default: beside clips"},
    )
    pose_names: str | None = field(
        default=None,
        metadata={"help": "names of the key points: coco17, blazepose33, openpose25, ntu25, or a JSON file"},
    )
    pose_streams: list[str] | None = field(
        default=None,
        metadata={"help": "pose models: joint, bone and motion, a network for each, averaged; default: joint"},
    )
    pose_rotation: float = field(default=10.0, metadata={"help": "key points: largest random rotation in degrees"})
    pose_scale: float = field(default=0.15, metadata={"help": "key points: largest random change of size and place"})
    pose_shear: float = field(default=0.1, metadata={"help": "key points: largest random shear"})
    pose_noise: float = field(
        default=0.03, metadata={"help": "key points: standard deviation of random noise, in sizes of the person"}
    )
    pose_drop: float = field(
        default=0.1,
        metadata={"help": "key points: share of points, and of clips but for a few frames, that is hidden"},
    )
    pose_min_time: float = field(
        default=0.7,
        metadata={"help": "key points: smallest share of a clip that training sees; changes its speed"},
    )
    crop_to_person: bool = field(
        default=False, metadata={"help": "models of frames: crop each frame to the person of the key points"}
    )
    num_clips: int = field(default=2, metadata={"help": "temporal clips of a video that a prediction averages"})
    num_crops: int = field(default=1, metadata={"help": "crops of a frame that a prediction averages: 1 or 3"})
    cache_dir: str | None = field(
        default=None, metadata={"help": "keep decoded and resized frames here, for all folds and later runs"}
    )
    skip_broken: bool = field(
        default=False, metadata={"help": "leave out clips that cannot be decoded, and count them"}
    )
    group_by_number: int = field(
        default=1,
        metadata={
            "help": "clips of a folder whose number in the name, divided by this, is the same stay in one fold; 1: off"
        },
    )
    calibrate: bool = field(
        default=False, metadata={"help": "K-fold: divide the logits by a temperature fitted on the out-of-fold rows"}
    )

    def check(self, training_args: Any) -> None:
        super().check(training_args)
        check_schedule(training_args)
        if self.min_crop_scale == 0:
            raise InputError("min_crop_scale: 0 is not above 0")
        check_crops(self.num_crops)
        if self.calibrate and self.num_folds < 2:
            raise InputError("calibrate: needs out-of-fold rows, so a num_folds of 2 or more")
        if self.cache_dir is not None:
            check_folder(Path(self.cache_dir), "cache_dir")
        name = self.model_name_or_path
        if self.crop_to_person and (name == AUTO or name.startswith("pose_")):
            raise InputError(f"crop_to_person: {name} sees no frames, choose a model of frames")
        if name != AUTO:  # what it stands for is known when the clips are read
            self.check_read(name)
        if self.flip_labels is not None:
            if self.flip_pairs is not None:
                raise InputError("flip_labels: is another name of flip_pairs, only one of them can be given")
            self.flip_pairs, self.flip_labels = self.flip_labels, None

    def check_read(self, name: str) -> None:
        """Raise InputError for an option that is not at its default and that a model of this name does not read."""
        if name.startswith("pose_"):
            unread = [option for option in READ_OF_FRAMES if (option, name) != ("crop_size", "pose_c3d")]
            why = f"{name} sees no frames, leave it out or choose a model of frames"
        else:
            unread = [option for option in READ_OF_POSES if option not in READ_BY_CROPS or not self.crop_to_person]
            why = f"{name} reads no key points, leave it out or choose pose_tcn, pose_gcn or pose_c3d"
        defaults = {item.name: item.default for item in fields(self)}
        for option in unread:
            if vars(self)[option] != defaults[option]:
                raise InputError(f"{option}: {why}")


@dataclass
class TaskPredictArguments(PredictArguments):
    """Fields of predict.py beside the common ones."""

    LIMITS: ClassVar[dict] = {"per_device_eval_batch_size": (1, None), "num_clips": (1, None)}

    per_device_eval_batch_size: int = field(
        default=8, metadata={"help": "views per batch and device; a video has num_clips * num_crops"}
    )
    dataloader_num_workers: int = field(default=0, metadata={"help": "processes that decode"})
    num_clips: int | None = field(
        default=None, metadata={"help": "temporal clips of a video to average; default: as the run was trained"}
    )
    num_crops: int | None = field(
        default=None, metadata={"help": "crops of a frame to average, 1 or 3; default: as the run was trained"}
    )
    cache_dir: str | None = field(
        default=None, metadata={"help": "keep decoded and resized frames here, memory-mapped"}
    )
    pose_file: str | None = field(
        default=None,
        metadata={"help": "JSON of the clips' key points, or a folder of them; default: beside clips"},
    )
    skip_broken: bool = field(
        default=False, metadata={"help": "give clips that cannot be decoded equal probabilities, and count them"}
    )
    calibrate: bool = field(
        default=True, metadata={"help": "divide a run's logits by the temperature of its calibration.json"}
    )

    def check(self) -> None:
        super().check()
        check_crops(self.num_crops)


def check_schedule(training_args: Any) -> None:
    """Raise InputError for TrainingArguments that the loop of train.py cannot follow."""
    if training_args.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy"):
        name = training_args.lr_scheduler_type.value
        raise InputError(f"lr_scheduler_type: {name} follows a metric, this loop steps a schedule by number")
    if training_args.num_train_epochs != int(training_args.num_train_epochs):
        raise InputError(f"num_train_epochs: {training_args.num_train_epochs} is not a whole number")


def check_crops(num_crops: int | None) -> None:
    """Raise InputError for a number of crops that square_crops() does not make."""
    if num_crops not in (None, 1, 3):
        raise InputError(f"num_crops: {num_crops} is not 1 or 3")


@dataclass
class ClipExample:
    """One video: a file, or a folder and its images in order. label: -1 where unknown. group: clips of one group stay
    in one fold.

    box: x1, y1, x2, y2 in pixels around the person in all frames, None where unknown. pose: key points, a Pose of
    poses.py, where something reads them. boxes: (F, 4) around these, where they crop the frames. pixels: whether
    anything reads the frames.
    """

    id: str
    path: Path
    frames: list[Path] = field(default_factory=list)
    label: int = -1
    group: str = ""
    box: tuple[float, float, float, float] | None = None
    pose: Any = None
    boxes: np.ndarray | None = None
    pixels: bool = True


class Clips(list[ClipExample]):
    """The rows of a folder, and the names of their labels."""

    def __init__(self, rows: Iterable[ClipExample], label_names: Sequence[str]):
        super().__init__(rows)
        self.label_names = as_target(label_names)


def read_examples(path: str | Path, preprocessing: dict) -> Clips:
    """The clips below a folder, in the order of the numbers in their names (class by class in turn).

    Either the competition's layout, file_N/*.jpg (or file_N.mp4) with file_N.json in the folder or beside it; or
    <class>/<clip>, where a clip is a video file or a folder of images; or clips without a class. preprocessing:
    label_names, those of the training folder, None: read that; group_by_number, see TaskArguments; poses, what
    pose_wish() gives. Files with the same beginning are one group. Hidden files are not seen. A folder of the sample is
    drawn first. Prints what was found, and how many files of which endings are left out. Raises InputError that names
    the file.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path}: is a file, a folder of clips was expected")
    draw_sample(path)
    records = sorted(
        [*path.glob("file_*.json"), *(p for p in path.glob("file_*/file_*.json") if p.stem == p.parent.name)],
        key=natural,
    )
    if records:
        clips, names = read_competition(path, records, preprocessing["label_names"])
    else:
        clips, names = read_class_folders(path, preprocessing["label_names"])
    if not clips:
        known = ", ".join(suffix[1:] for suffix in VIDEO_SUFFIXES)
        others = listing.left_out(listing.seen_files(path))
        there = f" ({others})" if others else ""
        expected = f"expected file_N.json with frames, or <class>/<clip>.* ({known})"
        raise InputError(f"{path}: holds no clips{there}; {expected}")
    for clip in clips:
        if clip.path.is_dir():
            clip.frames = list_frames(clip.path)
    set_groups(clips, preprocessing["group_by_number"])
    if preprocessing["label_names"] is None and preprocessing["group_by_number"] > 1:
        say_numbers(clips, path)
    counts = Counter(clip.label for clip in clips)
    labelled = ", ".join(f"{names[label]} {counts[label]}" for label in sorted(counts) if label >= 0)
    print_once(f"{path.name}: {len(clips):,} clips" + (f" ({labelled})" if labelled else ", no labels"))
    read = {*map(str, records), *(str(file) for clip in clips for file in clip.frames or [clip.path])}
    read |= {str(path / RECIPE), str(path / ACTIONS_FILE)}
    if wish := preprocessing.get("poses"):
        from poses import add_poses

        read |= add_poses(clips, path, wish)
        say_other_clips(clips, path)
    listing.print_left_out(path, (file for file in listing.seen_files(path) if str(Path(file)) not in read))
    given = preprocessing["label_names"]  # which may be of another target than classes, whose unknown is not -1
    rows = Clips(clips, names if given is None else given)
    for row in rows:
        row.label = rows.label_names.unknown if row.label == -1 else row.label
    return rows


def pose_wish(args: Any) -> dict[str, Any] | None:
    """What train.py's args want of key points, for add_poses() of poses.py; None: nothing."""
    reads = args.model_name_or_path.startswith("pose_")
    optional = args.model_name_or_path == AUTO and args.pose_file is None
    if not (reads or args.model_name_or_path == AUTO or args.crop_to_person):
        return None
    wish = {"file": args.pose_file, "names": args.pose_names, "points": None}
    return {**wish, "optional": optional, "pixels": args.crop_to_person, "boxes": args.crop_to_person}


def wish_of_folds(args: Any, configs: Sequence[dict]) -> dict[str, Any] | None:
    """What the runs of predict.py want of key points, by the config.json of a fold of each. Raises InputError for runs
    of other numbers of points, and for a --pose_file that no run reads."""
    saved = [config.get("preprocessing") or {} for config in configs]
    points = {p["num_points"] for p in saved if "num_points" in p}
    crops = any(p.get("crop_to_person") for p in saved)
    if all("num_points" in p for p in saved):
        for option in ("num_crops", "cache_dir"):
            if vars(args)[option] is not None:
                raise InputError(f"{option}: none of the runs sees frames, leave it out")
    if len(points) > 1:
        counts = " and ".join(map(str, sorted(points)))
        raise InputError(f"run_dir: the runs have {counts} key points a frame, expected the same of all")
    if not points and not crops:
        if args.pose_file is not None:
            raise InputError("pose_file: none of the runs reads key points")
        return None
    if args.pose_file is not None and not os.path.exists(args.pose_file):
        raise InputError(f"{args.pose_file}: no such file or folder (pose_file)")
    pixels = any("num_points" not in p for p in saved)
    wish = {"file": args.pose_file, "names": None, "points": next(iter(points), None)}
    return {**wish, "optional": False, "pixels": pixels, "boxes": crops}


def draw_sample(folder: Path) -> None:
    """Where a folder holds drawn.json, have sample/draw.py draw what is not there yet: the first process does, the
    others wait.

    The code is this task folder's own and never that beside the data, because reading data runs no code from them; a
    copy without sample/ draws nothing.
    """
    script = Path(__file__).with_name("sample") / "draw.py"
    if not (folder / RECIPE).is_file() or not script.is_file():
        return
    from accelerate import PartialState

    with PartialState().main_process_first():
        runpy.run_path(str(script))["draw_sample"](folder)


def visible(folder: Path) -> list[Path]:
    """What a folder holds, 2.jpg before 10.jpg, but for what systems hide there (.ipynb_checkpoints, ._clip.mp4,
    __MACOSX). Raises InputError for a name that is not UTF-8, since no CSV could hold it."""
    paths = sorted((path for path in folder.iterdir() if not listing.is_hidden(path.name)), key=natural)
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{str(path)!a}: its name is not UTF-8; rename it") from error
    return paths


def list_frames(folder: Path) -> list[Path]:
    """The images of a folder. Raises InputError for one that is no frame, since its name has no number and the others'
    have, or are one."""
    images = [path for path in visible(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    for path in images:
        listing.is_regular(path)
    for pattern in (r"\d+", r".*\d.*"):
        strays = [path for path in images if not re.fullmatch(pattern, path.stem)]
        if len(strays) < len(images):
            break
    if 0 < len(strays) < len(images):
        raise InputError(
            f"{strays[0]}: is not named as the {len(images) - len(strays)} other frames of the clip, which have numbers"
        )
    return images


def read_competition(
    folder: Path, records: list[Path], label_names: Sequence[str] | None
) -> tuple[list[ClipExample], list[str]]:
    """file_N.json and its frames: folder file_N, or file_N.mp4. The id is the sample submission's:
    ./<folder>\\file_N."""
    clips = []
    without_box = 0
    name = os.path.basename(os.path.abspath(folder))  # the folder may be `.`
    for record in records:
        content = read_json_data(record)
        if not isinstance(content, dict):
            raise InputError(f"{record}: a JSON object with action and sequence was expected")
        frames = find_frames(folder, record)
        label = content.get("action", -1)
        if not isinstance(label, int) or isinstance(label, bool) or label < -1:
            raise InputError(f"{record}, key action: {label!r:.80} is not the number of a class")
        box, empty = read_box(record, content)
        without_box += empty
        clips.append(ClipExample(f"./{name}\\{record.stem}", frames, label=label, box=box))
    of_record = {clip.path for clip in clips}
    strays = [
        p for p in visible(folder) if p not in of_record and (is_clip(p) or p.is_dir() and p.name.startswith("file_"))
    ]
    if strays:
        raise InputError(
            f"{strays[0]}: has no {strays[0].stem}.json, expected one for each clip ({len(strays)} have none)"
        )
    if without_box:
        print_once(f"{name}: {without_box} frames have the box 0, 0, 0, 0, which is left out")
    names = list(label_names) if label_names is not None else read_actions(folder, clips)
    for clip, record in zip(clips, records, strict=True):
        if clip.label >= 0:  # by its name: those of train_file may be folders, in the order of their names
            if str(clip.label) not in names:
                raise InputError(f"{record}, key action: {clip.label} is none of the classes {', '.join(names)}")
            clip.label = names.index(str(clip.label))
    return clips, names


def find_frames(folder: Path, record: Path) -> Path:
    """The folder of frames or the video that belongs to file_N.json. Raises InputError where there is none."""
    for suffix in ("", *VIDEO_SUFFIXES):
        candidate = folder / (record.stem + suffix)
        if candidate.is_dir() or listing.is_regular(candidate):
            return candidate
    raise InputError(f"{record}: has no frames, expected the folder {folder / record.stem} or {record.stem}.mp4 in it")


def read_actions(folder: Path, clips: list[ClipExample]) -> list[str]:
    """Names of the classes: the numbers of action_information.csv beside or in the folder (action or Label, the other
    is text), or 0 to the largest action. Raises InputError where they are not 0 to K - 1."""
    for path in (folder.parent / ACTIONS_FILE, folder / ACTIONS_FILE):
        if path.exists():
            table = read_table(path)
            header, rows = table.header, table.rows
            if header != ["action", "Label"]:
                raise InputError(f"{path}, row 1: columns are {','.join(header)}, expected action,Label")
            columns = [sorted(fields[i] for _, fields in rows) for i in range(2)]
            if not rows or sorted(map(str, range(len(rows)))) not in columns:
                raise InputError(f"{path}: neither column has the numbers 0 to K - 1 of its {len(rows)} classes")
            return [str(number) for number in range(len(rows))]
    return [str(number) for number in range(max((clip.label for clip in clips), default=-1) + 1)]


def read_box(record: Path, content: dict) -> tuple[tuple[float, float, float, float] | None, int]:
    """What sequence.bounding_box, per frame [x1, y1, x2, y2] in pixels (numbers or strings), covers in all frames, and
    how many frames have 0, 0, 0, 0: there nobody was found."""
    sequence = content.get("sequence") or {}
    boxes = sequence.get("bounding_box") if isinstance(sequence, dict) else None
    if not boxes:
        return None, 0
    try:
        corners = np.array(boxes, dtype=np.float64)
    except (ValueError, TypeError):
        corners = np.empty(0)
    if corners.ndim != 2 or corners.shape[1] != 4 or not np.isfinite(corners).all():
        raise InputError(f"{record}, key sequence.bounding_box: four numbers per frame were expected")
    empty = (corners == 0).all(axis=1)
    if empty.all():
        return None, len(corners)
    corners = corners[~empty]
    x1, y1, x2, y2 = *corners[:, :2].min(axis=0), *corners[:, 2:].max(axis=0)
    if x2 <= x1 or y2 <= y1:
        raise InputError(f"{record}, key sequence.bounding_box: x2 and y2 must be larger than x1 and y1")
    return (float(x1), float(y1), float(x2), float(y2)), int(empty.sum())


def read_class_folders(folder: Path, label_names: Sequence[str] | None) -> tuple[list[ClipExample], list[str]]:
    """<class>/<clip>, labels in the order of the class names; or <clip> without a class."""
    inside = visible(folder)
    flat = [ClipExample(p.name, p) for p in inside if is_clip(p)]
    classes = sorted(p for p in inside if p.is_dir() and not is_clip(p) and any(map(is_clip, visible(p))))
    for path in (folder, *(clip.path for clip in flat if clip.path.is_dir()), *classes):
        check_one_kind(path)
    others = [p for p in inside if p.is_dir() and not is_clip(p) and p not in classes]
    for path in (*others, *(q for p in classes for q in visible(p) if q.is_dir() and not is_clip(q))):
        if nested := first_clip(path):
            raise InputError(f"{nested}: lies deeper than {folder}/<class>/<clip>, where clips are expected")
    if others:
        print_once(f"{folder.name}: no clips in {', '.join(p.name for p in others)}")
    if flat and classes:
        raise InputError(
            f"{folder}: holds clips ({flat[0].id}) beside folders of classes ({classes[0].name}), expected only one "
            "of them"
        )
    if flat:
        return flat, list(label_names or [])
    names = sorted({nfc(p.name) for p in classes}) if label_names is None else list(label_names)
    columns = Counter([SUBMISSION.id_column, *SUBMISSION.column_names(names)])
    if clash := [name for name in names if columns[name] > 1]:
        raise InputError(
            f"{folder / clash[0]}: a column of the submission has the name of this class; rename the folder"
        )
    if unknown := [p.name for p in classes if nfc(p.name) not in names]:
        raise InputError(f"{folder / unknown[0]}: is not one of the classes of train_file ({', '.join(names)})")
    columns: dict[str, list[ClipExample]] = {name: [] for name in names}
    for p in classes:  # two folders may be one class in two spellings
        name = nfc(p.name)
        clips = [ClipExample(f"{p.name}/{q.name}", q, label=names.index(name)) for q in visible(p) if is_clip(q)]
        columns[name] += clips
    # the first of each class, then the second: --max_train_samples keeps all classes
    return [clip for row in zip_longest(*columns.values()) for clip in row if clip is not None], names


def is_clip(path: Path) -> bool:
    """A video file, or a folder that holds images."""
    if path.is_dir():
        return any(p.suffix.lower() in IMAGE_SUFFIXES and not listing.is_hidden(p.name) for p in path.iterdir())
    return path.suffix.lower() in VIDEO_SUFFIXES and listing.is_regular(path)


def check_one_kind(folder: Path) -> None:
    """Raise InputError where images stand beside clips: they would make the folder a clip, and the clips would be
    lost."""
    inside = visible(folder)
    images = [p for p in inside if p.suffix.lower() in IMAGE_SUFFIXES]
    clips = [p for p in inside if is_clip(p)]
    if images and clips:
        raise InputError(
            f"{images[0]}: is an image beside clips ({clips[0].name}); a clip is a video or a folder of images"
        )


def first_clip(folder: Path) -> Path | None:
    """A clip somewhere below a folder that is none."""
    for path in visible(folder):
        found = path if is_clip(path) else first_clip(path) if path.is_dir() else None
        if found:
            return found
    return None


def fingerprint(clip: ClipExample) -> str:
    """The same for copies of a clip: size and the first 64 KB of the file, or of the first frame."""
    path = clip.frames[0] if clip.frames else clip.path
    if path.is_dir():  # without frames; reading it will say so
        return str(path)
    with open(path, "rb") as file:
        return f"{path.stat().st_size}-{hashlib.md5(file.read(65536)).hexdigest()}"


def stamp(clip: ClipExample) -> str:
    """Another one where the clip is: what extract_poses.py writes beside its key points."""
    return f"{fingerprint(clip)}-{len(clip.frames)}"


def say_other_clips(clips: Sequence[ClipExample], path: Path) -> None:
    """One line on clips that are not those in which extract_poses.py has found their key points."""
    known = [clip for clip in clips if clip.pose is not None and re.fullmatch(STAMP, str(clip.pose.clip))]
    others = [clip.id for clip in known if clip.pose.clip != stamp(clip)]
    if others:
        what = f"{len(others)} of {len(clips)} clips are not the files that their key points were found in"
        print_once(f"warning: {path.name}: {what} (first: {others[0]}); is it the --pose_file of other clips?")


def set_groups(clips: Sequence[ClipExample], group_by_number: int) -> None:
    """Clips that are copies, or neighbours by their numbers, are one group, and so on along the chain; its name is the
    first one's key."""
    from common.tricks.groups import join_groups

    copies = [fingerprint(clip) for clip in clips]
    neighbours = []
    for clip, copy in zip(clips, copies, strict=True):
        number = last_number(clip)
        in_a_row = group_by_number > 1 and number is not None
        neighbours.append(f"{clip.path.parent.name}/{number // group_by_number}" if in_a_row else copy)
    groups = join_groups(*(np.unique(keys, return_inverse=True)[1] for keys in (neighbours, copies)))
    names: dict[int, str] = {}
    for clip, group, key in zip(clips, groups.tolist(), neighbours, strict=True):
        clip.group = names.setdefault(group, key)


def last_number(clip: ClipExample) -> int | None:
    """The last number in a clip's name, None where there is none; of a folder take.2 it is 2."""
    found = re.search(r"\d+(?!.*\d)", clip.path.name if clip.path.is_dir() else clip.path.stem)
    return None if found is None else int(found[0])


def say_numbers(clips: Sequence[ClipExample], path: Path) -> None:
    """A line on the clips that group_by_number, which a preset may set, cannot group: neighbours may be in several
    folds."""
    if unknown := [clip.id for clip in clips if last_number(clip) is None]:
        what = f"{len(clips) - len(unknown)} of {len(clips)} clips have a number in their name (not {unknown[0]})"
        print_once(f"warning: {path.name}: {what}; group_by_number leaves the others alone")


def flip_map(flip_pairs: Sequence[str] | None, label_names: Sequence[str]) -> list[int] | None:
    """The label of each label's mirror image; None where clips are not flipped. Raises InputError for a pair that is
    none."""
    if flip_pairs is None:
        return None
    mirrored = list(range(len(label_names)))
    named: set[int] = set()
    for pair in flip_pairs:
        left, _, right = nfc(pair).partition(":")
        if left not in label_names or right not in label_names:
            raise InputError(f"flip_pairs: {pair!r} is not a:b of two of {', '.join(label_names)}")
        a = label_names.index(left)
        b = label_names.index(right)
        if named & {a, b}:
            raise InputError(f"flip_pairs: {pair!r} names a label that another pair has")
        named |= {a, b}
        mirrored[a], mirrored[b] = b, a
    return mirrored


def submission_format(examples: Sequence[ClipExample] | None) -> SubmissionFormat:
    """The competition's for its ids."""
    is_competition = examples is not None and examples[0].id.startswith("./")
    return COMPETITION_SUBMISSION if is_competition else SUBMISSION
