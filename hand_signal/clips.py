"""Clips as pixel_values: what travels with the weights, augmentation, cache, loader, prediction.

dataset = ClipDataset(rows, preprocessing)
dataset[0]["pixel_values"]      # (views, 3, T, S, S)
"""

import hashlib
import multiprocessing
import multiprocessing.forkserver
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from torch.utils.data import DataLoader, Dataset, Sampler, Subset
from torchvision import tv_tensors
from torchvision.transforms import v2

from common.console import InputError
from common.files import atomic_write
from common.logits import Logits
from common.targets import Number, SeveralLabels, as_target

from decode import Choose, read_frames
from frames import choose_frames, prepare_frames

if TYPE_CHECKING:
    from clip_folders import ClipExample
    from model import Architecture

CACHED_FRAMES = 4096  # of a video in the cache: it is written from memory, 1.4 GB at 256 x 456 pixels
LOADER_TIMEOUT = 300  # seconds without a batch: a worker that hangs ends the run with an error


@dataclass(frozen=True)
class Preprocessing:
    """How a clip becomes pixel_values; travels with the weights in config.json. Fields as in TaskArguments."""

    num_frames: int
    frame_stride: int
    crop_size: int
    mean: list[float]
    std: list[float]
    person_box: bool
    upscale: str
    num_clips: int
    num_crops: int
    crop_to_person: bool = False

    def dataset(self, examples: Sequence["ClipExample"], *how: Any) -> "ClipDataset":
        """The clips as the model sees them. how: cache_dir, augmentation and seed of ClipDataset."""
        return ClipDataset(examples, self, *how)

    def augmentation(self, args: Any, label_names: Sequence[str], flip_map: list[int] | None) -> "Augmentation":
        """What train.py's args say."""
        return Augmentation(args.min_crop_scale, args.color_jitter, flip_map)


@dataclass(frozen=True)
class Augmentation:
    """What training changes at random, the same for all frames of a clip. flip_map: label of each label's mirror image,
    None: no flips."""

    min_crop_scale: float
    color_jitter: float
    flip_map: list[int] | None


def make_preprocessing(args: Any, architecture: "Architecture", examples: Sequence["ClipExample"] = ()) -> Any:
    """What train.py's args say, else what the architecture wants: Preprocessing, of a pose model PosePreprocessing for
    the key points of the training examples. Raises InputError for options that it does not read."""
    args.check_read(architecture.kind)
    reads_points = architecture.kind.startswith("pose_") or args.crop_to_person
    if reads_points and (without := [row.id for row in examples if row.pose is None]):
        option = "crop_to_person" if args.crop_to_person else f"model_name_or_path: {architecture.kind}"
        raise InputError(f"{option} reads key points, read_examples() of data.py gives clip {without[0]} none")
    if architecture.kind.startswith("pose_"):
        from pose_input import make_pose_preprocessing

        return make_pose_preprocessing(args, architecture, examples)
    return Preprocessing(
        num_frames=args.num_frames or architecture.num_frames,
        frame_stride=architecture.frame_stride if args.frame_stride is None else args.frame_stride,
        crop_size=args.crop_size or architecture.crop_size,
        person_box=args.person_box,
        upscale=args.upscale if args.upscale in ("none", "bicubic") else str(Path(args.upscale).resolve()),
        num_clips=args.num_clips,
        num_crops=args.num_crops,
        crop_to_person=args.crop_to_person,
        **architecture.normalization,
    )


def read_preprocessing(saved: dict[str, Any]) -> Any:
    """What a fold's config.json holds: Preprocessing, of a pose model PosePreprocessing."""
    if "num_points" not in saved:
        return Preprocessing(**saved)
    from pose_input import PosePreprocessing

    return PosePreprocessing(**saved)


