"""What stands in the terminal while folds train."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from transformers import TrainerControl, TrainerState

from common.progress import callback, lines, meter
from common.progress.lines import EpochLine, Lines, clock, folds_table
from tests.tools.scripts import ENVIRONMENT, ROOT

DEMO = [ROOT / "friends/train.py", "--config", ROOT / "friends/configs/demo.yaml", "--max_train_samples", "60"]
DEMO += ["--num_folds", "2", "--num_train_epochs", "2", "--torch_num_threads", "1"]
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f]")


def line(fold=0, **scores):
    return EpochLine(fold, 1, 3, {"loss": 0.5, **scores}, 123.45, 2_000_000_000, 3661)


def test_cells_stand_below_the_names_of_their_columns_however_long():
    header, first = Lines().texts(line(eval_quadratic_kappa=0.25))
    assert len(header) == len(first)
    for name, cell in (("eval_quadratic_kappa", "0.2500"), ("GB", "2.00"), ("left", "1:01:01"), ("epoch", "1/3")):
        assert re.search(rf"{name}(?=  |$)", header).end() == re.search(rf"{re.escape(cell)}(?=  |$)", first).end()


def test_a_loss_that_is_not_logged_is_no_number():
    header, first = Lines().texts(line(loss=None))
    assert header[: header.index("loss") + 4].split()[-1] == "loss" and first[header.index("loss") + 3] == "-"
    assert callback.FoldProgress(SimpleNamespace(), []).loss is None


def test_the_header_comes_first_and_where_the_columns_change():
    shown = Lines()
    assert [len(shown.texts(row)) for row in (line(), line(1), line(eval_loss=1.0), line(eval_loss=2.0))] == [
        2,
        1,
        2,
        1,
    ]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (11045, "3:04:05")])
def test_time_is_written_as_a_clock_shows_it(seconds, text):
    assert clock(seconds) == text


def test_a_fold_that_was_resumed_at_its_end_has_no_speed():
    infos = [
        {"metrics": {"n": 10, "accuracy": 0.5}, "train_samples_per_second": speed, "other": None} for speed in (9.87, 0)
    ]
    assert [row.split() for row in folds_table(infos, ["accuracy"]).splitlines()] == [
        ["fold", "rows", "accuracy", "rows/s"],
        ["0", "10", "0.5000", "9.9"],
        ["1", "10", "0.5000", "-"],
    ]


class Clock:
    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def trained(monkeypatch):
    """Lets a fold of 100 rows and 3 epochs pass, a second a step and ten an evaluation; what it prints."""
    clock, printed = Clock(), []
    monkeypatch.setattr(meter, "time", clock)
    monkeypatch.setattr(lines, "LINES", SimpleNamespace(show=printed.append))
    monkeypatch.setattr(meter, "LINES", lines.LINES)
    args = SimpleNamespace(disable_tqdm=True, num_train_epochs=3.0, max_steps=-1)
    run = SimpleNamespace(args=SimpleNamespace(fold=None), done={0: True, 1: False, 2: False})
    fold = SimpleNamespace(run=run, args=SimpleNamespace(quiet=False), number=1, train_rows=range(100))

    def train(evaluates, max_steps=12):
        shown = callback.FoldProgress(fold, ["accuracy"])
        state, control = TrainerState(epoch=0.0, max_steps=max_steps), TrainerControl()
        shown.on_train_begin(args, state, control)
        for epoch in range(-(-max_steps // 4)):
            shown.on_epoch_begin(args, state, control)
            for step in range(min(4, max_steps - 4 * epoch)):
                clock.now += 1
                state.global_step += 1
                state.epoch = epoch + (step + 1) / 4
                shown.on_step_end(args, state, control)
            shown.on_epoch_end(args, state, control)
            shown.on_log(args, state, control, logs={"loss": 3.0 - epoch})
            if evaluates:
                clock.now += 10
                shown.on_evaluate(args, state, control, metrics={"eval_loss": 0.5, "eval_accuracy": 0.25})
        shown.on_log(args, state, control, logs={"train_runtime": 1.0})
        shown.on_train_end(args, state, control)
        return printed

    return train


def test_an_epoch_has_one_line_with_the_speed_of_training_alone_and_the_time_that_is_left(trained):
    first, second, last = trained(evaluates=True)
    assert first.scores == {"loss": 3.0, "eval_loss": 0.5, "eval_accuracy": 0.25}
    assert [row.epoch for row in (first, second, last)] == [1, 2, 3]
    assert {row.rows_per_second for row in (first, second, last)} == {25.0}  # 100 rows in 4 seconds
    # 14 seconds an epoch; of this fold two, of the fold after it three
    assert [row.left for row in (first, second, last)] == [5 * 14, 4 * 14, 3 * 14]


def test_an_epoch_that_is_not_evaluated_has_a_line_too(trained):
    rows = trained(evaluates=False)
    assert [(row.epoch, row.scores) for row in rows] == [(1, {"loss": 3.0}), (2, {"loss": 2.0}), (3, {"loss": 1.0})]


def test_a_run_that_ends_with_a_part_of_an_epoch_says_so_and_what_is_left_of_it(trained):
    first, last = trained(evaluates=True, max_steps=6)
    assert [(row.epoch, row.epochs) for row in (first, last)] == [(1, 1.5), (1.5, 1.5)]
    assert first.left == 14 * (0.5 + 1.5)  # of this fold, and the one after it


@pytest.mark.slow
def test_a_log_has_plain_lines_and_a_quiet_run_the_results_alone(tmp_path):
    shown = {}
    for name, options in (("plain", []), ("quiet", ["--quiet"]), ("beside", ["--fold_workers", "2"])):
        command = [sys.executable, *DEMO, *options, "--output_dir", tmp_path / name]
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
        assert done.returncode == 0, done.stderr
        assert not CONTROL.search(done.stdout + done.stderr) and "{'" not in done.stdout
        shown[name] = done.stdout.splitlines()
    assert [text.split(":")[0] for text in shown["quiet"]] == ["oof", "done"]
    for name in ("plain", "beside"):
        epochs = [text.split()[:2] for text in shown[name] if re.match(r" +\d +\d/2 ", text)]
        assert sorted(epochs) == [["0", "1/2"], ["0", "2/2"], ["1", "1/2"], ["1", "2/2"]]
        assert sum(text.split()[:2] == ["fold", "epoch"] for text in shown[name]) == 1


@pytest.mark.slow
def test_a_terminal_has_a_bar_that_leaves_no_line_behind(tmp_path):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    terminal, its_end = pty.openpty()
    termios.tcsetwinsize(its_end, (24, 80))
    command = [sys.executable, *DEMO, "--output_dir", tmp_path / "run"]
    process = subprocess.Popen(command, stdout=its_end, stderr=its_end, env=ENVIRONMENT)
    os.close(its_end)
    seen = b""
    try:
        while part := os.read(terminal, 4096):
            seen += part
    except OSError:  # Linux says so when the process has ended
        pass
    assert process.wait() == 0
    rows = seen.decode().replace("\r\n", "\n").split("\n")
    assert any("fold 0:" in row and "\r" in row for row in rows)
    # what is left on the screen of a row is what stands after the last return to its start
    left = [row.rsplit("\r", 1)[-1] for row in rows]
    assert not any("step/s" in row for row in left)
