"""The commands of friends/ on the bundled sample: a few launched as a user launches them, the others in one process.

One thread a process: with two, processes that share two busy cores wait for each other many times longer than they
compute.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModelForSequenceClassification, pipeline

from common.logits import Logits
from common.submission import check_submission
from tests.tools.scripts import ROOT, TORCHRUN, help_without_torch, launch, succeed, worker_of

TRAIN, PREDICT, SAMPLE = ROOT / "friends" / "train.py", ROOT / "friends" / "predict.py", ROOT / "friends" / "sample"
BIN = Path(sys.executable).parent
ONE_THREAD = ["--torch_num_threads", "1"]
QUIET = [*ONE_THREAD, "--disable_tqdm", "true"]
SHORT = [
    *QUIET,
    "--num_train_epochs",
    "2",
    "--save_strategy",
    "steps",
    "--save_steps",
    "5",
]  # 25 steps an epoch, three folds
EVERYTHING = [
    "--gradient_accumulation_steps", "2", "--tokens_per_batch", "512", "--ema_decay", "0.9", "--feature_oversample_ratio", "0.5",
]  # fmt: skip


worker = worker_of(ROOT / "friends")


@pytest.fixture(scope="module")
def train(worker):
    """Trains into run_dir, in the worker or with a starter as a user does, and returns run_dir."""

    def run(run_dir, *options, starter=None):
        argv = ["--output_dir", run_dir, *options]
        if starter is None:
            succeed(worker, run_dir.parent, "train.py", *argv)
        else:
            launch(*starter, TRAIN, *argv, cwd=run_dir.parent)
        return run_dir

    return run


@pytest.fixture(scope="module")
def predict(worker):
    """The logits that predict.py leaves beside a submission, in the worker or with a starter."""

    def run(submission, *options, starter=None):
        argv = ["--submission_file", submission, *ONE_THREAD, *options]
        if starter is None:
            succeed(worker, submission.parent, "predict.py", *argv)
        else:
            launch(*starter, PREDICT, *argv, cwd=submission.parent)
        return Logits.load(submission.with_suffix(".logits.npz"))

    return run


def read(run_dir, name):
    return json.loads((run_dir / name).read_text())


def assert_same_bits(run, other):
    for name in ("oof_logits.npz", "test_logits.npz"):
        a, b = Logits.load(run / name), Logits.load(other / name)
        assert a.ids.tolist() == b.ids.tolist()
        assert np.array_equal(a.labels, b.labels)
        assert np.array_equal(a.logits, b.logits), f"{name}: largest difference {np.abs(a.logits - b.logits).max()}"
    assert (run / "submission.csv").read_bytes() == (other / "submission.csv").read_bytes()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The README's first command, from another folder."""
    folder = tmp_path_factory.mktemp("demo")
    launch(BIN / "accelerate", "launch", TRAIN, *QUIET, cwd=folder)
    return folder / "runs" / "friends" / "demo"


@pytest.fixture(scope="module")
def short(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("short") / "run", *SHORT)


# The demo


def test_first_command_fills_the_default_run_folder(demo):
    files = {path.relative_to(demo).as_posix() for path in demo.rglob("*") if path.is_file()}
    expected = {
        "config.yaml", "run.json", "metrics.json", "oof_logits.npz", "test_logits.npz", "submission.csv", "report.md",
        *(f"fold{k}/{name}" for k in range(3) for name in ("config.json", "model.safetensors", "tokenizer.json", "fold.json", "README.md")),
    }  # fmt: skip
    assert expected <= files
    assert "eval_logits.npz" not in files
    assert not [path for path in demo.rglob("*") if path.name in ("checkpoints", "rows") or path.suffix == ".tmp"]
    record = read(demo, "run.json")
    assert (record["status"], record["threads"], record["num_processes"], record["starts"]) == ("done", 1, 1, 1)
    assert record["data"]["train_file"]["path"] == str(SAMPLE / "train.json")
    assert len(record["data"]["train_file"]["sha256"]) == 64
    assert [record["data"][key]["rows"] for key in ("train_file", "test_file")] == [586, 103]


