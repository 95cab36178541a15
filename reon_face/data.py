"""Images of faces as rows: folders of labels (FER2013), AI-Hub's 한국인 감정인식을 위한 복합 영상, shards of crop.py.

For a contest of your own, change COMPETITION_FILES, LABEL_COLUMN, the fields, read_examples() and submission_format().
"""

import atexit
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from common.console import InputError, first_line, print_once
from common.files import natural, read_json, sha256, walk
from common.logits import Logits
from common.options.fields import DataArguments

if TYPE_CHECKING:
    import datasets

COMPETITION_FILES = {
    "train_file": "train",
    "eval_file": "eval",
    "test_file": "test",
    "sample_submission_file": "sample_submission.csv",
}
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
LABEL_COLUMN = "Predicted"  # the column of a submission that holds the label, beside the probabilities
SUBMISSION_CHECK = {
    "probability_columns": True,
    "label_column": LABEL_COLUMN,
}  # options of common.submission.check_submission
SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}  # folders of folders of labels
CROP_RECORD = "crop.json"  # in a folder of shards
# <hash of the person>_<gender>_<age>_<label>_<place>_<number>.jpg
AIHUB_NAME = re.compile(r"([0-9a-zA-Z]+)_(?:남|여)_\d+_(기쁨|당황|분노|불안|상처|슬픔|중립)_")
AIHUB_FOLDER = re.compile(r"EMOIMG_(기쁨|당황|분노|불안|상처|슬픔|중립)(?:_|$)")


@dataclass
class TaskArguments(DataArguments):
    """Fields of reon_face/train.py beside TrainingArguments."""

    # pieces of common.training that belong to texts
    tokens_per_batch: ClassVar[None] = None
    auto_batch_size: ClassVar[bool] = False
    lora_r: ClassVar[int] = 0
    head_learning_rate: ClassVar[None] = None
    layerwise_lr_decay: ClassVar[float] = 1.0
    feature_oversample_ratio: ClassVar[float] = 0.0
    rdrop_alpha: ClassVar[float] = 0.0
    fgm_epsilon: ClassVar[float] = 0.0
    awp_epsilon: ClassVar[float] = 0.0

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
    ema_decay: float = field(
        default=0.0, metadata={"help": "decay of the averaged weights used to evaluate and predict; 0: off"}
    )
    oversample_ratio: float = field(
        default=0.0,
        metadata={"help": "raise classes of n rows to n^(1-r) n_max^r in a fold's training part; 0: off, 1: all equal"},
    )
    undersample_ratio: float = field(
        default=0.0, metadata={"help": "cut classes to n_max (n_min / n_max)^r rows; 0: off, 1: all equal"}
    )
    class_weight_strength: float = field(
        default=0.0, metadata={"help": "0: none, 1: inversely proportional to class frequency"}
    )
    focal_gamma: float = field(default=0.0, metadata={"help": "gamma of the focal loss; 0: cross-entropy"})
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "stop after this many evaluations without a better metric_for_best_model"}
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


@dataclass(frozen=True, slots=True)
class FaceExample:
    """One image: a file, or row `row` of a shard. label: -1 where unknown. group: rows of one group stay in one
    fold."""

    id: str
    path: str
    row: int
    label: int
    group: int


class Faces(Sequence[FaceExample]):
    """The images of a folder. Of shards, only labels and groups are in memory, 16 bytes a row; ids and places are read
    from a file.

    rows: datasets.Dataset of id, path, row (-1: an image file) and row_group (number among those of all shards; -1).
    labels: (N,) int64, -1 where unknown. groups: (N,) int64, rows of one group stay in one fold. has_subjects: groups
    are people, too, not only identical images.
    """

    def __init__(self, rows: "datasets.Dataset", labels: np.ndarray, groups: np.ndarray, has_subjects: bool = False):
        self.rows = rows
        self.labels = labels
        self.groups = groups
        self.has_subjects = has_subjects

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index):
        if isinstance(index, slice):
            rows = self.rows.select(range(*index.indices(len(self))))
            return Faces(rows, self.labels[index], self.groups[index], self.has_subjects)
        row = self.rows[int(index)]
        return FaceExample(row["id"], row["path"], row["row"], int(self.labels[index]), int(self.groups[index]))

    def __iter__(self) -> Iterator[FaceExample]:
        numbers = zip(self.labels, self.groups, strict=True)
        for batch in self.rows.iter(batch_size=4096):
            for row_id, path, row in zip(batch["id"], batch["path"], batch["row"], strict=True):
                label, group = next(numbers)
                yield FaceExample(row_id, path, row, int(label), int(group))


