"""Images of faces as rows: folders of labels (FER2013), AI-Hub's 한국인 감정인식을 위한 복합 영상, shards of crop.py.

What train.py and predict.py want of a data.py, for a contest of your own too (docs/new_competition.md):

COMPETITION_FILES   option -> name of the folder or file in data/
SUBMISSION          what is handed in
TaskArguments       the options of train.py
read_examples       path, preprocessing -> rows; preprocessing: label_names (None: those that are found) and
                    subject_pattern. The rows know their label_names, and how crop.py cut them (face_crop)
describe_groups     rows -> a sentence for the report
"""

import atexit
import os
import re
import runpy
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from common.console import InputError, first_line, print_once
from common.files import natural, read_json, sha256
from common.guards.listing import IMAGE_SUFFIXES, is_regular, left_out, print_left_out, sort_out
from common.options import ImbalanceArguments, StoppingArguments
from common.options.paths import is_folder
from common.submission import SubmissionFormat, most_likely_label, probability
from common.targets import as_target

if TYPE_CHECKING:
    import datasets
    import pyarrow

COMPETITION_FILES = {
    "train_file": "train",
    "eval_file": "eval",
    "test_file": "test",
    "sample_submission_file": "sample_submission.csv",
}
SUBMISSION = SubmissionFormat("Id", {"Predicted": most_likely_label, "{label}": probability})
SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}  # folders of folders of labels
CROP_RECORD = "crop.json"  # in a folder of shards
GROUP_ROWS = 2**16  # of a row group of a shard, which is read whole; crop.py writes 256 rows of some 6 KB
GROUP_BYTES = 2**29
DRAWN_RECORD = "drawn.json"  # in a folder of the sample
DRAW = Path(__file__).with_name("sample") / "draw.py"
# <hash of the person>_<gender>_<age>_<label>_<place>_<number>.jpg
AIHUB_NAME = re.compile(r"([0-9a-zA-Z]+)_(?:남|여)_\d+_(기쁨|당황|분노|불안|상처|슬픔|중립)_")
AIHUB_FOLDER = re.compile(r"EMOIMG_(기쁨|당황|분노|불안|상처|슬픔|중립)(?:_|$)")


@dataclass
class TaskArguments(ImbalanceArguments, StoppingArguments):
    """Fields of train.py beside TrainingArguments."""

    MIXED: ClassVar[tuple[str, ...]] = (*StoppingArguments.MIXED, "cutmix_alpha")
    LIMITS: ClassVar[dict] = {
        "image_size": (32, 2048),
        "drop_rate": (0, 1),
        "drop_path_rate": (0, 1),
        "min_crop_scale": (0, 1),
        "horizontal_flip": (0, 1),
        "color_jitter": (0, 1),
        "random_erasing": (0, 1),
        "mixup_alpha": (0, None),
        "cutmix_alpha": (0, None),
        "shuffle_rows": (1, None),
    }

    model_name_or_path: str = field(
        default="scratch",
        metadata={"help": "a timm model, a folder of weights (timm's or a fold's), or scratch: a small EfficientNet"},
    )
    start: str = field(
        default="imagenet",
        metadata={
            "help": (
                "imagenet: the weights that come with the model, scratch: random ones, or a run's folder (fold k "
                "from its fold k)"
            )
        },
    )
    stages: list[str] | None = field(
        default=None,
        metadata={
            "help": "train in stages, each from the last: 'part=1/4 num_train_epochs=10 learning_rate=0.001 optim=sgd "
            "momentum=0.9'; also "
            "per_device_train_batch_size, lr_scheduler_type, warmup_steps, weight_decay, start; what it does not name "
            "is as for the run"
        },
    )
    image_size: int | None = field(
        default=None, metadata={"help": "height and width in pixels that the model sees; default: the model's"}
    )
    drop_rate: float = field(default=0.0, metadata={"help": "dropout in front of the classifier"})
    drop_path_rate: float = field(default=0.0, metadata={"help": "stochastic depth"})
    min_crop_scale: float = field(
        default=0.7, metadata={"help": "random resized crop: smallest share of the image's area; 1: off"}
    )
    horizontal_flip: float = field(default=0.5, metadata={"help": "probability of a mirror image; 0: off"})
    color_jitter: float = field(
        default=0.2, metadata={"help": "largest change of brightness, contrast and saturation; 0: off"}
    )
    auto_augment: str | None = field(
        default=None, metadata={"help": "timm's policy, rand-m7-mstd0.5 for one; takes the place of color_jitter"}
    )
    random_erasing: float = field(default=0.0, metadata={"help": "probability that a rectangle is erased; 0: off"})
    mixup_alpha: float = field(
        default=0.0, metadata={"help": "mixup: both parameters of the beta distribution; 0: off"}
    )
    cutmix_alpha: float = field(
        default=0.0, metadata={"help": "CutMix: the same; with mixup, each batch gets one of them; 0: off"}
    )
    test_time_flip: bool = field(
        default=False,
        metadata={"help": "predict the mean of the logits of an image and its mirror image; twice the time"},
    )
    subject_pattern: str | None = field(
        default=None,
        metadata={
            "help": "regular expression over the path; its group is the person, who stays in one fold (AI-Hub's: known)"
        },
    )
    shuffle_rows: int = field(
        default=4096, metadata={"help": "shards: so many rows, in random row groups, are shuffled together"}
    )

    def check(self, training_args: Any) -> None:
        """Makes the path in start absolute, too."""
        super().check(training_args)
        if self.min_crop_scale == 0:
            raise InputError("min_crop_scale: 0 is not above 0")
        if self.start not in ("imagenet", "scratch"):
            if not is_folder(self.start):
                raise InputError(f"start: {self.start!r} is neither imagenet, scratch nor a run's folder")
            self.start = str(Path(self.start).resolve())
        if self.stages and self.stop_after_epoch is not None:
            raise InputError("stop_after_epoch: counts the epochs of one stage; it cannot be given with stages")


