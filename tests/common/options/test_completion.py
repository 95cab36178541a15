"""What a shell gets for a half-typed command line, asked as argcomplete's bash function asks."""

import os
import subprocess
import sys

import pytest

from tests.common.options.test_help import WAYS, file_of
from tests.tools.scripts import ENVIRONMENT, ROOT

ASKED = {"_ARGCOMPLETE_IFS": " ", "_ARGCOMPLETE_SHELL": "bash", "_ARGCOMPLETE_SUPPRESS_SPACE": "1"}


def completions(folder, words, *command):
    """The words that stand for the last, half-typed one of a command line."""
    line = " ".join(["python", *command, *words])
    answer = folder / "answer"
    asked = {**ASKED, "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    asked["_ARGCOMPLETE"] = str(len(command) + 1)
    result = subprocess.run([sys.executable, *command], cwd=ROOT, env={**ENVIRONMENT, **asked}, capture_output=True)
    assert result.returncode == 0, result.stderr
    return answer.read_text().split() if answer.exists() else None


def test_options_of_the_task_and_of_training_arguments_are_completed(tmp_path):
    pytest.importorskip("argcomplete")
    assert completions(tmp_path, ["--num_t"], "friends/train.py") == ["--num_train_epochs"]
    assert set(completions(tmp_path, ["--max_"], "friends/train.py")) >= {"--max_length", "--max_steps"}
    assert completions(tmp_path, ["--deep"], "friends/train.py") == []  # DeepSpeed is refused
    assert completions(tmp_path, ["--context", "previous2"], "friends/train.py") == ["previous2_previous_current"]


def test_presets_are_completed(tmp_path):
    pytest.importorskip("argcomplete")
    assert completions(tmp_path, ["--config", "nsmc/configs/t"], "nsmc/train.py") == ["nsmc/configs/tune.yaml"]
    assert "nsmc/configs/search.yaml" not in completions(tmp_path, ["--config", ""], "nsmc/train.py")


def test_options_of_predictions_and_of_commands_are_completed(tmp_path):
    pytest.importorskip("argcomplete")
    assert completions(tmp_path, ["--prior"], "friends/predict.py") == ["--prior_correction"]
    assert completions(tmp_path, ["--sampler", "t"], "-m", "common.search") == ["tpe"]


def test_without_argcomplete_nothing_is_trained(tmp_path):
    (tmp_path / "argcomplete.py").write_text("raise ImportError")
    environment = {**ENVIRONMENT, "_ARGCOMPLETE": "1", "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, ROOT / "friends/train.py", "--output_dir", "run"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "") and not (tmp_path / "run").exists()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_shell_finds_its_mark_in_the_first_1024_characters(way):
    assert "PYTHON_ARGCOMPLETE_OK" in file_of(way).read_text(encoding="utf-8")[:1024]
