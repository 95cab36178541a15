"""From key points to what a pose model reads: filled in, normalised by the person, sampled in time, augmented.

dataset = PoseDataset(rows, preprocessing)
dataset[0]["pixel_values"]      # (views, 3, T, K): x, y, confidence

The name pixel_values is that of the models of frames, so that one loop trains both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from common.console import InputError, print_once

from pose_layouts import read_layout, swapped_pairs
from poses import Pose, common_unit, in_unit, nearest_filled

if TYPE_CHECKING:
    from clip_folders import ClipExample
    from model import Architecture

CONFIDENT = 0.3  # points below it do not say where the person is, or how large
SMALLEST = 1e-3  # of a person's size, in the unit of the points
TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


@dataclass(frozen=True)
class PosePreprocessing:
    """How key points become pixel_values; travels with the weights in config.json.

    num_points: K. frame_stride: 0: spread over the whole clip. confidence: whether the third number is one, from 0 to
    1; else it is not read, and the channel says which points were found. names, parents, pairs: of Layout, None where
    unknown. num_clips: samples of a clip that a prediction averages. num_crops: 1. unit: pixels or shares of the frame,
    what places are read in; None: as they are (a run from before there was this).
    """

    num_frames: int
    frame_stride: int
    num_points: int
    confidence: bool
    names: list[str] | None
    parents: list[int] | None
    pairs: list[list[int]] | None
    num_clips: int
    num_crops: int = 1
    upscale: str = "none"  # as of the models of frames, which predict.py looks at
    unit: str | None = None

    def dataset(
        self, examples: Sequence["ClipExample"], cache_dir: None = None, augmentation: Any = None, seed: int = 0
    ) -> "PoseDataset":
        """The clips as the model sees them; nothing is decoded, so there is no cache."""
        return PoseDataset(examples, self, augmentation, seed)

    def augmentation(self, args: Any, label_names: Sequence[str], flip_map: list[int] | None) -> "PoseAugmentation":
        """What train.py's args say. Raises InputError for flips without names of left and right points."""
        flips: dict[int, int] = {}
        if flip_map is not None:
            if not self.pairs:
                raise InputError("flip_labels: needs names of the points with left_ and right_, give --pose_names")
            named = {name for pair in args.flip_pairs for name in pair.split(":")}
            flips = {i: flip_map[i] for i, name in enumerate(label_names) if name in named}
        shape = args.pose_rotation, args.pose_scale, args.pose_shear
        return PoseAugmentation(*shape, args.pose_noise, args.pose_drop, args.pose_min_time, flips)


@dataclass(frozen=True)
class PoseAugmentation:
    """What training changes at random, the same in all frames of a clip but for noise and dropped points.

    rotation: largest angle in degrees. scale, shear: largest change. noise: standard deviation, in sizes of the person.
    drop: share of the points that are dropped, and of clips of which only a short part stays. min_time: smallest share
    of the clip that is seen, as a random window, which also changes its speed. flips: label -> label of the mirror
    image; only these clips are flipped.
    """

    rotation: float
    scale: float
    shear: float
    noise: float
    drop: float
    min_time: float
    flips: dict[int, int]


def make_pose_preprocessing(
    args: Any, architecture: "Architecture", rows: Sequence["ClipExample"]
) -> PosePreprocessing:
    """What train.py's args say, else what the architecture wants. rows: of the training folder. Prints a warning where
    two points look like a pair in the wrong order. Raises InputError where no clip says how large somebody is."""
    num_points = rows[0].pose.points.shape[1]
    if all(person(row.pose.points[..., :2], row.pose.found, None)[1] is None for row in rows):
        what = f"here and in all other clips no key points are further apart than {SMALLEST:g}"
        raise InputError(f"{rows[0].pose.source}: {what}, expected a person")
    layout = None if args.pose_names is None else read_layout(args.pose_names)
    if layout is not None:
        for pair in swapped_pairs([row.pose.points for row in rows], layout):
            print_once(f"warning: {pair} look exchanged, beside the other pairs of {args.pose_names}")
    third = np.concatenate([row.pose.points[..., 2].ravel() for row in rows])
    third = third[np.isfinite(third)]
    confidence = bool(third.size and third.min() >= 0 and third.max() <= 1)
    if third.size and not confidence:
        print_once(f"key points: the third number goes from {third.min():g} to {third.max():g} and is not read")
    return PosePreprocessing(
        num_frames=args.num_frames or architecture.num_frames,
        frame_stride=architecture.frame_stride if args.frame_stride is None else args.frame_stride,
        num_points=num_points,
        confidence=confidence,
        names=layout and layout.names,
        parents=layout and layout.parents,
        pairs=layout and [list(pair) for pair in layout.pairs],
        num_clips=args.num_clips,
        unit=common_unit([row.pose for row in rows]),
    )