class Faces(Sequence["FaceExample"]):
    """The images of a folder. Of shards, only labels and groups are in memory, 16 bytes a row; ids and places are read
    from a file.

    rows: datasets.Dataset of id, path, row (-1: an image file) and row_group (number among those of all shards; -1).
    labels: (N,) int64, the number of one of label_names, -1 where unknown; of another target as common/targets has
    them. folder: where they come from. join_groups:
    gives groups. has_subjects: groups are people, too, not only identical images.
    """

    def __init__(
        self,
        rows: "datasets.Dataset",
        labels: np.ndarray,
        label_names: Sequence[str],
        folder: Path,
        join_groups: Callable[[], np.ndarray],
        has_subjects: bool = False,
    ):
        self.rows = rows
        self.labels = labels
        self.label_names = as_target(label_names)
        self.folder = folder
        self.join_groups = join_groups
        self.has_subjects = has_subjects

    @cached_property
    def groups(self) -> np.ndarray:
        """(N,) int64: rows of one group, the same person or the same image, stay in one fold. Image files are read for
        it when it is first asked for."""
        return self.join_groups()

    @property
    def face_crop(self) -> dict[str, Any] | None:
        """How crop.py cut the faces of a folder of shards; None for images."""
        record = self.folder / CROP_RECORD
        return read_json(record)["face_crop"] if record.exists() else None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index):
        if isinstance(index, slice):
            rows = self.rows.select(range(*index.indices(len(self))))
            shared = self.label_names, self.folder, lambda: self.groups[index], self.has_subjects
            return Faces(rows, self.labels[index], *shared)
        row = self.rows[int(index)]
        return FaceExample(row["id"], row["path"], row["row"], self.labels[index].tolist(), self, int(index))

    def __iter__(self) -> Iterator["FaceExample"]:
        numbers = enumerate(self.labels.tolist())
        for batch in self.rows.iter(batch_size=4096):
            for row_id, path, row in zip(batch["id"], batch["path"], batch["row"], strict=True):
                number, label = next(numbers)
                yield FaceExample(row_id, path, row, label, self, number)


@dataclass(frozen=True, slots=True)
class FaceExample:
    """One image: a file, or row `row` of a shard. label: -1 where unknown; of another target than classes what
    common/targets has. number: its place in faces."""

    id: str
    path: str
    row: int
    label: Any
    faces: Faces = field(repr=False, compare=False)
    number: int = field(compare=False)

    @property
    def group(self) -> int:
        """Rows of one group stay in one fold."""
        return int(self.faces.groups[self.number])


