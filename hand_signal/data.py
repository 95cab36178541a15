"""Clips of hand signals: what train.py and predict.py can be told, and the rows of a folder of clips.

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
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from common.console import InputError, print_once
from common.files import natural
from common.guards import listing
from common.guards.options import OWN
from common.guards.spelling import nfc
from common.options import DATA_FIELDS, PredictArguments, StoppingArguments
from common.options.checks import check_folder
from common.submission import SubmissionFormat, most_likely_label, probability

from clip_folders import (
    ACTIONS_FILE,
    VIDEO_SUFFIXES,
    ClipExample,
    Clips,
    list_frames,
    read_class_folders,
    read_competition,
)

COMPETITION_FILES = {"train_file": "train", "test_file": "test", "sample_submission_file": "sample_submission.csv"}
COMPETITION_SUBMISSION = SubmissionFormat("file_path", {"Label_{label}": probability})
SUBMISSION = SubmissionFormat("Id", {"Predicted": most_likely_label, "{label}": probability})
AUTO = "auto"  # model_name_or_path: pose_tcn where clips have key points, else scratch
# options that only models of frames read, and only those of key points; of these what --crop_to_person reads, too
READ_OF_FRAMES = ("crop_size", "person_box", "upscale", "min_crop_scale", "color_jitter", "num_crops", "cache_dir")
READ_BY_CROPS = ("pose_file", "pose_names")
READ_OF_POSES = ("pose_rotation", "pose_scale", "pose_shear", "pose_noise", "pose_drop", "pose_min_time")
READ_OF_POSES += (*READ_BY_CROPS, "pose_streams", "flip_labels")
STAMP = r"\d+-[0-9a-f]{32}-\d+"  # of a clip
JSON = ".[jJ][sS][oO][nN]"  # the ending in any case, for glob()
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
        "mixup_alpha": (0, None),
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
        [*path.glob(f"file_*{JSON}"), *(p for p in path.glob(f"file_*/file_*{JSON}") if p.stem == p.parent.name)],
        key=natural,
    )
    if records:
        clips, names = read_competition(path, records, preprocessing["label_names"])
    else:
        clips, names = read_class_folders(path, preprocessing["label_names"])
        check_columns(path, names)
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


def check_columns(folder: Path, label_names: Sequence[str]) -> None:
    """Raise InputError for a class whose name another column of SUBMISSION has."""
    columns = Counter([SUBMISSION.id_column, *SUBMISSION.column_names(label_names)])
    if clash := [name for name in label_names if columns[name] > 1]:
        raise InputError(
            f"{folder / clash[0]}: a column of the submission has the name of this class; rename the folder"
        )


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


def fingerprint(clip: ClipExample, frame: int = 0) -> str:
    """The same for copies of a clip: size and the first 64 KB of the file, or of a frame, the first."""
    path = clip.frames[frame] if clip.frames else clip.path
    if path.is_dir():  # without frames; reading it will say so
        return str(path)
    with open(path, "rb") as file:
        return f"{path.stat().st_size}-{hashlib.md5(file.read(65536)).hexdigest()}"


def stamp(clip: ClipExample) -> str:
    """Another one where the clip is: what extract_poses.py writes beside its key points."""
    return f"{fingerprint(clip)}-{len(clip.frames)}"


def copy_key(clip: ClipExample) -> str:
    """The same for copies of a clip, not for clips that begin with the same frame: many begin with a black one."""
    total = len(clip.frames)
    looks = sorted({0, total // 2, total - 1}) if clip.frames else [0]
    return " ".join([str(total), *(fingerprint(clip, frame) for frame in looks)])


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

    copies = [copy_key(clip) for clip in clips]
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