class ClipDataset(Dataset):
    """pixel_values of clips: (3, T, S, S) with an Augmentation, else (views, 3, T, S, S), view = clip * num_crops +
    crop.

    Random choices come from (seed, epoch, row) alone, so that they are the same with any number of workers and after a
    resume. set_epoch() is called before each pass. cache_dir: all frames of a video, prepared, are written there as one
    uint8 .npy when it is first read, and memory-mapped from then on; a video of more than CACHED_FRAMES is decoded each
    time. A clip that cannot be decoded gives an InputError in place of its tensor, which collate() carries to the loop:
    an exception in a worker would lose its sentence.
    """

    def __init__(
        self,
        examples: Sequence["ClipExample"],
        preprocessing: Preprocessing,
        cache_dir: str | None = None,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ):
        self.examples = list(examples)
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.examples)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    @property
    def num_crops(self) -> int:
        """Crops of a frame: of the square around a person there is but one."""
        boxed = self.preprocessing.person_box and all(example.box is not None for example in self.examples)
        return 1 if boxed or self.preprocessing.crop_to_person else self.preprocessing.num_crops

    def __getitem__(self, row: int) -> dict:
        example = self.examples[row]
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(hash((self.seed, self.epoch, row)) % 2**63)
                return self.views(example) if self.augmentation is None else self.augmented(example)
        except InputError as error:
            return {"pixel_values": error, "labels": example.label}

    def augmented(self, example: "ClipExample") -> dict:
        p = self.preprocessing
        a = self.augmentation
        label = example.label
        chosen: dict[int, list[int]] = {}  # drawn once, though a second decoder may ask again

        def choose(total: int) -> list[int]:
            return chosen.get(total) or chosen.setdefault(
                total, choose_frames(total, p.num_frames, p.frame_stride, jitter=True)
            )

        frames = self.frames(example, choose)
        clip = torch.from_numpy(frames).permute(0, 3, 1, 2)  # (T, 3, H, W)
        crop = v2.RandomResizedCrop(p.crop_size, scale=(a.min_crop_scale, 1.0), antialias=True)
        clip = v2.ColorJitter(a.color_jitter, a.color_jitter, a.color_jitter)(crop(clip))
        if a.flip_map is not None and torch.rand(()) < 0.5:
            clip = clip.flip(-1)
            label = a.flip_map[label]
        return {"pixel_values": self.normalized(clip), "labels": label}

    def views(self, example: "ClipExample") -> dict:
        p = self.preprocessing
        numbers: list[int] = []

        def choose(total: int) -> list[int]:
            each = [
                choose_frames(total, p.num_frames, p.frame_stride, clip, p.num_clips) for clip in range(p.num_clips)
            ]
            numbers[:] = np.unique(each, return_inverse=True)[1].ravel().tolist()
            return np.unique(each).tolist()  # clips share frames: each is decoded once

        frames = torch.from_numpy(self.frames(example, choose)).permute(0, 3, 1, 2)
        crops = [
            self.normalized(crop) for crop in square_crops(frames, p.crop_size, self.num_crops)
        ]  # each (3, distinct frames, S, S)
        of_clip = np.array(numbers).reshape(p.num_clips, p.num_frames)
        return {
            "pixel_values": torch.stack([crop[:, rows] for rows in of_clip for crop in crops]),
            "labels": example.label,
        }

    def frames(self, example: "ClipExample", choose: Choose) -> np.ndarray:
        """The chosen frames, prepared, uint8 (T, H, W, 3)."""
        if self.cache_dir is None:
            return self.prepared(example, choose)
        path = self.cache_file(example)
        if not path.exists():
            long = False

            def choose_all(total: int) -> Sequence[int]:
                nonlocal long
                long = total > CACHED_FRAMES
                return choose(total) if long else range(total)

            frames = self.prepared(example, choose_all)
            if long:
                return frames
            with atomic_write(path, "wb") as file:
                np.save(file, frames)
        try:
            cached = np.load(path, mmap_mode="r")
        except (ValueError, EOFError, OSError):  # cut off: the clip itself is still there
            return self.prepared(example, choose)
        return np.array(cached[list(choose(len(cached)))])

    def prepared(self, example: "ClipExample", choose: Choose) -> np.ndarray:
        p = self.preprocessing
        if p.crop_to_person:
            from person_crop import Cropper

            resize = lambda frames: prepare_frames(frames, None, p.upscale, p.crop_size)  # noqa: E731
            cropper = Cropper(example.boxes, example.pose.size, resize)
            frames = read_frames(example.frames or example.path, cropper.choose_sorted(choose), cropper)
            return cropper.restore(frames)
        box = example.box if p.person_box else None
        return read_frames(
            example.frames or example.path, choose, lambda frames: prepare_frames(frames, box, p.upscale, p.crop_size)
        )

    def cache_file(self, example: "ClipExample") -> Path:
        """Another name for other files (by name, size and date), another box, size or way of upscaling."""
        p = self.preprocessing
        path = example.path.resolve()
        files = [*(example.frames or [path]), *([] if p.upscale in ("none", "bicubic") else [Path(p.upscale)])]
        stats = [(file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
        key = str((path, stats, example.box if p.person_box else None, p.upscale, p.crop_size))
        if p.crop_to_person:
            key += hashlib.sha256(example.boxes.tobytes()).hexdigest() + str(example.pose.size)
        # the beginning of the name is for people; a whole one could be too long with what is added to it
        return self.cache_dir / f"{path.stem[:40]}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"

    def normalized(self, clip: Tensor) -> Tensor:
        """(T, 3, S, S) uint8 -> (3, T, S, S) float32."""
        mean = torch.tensor(self.preprocessing.mean)[:, None, None, None]
        std = torch.tensor(self.preprocessing.std)[:, None, None, None]
        return (clip.transpose(0, 1).float() / 255 - mean) / std


def square_crops(frames: Tensor, crop_size: int, num_crops: int) -> list[Tensor]:
    """1 (the middle) or 3 (along the longer side) squares as large as the shorter side, at crop_size: (T, 3, S, S)
    each."""
    height, width = frames.shape[-2:]
    side = min(height, width)
    space = abs(height - width)
    starts = [space // 2] if num_crops == 1 else [0, space // 2, space]
    crops = [frames[..., :, s : s + side] if width > height else frames[..., s : s + side, :] for s in starts]
    return [v2.functional.resize(crop, [crop_size, crop_size], antialias=True) for crop in crops]


def collate(items: list[dict]) -> dict[str, Tensor]:
    """A batch; the first InputError of a clip in place of its pixels."""
    for item in items:
        if isinstance(item["pixel_values"], InputError):
            return {"error": str(item["pixel_values"])}
    batch = {
        "pixel_values": torch.stack([item["pixel_values"] for item in items]),
        "labels": torch.tensor([item["labels"] for item in items]),
    }
    if "soft" in items[0]:
        batch["soft"] = torch.stack([item["soft"] for item in items])
    return batch


def make_loader(dataset: Dataset, batches: int | Sampler, num_workers: int) -> DataLoader:
    """Batches of collate(). batches: rows of each, or what says which rows. Workers are copies of a clean process that
    has only imported the script and this module: decord can deadlock in a copy of one that has used it."""
    workers = {}
    if num_workers:
        start_forkserver()
        workers = {"num_workers": num_workers, "multiprocessing_context": "forkserver", "timeout": LOADER_TIMEOUT}
    return DataLoader(
        dataset,
        **({"batch_size": batches} if isinstance(batches, int) else {"batch_sampler": batches}),
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        **workers,
    )


def start_forkserver() -> None:
    """Start the process that workers are copies of, once. Python 3.11's takes PYTHONPATH, but not sys.path, where this
    folder is: it would go on without this module, and each worker of each pass over the data would import torch
    anew."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    multiprocessing.get_context("forkserver").set_forkserver_preload(["__main__", __name__])
    multiprocessing.forkserver.ensure_running()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def checked(batch: dict) -> dict[str, Tensor]:
    """The batch. Raises the InputError of a clip in it."""
    if "error" in batch:
        raise InputError(batch["error"])
    return batch


def mixup(pixel_values: Tensor, labels: Tensor, alpha: float, num_labels: int) -> tuple[Tensor, Tensor]:
    """Zhang et al. 2018: clips (B, 3, T, H, W), or key points (B, 3, T, K), and one-hot labels (B, C), each mixed with
    the clip before it; from torch's generator."""
    video = tv_tensors.Video(pixel_values.view(*pixel_values.shape[:4], -1))  # which has five dimensions
    mixed, targets = v2.MixUp(alpha=alpha, num_classes=num_labels)(video, labels)
    return mixed.as_subclass(Tensor).view_as(pixel_values), targets


@torch.inference_mode()
def predict_clips(
    model: nn.Module,
    dataset: ClipDataset,
    accelerator: Accelerator,
    label_names: Sequence[str],
    batch_size: int,
    num_workers: int = 0,
) -> Logits:
    """Logarithm of the mean probability of each clip's views, of several labels its log odds, of a number the views'
    mean, (N, C), in the data set's order, on every process.

    label_names: what labels_of_config() gives, which knows the scale of a number. batch_size: views that the model sees
    at once; a video has num_clips * num_crops. The rows are dealt out to the
    processes in turn. Raises InputError for a clip that cannot be decoded, RuntimeError when a row comes back not
    exactly once.
    """
    # not at the top of the file, because it would take each start of the loader's workers seconds
    from common.inference import gather_rows

    model.eval()
    target = as_target(label_names)
    rows = np.arange(len(dataset))[accelerator.process_index :: accelerator.num_processes]
    videos = max(1, batch_size // (dataset.preprocessing.num_clips * dataset.num_crops))
    parts = [rows[start : start + videos] for start in range(0, len(rows), videos)]
    values: list[np.ndarray] = []
    for batch in make_loader(Subset(dataset, rows.tolist()), videos, num_workers):
        pixel_values = checked(batch)["pixel_values"]  # (videos, views, 3, T, S, S)
        with accelerator.autocast():
            views = pixel_values.flatten(0, 1).split(batch_size)
            logits = torch.cat([model(pixel_values=part.to(accelerator.device)).logits for part in views])
        of_views = target.to_logits(logits.double()).unflatten(0, pixel_values.shape[:2])  # (videos, views, C)
        if target.kind == SeveralLabels.kind:  # log(p / (1 - p)) of each label's mean probability
            mean = logsigmoid(of_views).logsumexp(dim=1) - logsigmoid(-of_views).logsumexp(dim=1)
        elif target.kind == Number.kind:
            mean = of_views.mean(dim=1)
        else:
            mean = of_views.log_softmax(dim=-1).logsumexp(dim=1) - np.log(pixel_values.shape[1])
        values.append(mean.float().cpu().numpy())
    ids = np.array([example.id for example in dataset.examples])
    labels = np.array([example.label for example in dataset.examples])
    return Logits(ids, gather_rows(parts, values, len(dataset), len(label_names)), labels, target)


def with_broken(logits: Logits, ids: Sequence[str]) -> Logits:
    """The rows of all ids, in their order: a clip that was skipped gets equal logits, which is to say nothing about
    it, or of a number the mean of the others."""
    decoded = set(logits.ids.tolist())
    missing = [row_id for row_id in ids if row_id not in decoded]
    target = logits.label_names
    nothing = logits.logits.mean() if target.kind == Number.kind else 0.0
    labels = np.array([target.unknown] * len(missing), dtype=logits.labels.dtype)
    whole = Logits(
        np.concatenate([logits.ids, np.array(missing, dtype=str)]),
        np.concatenate([logits.logits, np.full((len(missing), len(target)), nothing)]),
        np.concatenate([logits.labels, labels.reshape(len(missing), *logits.labels.shape[1:])]),
        target,
    )
    return whole.reorder(ids)