def read_examples(path: str | Path, preprocessing: dict) -> Faces:
    """The images of a folder, in order.

    path: a folder of shards (crop.json); of labels, <label>/**/*.jpg; of AI-Hub, whose file and folder names say label
    and person; or of images without labels. Raises InputError.
    """
    import datasets

    from common.tricks.groups import join_groups

    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder of images or shards")
    draw_sample(folder)
    label_names = preprocessing["label_names"]
    pattern = compile_pattern(preprocessing["subject_pattern"])
    if (folder / CROP_RECORD).exists():
        return read_shards(folder, label_names, pattern)
    found_files, others = list_files(folder, IMAGE_SUFFIXES)
    files = [(p, label_and_subject(p.relative_to(folder), pattern)[0]) for p in found_files]
    if not files:
        there = f" ({left_out(others)})" if others else ""
        expected = f"expected <label>/*.jpg ({', '.join(IMAGE_SUFFIXES)}), or the shards of crop.py"
        raise InputError(f"{folder}: holds no images{there}; {expected}")
    print_left_out(folder, others)
    found = sorted({label for _, label in files if label is not None})
    unlabelled = [p for p, label in files if label is None]
    if found and unlabelled:
        beside = f"holds images ({unlabelled[0].name}) beside folders of labels ({found[0]})"
        raise InputError(f"{folder}: {beside}, expected only one of them")
    names = check_labels(folder, found, label_names)
    labels = [-1 if label is None else names.index(label) for _, label in files]
    # the first of each label, then the second: --max_train_samples keeps all labels
    columns = [[i for i, other in enumerate(labels) if other == label] for label in range(-1, len(names))]
    order = [i for row in zip_longest(*columns) for i in row if i is not None]
    paths = [files[i][0] for i in order]
    place = {"path": [str(p) for p in paths], "row": [-1] * len(paths), "row_group": [-1] * len(paths)}
    rows = datasets.Dataset.from_dict({"id": [p.relative_to(folder).as_posix() for p in paths], **place})
    subjects = people_of(place["path"], preprocessing, folder)

    def join() -> np.ndarray:
        return join_groups(subjects, ranks(fingerprints(list(rows["path"]))))

    return Faces(rows, np.array(labels)[order], names, folder, join, bool((subjects >= 0).any()))


def draw_sample(folder: Path) -> None:
    """The images of the bundled sample, which are drawn at first use: the first process draws, the others wait."""
    if not ((folder / DRAWN_RECORD).is_file() and DRAW.is_file()):
        return
    from accelerate import PartialState

    with PartialState().main_process_first():
        runpy.run_path(str(DRAW))["draw_images"](folder)


def compile_pattern(subject_pattern: str | None) -> re.Pattern | None:
    """Raises InputError where it is no regular expression with one group."""
    if subject_pattern is None:
        return None
    try:
        pattern = re.compile(subject_pattern)
    except re.error as error:
        raise InputError(f"subject_pattern: {subject_pattern!r} is not a regular expression ({error})") from error
    if pattern.groups != 1:
        raise InputError(
            f"subject_pattern: {subject_pattern!r} has {pattern.groups} groups, expected one, for the person"
        )
    return pattern


def list_files(folder: Path, suffixes: Sequence[str]) -> tuple[list[Path], list[str]]:
    """All files below a folder with one of these suffixes, 2.jpg before 10.jpg, through linked folders, and the others,
    broken links among them; hidden ones are neither. Raises InputError for a name that is not UTF-8."""
    found, others = sort_out(folder, suffixes)
    others = [path for path in others if os.path.basename(path) != DRAWN_RECORD]
    for path in found:
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{str(path)!a}: its name is not UTF-8; unpack the archive with its own encoding (unzip -O cp949)"
            ) from error
    return sorted(found, key=lambda path: natural(path.relative_to(folder))), others


def label_and_subject(path: Path, pattern: re.Pattern | None) -> tuple[str | None, str | None]:
    """What a path below the data folder says of its image: AI-Hub's names, else the first folder and
    subject_pattern."""
    text = unicodedata.normalize("NFC", path.as_posix())  # macOS unpacks Hangul as single letters
    aihub = AIHUB_NAME.match(text.rpartition("/")[2])
    folder = AIHUB_FOLDER.search(text.rpartition("/")[0])
    label = folder[1] if folder else aihub[2] if aihub else text.partition("/")[0] if "/" in text else None
    person = pattern.search(text) if pattern else aihub
    return label, person[1] if person else None