def test_demo_learns_ten_points_more_than_the_majority(demo):
    metrics = read(demo, "metrics.json")
    oof = Logits.load(demo / "oof_logits.npz")
    accuracy = (oof.logits.argmax(1) == oof.labels).mean()
    assert metrics["oof"]["accuracy"] == pytest.approx(accuracy)
    assert accuracy >= np.bincount(oof.labels).max() / len(oof.labels) + 0.10
    assert len(metrics["folds"]) == 3 and metrics["train_samples_per_second"] > 0


def test_oof_has_every_training_row_in_the_files_order(demo):
    dialogues = json.loads((SAMPLE / "train.json").read_text())
    oof = Logits.load(demo / "oof_logits.npz")
    assert len(oof.ids) == len(set(oof.ids)) == sum(map(len, dialogues))
    assert [oof.label_names[label] for label in oof.labels] == [
        line["emotion"] for dialogue in dialogues for line in dialogue
    ]


def test_submission_passes_the_check_and_holds_the_argmax_of_the_logits(demo):
    check_submission(
        demo / "submission.csv",
        SAMPLE / "sample_submission.csv",
        label_names=Logits.load(demo / "test_logits.npz").label_names,
    )
    test = Logits.load(demo / "test_logits.npz")
    with open(demo / "submission.csv", newline="") as file:
        rows = {row["Id"]: next(value for key, value in row.items() if key != "Id") for row in csv.DictReader(file)}
    assert rows == {
        row_id: test.label_names[k] for row_id, k in zip(test.ids.tolist(), test.logits.argmax(1), strict=True)
    }


def test_every_picture_of_the_report_exists(demo):
    pictures = [part.split(")")[0] for part in (demo / "report.md").read_text().split("](")[1:]]
    pictures = [name for name in pictures if name.endswith(".png")]
    assert pictures and all((demo / name).stat().st_size > 0 for name in pictures)


