"""From rows to pixel_values: decoding, timm's transforms, and an order of shards' rows that does not need them in
memory."""

from collections.abc import Sequence
from functools import cache, lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import torch
from PIL import Image
from timm.data import create_transform
from torch import Tensor

from common.batches import LengthBatchSampler, read_column
from common.console import InputError, first_line, print_once
from common.guards.images import open_image as open_rgb

if TYPE_CHECKING:
    from data import Faces

CACHED_GROUPS = 64  # about 2 MB each
SIDES = (("left", "right"), ("왼", "오른"), ("좌", "우"))


def to_dataset(faces: "Faces") -> datasets.Dataset:
    """Rows of id, path, row, row_group and labels; the images stay where they are until a batch wants them."""
    return faces.rows.add_column("labels", faces.labels.tolist())


@cache
def first_rows(path: str) -> np.ndarray:
    """(G + 1,) row numbers at which the row groups of a shard begin, and the number of its rows."""
    metadata = parquet.read_metadata(path)
    return np.cumsum([0, *(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))])


def read_row(path: str, row: int) -> bytes:
    """The encoded crop of one row of a shard."""
    starts = first_rows(path)
    group = int(np.searchsorted(starts, row, side="right")) - 1
    return read_group(path, group)[row - starts[group]]


@lru_cache(maxsize=CACHED_GROUPS)
def read_group(path: str, number: int) -> list[bytes]:
    """The encoded crops of one row group of a shard."""
    with parquet.ParquetFile(path) as shard:
        return [image["bytes"] for image in shard.read_row_group(number, columns=["image"])["image"].to_pylist()]


def open_image(path: str, row: int) -> Image.Image:
    """An RGB image, upright as its EXIF says: a file, or row `row` of a shard. Raises InputError where it cannot be
    decoded."""
    if row < 0:
        return open_rgb(path)
    try:
        source = BytesIO(read_row(path, row))
    except (OSError, pyarrow.ArrowException, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path}: row {row} cannot be read ({first_line(error)})") from error
    return open_rgb(source, path)


def check_files(examples: dict[str, "Faces"], args: Any) -> None:
    """check_images() of train_file, eval_file and test_file, and warnings of what does not go together. Raises
    InputError."""
    train = examples["train"]
    for faces in examples.values():
        check_images(faces, train.face_crop)
    say_mixture(examples)
    say_sides(train.label_names, args)


def check_images(faces: "Faces", face_crop: dict[str, Any] | None) -> None:
    """Decode every image file once, JPEGs at an eighth, and print what there is.

    face_crop: how the images were cropped that the model learns from, None: not at all; where these are cropped
    otherwise, a warning. Raises InputError that names the first broken file, and says how many there are.
    """
    broken = []
    for face in faces:
        if face.row >= 0:  # crop.py has checked it
            continue
        try:
            open_rgb(face.path, longest=1)
        except InputError as error:
            broken.append(str(error))
    if broken:
        others = f"; {len(broken) - 1} more cannot" if len(broken) > 1 else ""
        raise InputError(f"{broken[0]}{others}; remove it, or let crop.py leave it out")
    own = faces.face_crop
    if own and face_crop and own != face_crop:
        print_once(f"warning: {faces.folder} was cropped with {own}, the model's images with {face_crop}")
    print_once(f"{faces.folder.name}: {len(faces):,} images, labels {', '.join(faces.label_names) or 'none'}")


def say_mixture(examples: dict[str, "Faces"]) -> None:
    """A warning where one of train_file and another file holds crops of crop.py, and the other images as they are: the
    model would be judged by faces of another size and place than it learns."""
    train = examples["train"]
    for faces in examples.values():
        if (faces.face_crop is None) != (train.face_crop is None):
            crops, images = (train, faces) if faces.face_crop is None else (faces, train)
            what = f"{crops.folder} holds crops of crop.py, {images.folder} images as they are"
            print_once(f"warning: {what}; the model sees other parts of a face in them, unless these are crops, too")


