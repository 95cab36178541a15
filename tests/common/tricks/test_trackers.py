"""--report_to: what is written without a network, where, and what is said where a tracker is not installed."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import transformers.integrations
from transformers import TrainingArguments

from common.console import InputError
from common.options.checks import check_trainer
from tests.tools.scripts import ENVIRONMENT, ROOT

# Trains two folds as train.py does, and ends them: their checkpoints are deleted.
TRAIN = """
import shutil, sys
from pathlib import Path
import tests.common.test_training as t
for k in (0, 1):
    folder = Path("demo") / f"fold{k}"
    t.train(folder, report_to=[sys.argv[1]], eval_strategy="epoch", logging_strategy="epoch", save_strategy="epoch")
    shutil.rmtree(folder / "checkpoints")
"""
OFFLINE = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
OFFLINE |= {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}  # where nobody listens


def train(folder, tracker):
    environment = {**ENVIRONMENT, **OFFLINE, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    command = [sys.executable, "-c", TRAIN, tracker]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-4000:]


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_tracker_that_is_not_installed_is_one_sentence_that_says_how(tmp_path, monkeypatch, name):
    monkeypatch.setattr(transformers.integrations, "get_available_reporting_integrations", lambda: [])
    training_args = TrainingArguments(output_dir=str(tmp_path), report_to=[name], use_cpu=True)
    with pytest.raises(InputError, match=f"report_to: {name} is unknown or not installed.*; pip install {name}$"):
        check_trainer(training_args, ["loss"])


@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorboard") is None, reason="needs tensorboard")
def test_tensorboard_has_the_curves_of_each_fold_after_its_checkpoints_are_gone(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path, "tensorboard")
    folders = sorted((tmp_path / "demo" / "tensorboard").iterdir())
    assert [folder.name for folder in folders] == ["fold0", "fold1"]
    for folder in folders:
        events = EventAccumulator(str(folder)).Reload()
        for tag in ("train/loss", "eval/loss", "eval/accuracy"):
            assert [event.step for event in events.Scalars(tag)] == [4, 8]
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(find_spec("wandb") is None, reason="needs wandb")
def test_wandb_has_a_run_for_each_fold_offline(tmp_path):
    train(tmp_path, "wandb")
    assert len(list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))) == 2
