"""From key points to what a model reads: normalised, sampled in time, augmented, by (seed, epoch, row) alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common.console import InputError
from hand_signal.clips import make_preprocessing, mixup
from hand_signal.data import ClipExample, TaskArguments
from hand_signal.model import find_architecture
from hand_signal.pose_input import (
    PoseAugmentation,
    PoseDataset,
    PosePreprocessing,
    make_pose_preprocessing,
    normalised,
    sampled,
    short_part,
)
from hand_signal.poses import Pose, common_unit, unit_of
from tests.tools.poses import POINTS, person

PLAIN = PosePreprocessing(8, 0, 9, True, None, None, None, 1)
NAMED = replace(PLAIN, names=POINTS, pairs=[[1, 2], [3, 4], [5, 6], [7, 8]])
STILL = PoseAugmentation(0, 0, 0, 0, 0, 1, {})
WILD = PoseAugmentation(15, 0.2, 0.1, 0.03, 0.2, 0.6, {})


def pose(points):
    return Pose(np.asarray(points, dtype=np.float32), (320, 240), "f")


def rows_of(*kinds):
    return [
        ClipExample(str(i), Path(f"{i}.mp4"), label=kind, pose=pose(person(kind, i))) for i, kind in enumerate(kinds)
    ]


@pytest.mark.parametrize("preprocessing", [PLAIN, NAMED])
def test_where_and_how_large_somebody_stands_does_not_matter(preprocessing):
    points = person(0, 1)
    moved = points.copy()
    moved[..., :2] = 3.7 * points[..., :2] + [400, -90]
    assert np.allclose(normalised(pose(points), preprocessing), normalised(pose(moved), preprocessing), atol=1e-4)


@pytest.mark.parametrize(("unit", "size"), [("pixels", (640, 240)), ("shares", (640, 240)), (None, None)])
def test_shares_of_a_wide_frame_are_the_person_that_pixels_are(unit, size):
    pixels = person(0, 1, size=(640, 240)).astype(np.float32)
    shares = pixels / np.array([640, 240, 1], np.float32)
    beyond = shares.copy()
    beyond[:, 7:, 1] += 1.5  # hips that a model guesses below the picture
    assert [unit_of(Pose(points, (640, 240), "f")) for points in (pixels, shares, beyond)] == [
        "pixels",
        *["shares"] * 2,
    ]
    how = replace(PLAIN, unit=unit)
    one, other = (normalised(Pose(points, (640, 240), "f"), how) for points in (pixels, shares))
    assert np.allclose(one, other, atol=1e-4) == (unit is not None)
    if unit is None:
        assert unit_of(Pose(shares - 0.5, None, "f")) is None  # metres around somebody's hips, perhaps
        assert common_unit([Pose(shares, None, "f"), Pose(pixels, (640, 240), "f")]) == "shares"


@pytest.mark.parametrize("unit", ["pixels", "shares"])
def test_shares_and_pixels_need_the_size_of_the_frame_to_stand_beside_each_other(unit):
    points = person(0, 1).astype(np.float32)
    if unit == "pixels":
        points[..., :2] /= 320
    with pytest.raises(
        InputError, match=f"f: its key points are .*, other clips have {unit}; expected the frame's width"
    ):
        normalised(Pose(points, None, "f"), replace(PLAIN, unit=unit))


def test_with_names_the_torso_is_the_unit_and_its_middle_the_centre():
    points = normalised(pose(person(0, 1)), NAMED)
    torso = points[:, [1, 2, 7, 8], :2]
    assert np.abs(torso.mean((0, 1))).max() < 0.1 and np.linalg.norm(torso, axis=-1).mean() == pytest.approx(1, abs=0.1)


def test_confidence_is_the_third_number_0_where_missing_and_1_without_one():
    points = person(0, 1)
    points[3, 5] = np.nan
    values = normalised(pose(points), PLAIN)
    assert values[3, 5, 2] == 0 and values[4, 5, 2] == pytest.approx(points[4, 5, 2])
    assert np.allclose(values[3, 5, :2], values[2, 5, :2])
    assert set(np.unique(normalised(pose(points), replace(PLAIN, confidence=False))[..., 2])) == {0, 1}
    points[0, 0, 2] = 7
    with pytest.raises(InputError, match="7 is no confidence"):
        normalised(pose(points), PLAIN)


def test_a_clip_without_anybody_is_zeros_and_one_point_is_no_person():
    assert (normalised(pose(np.full((5, 9, 3), np.nan)), PLAIN) == 0).all()
    points = np.full((5, 9, 3), np.nan)
    points[:, 0] = [10, 20, 0.9]
    assert np.isfinite(normalised(pose(points), PLAIN)).all()


@pytest.mark.parametrize("points", [person(0, 1)[:, :1], np.full((12, 9, 3), 0.5)], ids=["one-point", "one-place"])
def test_clips_in_none_of_which_somebody_has_a_size_are_refused_and_one_such_clip_is_not(points):
    rows = [ClipExample(str(i), Path(f"{i}.mp4"), label=i, pose=pose(points)) for i in range(3)]
    with pytest.raises(InputError, match="f: here and in all other clips no key points are further apart than 0.001"):
        make_pose_preprocessing(TaskArguments(), find_architecture("pose_tcn"), rows)
    rows[1].pose = pose(person(0, 2))
    assert make_pose_preprocessing(TaskArguments(), find_architecture("pose_tcn"), rows).num_frames == 32


def test_moments_are_spread_over_the_clip_and_lie_between_frames():
    clip = np.zeros((4, 1, 3))
    clip[:, 0, 0] = range(4)
    clip[:, 0, 2] = [1, 1, 0, 1]
    values = sampled(clip, 8, 0)
    assert values[:, 0, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    assert values[:, 0, 2].tolist() == [1, 1, 1, 0, 0, 0, 0, 1]
    assert sampled(clip, 2, 0)[:, 0, 0].tolist() == [0.5, 2.5]


def test_the_samples_of_a_clip_differ_and_more_frames_than_moments_are_fine():
    points = normalised(pose(person(2, 1, frames=190)), PLAIN)
    views = [sampled(points, 8, 0, clip, 3) for clip in range(3)]
    assert not np.allclose(views[0], views[2]) and all(view.shape == (8, 9, 3) for view in views)
    windows = [sampled(points, 8, 4, clip, 2) for clip in range(2)]
    near = [points[1:3].mean(0), points[-3:-1].mean(0)]
    assert np.allclose(windows[0][0, :, :2], near[0][:, :2], atol=0.1)
    assert np.allclose(windows[1][-1, :, :2], near[1][:, :2], atol=0.1)


def test_items_depend_on_seed_epoch_and_row_alone():
    rows = rows_of(0, 1, 2)
    one, two = PoseDataset(rows, PLAIN, WILD, 5), PoseDataset(rows, PLAIN, WILD, 5)
    two[0]
    assert np.array_equal(one[1]["pixel_values"], two[1]["pixel_values"])
    two.set_epoch(1)
    assert not np.array_equal(one[1]["pixel_values"], two[1]["pixel_values"])
    assert one[1]["pixel_values"].shape == (3, 8, 9)
    assert PoseDataset(rows, replace(PLAIN, num_clips=2))[0]["pixel_values"].shape == (2, 3, 8, 9)


def test_without_augmentation_values_training_sees_what_prediction_sees():
    rows = rows_of(0)
    plain = PoseDataset(rows, PLAIN)[0]["pixel_values"][0]
    assert np.allclose(PoseDataset(rows, PLAIN, STILL)[0]["pixel_values"], plain, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model_name_or_path": "pose_tcn"}, "model_name_or_path: pose_tcn reads key points"),
        ({"model_name_or_path": "slow_small", "crop_to_person": True}, "crop_to_person reads key points"),
    ],
)
def test_clips_of_a_data_py_that_adds_no_key_points_are_one_sentence(options, said):
    args = TaskArguments(train_file="clips", **options)
    rows = [ClipExample("a/1.mp4", Path("1.mp4"))]
    with pytest.raises(InputError, match=f"{said}, .* clip a/1.mp4 none"):
        make_preprocessing(args, find_architecture(args.model_name_or_path), rows)


@pytest.mark.parametrize("option", ["flip_labels", "flip_pairs"])
def test_soft_labels_do_not_go_with_flips_whichever_name_these_have(option):
    args = TaskArguments(train_file="clips", model_name_or_path="pose_tcn", teacher=["run"], **{option: ["a:b"]})
    with pytest.raises(InputError, match=f"teacher: a soft label belongs to one row as it is.*{option}"):
        args.refuse_mixed("teacher")


def test_a_flip_exchanges_pairs_and_labels_and_only_of_named_labels():
    rows = rows_of(0, 1, 2)
    flips = PoseDataset(rows, NAMED, replace(STILL, flips={0: 1, 1: 0}), 0)
    plain = PoseDataset(rows, NAMED, STILL, 0)
    seen = set()
    for epoch in range(12):
        flips.set_epoch(epoch)
        item, was = flips[0], plain[0]["pixel_values"]
        seen.add(item["labels"])
        if item["labels"] == 1:
            assert np.allclose(item["pixel_values"][0, :, 6], -was[0, :, 5], atol=1e-5)
            assert np.allclose(item["pixel_values"][1, :, 6], was[1, :, 5], atol=1e-5)
        assert flips[2]["labels"] == 2 and np.allclose(flips[2]["pixel_values"], plain[2]["pixel_values"], atol=1e-5)
    assert seen == {0, 1}


def test_a_short_part_keeps_a_few_frames_and_says_that_the_others_are_missing():
    points = normalised(pose(person(2, 1)), PLAIN)
    for seed in range(10):
        part = short_part(points, np.random.default_rng(seed))
        kept = (part[..., 2] > 0).any(1)
        assert 1 <= kept.sum() <= 4 and np.array_equal(part[kept], points[kept])
        assert np.isin(part[~kept, :, 0], points[kept][..., 0]).all()


def test_augmented_points_that_the_clip_never_has_stay_in_the_middle():
    points = person(0, 1)
    points[:, 8] = np.nan
    rows = [ClipExample("a", Path("a"), label=0, pose=pose(points))]
    values = PoseDataset(rows, PLAIN, WILD)[0]["pixel_values"]
    assert (values[:, :, 8] == 0).all()


def test_mixup_mixes_key_points_as_it_does_frames():
    points = torch.randn(4, 3, 8, 9)
    before = points.clone()
    torch.manual_seed(0)
    mixed, targets = mixup(points, torch.tensor([0, 1, 0, 1]), 1.0, 2)
    torch.manual_seed(0)
    frames, same = mixup(before[..., None], torch.tensor([0, 1, 0, 1]), 1.0, 2)
    assert mixed.shape == points.shape and torch.equal(mixed, frames[..., 0]) and torch.equal(targets, same)
    assert targets.sum(dim=1).tolist() == pytest.approx([1.0] * 4) and 0 < targets.min() < 1
