"""What the tests of the scripts share: a command that must succeed, and a process that runs many command lines and says
how each ended."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
import pytest
from safetensors.numpy import load_file

from common.logits import Logits

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = [Path(sys.executable).parent / "torchrun", "--standalone", "--nproc_per_node", "2"]
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
# Reads {"folder", "argv", "draws"} from stdin, line by line, runs the script as __main__ and answers with its exit code;
# 1: a traceback. The pictures of a report are half of what a small run takes: drawn where a test looks at them.
WORKER = """
import gc, json, os, sys
from matplotlib.figure import Figure
from common.workers.child import run
savefig = {True: Figure.savefig, False: lambda figure, file, **_: file.write(b"not drawn")}
answers = os.fdopen(os.dup(1), "w")
os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
for line in sys.stdin:
    task = json.loads(line)
    os.chdir(task["folder"])
    Figure.savefig = savefig[task["draws"]]
    before = set(sys.modules)
    code = run(task["argv"])
    for name in set(sys.modules) - before:  # another task folder has its own data, model, ...
        folder = os.path.dirname(getattr(sys.modules[name], "__file__", None) or "")
        if "." not in name and os.path.exists(os.path.join(folder, "train.py")):
            del sys.modules[name]
    gc.collect()
    gc.freeze()  # each training collects garbage, which would look through all of torch's objects
    sys.stdout.flush()
    sys.stderr.flush()
    print(code, file=answers, flush=True)
os._exit(0)  # an interpreter that ends in order collects all of torch's objects first
"""


class Interpreter:
    """A Python process that runs scripts in turn, and ends with this one; what they print is in two files."""

    def __init__(self):
        self.folder = TemporaryDirectory()
        self.stdout, self.stderr = (Path(self.folder.name) / name for name in ("stdout.txt", "stderr.txt"))
        self.stdout.touch()
        with open(self.stderr, "wb") as file:
            command = [sys.executable, "-c", WORKER, str(self.stdout)]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True, env=ENVIRONMENT
            )

    def run(self, folder: Path, argv: list[str], draws: bool) -> tuple[str, str, str]:
        """(exit code, empty if the process ended; what went to stdout; to stderr). draws: plots are pictures."""
        starts = [path.stat().st_size for path in (self.stdout, self.stderr)]
        self.process.stdin.write(json.dumps({"folder": str(folder), "argv": argv, "draws": draws}) + "\n")
        self.process.stdin.flush()
        code = self.process.stdout.readline()
        printed, errors = (
            path.read_bytes()[start:].decode("utf-8", errors="replace")
            for path, start in zip((self.stdout, self.stderr), starts, strict=True)
        )
        return code, printed, errors


class Worker:
    """Runs the scripts of a task folder. All Workers share a process: importing torch for each command line, or for
    each file of tests, would take minutes."""

    shared: ClassVar[list[Interpreter]] = []

    def __init__(self, task_dir: Path):
        self.task_dir, self.printed, self.draws = task_dir, "", False

    def run(self, folder: Path, script: str, *argv: object) -> tuple[int, str]:
        """Exit code and stderr of `python <task folder>/<script> <argv>` in `folder`; what it wrote to stdout is in
        `printed`. Plots are pictures only where `draws` is set."""
        if not self.shared:
            self.shared.append(Interpreter())
        code, self.printed, errors = self.shared[0].run(
            folder, [str(self.task_dir / script), *map(str, argv)], self.draws
        )
        if not code:
            self.shared.clear()
        assert code, f"the process ended: {errors}"
        return int(code), errors


@contextmanager
def siblings_of(task_dir: Path) -> Iterator[None]:
    """Modules of a task folder can be imported as its scripts import them; before and afterwards its siblings' names
    are free, because other folders have a data and a model, too."""
    names = {path.stem for path in task_dir.glob("*.py")} | {"scoring"}
    others = {name: module for name, module in sys.modules.items() if name.split(".")[0] in names}
    for name in others:
        del sys.modules[name]
    sys.path.insert(0, str(task_dir))
    try:
        yield
    finally:
        sys.path.remove(str(task_dir))
        for name in [name for name in sys.modules if name.split(".")[0] in names]:
            del sys.modules[name]
        sys.modules.update(others)


def worker_of(task_dir: Path):
    """A module's fixture `worker`: the Worker of a task folder."""

    @pytest.fixture(scope="module")
    def worker():
        return Worker(task_dir)

    return worker


def succeed(worker: Worker, folder: Path, script: str, *argv: object) -> None:
    """Run a script that must end with exit code 0."""
    code, errors = worker.run(folder, script, *argv)
    assert code == 0, errors


def predict(worker: Worker, folder: Path, *argv: object) -> Logits:
    """The logits that predict.py leaves beside its submission, s.csv."""
    succeed(worker, folder, "predict.py", "--torch_num_threads", "1", "--submission_file", "s.csv", *argv)
    return Logits.load(folder / "s.logits.npz")


def assert_same_folds(a: Path, b: Path) -> None:
    """The weights and the logits of held-out rows of all folds of two runs are equal to the bit."""
    folds = sorted(a.glob("fold*"))
    assert folds
    for fold in folds:
        weights = [load_file(path / fold.name / "model.safetensors") for path in (a, b)]
        assert all(np.array_equal(weights[0][key], weights[1][key]) for key in weights[0])
        assert np.array_equal(*(Logits.load(path / fold.name / "held_out_logits.npz").logits for path in (a, b)))


def launch(*command: object, cwd: Path) -> str:
    """The output of a command that ends with exit code 0."""
    result = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return result.stdout


def help_without_torch(script: Path, cwd: Path) -> str:
    """What a script's --help prints, which must not import torch."""
    program = f"""
import runpy, sys
sys.argv = [{str(script)!r}, "--help"]
sys.path.insert(0, {str(script.parent)!r})
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit:
    pass
print("torch imported:", "torch" in sys.modules)
"""
    output = launch(sys.executable, "-c", program, cwd=cwd)
    assert output.splitlines()[-1] == "torch imported: False"
    return output


def snapshot(folder: Path) -> dict[str, tuple]:
    """Every file and folder below, with what changes when it is written."""
    return {
        str(p.relative_to(folder)): (p.lstat().st_size, p.lstat().st_mtime_ns)
        for p in folder.rglob("*")
        if not p.is_dir()
    } | {str(p.relative_to(folder)): () for p in folder.rglob("*") if p.is_dir()}


def assert_refused(worker: Worker, folder: Path, script: str, argv: list[str], fragments: list[str]) -> None:
    """Exit code 2, one `error:` line that holds the fragments, and nothing written."""
    before = snapshot(folder)
    code, errors = worker.run(folder, script, *argv)
    lines = [line for line in errors.splitlines() if line.strip()]
    assert code == 2, errors
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], errors  # one, and no second line of it
    assert "Traceback" not in errors
    assert len(lines[-1]) < 2500
    for fragment in fragments:
        assert fragment in lines[-1]
    assert snapshot(folder) == before
