"""Real folds beside each other end with the bits of folds one after the other, whatever is killed on the way."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from common.guards.lock import start_of
from tests.tools.scripts import ENVIRONMENT, ROOT, launch, succeed, worker_of

SHORT = ["--max_train_samples", "60", "--max_predict_samples", "5", "--disable_tqdm", "true"]
WEIGHTS = [f"fold{fold}/model.safetensors" for fold in range(3)]


worker = worker_of(ROOT / "nsmc")


@pytest.fixture(scope="module")
def options():
    """Of a train.py: the bundled sample, a few rows, one thread."""
    return ["--config", str(ROOT / "nsmc" / "configs" / "demo.yaml"), "--torch_num_threads", "1", *SHORT]


def assert_same(run, other):
    for name in [*WEIGHTS, "submission.csv"]:
        assert (run / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.slow
def test_folds_beside_each_other_have_the_bits_of_folds_one_after_the_other_with_the_same_threads(
    worker, options, tmp_path
):
    options = [*options, "--num_train_epochs", "1"]
    succeed(worker, tmp_path, "train.py", *options, "--output_dir", "beside", "--fold_workers", "2")
    printed = worker.printed
    succeed(worker, tmp_path, "train.py", *options, "--output_dir", "after", "--fold_workers", "1")
    beside = tmp_path / "beside"
    assert_same(beside, tmp_path / "after")
    record = json.loads((beside / "run.json").read_text())
    assert (record["status"], record["fold_workers"], record["fold_threads"]) == ("done", 2, [1, 1, 1])
    assert "folds 0, 1, 2: 2 at a time" in printed
    assert all(f"fold {fold}: accuracy" in printed for fold in range(3))
    assert not list(beside.glob("**/rows")) and not list(beside.glob("**/.lock"))


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["a fold", "all"])
def test_a_run_that_loses_a_process_ends_with_the_same_bits(worker, options, tmp_path, victim):
    """A child is replaced within the run; after a kill of the parent no child is left, and --resume goes on."""
    succeed(worker, tmp_path, "train.py", *options, "--output_dir", "whole", "--fold_workers", "1")
    run = tmp_path / "run"
    command = [
        sys.executable,
        str(ROOT / "nsmc" / "train.py"),
        *options,
        "--fold_workers",
        "2",
        "--output_dir",
        str(run),
    ]
    parent = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (checkpoints := list(run.glob("fold*/checkpoints/*/manifest.json"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    child = json.loads((checkpoints[0].parents[2] / ".lock").read_text())["process"]
    os.kill(parent.pid if victim == "all" else child, signal.SIGKILL)
    printed = parent.communicate()[0]
    if victim == "all":
        time.sleep(2)
        assert start_of(child) is None
        launch("env", f"PYTHONPATH={ROOT}", "HF_HUB_OFFLINE=1", *command, "--resume", cwd=tmp_path)
    else:
        assert parent.returncode == 0
        assert "its process was killed (signal 9)" in printed and "with 1 at a time" in printed
    assert_same(run, tmp_path / "whole")
