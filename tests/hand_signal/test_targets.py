"""A copy of hand_signal/ whose data.py gives several labels a clip, a number or ordered classes trains, measures and
predicts them."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from common.files import read_json
from common.logits import Logits
from tests.tools.poses import write_json, write_posed_clips
from tests.tools.scripts import ROOT, Worker

# what the reader of docs/new_competition.md appends to the copy's data.py
SEVERAL = """
from common.targets import Number, SeveralLabels

LABEL_NAMES = SeveralLabels(["left", "right", "moves"])
OF_FOLDER = {"k0": ["left"], "k1": ["right"], "k2": ["left", "moves"]}
SUBMISSION = SubmissionFormat("Id", {"{label}": probability})
read_classes = read_examples


def read_examples(path, preprocessing):
    rows = read_classes(path, {**preprocessing, "label_names": None})
    for row in rows:
        row.label = LABEL_NAMES.encode(OF_FOLDER[row.path.parent.name], row.id)
    return Clips(rows, LABEL_NAMES)
"""
OPTIONS = ["--torch_num_threads", "1", "--disable_tqdm", "true", "--num_folds", "2", "--num_frames", "8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """my_videos/, the copy; clips/: 8 clips of each of three folders, test/: 2; poses.json: of both."""
    folder = tmp_path_factory.mktemp("several")
    ignored = shutil.ignore_patterns("data", "file_*", "__pycache__", "sample")
    shutil.copytree(ROOT / "hand_signal", folder / "my_videos", ignore=ignored)
    with open(folder / "my_videos" / "data.py", "a") as file:
        file.write(SEVERAL)
    entries = write_posed_clips(folder / "clips", [0, 1, 2], 8)
    entries |= write_posed_clips(folder / "test", [0, 1, 2], 2, start=50)
    write_json(folder / "poses.json", entries)
    return folder


@pytest.fixture(scope="module")
def worker():
    return Worker(Path("/"))


@pytest.fixture(scope="module")
def trained(folder, worker):
    argv = ["--config", "my_videos/configs/pose_tune.yaml", "--train_file", "clips", "--pose_file", "poses.json"]
    argv += ["--test_file", "test", "--num_train_epochs", "15", "--load_best_model_at_end", "true"]
    code, errors = worker.run(folder, folder / "my_videos" / "train.py", *argv, *OPTIONS, "--output_dir", "run")
    assert code == 0, errors
    return folder / "run"


def test_several_labels_are_learned_and_measured_as_such(trained):
    oof = Logits.load(trained / "oof_logits.npz")
    assert oof.label_names.kind == "several" and oof.labels.shape == (24, 3)
    right = (oof.logits > 0) == oof.labels
    assert right[:, :2].mean() > 0.8 and right.mean() > 0.8
    history = read_json(trained / "fold0" / "fold.json")["log_history"]
    assert {"eval_micro_f1", "eval_exact_match", "eval_log_loss"} <= set(history[-1])
    assert all(entry["eval_loss"] == entry["eval_log_loss"] for entry in history)
    assert 0.4 < history[0]["loss"] < 1.2  # nats of a decision, as eval_loss


def test_predict_gives_the_runs_own_bits_for_the_same_clips(trained, folder, worker):
    argv = ["--run_dir", "run", "--test_file", "test", "--pose_file", "poses.json", "--torch_num_threads", "1"]
    code, errors = worker.run(folder, folder / "my_videos" / "predict.py", *argv, "--submission_file", "p.csv")
    assert code == 0, errors
    again, before = Logits.load(folder / "p.logits.npz"), Logits.load(trained / "test_logits.npz")
    assert again.label_names.kind == "several" and np.allclose(again.logits, before.logits, atol=1e-5)
    assert (folder / "p.csv").read_text().splitlines()[0] == "Id,left,right,moves"


@pytest.mark.parametrize("argv", [["--mixup_alpha", "0.2"], ["--calibrate", "true"]])
def test_what_several_labels_cannot_have_is_one_sentence(argv, folder, worker, tmp_path):
    shutil.copytree(folder / "my_videos", tmp_path / "my_videos")
    files = ["--train_file", folder / "clips", "--pose_file", folder / "poses.json", *argv, *OPTIONS]
    config = ["--config", "my_videos/configs/pose_tune.yaml"]
    code, errors = worker.run(tmp_path, tmp_path / "my_videos" / "train.py", *config, *files, "--output_dir", "run")
    sentence = f"{argv[0][2:]}: is for clips of one of several classes, the target is of kind several"
    assert code == 2 and sentence in errors.strip().splitlines()[-1], errors
    assert not (tmp_path / "run").exists()


OTHERS = {
    "number": ('Number("speed")', "{'k0': -30.0, 'k1': 50.0, 'k2': 90.0}", 'SubmissionFormat("Id", {"speed": number})'),
    "ordered": (
        'Ordered(["a", "b", "c"])',
        "{'k0': 0, 'k1': 2, 'k2': 1}",
        'SubmissionFormat("Id", {"y": most_likely_label})',
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_number_and_ordered_classes_are_learned_written_in_their_units_and_predicted_again(
    kind, folder, worker, tmp_path
):
    target, label_of, submission = OTHERS[kind]
    shutil.copytree(folder / "my_videos", tmp_path / "my_videos")
    with open(tmp_path / "my_videos" / "data.py", "a") as file:
        file.write(f"""
from common.submission import number
from common.targets import Ordered

LABEL_NAMES = {target}
LABEL_OF = {label_of}
SUBMISSION = {submission}


def read_examples(path, preprocessing):
    rows = read_classes(path, {{**preprocessing, "label_names": None}})
    for row in rows:
        row.label = LABEL_OF[row.path.parent.name]
    return Clips(rows, LABEL_NAMES)
""")
    argv = [
        "--config",
        "my_videos/configs/pose_tune.yaml",
        "--train_file",
        folder / "clips",
        "--test_file",
        folder / "test",
    ]
    argv += ["--pose_file", folder / "poses.json", "--num_train_epochs", "15", *OPTIONS, "--output_dir", "run"]
    argv += ["--label_smoothing_factor", "0"]
    code, errors = worker.run(tmp_path, tmp_path / "my_videos" / "train.py", *argv)
    assert code == 0, errors
    oof = Logits.load(tmp_path / "run" / "oof_logits.npz")
    metrics = read_json(tmp_path / "run" / "metrics.json")["oof"]
    if kind == "number":
        assert set(oof.labels) == {-30.0, 50.0, 90.0} and metrics["rmse"] < 35  # always the mean: 49.9
    else:
        assert np.allclose(np.exp(oof.logits).sum(axis=1), 1, atol=1e-5)  # log probabilities
        assert metrics["accuracy"] > 0.8 and metrics["quadratic_kappa"] > 0.7
    predict = ["--run_dir", "run", "--test_file", folder / "test", "--pose_file", folder / "poses.json"]
    code, errors = worker.run(
        tmp_path,
        tmp_path / "my_videos" / "predict.py",
        *predict,
        "--torch_num_threads",
        "1",
        "--submission_file",
        "p.csv",
    )
    assert code == 0, errors
    again, before = Logits.load(tmp_path / "p.logits.npz"), Logits.load(tmp_path / "run" / "test_logits.npz")
    assert again.label_names.kind == kind
    assert np.allclose(again.logits, before.logits, atol=1e-3 if kind == "number" else 1e-5)
    assert {"number": "Numbers: oof", "ordered": "How many classes too high"}[kind] in (
        tmp_path / "run/report.md"
    ).read_text()