def say_sides(label_names: Sequence[str], args: Any) -> None:
    """A warning where two labels seem to be each other's mirror image: a mirrored image keeps its label."""
    if pair := mirrored_labels(label_names) if args.horizontal_flip > 0 or args.test_time_flip else None:
        what = f"the labels {pair[0]} and {pair[1]} look like each other's mirror image"
        print_once(f"warning: {what}, which keeps its label; is it --horizontal_flip 0, no --test_time_flip?")


def mirrored_labels(label_names: Sequence[str]) -> tuple[str, str] | None:
    """The first two labels that differ in their side alone, None where there are none."""
    known = {name.casefold(): name for name in label_names}
    for name, own in known.items():
        for left, right in SIDES:
            if left in name and (other := name.replace(left, right)) in known:
                return own, known[other]
    return None


class FaceCollator:
    """Rows of to_dataset() -> pixel_values (B, 3, S, S) float32 and labels (B,), by timm's transforms for the model's
    config.

    args: the task's arguments, for training: random crops, mirror images, colours, erasing; None: resized only. Raises
    InputError for a policy that timm does not know.
    """

    def __init__(self, model_config: Any, args: Any = None):
        settings = model_config.pretrained_cfg
        shared = {key: settings[key] for key in ("interpolation", "mean", "std")}
        # else the batch is normalized at once, to the same bits; what is erased is erased in a normalized image
        shared["normalize"] = args is not None and args.random_erasing > 0
        self.mean, self.std = (torch.tensor(settings[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
        size = tuple(settings["input_size"])
        if args is None:
            self.transform = create_transform(size, crop_pct=settings["crop_pct"], crop_mode="squash", **shared)
        else:
            try:
                self.transform = create_transform(
                    size,
                    is_training=True,
                    scale=(args.min_crop_scale, 1.0),
                    ratio=(1.0, 1.0) if args.min_crop_scale == 1 else (0.9, 1.1),
                    hflip=args.horizontal_flip,
                    color_jitter=None if args.auto_augment else args.color_jitter or None,
                    auto_augment=args.auto_augment,
                    re_prob=args.random_erasing,
                    **shared,
                )
            except (AssertionError, ValueError, KeyError, IndexError) as error:
                raise InputError(
                    f"auto_augment: {args.auto_augment!r} is not one of timm's ({first_line(error)})"
                ) from error
        self.repeat_single = args is not None

    def __call__(self, rows: list[dict]) -> dict[str, Tensor]:
        # twice for batch norm, which has no variance of a single value; its label, and so its loss, comes once
        shown = rows * 2 if len(rows) == 1 and self.repeat_single else rows
        pixel_values = torch.stack([self.transform(open_image(row["path"], row["row"])) for row in shown])
        pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)  # 1.4 times as fast on a CPU
        if pixel_values.dtype == torch.uint8:
            pixel_values = pixel_values.float().div_(255).sub_(self.mean).div_(self.std)
        return {
            "pixel_values": pixel_values,
            "labels": torch.tensor([row["labels"] for row in rows]),
        }


class FaceBatchSampler(LengthBatchSampler):
    """Random batches as LengthBatchSampler makes them, but from shards so that neighbouring batches need the same row
    groups.

    rows: of to_dataset(). The row groups are shuffled; as many as hold shuffle_rows rows are shuffled together. Files
    are shuffled all.
    """

    def __init__(self, rows: datasets.Dataset, batch_size: int, seed: int, shuffle_rows: int, **shared: int):
        super().__init__(np.ones(len(rows), dtype=np.int64), batch_size, seed, by_length=False, **shared)
        groups = read_column(rows, "row_group")
        _, self.groups = np.unique(groups, return_inverse=True)
        self.together = shuffle_rows if groups.max(initial=-1) >= 0 else max(1, len(rows))

    def effective_batches(self) -> list[np.ndarray]:
        generator = np.random.default_rng((self.seed, self.epoch))
        place = generator.permutation(self.groups.max(initial=0) + 1)[self.groups]
        order = np.argsort(place, kind="stable")
        chunks = [order[i : i + self.together] for i in range(0, len(order), self.together)]
        order = np.concatenate([generator.permutation(chunk) for chunk in chunks])
        return [order[i : i + self.effective] for i in range(0, len(order), self.effective)]