def test_a_fold_folder_loads_with_the_auto_class_and_the_pipeline(demo):
    model, info = AutoModelForSequenceClassification.from_pretrained(demo / "fold0", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    names = Logits.load(demo / "test_logits.npz").label_names
    assert [model.config.id2label[k] for k in range(len(names))] == names
    (answer,) = pipeline("text-classification", model=str(demo / "fold0"), device=torch.device("cpu"))(
        ["Wow, what a car!"]
    )
    assert answer["label"] in names and 0 < answer["score"] <= 1


# Prediction


def test_predict_gives_the_runs_own_test_logits(predict, demo, tmp_path):
    (tmp_path / "s.metrics.json").write_text("{}")  # of a file with labels, predicted here before
    got = predict(tmp_path / "s.csv", "--run_dir", demo, "--test_file", SAMPLE / "test.csv")
    own = Logits.load(demo / "test_logits.npz")
    assert got.ids.tolist() == own.ids.tolist()
    assert np.abs(got.logits - own.logits).max() < 1e-5
    assert (tmp_path / "s.csv").read_bytes() == (demo / "submission.csv").read_bytes()
    assert not (tmp_path / "s.metrics.json").exists()


# runs the script that it is given, and writes how many processes predict together
COUNTED = """
import runpy, sys
from pathlib import Path
import common.inference
inner = common.inference.predict_logits
def counted(*args):
    if args[3].is_main_process:
        Path("processes.txt").write_text(str(args[3].num_processes))
    return inner(*args)
common.inference.predict_logits = counted
sys.argv = sys.argv[1:]
sys.path.insert(0, str(Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_predict_on_two_processes_gives_the_rows_and_logits_of_one(predict, demo, tmp_path):
    (tmp_path / "count.py").write_text(COUNTED)
    options = ["--run_dir", demo, "--test_file", SAMPLE / "test.csv", "--tokens_per_batch", "256"]
    got = predict(tmp_path / "s.csv", *options, starter=[*TORCHRUN, tmp_path / "count.py"])
    assert (tmp_path / "processes.txt").read_text() == "2"
    own = Logits.load(demo / "test_logits.npz")
    assert got.ids.tolist() == own.ids.tolist()
    assert np.abs(got.logits - own.logits).max() < 1e-5


def test_two_runs_are_averaged_by_their_weights(predict, demo, short, tmp_path):
    got = predict(
        tmp_path / "s.csv", "--run_dir", demo, short, "--weights", "3", "1", "--test_file", SAMPLE / "test.csv"
    )
    a, b = (Logits.load(run / "test_logits.npz").logits for run in (demo, short))
    assert np.abs(a - b).max() > 0.1
    assert np.abs(got.logits - (0.75 * a + 0.25 * b)).max() < 1e-5


def test_a_labelled_file_gives_metrics_and_max_predict_samples_its_first_rows(predict, demo, tmp_path):
    options = ["--sample_submission_file", SAMPLE / "sample_submission.csv", "--max_predict_samples", "40"]
    got = predict(tmp_path / "s.csv", "--run_dir", demo, "--test_file", SAMPLE / "train.json", *options)
    assert got.ids.tolist() == Logits.load(demo / "oof_logits.npz").ids[:40].tolist()
    metrics = read(tmp_path, "s.metrics.json")
    assert metrics["accuracy"] == pytest.approx((got.logits.argmax(1) == got.labels).mean())
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 41


# A run that is killed, taken apart or done again gives the same bits


def kill_at(checkpoint, run_dir, *options):
    """SIGKILL as soon as the run has begun to write `checkpoint`."""
    with open(run_dir.with_suffix(".log"), "w") as log:
        command = [str(part) for part in (sys.executable, TRAIN, "--output_dir", run_dir, *options)]
        process = subprocess.Popen(command, cwd=run_dir.parent, stdout=log, stderr=log, start_new_session=True)
        while not (run_dir / checkpoint).exists():
            assert process.poll() is None, run_dir.with_suffix(".log").read_text()[-3000:]
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


def test_killed_and_resumed_gives_the_bits_of_a_run_that_was_not(train, short, tmp_path):
    kill_at("fold1/checkpoints/checkpoint-35", tmp_path / "run", *SHORT)
    finished = (tmp_path / "run/fold0/model.safetensors").stat().st_mtime_ns
    assert read(tmp_path / "run", "run.json")["status"] == "running"
    train(tmp_path / "run", *SHORT, "--resume")
    assert (tmp_path / "run/fold0/model.safetensors").stat().st_mtime_ns == finished
    assert (read(tmp_path / "run", "run.json")["status"], read(tmp_path / "run", "run.json")["starts"]) == ("done", 2)
    assert_same_bits(short, tmp_path / "run")


@pytest.mark.slow
def test_killed_and_resumed_with_every_stateful_piece_on_gives_the_same_bits(train, tmp_path):
    whole = train(tmp_path / "whole", *SHORT, *EVERYTHING)
    steps = read(whole, "fold0/fold.json")["log_history"][-1]["step"]
    assert steps > 12
    kill_at("fold0/checkpoints/checkpoint-10", tmp_path / "run", *SHORT, *EVERYTHING)
    assert not (tmp_path / "run/fold0/fold.json").exists()
    train(tmp_path / "run", *SHORT, *EVERYTHING, "--resume")
    assert_same_bits(whole, tmp_path / "run")


@pytest.mark.slow
def test_folds_trained_alone_and_collected_are_the_run_of_all_folds(train, short, tmp_path):
    for fold in (1, 0, 2):
        train(tmp_path / "run", *SHORT, "--fold", fold)
        assert {path.name for path in (tmp_path / "run").iterdir()} <= {"fold0", "fold1", "fold2"}
    trained = [(tmp_path / f"run/fold{k}/model.safetensors").stat().st_mtime_ns for k in range(3)]
    train(tmp_path / "run", *SHORT, "--resume")
    assert trained == [(tmp_path / f"run/fold{k}/model.safetensors").stat().st_mtime_ns for k in range(3)]
    assert_same_bits(short, tmp_path / "run")


def test_a_fold_alone_refuses_a_training_file_that_has_changed_since_another_fold(worker, train, tmp_path):
    file = tmp_path / "train.json"
    dialogues = json.loads((SAMPLE / "train.json").read_text())
    file.write_text(json.dumps(dialogues))
    options = ["--train_file", file, *QUIET, "--num_train_epochs", "0.1"]
    train(tmp_path / "run", *options, "--fold", "0")
    dialogues[0][0]["utterance"] += " Really."
    file.write_text(json.dumps(dialogues))
    argv = ["--output_dir", tmp_path / "run", *options, "--fold", "1"]
    code, errors = worker.run(tmp_path, "train.py", *argv)
    assert code == 2
    assert errors.splitlines()[-1].startswith("error:") and "has changed" in errors
    assert not (tmp_path / "run/fold1").exists()
    dialogues[0][0]["utterance"] = dialogues[0][0]["utterance"].removesuffix(" Really.")
    file.unlink()
    (tmp_path / "elsewhere").mkdir()
    options[1] = tmp_path / "elsewhere/train.json"  # another machine has the same rows in another folder
    options[1].write_text(json.dumps(dialogues))
    train(tmp_path / "run", *options, "--fold", "1")
    assert (tmp_path / "run/fold1/fold.json").exists()


@pytest.mark.slow
def test_a_runs_config_passed_back_gives_the_same_bits(train, short, tmp_path):
    train(tmp_path / "again", "--config", short / "config.yaml")
    assert_same_bits(short, tmp_path / "again")
    assert yaml.safe_load((short / "config.yaml").read_text()) == yaml.safe_load(
        (tmp_path / "again/config.yaml").read_text()
    )


def test_a_copied_folder_trains_on_its_own_sample(worker, tmp_path):
    contest = tmp_path / "my_contest"
    shutil.copytree(ROOT / "friends", contest, ignore=shutil.ignore_patterns("data", "__pycache__"))
    options = [*QUIET, "--num_train_epochs", "1", "--num_folds", "2", "--adversarial_validation"]
    succeed(worker, tmp_path, contest / "train.py", *options)
    run = tmp_path / "runs/my_contest/demo"
    assert read(run, "run.json")["data"]["train_file"]["path"] == str(tmp_path / "my_contest/sample/train.json")
    assert (run / "submission.csv").exists()
    assert "adversarial validation: AUC" in (run / "report.md").read_text()


# Two processes


@pytest.mark.slow
def test_two_processes_train_together_and_leave_every_row_once(train, short, tmp_path):
    options = [*QUIET, "--num_train_epochs", "1", "--per_device_train_batch_size", "8"]
    run = train(tmp_path / "run", *options, starter=TORCHRUN)
    assert read(run, "run.json")["num_processes"] == 2
    for name in ("oof_logits.npz", "test_logits.npz"):
        assert Logits.load(run / name).ids.tolist() == Logits.load(short / name).ids.tolist()
    # the same effective batch as one process at 16 rows: as many steps, not twice as many
    steps = [read(folder, "fold0/fold.json")["log_history"][-1]["step"] for folder in (run, short)]
    assert steps[0] * 2 == steps[1]


# Help


@pytest.mark.parametrize("script", [TRAIN, PREDICT])
def test_help_answers_within_two_seconds_and_without_torch(script, tmp_path):
    before = os.times().children_user
    output = launch(sys.executable, script, "--help", cwd=tmp_path)
    assert os.times().children_user - before < 2
    assert ("--num_folds" in output) == (script == TRAIN) and ("--run_dir" in output) == (script == PREDICT)
    help_without_torch(script, tmp_path)


@pytest.mark.slow
def test_help_all_lists_the_fields_of_training_arguments(tmp_path):
    output = launch(sys.executable, TRAIN, "--help_all", cwd=tmp_path)
    assert "--learning_rate" in output and "--num_folds" in output
