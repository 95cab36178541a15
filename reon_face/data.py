"""Images of faces: folders of labels (FER2013), AI-Hub's 한국인 감정인식을 위한 복합 영상, and the shards that crop.py writes, as rows.

For a contest of your own, change COMPETITION_FILES, the fields and read_faces().
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from common.args import print_once
from common.errors import InputError, first_line
from common.fields import DataArguments
from common.files import natural, read_json, sha256
from common.logits import Logits

COMPETITION_FILES = {
    "train_file": "train",
    "eval_file": "eval",
    "test_file": "test",
    "sample_submission_file": "sample_submission.csv",
}
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
LABEL_COLUMN = "Predicted"  # the column of a submission that holds the label, beside the probabilities
SUBMISSION_CHECK = {"probability_columns": True, "label_column": LABEL_COLUMN}  # options of common.submission.check_submission
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
        default="scratch", metadata={"help": "a timm model, a folder of weights (timm's or a fold's), or scratch: a small EfficientNet"}
    )
    start: str = field(
        default="imagenet",
        metadata={
            "help": "imagenet: the weights that come with the model, scratch: random ones, or a run's folder (fold k from its fold k)"
        },
    )
    stages: list[str] | None = field(
        default=None,
        metadata={
            "help": "train in stages, each from the last: 'part=1/4 num_train_epochs=10 learning_rate=0.001 optim=sgd momentum=0.9'; also "
            "per_device_train_batch_size, lr_scheduler_type, warmup_steps, weight_decay, start; what it does not name is as for the run"
        },
    )
    image_size: int | None = field(default=None, metadata={"help": "height and width in pixels that the model sees; default: the model's"})
    drop_rate: float = field(default=0.0, metadata={"help": "dropout in front of the classifier"})
    drop_path_rate: float = field(default=0.0, metadata={"help": "stochastic depth"})
    min_crop_scale: float = field(default=0.7, metadata={"help": "random resized crop: smallest share of the image's area; 1: off"})
    horizontal_flip: float = field(default=0.5, metadata={"help": "probability of a mirror image; 0: off"})
    color_jitter: float = field(default=0.2, metadata={"help": "largest change of brightness, contrast and saturation; 0: off"})
    auto_augment: str | None = field(
        default=None, metadata={"help": "timm's policy, rand-m7-mstd0.5 for one; takes the place of color_jitter"}
    )
    random_erasing: float = field(default=0.0, metadata={"help": "probability that a rectangle is erased; 0: off"})
    mixup_alpha: float = field(default=0.0, metadata={"help": "mixup: both parameters of the beta distribution; 0: off"})
    ema_decay: float = field(default=0.0, metadata={"help": "decay of the averaged weights used to evaluate and predict; 0: off"})
    oversample_ratio: float = field(
        default=0.0, metadata={"help": "raise classes of n rows to n^(1-r) n_max^r in a fold's training part; 0: off, 1: all equal"}
    )
    undersample_ratio: float = field(default=0.0, metadata={"help": "cut classes to n_max (n_min / n_max)^r rows; 0: off, 1: all equal"})
    class_weight_strength: float = field(default=0.0, metadata={"help": "0: none, 1: inversely proportional to class frequency"})
    focal_gamma: float = field(default=0.0, metadata={"help": "gamma of the focal loss; 0: cross-entropy"})
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "stop after this many evaluations without a better metric_for_best_model"}
    )
    subject_pattern: str | None = field(
        default=None,
        metadata={"help": "regular expression over the path; its group is the person, who stays in one fold (AI-Hub's: known)"},
    )
    shuffle_rows: int = field(default=4096, metadata={"help": "shards: so many rows, in random row groups, are shuffled together"})


@dataclass(slots=True)
class FaceExample:
    """One image: a file, or row `row` of a shard. label: -1 where unknown. group: rows of one group stay in one fold."""

    id: str
    path: str
    row: int = -1
    label: int = -1
    group: str = ""


def read_faces(
    path: str | Path, label_names: Sequence[str] | None = None, subject_pattern: str | None = None, groups: bool = True
) -> tuple[list[FaceExample], list[str]]:
    """The images of a folder, in order, and the names of their labels (label_names where they are given).

    path: a folder of shards (crop.json); of labels, <label>/**/*.jpg; of AI-Hub, whose file and folder names say label and person; or of
    images without labels. groups: find out which rows belong together (the same person, the same image). Raises InputError.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder of images or shards")
    pattern = compile_pattern(subject_pattern)
    if (folder / CROP_RECORD).exists():
        return read_shards(folder, label_names, pattern)
    rows = [(p, *label_and_subject(p.relative_to(folder), pattern)) for p in list_files(folder, IMAGE_SUFFIXES)]
    if not rows:
        raise InputError(f"{folder}: holds no images; expected <label>/*.jpg ({', '.join(IMAGE_SUFFIXES)}), or the shards of crop.py")
    found = sorted({label for _, label, _ in rows if label is not None})
    unlabelled = [p for p, label, _ in rows if label is None]
    if found and unlabelled:
        raise InputError(f"{folder}: holds images ({unlabelled[0].name}) beside folders of labels ({found[0]}), expected only one of them")
    names = check_labels(folder, found, label_names)
    examples = [
        FaceExample(p.relative_to(folder).as_posix(), str(p), label=-1 if label is None else names.index(label)) for p, label, _ in rows
    ]
    if groups:
        keys = zip((subject for _, _, subject in rows), fingerprints([p for p, _, _ in rows]), strict=True)
        for example, group in zip(examples, join_groups(keys), strict=True):
            example.group = group
    # the first of each label, then the second: --max_train_samples keeps all labels
    columns = [[e for e in examples if e.label == label] for label in range(-1, len(names))]
    return [example for row in zip_longest(*columns) for example in row if example is not None], names