def read_examples(
    path: str | Path, label_names: Sequence[str] | None = None, subject_pattern: str | None = None, groups: bool = True
) -> tuple[Faces, list[str]]:
    """The images of a folder, in order, and the names of their labels (label_names where they are given).

    path: a folder of shards (crop.json); of labels, <label>/**/*.jpg; of AI-Hub, whose file and folder names say label
    and person; or of images without labels. groups: find out which rows belong together (the same person, the same
    image). Raises InputError.
    """
    import datasets

    from common.folds import join_groups

    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder of images or shards")
    pattern = compile_pattern(subject_pattern)
    if (folder / CROP_RECORD).exists():
        return read_shards(folder, label_names, pattern)
    files = [(p, *label_and_subject(p.relative_to(folder), pattern)) for p in list_files(folder, IMAGE_SUFFIXES)]
    if not files:
        raise InputError(
            f"{folder}: holds no images; expected <label>/*.jpg ({', '.join(IMAGE_SUFFIXES)}), or the shards of crop.py"
        )
    found = sorted({label for _, label, _ in files if label is not None})
    unlabelled = [p for p, label, _ in files if label is None]
    if found and unlabelled:
        raise InputError(
            f"{folder}: holds images ({unlabelled[0].name}) beside folders of labels ({found[0]}), expected only one "
            "of them"
        )
    names = check_labels(folder, found, label_names)
    labels = [-1 if label is None else names.index(label) for _, label, _ in files]
    # the first of each label, then the second: --max_train_samples keeps all labels
    columns = [[i for i, other in enumerate(labels) if other == label] for label in range(-1, len(names))]
    order = [i for row in zip_longest(*columns) for i in row if i is not None]
    files = [files[i] for i in order]
    place = {"path": [str(p) for p, _, _ in files], "row": [-1] * len(files), "row_group": [-1] * len(files)}
    rows = datasets.Dataset.from_dict({"id": [p.relative_to(folder).as_posix() for p, _, _ in files], **place})
    subjects = ranks([subject for _, _, subject in files])
    joined = join_groups(subjects, ranks(fingerprints([p for p, _, _ in files]))) if groups else np.arange(len(files))
    return Faces(rows, np.array(labels)[order], joined, bool((subjects >= 0).any())), names


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


def list_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """All files below a folder with one of these suffixes, 2.jpg before 10.jpg, through linked folders; hidden ones and
    broken links are left out. Raises InputError for a name that is not UTF-8."""
    found = [Path(path) for path in walk(folder) if Path(path).suffix.lower() in suffixes]
    for path in found:
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{str(path)!a}: its name is not UTF-8; unpack the archive with its own encoding (unzip -O cp949)"
            ) from error
    return sorted((path for path in found if path.is_file()), key=lambda path: natural(path.relative_to(folder)))


def label_and_subject(path: Path, pattern: re.Pattern | None) -> tuple[str | None, str | None]:
    """What a path below the data folder says of its image: AI-Hub's names, else the first folder and
    subject_pattern."""
    text = unicodedata.normalize("NFC", path.as_posix())  # macOS unpacks Hangul as single letters
    aihub = AIHUB_NAME.match(text.rpartition("/")[2])
    folder = AIHUB_FOLDER.search(text.rpartition("/")[0])
    label = folder[1] if folder else aihub[2] if aihub else text.partition("/")[0] if "/" in text else None
    person = pattern.search(text) if pattern else aihub
    return label, person[1] if person else None


def check_labels(folder: Path, found: list[str], label_names: Sequence[str] | None) -> list[str]:
    """label_names, or those that were found. Raises InputError where others were found than given, or none is a
    label."""
    if found and {name.lower() for name in found} <= SPLITS:
        raise InputError(f"{folder}: its folders are {', '.join(found)}, expected labels; name one of these folders")
    if label_names is None:
        return found
    if unknown := [name for name in found if name not in label_names]:
        raise InputError(f"{folder}: {unknown[0]} is not one of the labels of train_file ({', '.join(label_names)})")
    return list(label_names)


