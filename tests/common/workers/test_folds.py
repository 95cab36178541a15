"""Folds beside each other: which process trains what, and what becomes of it when one fails."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from common.console import InputError
from common.guards import lock
from common.workers.folds import Pool
from common.workers.plan import Plan
from tests.tools.scripts import ROOT, launch

# A train.py of nothing: each fold is a file, written last; what befalls a fold stands in <fold>.once or <fold>.always.
TRAIN = """
import os, signal, sys, time
from pathlib import Path
from common.workers import link
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
run, fold = Path(options["--output_dir"]), int(options["--fold"])
threads = int(options["--torch_num_threads"])
while fold is not None:
    print(f"fold {fold}: begins", flush=True)
    (run / f"{fold}.process").write_text(str(os.getpid()))
    for name, again in ((f"{fold}.once", False), (f"{fold}.always", True)):
        if (run / name).exists():
            what = (run / name).read_text()
            again or (run / name).unlink()
            if what == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "slow":
                time.sleep(60)
            if what == "bug":
                raise ValueError("a bug")
            print("error:", what, file=sys.stderr)
            sys.exit(2)
    time.sleep(0.1)
    (run / f"{fold}.done").write_text(str(threads))
    print(f"fold {fold}: accuracy 1", flush=True)
    link.LINK.say(done=fold, steps_in_all=3)
    line = link.LINK.next()
    fold, threads = line["fold"], line.get("threads")
    fold is None or link.write_to(line["log"])
"""


@pytest.fixture
def make_pool(tmp_path, monkeypatch):
    """A Pool of so many folds, in so many processes, whose train.py is TRAIN."""

    def make(folds, workers, **fates):
        (tmp_path / "train.py").write_text(TRAIN)
        for name, what in fates.items():
            kind, fold = name.split("_")
            (tmp_path / f"{fold}.{kind}").write_text(what)
        monkeypatch.setattr(sys, "argv", [str(tmp_path / "train.py")])
        run = SimpleNamespace(dir=tmp_path, training_args=SimpleNamespace(disable_tqdm=True, use_cpu=False))
        return Pool(run, Plan(workers, [1] * (folds - 1) + [2], []), dict.fromkeys(range(folds), 3))

    return make


def ended(path):
    """Whether the process whose number a file holds is gone, within seconds."""
    number = int(path.read_text())
    for _ in range(100):
        if lock.start_of(number) is None:
            return True
        time.sleep(0.05)
    return False


def test_each_fold_is_trained_once_by_as_few_processes_as_asked_for_with_its_own_threads(make_pool, tmp_path, capsys):
    make_pool(5, 2).train()
    assert [(tmp_path / f"{fold}.done").read_text() for fold in range(5)] == ["1", "1", "1", "1", "2"]
    assert len({(tmp_path / f"{fold}.process").read_text() for fold in range(5)}) == 2
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("folds 0, 1, 2, 3, 4: 2 at a time, threads 1, 1, 1, 1, 2")
    assert sorted(said[1:]) == [f"fold {fold}: accuracy 1" for fold in range(5)]


@pytest.mark.parametrize("what", ["killed", "out of memory beside other folds (fold_workers)"])
def test_a_process_that_is_killed_or_lacks_memory_gives_its_fold_to_fewer(make_pool, tmp_path, capsys, what):
    make_pool(3, 2, once_1=what).train()
    assert all((tmp_path / f"{fold}.done").exists() for fold in range(3))
    assert "going on from its last checkpoint, with 1 at a time" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "kind", "sentence"),
    [
        ("the loss is nan", InputError, "fold 1: the loss is nan"),
        ("killed", InputError, r"fold \d: its process was killed \(signal 9\)"),  # again and again, until one is left
        ("bug", RuntimeError, r"fold 1 has ended with a traceback, in .*fold1.log: ValueError: a bug"),
    ],
)
def test_what_a_process_cannot_do_is_the_runs_one_sentence_and_ends_the_others(
    make_pool, tmp_path, what, kind, sentence
):
    with pytest.raises(kind, match=sentence):
        make_pool(2, 2, always_0="killed" if what == "killed" else "slow", always_1=what).train()
    assert all(ended(path) for path in tmp_path.glob("*.process"))


PARENT = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which the tests' own shell may have told to be ignored
from pathlib import Path
from types import SimpleNamespace
from common.workers.folds import Pool
from common.workers.plan import Plan
folder = Path(sys.argv[1])
sys.argv = [str(folder / "train.py")]
run = SimpleNamespace(dir=folder, training_args=SimpleNamespace(disable_tqdm=True, use_cpu=False))
Pool(run, Plan(2, [1, 1], []), {0: 3, 1: 3}).train()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_process_outlives_its_parent(make_pool, tmp_path, number):
    make_pool(2, 2, always_0="slow", always_1="slow")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path], env=env, stderr=subprocess.DEVNULL)
    files = [tmp_path / "0.process", tmp_path / "1.process"]
    while not all(path.exists() and path.read_text() for path in files):
        assert parent.poll() is None
        time.sleep(0.1)
    parent.send_signal(number)
    assert all(ended(path) for path in files)
    parent.wait()


HOLD = """
import sys
from pathlib import Path
from common.console import InputError
from common.guards.lock import claim
try:
    claim(Path(sys.argv[1]), new=False, fold=None if sys.argv[2] == "all" else int(sys.argv[2]), check=print)
    print("held")
except InputError as error:
    print(error)
"""


def test_while_folds_are_shared_out_one_is_trained_by_one_process_and_the_folder_by_none(tmp_path):
    def attempt(fold):
        return launch("env", f"PYTHONPATH={ROOT}", sys.executable, "-c", HOLD, tmp_path, fold, cwd=tmp_path)

    lock.claim(tmp_path, new=False, fold=None, check=print)
    assert "is in use" in attempt(0)
    with lock.shared_with_folds(tmp_path):
        assert "held" in attempt(0)
        assert "is in use" in attempt("all")
        lock.hold_fold(tmp_path / "fold1")
        assert "is in use" in attempt(1)
    assert "is in use" in attempt(0)
    lock.release()
    assert "held" in attempt("all")
