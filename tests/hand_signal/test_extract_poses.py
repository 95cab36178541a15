"""hand_signal/extract_poses.py and pose_estimator.py over tiny ONNX models that are made here."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from common.console import InputError
from hand_signal.pose_estimator import Estimator, Tracker, layout_of, windows
from hand_signal.poses import read_pose, read_pose_files
from tests.tools.pose_models import (
    blob_frame,
    walk,
    write_free,
    write_heatmaps,
    write_landmarks,
    write_other,
    write_roots,
    write_simcc,
)
from tests.tools.scripts import ROOT, worker_of
from tests.tools.videos import write_clip

TASK = ROOT / "hand_signal"
SCRIPT = TASK / "extract_poses.py"
MODELS = {"simcc": write_simcc, "heatmaps": write_heatmaps, "landmarks": write_landmarks}
NEAR = {"simcc": 2.5, "heatmaps": 5, "landmarks": 2.5}  # pixels of a frame of 160 x 120

worker = worker_of(TASK)


@pytest.fixture
def clips(tmp_path):
    """clips/<class>/<clip>, two videos and a folder of images, with the places of their three points."""
    places = {"a/0.mp4": walk(), "a/1.mp4": walk(start=(90, 20), step=(-4, 3)), "b/2": walk(start=(20, 60))}
    for name, points in places.items():
        write_clip(tmp_path / "clips" / name, images=[blob_frame(frame) for frame in points])
    write_simcc(tmp_path / "simcc.onnx")
    return places


def extract(worker, folder, *argv):
    """(exit code, what stderr says last) of the script over clips/."""
    code, errors = worker.run(folder, SCRIPT, "clips", "--output_file", "poses.json", "--num_threads", "1", *argv)
    return code, (errors.strip().splitlines() or [""])[-1]


def poses_of(folder):
    return {
        clip: read_pose(content, where) for clip, (content, where) in read_pose_files(folder / "poses.json").items()
    }


@pytest.mark.parametrize("layout", MODELS)
def test_each_layout_finds_the_points_in_the_frames_own_pixels(layout, tmp_path):
    estimator = Estimator(str(MODELS[layout](tmp_path / "m.onnx")), num_threads=1)
    assert estimator.layout == layout and estimator.num_points == (33 if layout == "landmarks" else 3)
    tracker = Tracker(estimator)
    places = walk()
    tracker.choose(len(places))
    tracker(np.stack([blob_frame(frame) for frame in places]))
    found = np.stack(tracker.poses)[:, :3]
    assert np.abs(found[..., :2] - places).max() < NEAR[layout]
    assert (found[..., 2] > 0.6).all() and (found[..., 2] <= 1).all()


@pytest.mark.parametrize("layout", MODELS)
def test_frames_without_anybody_are_empty_and_who_jumps_away_is_found_in_the_whole_frame(layout, tmp_path):
    tracker = Tracker(Estimator(str(MODELS[layout](tmp_path / "m.onnx")), num_threads=1))
    places = [walk(1)[0], None, walk(1)[0], walk(1, start=(110, 70))[0]]
    tracker(np.stack([blob_frame(frame) for frame in places]))
    assert [pose is None for pose in tracker.poses] == [False, True, False, False]
    assert np.abs(tracker.poses[3][:3, :2] - places[3]).max() < NEAR[layout]


def test_a_person_who_is_small_in_the_frame_is_looked_at_closely(tmp_path):
    estimator = Estimator(str(write_simcc(tmp_path / "m.onnx")), num_threads=1)
    places = np.array([[150, 100], [168, 104], [156, 130]])
    frame = blob_frame(places, size=(320, 240))
    whole, _ = estimator.points(frame, (0, 0, 320, 240))
    tracker = Tracker(estimator)
    tracker(frame[None])
    errors = [np.abs(points[:, :2] - places).max() for points in (whole, tracker.poses[0])]
    assert errors[1] < 1.5 < errors[0]


def test_who_is_too_small_for_the_whole_frame_is_found_in_a_window_of_it(tmp_path):
    estimator = Estimator(str(write_heatmaps(tmp_path / "m.onnx")), num_threads=1)
    places = np.array([[250, 150], [268, 154], [256, 180]])
    frame = blob_frame(places, size=(320, 240))
    assert estimator.points(frame, (0, 0, 320, 240))[1] == 0
    tracker = Tracker(estimator)
    tracker(frame[None])
    assert np.abs(tracker.poses[0][:, :2] - places).max() < 5


def test_windows_are_looked_at_in_every_fifth_frame_at_most(tmp_path):
    tracker = Tracker(Estimator(str(write_heatmaps(tmp_path / "m.onnx")), num_threads=1))
    small = np.array([[250, 150], [268, 154], [256, 180]])
    elsewhere = np.array([[50, 60], [68, 64], [56, 90]])
    places = [None, *[small] * 7, *[elsewhere] * 3]
    tracker(np.stack([blob_frame(frame, size=(320, 240)) for frame in places]))
    assert [pose is None for pose in tracker.poses] == [True] * 5 + [False] * 3 + [True] * 2 + [False]
    assert np.abs(tracker.poses[5][:, :2] - small).max() < 5
    assert np.abs(tracker.poses[10][:, :2] - elsewhere).max() < 5


@pytest.mark.parametrize("size", [(320, 180), (90, 200), (48, 64), (50, 50)])
def test_the_windows_cover_the_frame_and_stay_in_it(size):
    width, height = size
    seen = np.zeros((height, width), bool)
    for x, y, w, h in windows(width, height, SimpleNamespace(width=48, height=64)):
        assert -1e-6 < x and x + w < width + 1e-6 and -1e-6 < y and y + h < height + 1e-6
        assert w / h == pytest.approx(48 / 64)
        seen[int(np.floor(y)) : int(np.ceil(y + h)), int(np.floor(x)) : int(np.ceil(x + w))] = True
    assert seen.all()


def test_a_decoder_that_begins_anew_begins_with_the_first_frame():
    tracker = Tracker(None)
    tracker.poses, tracker.box = [None, None], (0, 0, 1, 1)
    assert tracker.choose(5) == range(5) and tracker.poses == [] and tracker.box is None


@pytest.mark.parametrize(
    "shapes, layout",
    [
        ([(1, 17, 384), (1, 17, 512)], "simcc"),  # RTMPose-m, 192 x 256
        ([(1, 133, 384), (1, 133, 512)], "simcc"),
        ([(1, 17, 384), (1, 18, 512)], ""),
        ([(1, 17, 384), (1, 17, 384)], ""),
        ([(1, 17, 64, 48)], "heatmaps"),
        ([(1, 17, 48, 64)], ""),
        ([(1, 195), (1, 1), (1, 256, 256, 1), (1, 64, 64, 39), (1, 117)], "landmarks"),
        ([(1, 39, 5)], "landmarks"),
        ([(1, 1000)], ""),
        ([(1, 84, 8400)], ""),
    ],
)
def test_the_layout_is_told_by_the_shapes_alone(shapes, layout):
    assert layout_of(shapes, 192, 256) == layout


def test_the_file_is_what_pose_file_reads_and_every_frame_is_in_it(worker, clips, tmp_path):
    assert extract(worker, tmp_path, "--model", "simcc.onnx")[0] == 0
    poses = poses_of(tmp_path)
    assert set(poses) == set(clips)
    for clip, places in clips.items():
        assert poses[clip].size == (160, 120) and poses[clip].points.shape == (6, 3, 3)
        assert np.abs(poses[clip].points[..., :2] - places).max() < 4  # videos and JPEG lose a little


def test_clips_that_are_done_stay_and_a_clip_that_changed_is_done_again(worker, clips, tmp_path):
    assert extract(worker, tmp_path, "--model", "simcc.onnx")[0] == 0
    path = tmp_path / "poses.json"
    first = json.loads(path.read_text())
    marked = json.loads(path.read_text())
    for entry in marked.values():
        entry["2d_pos"][0][0] = 7.0
    del marked["a/1.mp4"]
    path.write_text(json.dumps(marked))
    write_clip(tmp_path / "clips" / "a" / "0.mp4", images=[blob_frame(frame) for frame in walk(9)])
    assert extract(worker, tmp_path, "--model", "simcc.onnx")[0] == 0
    assert "1 of 3 clips are done" in worker.printed
    again = json.loads(path.read_text())
    assert again["b/2"] == marked["b/2"] and again["a/1.mp4"] == first["a/1.mp4"]
    assert len(again["a/0.mp4"]["2d_pos"]) == 9 and again["a/0.mp4"]["2d_pos"][0] != marked["a/0.mp4"]["2d_pos"][0]


def test_a_clip_that_breaks_halfway_ends_it_in_a_sentence_and_keeps_what_is_done(worker, clips, tmp_path):
    broken = tmp_path / "clips" / "b" / "2" / "1.jpg"
    broken.write_bytes(broken.read_bytes()[:-400])  # neither the first, the middle nor the last frame
    code, error = extract(worker, tmp_path, "--model", "simcc.onnx")
    assert code == 2 and error.startswith("error: ") and "1.jpg" in error
    assert set(poses_of(tmp_path)) == {"a/0.mp4"}  # the clips' order is one of each class
    assert extract(worker, tmp_path, "--model", "simcc.onnx", "--skip_broken")[0] == 0
    assert "1 clips cannot be decoded" in worker.printed and "b/2" in worker.printed
    assert not poses_of(tmp_path)["b/2"].found.any()


def test_a_picture_shows_eight_frames_with_the_points_drawn(worker, clips, tmp_path):
    (tmp_path / "names.json").write_text(json.dumps({"names": ["r", "g", "b"], "parents": [None, "r", "r"]}))
    argv = ["--model", "simcc.onnx", "--picture_dir", "pictures", "--pose_names", "names.json"]
    assert extract(worker, tmp_path, *argv)[0] == 0
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in pictures] == ["a__0.mp4.jpg", "a__1.mp4.jpg", "b__2.jpg"]
    image = cv2.imread(str(pictures[0]))
    assert image.shape == (480, 1280, 3)
    (red, green), scale = clips["a/0.mp4"][0, :2], 2
    x, y = ((red + green) / 2 * scale).astype(int)
    assert image[y - 2 : y + 3, x - 2 : x + 3].max(axis=(0, 1))[1:].min() > 150  # a yellow bone in the first frame
    pictures[0].unlink()
    assert extract(worker, tmp_path, *argv)[0] == 0 and pictures[0].exists()


@pytest.mark.parametrize(
    "argv, fragments",
    [
        (["--model", "other.onnx"], ["other.onnx: gives (1, 1, 32, 32)", "RTMPose", "BlazePose"]),
        (["--model", "text.onnx"], ["text.onnx: cannot be loaded as ONNX"]),
        (["--model", "none.onnx"], ["none.onnx: no such file", "docs/key_points.md"]),
        (["--model", "free.onnx"], ["free.onnx: takes", "one float input of (1, 3, H, W)"]),
        (["--model", "simcc.onnx", "--picture_dir", "clips/pictures"], ["would be taken for clips"]),
        (["--model", "simcc.onnx", "--pose_names", "coco17"], ["17 names, the model gives 3 points"]),
        (["--model", "simcc.onnx", "--min_confidence", "2"], ["min_confidence: 2"]),
        (["--model", "simcc.onnx", "--output_file", "theirs.json"], ["was not written by this script"]),
        (["--model", "simcc.onnx", "--output_file", "clips"], ["clips: is a folder"]),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(argv, fragments, worker, clips, tmp_path):
    write_other(tmp_path / "other.onnx")
    write_free(tmp_path / "free.onnx")
    (tmp_path / "text.onnx").write_text("not ONNX")
    (tmp_path / "theirs.json").write_text(json.dumps({"a/0.mp4": {"size": [160, 120], "2d_pos": [[1, 2, 3, 4, 5, 6]]}}))
    code, error = extract(worker, tmp_path, *argv)
    assert code == 2 and error.startswith("error: "), error
    for fragment in fragments:
        assert fragment in error
    assert not (tmp_path / "poses.json").exists()


def test_another_models_points_are_not_mixed_in(worker, clips, tmp_path):
    assert extract(worker, tmp_path, "--model", "simcc.onnx")[0] == 0
    before = (tmp_path / "poses.json").read_bytes()
    write_heatmaps(tmp_path / "maps.onnx")
    code, error = extract(worker, tmp_path, "--model", "maps.onnx")
    assert code == 2 and "is of simcc.onnx" in error and "name another --output_file" in error
    assert (tmp_path / "poses.json").read_bytes() == before


def test_a_model_that_gives_no_numbers_is_refused(tmp_path):
    with pytest.raises(InputError, match="points that are no numbers"):
        Estimator(str(write_roots(tmp_path / "nan.onnx")))