class PoseDataset(Dataset):
    """pixel_values of clips: (3, T, K) with a PoseAugmentation, else (views, 3, T, K).

    Random choices come from (seed, epoch, row) alone, as of clips.ClipDataset, whose place it takes. The points are
    filled and normalised once.
    """

    num_crops = 1

    def __init__(
        self,
        examples: Sequence["ClipExample"],
        preprocessing: PosePreprocessing,
        augmentation: PoseAugmentation | None = None,
        seed: int = 0,
    ):
        self.examples = list(examples)
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = 0
        self.clips = [normalised(example.pose, preprocessing) for example in self.examples]

    def __len__(self) -> int:
        return len(self.examples)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, row: int) -> dict[str, Any]:
        points = self.clips[row]
        label = self.examples[row].label
        p = self.preprocessing
        if self.augmentation is None:
            views = [sampled(points, p.num_frames, p.frame_stride, clip, p.num_clips) for clip in range(p.num_clips)]
            values = np.stack([channels(view) for view in views])
        else:
            random = np.random.default_rng([self.seed, self.epoch, row])
            points, label = augmented(points, label, p, self.augmentation, random)
            values = channels(points)
        return {"pixel_values": torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)), "labels": label}


def channels(points: np.ndarray) -> np.ndarray:
    """(T, K, 3) -> (3, T, K)."""
    return points.transpose(2, 0, 1)


def normalised(pose: Pose, preprocessing: PosePreprocessing) -> np.ndarray:
    """(F, K, 3) of x, y and confidence: filled from the nearest frames, in units of the person, from its centre.

    Confidence is 0 where a point was not found. Raises InputError where a third number was to be a confidence and is
    none, and as in_unit() does.
    """
    found = pose.found
    places = in_unit(pose, preprocessing.unit)
    third = pose.points[..., 2]
    if preprocessing.confidence and (bad := np.isfinite(third) & ((third < 0) | (third > 1))).any():
        value = third[bad][0]
        raise InputError(f"{pose.source}: {value:g} is no confidence, the training clips have 0 to 1 there")
    score = np.where(np.isfinite(third), third, 1.0) if preprocessing.confidence else np.ones_like(third)
    score = np.where(found, score, 0.0).astype(np.float32)
    xy = nearest_filled(places, found)
    ever = found.any(axis=0)
    centre, size = person(places, found & (score >= CONFIDENT), preprocessing.names)
    if size is None:
        centre, size = person(places, found, None)
    if size is None:  # nobody
        return np.zeros((*xy.shape[:2], 3), np.float32)
    xy = (xy - centre) / size
    xy[:, ~ever] = 0
    return np.concatenate([xy, score[..., None]], axis=-1).astype(np.float32)


def person(xy: np.ndarray, use: np.ndarray, names: list[str] | None) -> tuple[np.ndarray | None, float | None]:
    """Centre (2,) and size of a person over a clip; None where too few points are to be used.

    xy: (F, K, 2), use: (F, K) bool. With the names of shoulders and hips: the middle of the four, and how far they are
    from it. Else the median of all points, and their distance from it (root mean square). Medians over frames, because
    a frame in which somebody else was found would move a mean.
    """
    if names is not None and set(TORSO) <= set(names):
        torso = [names.index(name) for name in TORSO]
        whole = use[:, torso].all(axis=1)
        if whole.sum() >= 1:
            corners = xy[whole][:, torso]
            centre = np.median(corners.mean(axis=1), axis=0)
            size = float(np.median(np.linalg.norm(corners - corners.mean(axis=1, keepdims=True), axis=-1)))
            if size > SMALLEST:
                return centre, size
    points = np.where(use[..., None], xy, np.nan)[:, use.any(axis=0)]
    if points.shape[1] < 2:
        return None, None
    typical = np.nanmedian(points, axis=0)  # (K', 2): each point's usual place, so that points count alike
    centre = np.median(typical, axis=0)
    size = float(np.sqrt(np.square(typical - centre).sum(axis=-1).mean()))
    return (centre, size) if size > SMALLEST else (None, None)


