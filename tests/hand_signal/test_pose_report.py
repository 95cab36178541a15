"""What the report's pictures of key points show."""

from pathlib import Path

import numpy as np

from hand_signal.data import ClipExample
from hand_signal.pose_report import MOMENTS, mean_pose, plot_poses, rows_of
from tests.tools.poses import BODY, PARENTS


def bodies(scale):
    """Clips (2, M, 9, 3) of the test's person, and of one `scale` times as large."""
    points = np.stack([np.tile(BODY * size, (MOMENTS, 1, 1)) for size in (1, scale)])
    return np.concatenate([points, np.ones((*points.shape[:3], 1))], axis=-1)


def test_a_panel_shows_every_mean_pose_whole_and_fills_with_the_largest():
    for scale in (2, 9):
        figure = plot_poses(bodies(scale), np.array([0, 1]), ["a", "b"], PARENTS)
        assert len(figure.axes) == 2 * MOMENTS
        for axes in figure.axes:
            left, right = axes.get_xlim()
            bottom, top = axes.get_ylim()
            assert bottom > top  # y downwards
            low, high = (BODY * scale).min(0), (BODY * scale).max(0)
            assert left < low[0] and right > high[0] and top < low[1] and bottom > high[1]
            assert right - left < 1.3 * (high - low).max()


def test_a_mean_pose_counts_confidence_and_has_no_point_that_nobody_has():
    clips = bodies(3)
    clips[1, :, :, 2] = 0.5
    clips[:, :, 4, 2] = 0
    mean = mean_pose(clips)
    others = np.arange(9) != 4
    assert np.allclose(mean[:, others], BODY[others] * (1 + 0.5 * 3) / 1.5)
    assert np.isnan(mean[:, 4]).all()


def test_a_class_without_clips_has_empty_panels():
    figure = plot_poses(bodies(2), np.array([0, 0]), ["a", "b"], None)
    assert [len(axes.lines) for axes in figure.axes] == [1] * MOMENTS + [0] * MOMENTS


def test_clips_of_the_same_name_in_both_files_are_those_that_were_measured():
    train, other = ({name: [ClipExample("k/1.mp4", Path(name))]} for name in ("train", "eval"))
    assert rows_of("oof", train | other, ["k/1.mp4"])[0].path.name == "train"
    assert rows_of("eval", train | other, ["k/1.mp4"])[0].path.name == "eval"
    assert rows_of("eval", train, ["k/1.mp4"])[0].path.name == "train"  # a tenth of it was held back
