"""The drawn sample of hand_signal/: two signals that only the order of frames tells apart, clips that depend on seed
and number alone."""

import json
from collections import Counter

import numpy as np
import pytest

from common.console import InputError
from common.logits import Logits
from common.tables import read_table
from hand_signal import data
from hand_signal.decode import read_frames
from hand_signal.sample.draw import draw_clip, draw_contest, draw_sample, hands, order_clips
from tests.tools.scripts import ROOT, TORCHRUN, Worker, launch

TASK = ROOT / "hand_signal"
SAMPLE = TASK / "sample"
RECIPE = {"clips_per_signal": 1, "first_number": 5, "seed": 3, "labelled": True}


def recipe(folder, **changes):
    """A folder in which clips are to be drawn."""
    folder.mkdir()
    (folder / "drawn.json").write_text(json.dumps({**RECIPE, **changes}))
    return folder


def read(folder):
    return data.read_examples(folder, {"label_names": None, "group_by_number": 1})


def test_clips_are_drawn_once_into_the_competitions_layout_and_are_the_same_everywhere(tmp_path):
    rows = read(recipe(tmp_path / "train"))
    assert [row.path.name for row in rows] == [f"file_{n}.mp4" for n in range(5, 13)]
    assert Counter(row.label for row in rows) == {0: 2, 1: 1, 2: 1, 3: 1, 4: 2, 5: 1} and len(rows.label_names) == 6
    for row in rows:
        frames = read_frames(row.path, range)
        x1, y1, x2, y2 = row.box
        assert frames.shape == (24, 96, 96, 3) and 0 <= x1 < x2 <= 96 and 0 <= y1 < y2 <= 96
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "train").iterdir()}
    (tmp_path / "train" / "file_6.json").unlink()  # a start that was stopped goes on
    assert len(read(tmp_path / "train")) == 8
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "train").iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"file_6.mp4", "file_6.json"}
    for row, again in zip(rows, read(recipe(tmp_path / "again")), strict=True):
        assert again.path.read_bytes() == row.path.read_bytes()


def test_a_test_folder_has_no_labels_and_other_officers(tmp_path):
    train, test = read(recipe(tmp_path / "train")), read(recipe(tmp_path / "test", labelled=False, seed=4))
    assert {row.label for row in test} == {-1}
    frames = [{read_frames(row.path, range).tobytes() for row in rows} for rows in (train, test)]
    assert len(frames[0] | frames[1]) == 16


def test_a_folder_that_asks_for_nothing_and_a_copy_of_the_recipe_without_sample_draw_nothing(tmp_path, monkeypatch):
    (tmp_path / "plain").mkdir()
    folder = recipe(tmp_path / "train")
    code = "raise SystemExit('code from beside the data ran')"
    for script in (tmp_path / "draw.py", folder / "draw.py"):
        script.write_text(code)
    monkeypatch.setattr(data, "__file__", str(tmp_path / "my_contest" / "data.py"))
    for path in (tmp_path / "plain", folder):
        with pytest.raises(InputError, match="holds no clips"):
            read(path)
    assert sorted(path.name for path in folder.iterdir()) == ["draw.py", "drawn.json"]


@pytest.mark.slow
def test_of_two_processes_one_draws_and_the_other_waits(tmp_path):
    folder = recipe(tmp_path / "train")
    (tmp_path / "look.py").write_text(f"""
import os, sys
sys.path.insert(0, {str(TASK)!r})
from accelerate import PartialState
from data import read_examples
PartialState(cpu=True)
rows = read_examples({str(folder)!r}, {{"label_names": None, "group_by_number": 1}})
print("process", os.environ["RANK"], "read", len(rows))
PartialState().destroy_process_group()
""")
    output = launch(*TORCHRUN, "look.py", cwd=tmp_path)
    assert "process 0 read 8" in output and "process 1 read 8" in output
    assert output.count("drawing 8 clips") == 1
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_left_to_right_is_right_to_left_backwards_and_the_two_stand_beside_each_other():
    forwards, backwards = (draw_clip(signal, np.random.default_rng(0))[0] for signal in (0, 4))
    assert np.array_equal(forwards, backwards[::-1]) and not np.array_equal(forwards, backwards)
    clips = order_clips(3, 0)
    for first, second in zip(clips[::2], clips[1::2], strict=True):
        assert (first[0] in (0, 4)) == (second[0] in (0, 4))
        assert first[0] not in (0, 4) or {first[0], second[0]} == {0, 4} and first[1] == second[1]


def test_every_two_signals_but_those_differ_in_where_the_hands_are():
    places = [
        np.array([np.ravel(hands(signal, phase)) for phase in np.linspace(0, 1, 20)]).mean(axis=0)
        for signal in range(6)
    ]
    for a in range(6):
        for b in range(a):
            assert (np.abs(places[a] - places[b]).max() < 1e-6) == ({a, b} == {0, 4})


def test_the_sample_submission_has_the_ids_of_the_test_clips():
    asked = json.loads((SAMPLE / "test" / "drawn.json").read_text())
    numbers = [asked["first_number"] + n for n in range(8 * asked["clips_per_signal"])]
    header, *rows = (SAMPLE / "sample_submission.csv").read_text().splitlines()
    assert header == "file_path," + ",".join(f"Label_{k}" for k in range(6))
    assert [row.split(",")[0] for row in rows] == [f"./test\\file_{n}" for n in numbers]


@pytest.mark.slow
def test_frames_without_their_order_cannot_tell_left_from_right_and_slowfast_can(tmp_path):
    worker = Worker(TASK)
    accuracies = {}
    for name, options in {
        "slowfast": [],
        "frames": ["--model_name_or_path", "timm/test_efficientnet", "--num_frames", "8"],
    }.items():
        demo = ["--config", TASK / "configs/demo.yaml", "--output_dir", name, "--disable_tqdm", "true"]
        demo += ["--num_train_epochs", "40"]
        code, errors = worker.run(tmp_path, "train.py", *demo, *options)
        assert code == 0, errors
        oof = Logits.load(tmp_path / name / "oof_logits.npz")
        moving = np.isin(oof.labels, (0, 4))
        accuracies[name] = ((oof.logits[moving, 4] > oof.logits[moving, 0]) == (oof.labels[moving] == 4)).mean()
    assert accuracies["frames"] <= 0.6 and accuracies["slowfast"] >= 0.9, accuracies


def test_a_drawn_contest_has_its_clips_and_the_same_ids_in_test_truth_and_every_sample(tmp_path):
    draw_contest(tmp_path, 8)
    tables = {path.stem: read_table(path) for path in tmp_path.glob("*.csv")}
    assert {*tables} == {
        "train",
        "test",
        "truth",
        *(f"sample_{name}" for name in ("height", "build", "signal", "hands")),
    }
    assert len(tables["train"]) == 6 and len(tables["test"]) == 2
    for name, table in tables.items():
        assert all((tmp_path / "clips" / clip).is_file() for clip in table.column("clip"))
        assert name == "train" or {*table.column("clip")} == {*tables["test"].column("clip")}
    for _, row in tables["train"].records():
        height = float(row["height"])
        assert row["build"] == ("small" if height <= 66 else "medium" if height <= 75 else "tall")
        assert ("sweep" in row["hands"].split(";")) == (row["signal"] == "go")


def test_the_sample_of_another_task_is_refused_by_name():
    folder = ROOT / "reon_face" / "sample" / "train"
    with pytest.raises(InputError, match=r"drawn\.json: has no \w+; it is the sample of another task"):
        draw_sample(folder)