def sampled(
    points: np.ndarray,
    num_frames: int,
    frame_stride: int,
    clip: int = 0,
    num_clips: int = 1,
    window: tuple[float, float] | None = None,
) -> np.ndarray:
    """(num_frames, K, 3) of a clip (F, K, 3): evenly spaced moments, in between linear.

    As of frames.choose_frames(): a window of num_frames * frame_stride frames, or the whole clip, cut into equal parts
    with a moment in each; the num_clips samples differ in their window, or in the moment. window: start and length as
    shares of the clip, in place of these. Confidence is that of the less confident neighbour.
    """
    total = len(points)
    length = min(total, num_frames * frame_stride) if frame_stride else total
    if window is not None:
        start, length = window[0] * total, max(1.0, window[1] * min(length, total))
        inside = 0.5
    else:
        start = (total - length) * (0.5 if num_clips == 1 else clip / (num_clips - 1))
        inside = 0.5 if length < total else (clip + 0.5) / num_clips
    at = (start + (np.arange(num_frames) + inside) * length / num_frames - 0.5).clip(0, total - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, total - 1)
    share = (at - low)[:, None, None].astype(np.float32)
    result = (1 - share) * points[low] + share * points[high]
    result[..., 2] = np.where(
        share[..., 0] == 0, points[low][..., 2], np.minimum(points[low][..., 2], points[high][..., 2])
    )
    return result


def augmented(
    points: np.ndarray, label: int, p: PosePreprocessing, a: PoseAugmentation, random: np.random.Generator
) -> tuple[np.ndarray, int]:
    """A training sample (T, K, 3) of a clip (F, K, 3), and its label."""
    points = points.copy()
    if random.random() < a.drop:
        points = short_part(points, random)
    share = random.uniform(a.min_time, 1.0)
    length = share * (min(1.0, p.num_frames * p.frame_stride / len(points)) if p.frame_stride else 1.0)
    points = sampled(points, p.num_frames, 0, window=(random.uniform(0, 1 - length), length))
    xy = points[..., :2]
    angle = np.deg2rad(random.uniform(-a.rotation, a.rotation))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.array([[1, random.uniform(-a.shear, a.shear)], [random.uniform(-a.shear, a.shear), 1]])
    scale = np.diag(random.uniform(1 - a.scale, 1 + a.scale) * random.uniform(1 - a.scale / 2, 1 + a.scale / 2, 2))
    known = (xy != 0).any(axis=(0, 2))[:, None]  # a point that the clip never has stays in the middle
    moved = xy @ (turn @ shear @ scale).T + random.normal(0, a.scale / 2, 2)
    points[..., :2] = np.where(known, moved + random.normal(0, a.noise, xy.shape), 0)
    if a.drop > 0:  # whole points, as a hidden hand is missing in the whole clip, and single ones
        gone = random.random(points.shape[1]) < a.drop / 2
        points[:, gone] = 0
        single = random.random(points.shape[:2]) < a.drop / 2
        points[..., 2][single] = 0
    if label in a.flips and random.random() < 0.5:
        label = a.flips[label]
        points[..., 0] *= -1
        order = np.arange(points.shape[1])
        for left, right in p.pairs:
            order[[left, right]] = right, left
        points = points[:, order]
    return points, label


def short_part(points: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The clip as if somebody had been found in a few frames of it only: the nearest of these stand in elsewhere. So a
    model learns how little such a clip says."""
    total = len(points)
    keep = random.integers(1, max(2, total // 3 + 1))
    start = random.integers(0, total - keep + 1)
    there = np.zeros(total, dtype=bool)
    there[start : start + keep] = True
    nearest = np.arange(total).clip(start, start + keep - 1)
    part = points[nearest]
    part[~there, :, 2] = 0
    return part