def read_shards(folder: Path, label_names: Sequence[str] | None, pattern: re.Pattern | None) -> tuple[Faces, list[str]]:
    """The rows of crop.py's shards; of the Parquet files only the columns of the manifest are read, one shard at a
    time.

    What a row's image is found by goes to a temporary Arrow file, which datasets maps into memory.
    """
    import datasets
    import pyarrow
    import pyarrow.parquet as parquet

    from common.folds import join_groups

    record = read_json(folder / CROP_RECORD)
    if record.get("status") != "done":
        raise InputError(f"{folder}: crop.py has not finished; start it again, it goes on where it stopped")
    if missing := {"label_names", "shards", "face_crop"} - set(record):
        raise InputError(f"{folder / CROP_RECORD}: has no {min(missing)}, expected what crop.py wrote")
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
    row_groups = 0
    with pyarrow.OSFile(str(listing), "wb") as file, pyarrow.ipc.new_stream(file, schema) as writer:
        for shard in record["shards"]:
            path = str(folder / shard)
            try:
                table = parquet.read_table(path, columns=["id", "label", "subject", "sha256"])
                metadata = parquet.read_metadata(path)
                digests = [int(digest[:15], 16) for digest in table["sha256"].to_pylist()]
            except (OSError, pyarrow.ArrowException, TypeError, ValueError) as error:
                raise InputError(f"{path}: cannot be read ({first_line(error)})") from error
            sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
            place = [np.arange(len(table)), row_groups + np.repeat(np.arange(len(sizes)), sizes)]
            row_groups += len(sizes)
            ids = table["id"].combine_chunks()
            columns = [ids, pyarrow.repeat(path, len(table)), *(pyarrow.array(values, integer) for values in place)]
            writer.write_table(pyarrow.table(columns, schema=schema))
            ids, of_shard, persons = (table[name].to_pylist() for name in ("id", "label", "subject"))
            if pattern:
                persons = [label_and_subject(Path(row_id), pattern)[1] for row_id in ids]
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
    order = np.argsort(np.argsort(list(people)))  # in the order of their names, whatever the order of the rows
    subjects[subjects >= 0] = order[subjects[subjects >= 0]]
    joined = join_groups(subjects, np.concatenate(images))
    return Faces(datasets.Dataset.from_file(str(listing)), np.concatenate(labels), joined, bool(people)), names


def face_crop_of(path: str | Path) -> dict[str, Any] | None:
    """How crop.py cut the faces of a folder of shards; None for images."""
    record = Path(path) / CROP_RECORD
    return read_json(record)["face_crop"] if record.exists() else None


def warn_of_other_crops(path: str | Path, expected: dict[str, Any] | None) -> None:
    """Say so where shards were not cropped as the images that a model learns from; images as they are say nothing."""
    found = face_crop_of(path)
    if found and expected and found != expected:
        print_once(f"warning: {path} was cropped with {found}, the model's images with {expected}")


def fingerprints(paths: Sequence[Path]) -> list[str]:
    """The same for files of the same bytes; only files of the same size are read."""
    sizes = [path.stat().st_size for path in paths]
    several = {size for size, count in zip(*np.unique(sizes, return_counts=True), strict=True) if count > 1}
    return [sha256(path) if size in several else f"{size} bytes" for path, size in zip(paths, sizes, strict=True)]


def ranks(names: Sequence[str | None]) -> np.ndarray:
    """(N,) int64: the place of each name among the sorted names, -1 for None."""
    place = {name: i for i, name in enumerate(sorted({name for name in names if name is not None}))}
    return np.array([-1 if name is None else place[name] for name in names])


def report_groups(examples: Faces) -> str:
    """A sentence on the groups of labelled rows, printed and noted."""
    text = (
        f"{len(examples):,} images in {len(np.unique(examples.groups)):,} groups (same person, same image) that "
        "stay in one fold"
    )
    pairs = np.unique(np.stack([examples.groups, examples.labels]), axis=1)
    two = np.count_nonzero(np.unique(pairs[0], return_counts=True)[1] > 1)
    return text + (f"; {two} groups of identical images carry two labels" if two and not examples.has_subjects else "")


def submission_format(label_names: Sequence[str]) -> tuple[str, list[str]]:
    """Id column and other columns of a submission: the label and one probability per label."""
    return "Id", [LABEL_COLUMN, *label_names]


def submission_columns(logits: Logits) -> dict[str, list[str]]:
    """The columns beside the id, probabilities with 8 digits."""
    values = {LABEL_COLUMN: [logits.label_names[k] for k in logits.logits.argmax(axis=1)]}
    values |= zip(logits.label_names, np.char.mod("%.8f", logits.probabilities().T).tolist(), strict=True)
    return {column: values[column] for column in submission_format(logits.label_names)[1]}


def check_images(examples: Sequence[FaceExample]) -> None:
    """Decode every image file once, JPEGs at an eighth. Raises InputError that names the first broken one, and says how
    many there are."""
    from PIL import Image

    broken = []
    for example in examples:
        if example.row >= 0:  # crop.py has checked it
            continue
        try:
            with Image.open(example.path) as image:
                image.draft("RGB", (image.width // 8, image.height // 8))
                image.load()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            broken.append(f"{example.path}: cannot be decoded as an image ({first_line(error)})")
    if broken:
        others = f"; {len(broken) - 1} more cannot" if len(broken) > 1 else ""
        raise InputError(f"{broken[0]}{others}; remove it, or let crop.py leave it out")


def announce(path: str | Path, examples: Sequence[FaceExample], label_names: Sequence[str]) -> None:
    print_once(f"{Path(path).name}: {len(examples):,} images, labels {', '.join(label_names) or 'none'}")