def people_of(paths: Sequence[str], preprocessing: dict, folder: Path) -> np.ndarray:
    """(N,) int64: the number of the person on each image, -1 where its path below the folder does not say it."""
    pattern = compile_pattern(preprocessing.get("subject_pattern"))
    names = [Path(path).relative_to(folder).as_posix() for path in paths]
    people = [label_and_subject(Path(name), pattern)[1] for name in names]
    if preprocessing["label_names"] is None:  # the training folder, whose rows are split
        unknown = [name for name, who in zip(names, people, strict=True) if who is None]
        say_people(pattern, unknown, len(people), folder)
    return ranks(people)


def say_people(pattern: re.Pattern | None, unknown: Sequence[str], total: int, folder: Path) -> None:
    """Say how many of the paths a subject_pattern does not match: these. It may match none, as that of a preset for its
    own files does; then the images of one person can be in several folds."""
    if pattern is not None and unknown:
        what = f"matches {total - len(unknown)} of {total} paths (not {unknown[0]})"
        print_once(f"{folder.name}: subject_pattern {pattern.pattern!r:.80} {what}; the others belong to nobody")


def check_labels(folder: Path, found: list[str], label_names: Sequence[str] | None) -> list[str]:
    """label_names, or those that were found. Raises InputError where others were found than given, none is a label, or
    one has the name of another column of the submission."""
    if found and {name.lower() for name in found} <= SPLITS:
        raise InputError(f"{folder}: its folders are {', '.join(found)}, expected labels; name one of these folders")
    names = found if label_names is None else list(label_names)
    if unknown := [name for name in found if name not in names]:
        raise InputError(f"{folder}: {unknown[0]} is not one of the labels of train_file ({', '.join(names)})")
    columns = [SUBMISSION.id_column, *SUBMISSION.column_names(names)]
    if clash := [name for name in names if columns.count(name) > 1]:
        raise InputError(f"{folder}: another column of the submission has the name of the label {clash[0]}; rename it")
    return names


def read_shards(folder: Path, label_names: Sequence[str] | None, pattern: re.Pattern | None) -> Faces:
    """The rows of crop.py's shards; of the Parquet files only the columns of the manifest are read, one shard at a
    time. A pattern is that of the path of a row's source: the id of a video's frame ends in its number.

    What a row's image is found by goes to a temporary Arrow file, which datasets maps into memory.
    """
    import datasets
    import pyarrow

    from common.tricks.groups import join_groups

    record = read_json(folder / CROP_RECORD)
    if record.get("status") != "done":
        raise InputError(f"{folder}: crop.py has not finished; start it again, it goes on where it stopped")
    if missing := {"label_names", "shards", "face_crop"} - set(record):
        raise InputError(f"{folder / CROP_RECORD}: has no {min(missing)}, expected what crop.py wrote")
    check_record(folder, record)
    if not record["shards"]:
        raise InputError(f"{folder}: holds no faces")
    names = check_labels(folder, record["label_names"], label_names)
    number_of = {name: i for i, name in enumerate(names)}
    text = pyarrow.string()
    integer = pyarrow.int32()
    schema = pyarrow.schema({"id": text, "path": text, "row": integer, "row_group": integer})
    listing = Path(tempfile.mkdtemp(prefix="faces_")) / "rows.arrow"
    atexit.register(shutil.rmtree, listing.parent, ignore_errors=True)
    labels = []
    subjects = []
    images = []
    people = {}
    unknown = []
    row_groups = 0
    with pyarrow.OSFile(str(listing), "wb") as file, pyarrow.ipc.new_stream(file, schema) as writer:
        for shard in record["shards"]:
            path = str(folder / shard)
            table, sizes, digests = read_manifest(path)
            place = [np.arange(len(table)), row_groups + np.repeat(np.arange(len(sizes)), sizes)]
            row_groups += len(sizes)
            ids = table["id"].combine_chunks()
            columns = [ids, pyarrow.repeat(path, len(table)), *(pyarrow.array(values, integer) for values in place)]
            writer.write_table(pyarrow.table(columns, schema=schema))
            sources, of_shard, persons = (table[name].to_pylist() for name in ("source", "label", "subject"))
            if pattern:
                persons = [label_and_subject(Path(source), pattern)[1] for source in sources]
                unknown += [source for source, who in zip(sources, persons, strict=True) if who is None]
            if foreign := set(of_shard) - {None, *names}:
                raise InputError(
                    f"{path}: {min(foreign)} is not one of the labels in {CROP_RECORD} ({', '.join(names)})"
                )
            labels.append(np.array([-1 if label is None else number_of[label] for label in of_shard]))
            subjects.append(
                np.array([-1 if person is None else people.setdefault(person, len(people)) for person in persons])
            )
            images.append(np.array(digests))  # of the source: frames of one video are one group
    subjects = np.concatenate(subjects)
    if label_names is None:
        say_people(pattern, unknown, len(subjects), folder)
    order = np.argsort(np.argsort(list(people)))  # in the order of their names, whatever the order of the rows
    subjects[subjects >= 0] = order[subjects[subjects >= 0]]
    joined = join_groups(subjects, np.concatenate(images))
    rows = datasets.Dataset.from_file(str(listing))
    return Faces(rows, np.concatenate(labels), names, folder, lambda: joined, bool(people))