def compile_pattern(subject_pattern: str | None) -> re.Pattern | None:
    """Raises InputError where it is no regular expression with one group."""
    if subject_pattern is None:
        return None
    try:
        pattern = re.compile(subject_pattern)
    except re.error as error:
        raise InputError(f"subject_pattern: {subject_pattern!r} is not a regular expression ({error})") from error
    if pattern.groups != 1:
        raise InputError(f"subject_pattern: {subject_pattern!r} has {pattern.groups} groups, expected one, for the person")
    return pattern


def list_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """All files below a folder with one of these suffixes, 2.jpg before 10.jpg; hidden ones and broken links are left out."""
    found = [p for p in folder.rglob("*") if p.suffix.lower() in suffixes and p.name[0] != "." and p.is_file()]
    return sorted(found, key=lambda p: natural(p.relative_to(folder)))


def label_and_subject(path: Path, pattern: re.Pattern | None) -> tuple[str | None, str | None]:
    """What a path below the data folder says of its image: AI-Hub's names, else the first folder and subject_pattern."""
    text = unicodedata.normalize("NFC", path.as_posix())  # macOS unpacks Hangul as single letters
    aihub, folder = AIHUB_NAME.match(text.rpartition("/")[2]), AIHUB_FOLDER.search(text.rpartition("/")[0])
    label = folder[1] if folder else aihub[2] if aihub else text.partition("/")[0] if "/" in text else None
    person = pattern.search(text) if pattern else aihub
    return label, person[1] if person else None


def check_labels(folder: Path, found: list[str], label_names: Sequence[str] | None) -> list[str]:
    """label_names, or those that were found. Raises InputError where others were found than given."""
    if label_names is None:
        return found
    if unknown := [name for name in found if name not in label_names]:
        raise InputError(f"{folder}: {unknown[0]} is not one of the labels of train_file ({', '.join(label_names)})")
    return list(label_names)


def read_shards(folder: Path, label_names: Sequence[str] | None, pattern: re.Pattern | None) -> tuple[list[FaceExample], list[str]]:
    """The rows of crop.py's shards; of the Parquet files only the columns of the manifest are read."""
    import pyarrow
    import pyarrow.parquet as parquet

    record = read_json(folder / CROP_RECORD)
    if record.get("status") != "done":
        raise InputError(f"{folder}: crop.py has not finished; start it again, it goes on where it stopped")
    names = check_labels(folder, record["label_names"], label_names)
    examples, keys = [], []
    for shard in record["shards"]:
        path = str(folder / shard)
        try:
            table = parquet.read_table(path, columns=["id", "label", "subject", "sha256"])
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(f"{path}: cannot be read ({first_line(error)})") from error
        for row, (row_id, label, subject, digest) in enumerate(zip(*(c.to_pylist() for c in table.columns), strict=True)):
            examples.append(FaceExample(row_id, path, row, -1 if label is None else names.index(label)))
            person = pattern.search(row_id) if pattern else None
            keys.append((person[1] if person else subject, digest))  # sha256 of the source: frames of one video are one group
    for example, group in zip(examples, join_groups(keys), strict=True):
        example.group = group
    return examples, names


def face_crop_of(path: str | Path) -> dict[str, Any] | None:
    """How crop.py cut the faces of a folder of shards; None for images."""
    record = Path(path) / CROP_RECORD
    return read_json(record)["face_crop"] if record.exists() else None


def fingerprints(paths: Sequence[Path]) -> list[str]:
    """The same for files of the same bytes; only files of the same size are read."""
    sizes = [path.stat().st_size for path in paths]
    several = {size for size, count in zip(*np.unique(sizes, return_counts=True), strict=True) if count > 1}
    return [sha256(path) if size in several else f"{size} bytes" for path, size in zip(paths, sizes, strict=True)]


def join_groups(keys: Iterable[tuple[str | None, str]]) -> list[str]:
    """A group per row, of (subject or None, fingerprint): rows that share either are in one group, and so on along the chain."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    keys = list(keys)
    for subject, fingerprint in keys:
        if subject is not None:
            parent[root("image " + fingerprint)] = root("subject " + subject)
    return [root("image " + fingerprint) for _, fingerprint in keys]


def report_groups(examples: Sequence[FaceExample]) -> str:
    """A sentence on the groups of labelled rows, printed and noted."""
    groups: dict[str, list[int]] = {}
    for example in examples:
        groups.setdefault(example.group, []).append(example.label)
    shared = [labels for labels in groups.values() if len(labels) > 1]
    two = sum(len(set(labels)) > 1 for labels in shared if all("subject" not in group for group in groups))
    text = f"{len(examples):,} images in {len(groups):,} groups (same person, same image) that stay in one fold"
    return text + (f"; {two} groups of identical images carry two labels" if two else "")


def submission_format(label_names: Sequence[str]) -> tuple[str, list[str]]:
    """Id column and other columns of a submission: the label and one probability per label."""
    return "Id", [LABEL_COLUMN, *label_names]


def submission_columns(logits: Logits) -> dict[str, list[str]]:
    """The columns beside the id, probabilities with 8 digits."""
    values = {LABEL_COLUMN: [logits.label_names[k] for k in logits.logits.argmax(axis=1)]}
    values |= zip(logits.label_names, np.char.mod("%.8f", logits.probabilities().T).tolist(), strict=True)
    return {column: values[column] for column in submission_format(logits.label_names)[1]}


def check_images(examples: Sequence[FaceExample]) -> None:
    """Decode every image file once, JPEGs at an eighth. Raises InputError that names the first broken one, and says how many there are."""
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
