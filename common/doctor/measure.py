"""Minutes and memory of a preset's whole run, extrapolated from some real steps of its train.py (steps.py)."""

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from common.console import InputError
from common.doctor.findings import GB, Finding
from common.doctor.machine import free_of_device
from common.doctor.preset import LESS, Preset
from common.doctor.steps import Measured
from common.files import read_json, read_yaml
from common.guards.surroundings import check_temporary
from common.guards.terminal import told
from common.workers.folds import OUT_OF_MEMORY
from common.workers.plan import free_memory
from common.workers.process import python_path

REPORT = 3.0  # seconds that metrics, plots and report.md take
CHILD = 10.0  # seconds until the processes of --fold_workers train
SAMPLE = "demo.yaml"  # which names the bundled sample


def measure(preset: Preset, sample: bool) -> Iterator[Finding]:
    """Lines on the time and the memory of the whole run. sample: take the rows of the bundled sample. Raises InputError
    with the sentence of a train.py that refuses its input."""
    if getattr(preset.args, "stages", None):
        yield Finding("time", "not measured: the run has several stages", "measure a preset that has one")
        return
    check_temporary()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "measured.json")
        command = [sys.executable, "-m", "common.doctor.steps", str(result), repr(time.time())]
        command += train_command(preset, Path(folder), sample)
        environment = {**os.environ, "PYTHONPATH": python_path()}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
        if not result.exists():
            yield failure(ended)
            return
        measured = Measured(**read_json(result))
    yield time_finding(measured, "the bundled sample's rows" if sample else f"{measured.rows:,} rows a fold")
    yield from memory_findings(measured, preset.values.use_cpu)


def train_command(preset: Preset, folder: Path, sample: bool) -> list[str]:
    """train.py and its options; nothing is written but in `folder`."""
    words = [str(preset.task_dir / "train.py"), "--config", str(preset.path)]
    words += ["--output_dir", str(folder / "run"), "--disable_tqdm", "true"]
    words += ["--lang", "en"]  # what it says is read here
    if getattr(preset.args, "cache_dir", None):
        words += ["--cache_dir", str(folder / "cache")]
    return [*words, *sample_files(preset)] if sample else words


def sample_files(preset: Preset) -> Iterator[str]:
    """The options that name the bundled sample. Raises InputError where there is none."""
    demo = preset.task_dir / "configs" / SAMPLE
    if not demo.exists():
        raise InputError(f"{preset.task_dir}: has neither data nor a sample to measure on")
    for key, value in read_yaml(demo).items():
        if key in preset.args.DATA_FIELDS:
            yield from (f"--{key}", str(preset.task_dir / value))


def failure(ended: subprocess.CompletedProcess) -> Finding:
    """Why nothing was measured. Raises InputError where the input was why."""
    said = [line for line in ended.stderr.splitlines() if line.strip()] or ["it said nothing"]
    last = said[-1].removeprefix("error: ")
    if ended.returncode < 0:
        return Finding("measured", f"its process was killed (signal {-ended.returncode})", LESS, True)
    if any(words in last for words in OUT_OF_MEMORY):
        return Finding("measured", last, LESS, True)
    if ended.returncode == 2:
        raise InputError(last)
    raise RuntimeError("\n".join(["train.py has ended with a traceback", *said]))


def seconds_of_run(measured: Measured) -> dict[str, float]:
    """Of the whole run, by part; folds beside each other count once."""
    first = min(1.0, measured.epochs)
    rows = measured.rows * (first * measured.row_first + (measured.epochs - first) * measured.row)
    fold = {
        "training": measured.setup + rows,
        "evaluation": measured.evaluations * measured.evaluation,
        "prediction": measured.prediction,
        "saving": measured.checkpoints * measured.checkpoint + measured.save,
    }
    rounds = math.ceil(measured.folds / measured.workers)
    start = measured.start + (CHILD if measured.workers > 1 else 0.0)
    return {"start": start, **{name: rounds * seconds for name, seconds in fold.items()}, "report": REPORT}


def time_finding(measured: Measured, rows: str) -> Finding:
    parts = seconds_of_run(measured)
    shares = ", ".join(f"{told(name)} {seconds / 60:.1f}" for name, seconds in parts.items())
    beside = f", {measured.workers} at a time" if measured.workers > 1 else ""
    size = f"{measured.folds} folds{beside}, {measured.epochs:g} epochs of {rows}"
    return Finding("time", f"{sum(parts.values()) / 60:.1f} minutes ({size}; {shares})")


def memory_findings(measured: Measured, use_cpu: bool) -> Iterator[Finding]:
    """Peaks against what is free."""
    peaks = [("memory", measured.memory * measured.workers, free_memory([]))]
    if measured.gpu_memory:
        peaks.append(("GPU memory", measured.gpu_memory, free_of_device(use_cpu)))
    for what, peak, free in peaks:
        value = f"{peak / GB:.2f} GB at the peak, {free / GB:.1f} GB are free"
        yield Finding(what, value, "" if peak <= free else f"close other programs, or {LESS}")