def check_record(folder: Path, record: dict[str, Any]) -> None:
    """Raise InputError where crop.json says what crop.py does not write: a shard is a file of the folder itself, and no
    link to another place."""
    path = folder / CROP_RECORD
    for key, kind in (("label_names", list), ("shards", list), ("face_crop", dict)):
        if not isinstance(record[key], kind):
            raise InputError(f"{path}, key {key}: is no {kind.__name__}, expected what crop.py wrote")
    for name in (*record["label_names"], *record["shards"]):
        if not isinstance(name, str):
            raise InputError(f"{path}: {name!r:.80} is no name, expected what crop.py wrote")
    shards = record["shards"]
    for shard in shards:
        inside = shard == os.path.basename(shard) and shard not in ("", ".", "..") and "\0" not in shard
        if not inside or os.path.realpath(folder / shard) != os.path.join(os.path.realpath(folder), shard):
            raise InputError(f"{path}: names the shard {shard!r:.80}, which is not a file of this folder itself")
        if not is_regular(folder / shard):
            raise InputError(f"{path}: names the shard {shard!r:.80}, which is not there; start crop.py again")
    if len(set(shards)) < len(shards):
        raise InputError(f"{path}: names a shard twice, expected what crop.py wrote")


def read_manifest(path: str) -> tuple["pyarrow.Table", list[int], list[int]]:
    """id, label, subject, source and sha256 of a shard's N rows; the rows of each of its row groups; N numbers of 60
    bits that stand for the sha256. Raises InputError."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        metadata = parquet.read_metadata(path)
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            if group.num_rows > GROUP_ROWS or group.total_byte_size > GROUP_BYTES:
                raise ValueError(f"row group {number} has {group.num_rows:,} rows of {group.total_byte_size:,} bytes")
        table = parquet.read_table(path, columns=["id", "label", "subject", "source", "sha256"])
        digests = [int(digest[:15], 16) for digest in table["sha256"].to_pylist()]
    except (OSError, pyarrow.ArrowException, TypeError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from error
    return table, [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)], digests


def fingerprints(paths: Sequence[str]) -> list[str]:
    """The same for files of the same bytes; only files of the same size are read."""
    sizes = [os.path.getsize(path) for path in paths]
    several = {size for size, count in zip(*np.unique(sizes, return_counts=True), strict=True) if count > 1}
    return [sha256(path) if size in several else f"{size} bytes" for path, size in zip(paths, sizes, strict=True)]


def ranks(names: Sequence[str | None]) -> np.ndarray:
    """(N,) int64: the place of each name among the sorted names, -1 for None."""
    place = {name: i for i, name in enumerate(sorted({name for name in names if name is not None}))}
    return np.array([-1 if name is None else place[name] for name in names])


def describe_groups(examples: Faces) -> str:
    """A sentence on the groups of labelled rows."""
    text = (
        f"{len(examples):,} images in {len(np.unique(examples.groups)):,} groups (same person, same image) that "
        "stay in one fold"
    )
    labels = np.unique(examples.labels, axis=0, return_inverse=True)[1]  # a row may have several, or a number
    pairs = np.unique(np.stack([examples.groups, labels]), axis=1)
    two = np.count_nonzero(np.unique(pairs[0], return_counts=True)[1] > 1)
    return text + (f"; {two} groups of identical images carry two labels" if two and not examples.has_subjects else "")
