"""The drawn sample of reon_face/: people that stay the same, emotions that show, images that depend on seed and number
alone."""

import json
from collections import Counter

import cv2
import numpy as np
import pytest

from common.console import InputError
from common.tables import read_table
from reon_face import data
from reon_face.data import read_examples
from reon_face.faces import choose_face, load_detector
from reon_face.sample.draw import EMOTIONS, draw_contest, draw_face, draw_frame, draw_images, draw_video
from tests.tools.scripts import ROOT

SAMPLE = ROOT / "reon_face" / "sample"
ANY = {"label_names": None, "subject_pattern": None}
RECIPE = {"subjects": 2, "first_subject": 5, "images": 1, "seed": 3, "labelled": True, "size": 32}


def wanted(folder, **changes):
    folder.mkdir()
    recipe = {key: value for key, value in {**RECIPE, **changes}.items() if value is not None}
    (folder / "drawn.json").write_text(json.dumps(recipe))
    return folder


def test_images_are_drawn_once_and_are_the_same_everywhere(tmp_path):
    rows = read_examples(wanted(tmp_path / "train"), {**ANY, "subject_pattern": r"s(\d+)_"})
    assert rows.label_names == EMOTIONS and len(rows) == 14 and len({row.group for row in rows}) == 2
    assert cv2.imread(rows[0].path).shape == (32, 32, 3)
    before = {row.id: (tmp_path / "train" / row.id).stat().st_mtime_ns for row in rows}
    (tmp_path / "train" / "sad" / "s5_0.jpg").unlink()  # a start that was stopped goes on
    read_examples(tmp_path / "train", ANY)
    after = {row.id: (tmp_path / "train" / row.id).stat().st_mtime_ns for row in rows}
    assert {name for name in before if before[name] != after[name]} == {"sad/s5_0.jpg"}
    again = wanted(tmp_path / "again")
    read_examples(again, ANY)
    assert all((again / row.id).read_bytes() == (tmp_path / "train" / row.id).read_bytes() for row in rows)


def test_a_test_folder_has_no_labels_and_frames_have_the_size_asked_for(tmp_path):
    rows = read_examples(wanted(tmp_path / "test", labelled=False), {**ANY, "label_names": EMOTIONS})
    assert {row.label for row in rows} == {-1} and [row.id for row in rows] == [f"image_{k}.jpg" for k in range(14)]
    frames = wanted(tmp_path / "frames", size=None, height=48, width=80)
    read_examples(frames, ANY)
    assert cv2.imread(str(frames / "sad" / "s6_0.jpg")).shape == (48, 80, 3)


def test_where_there_is_no_sample_nothing_is_drawn_and_no_code_of_the_data_runs(tmp_path, monkeypatch):
    """As in a copied folder whose sample/ was removed."""
    (tmp_path / "draw.py").write_text("raise SystemExit('code beside the data has run')")
    folder = wanted(tmp_path / "train")
    monkeypatch.setattr(data, "DRAW", tmp_path / "sample" / "draw.py")
    with pytest.raises(InputError, match="holds no images"):
        read_examples(folder, ANY)
    assert [path.name for path in folder.iterdir()] == ["drawn.json"]


def test_a_persons_emotions_differ_more_than_a_persons_frames_without_one():
    neutral = [draw_face(4, emotion, 0.0, 64) for emotion in EMOTIONS]
    assert all(np.array_equal(neutral[0], face) for face in neutral)
    full = [draw_face(4, emotion, 1.0, 64).astype(int) for emotion in EMOTIONS]
    differences = [np.abs(a - b).max() for i, a in enumerate(full) for b in full[:i]]
    assert min(differences) > 40
    assert np.abs(draw_face(5, "neutral", 0.0, 64).astype(int) - neutral[0]).mean() > 10


def test_haar_finds_most_of_the_samples_faces_at_their_place():
    found, detector = Counter(), load_detector("haar")
    for subject in range(8):
        for emotion in EMOTIONS:
            frame = draw_frame(
                subject, emotion, 0.8, 144, 192, np.random.default_rng([subject, EMOTIONS.index(emotion)])
            )
            found[choose_face(detector(frame), 144, 192) is not None] += 1
    assert found[True] / found.total() > 0.7


def test_a_video_shows_one_face_whose_expression_comes_and_goes(tmp_path):
    draw_video(tmp_path / "actor.mp4", [("happy", 1.0), ("sad", 1.0)], 3, seconds=2, fps=8)
    video, frames = cv2.VideoCapture(str(tmp_path / "actor.mp4")), []
    while (read := video.read())[0]:
        frames.append(read[1])
    assert len(frames) == 16 and frames[0].shape == (240, 320, 3)
    detector = load_detector("haar")
    assert all(detector(frame) for frame in frames[::4])
    mouths = [frame[140:200].astype(int) for frame in frames]
    assert np.abs(mouths[4] - mouths[12]).mean() > 2 * np.abs(mouths[4] - mouths[5]).mean()
    with pytest.raises(InputError, match="cannot be written"):
        draw_video(tmp_path / "missing" / "actor.mp4", [("happy", 1.0)], 3)


def test_the_sample_submission_fits_the_test_folder():
    recipe = json.loads((SAMPLE / "test" / "drawn.json").read_text())
    header, *rows = (SAMPLE / "sample_submission.csv").read_text().splitlines()
    assert header.split(",") == ["Id", "Predicted", *EMOTIONS]
    assert [row.split(",")[0] for row in rows] == [
        f"image_{k}.jpg" for k in range(7 * recipe["subjects"] * recipe["images"])
    ]


def test_a_drawn_contest_has_its_images_and_the_same_ids_in_test_truth_and_every_sample(tmp_path):
    draw_contest(tmp_path, 12, 32)
    tables = {path.stem: read_table(path) for path in tmp_path.glob("*.csv")}
    assert {*tables} == {"train", "test", "truth", *(f"sample_{name}" for name in ("age", "stage", "mood", "seen"))}
    assert len(tables["train"]) == 9 and len(tables["test"]) == 3
    assert not {*tables["train"].column("path")} & {*tables["test"].column("path")}
    for name, table in tables.items():
        assert all((tmp_path / "images" / path).is_file() for path in table.column("path"))
        assert name == "train" or {*table.column("path")} == {*tables["test"].column("path")}
    for _, row in tables["train"].records():
        age = float(row["age"])
        assert 20 <= age <= 80 and ("grey" in json.loads(row["seen"])) == (age > 50)
        assert row["stage"] == ("young" if age < 40 else "middle-aged" if age < 60 else "old")


def test_hair_turns_white_and_the_rest_of_the_face_does_not():
    young, old = (draw_face(3, "neutral", 0.0, 96, grey=grey).astype(int) for grey in (0.0, 1.0))
    changed = np.abs(old - young).max(axis=2) > 20
    assert 0.02 < changed.mean() < 0.5
    assert (old[changed].sum(axis=1) > young[changed].sum(axis=1)).mean() > 0.95
    assert np.array_equal(draw_face(3, "neutral", 0.0, 96), young)


def test_the_sample_of_another_task_is_refused_by_name():
    folder = ROOT / "hand_signal" / "sample" / "train"
    with pytest.raises(InputError, match=r"drawn\.json: has no \w+; it is the sample of another task"):
        draw_images(folder)
