"""One process at a time writes into a run folder, with flock and without."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import count

import pytest

from common.console import InputError
from common.guards import lock
from common.guards.lock import HELD, Lock, check_held, choose_folder, claim, is_empty, refuse_full, release, share
from tests.tools.scripts import ENVIRONMENT, ROOT

TINY = ["--config", ROOT / "friends/configs/demo.yaml", "--max_train_samples", "60", "--num_folds", "2"]
TINY += ["--num_train_epochs", "1", "--torch_num_threads", "1", "--disable_tqdm", "true"]


@pytest.fixture(autouse=True)
def nothing_stays_held():
    yield
    release()


@pytest.fixture(params=["flock", "by name"])
def file_system(request, monkeypatch):
    """With flock, and one whose flock fails as an NFS without its lock daemon does."""

    def no_flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    if request.param == "by name":
        monkeypatch.setattr(lock.fcntl, "flock", no_flock)


def dead_holder():
    """What the lock file of a process of this host says that is gone."""
    return json.dumps({"host": lock.host(), "process": 2**22 + 1, "began": "1"})


def fits(folder):
    """What a run checks when it has its folder."""


def held_elsewhere(folder, fold=None):
    """A claim that this process forgets: as if another one had it."""
    claim(folder, new=False, fold=fold, check=fits)
    others = list(HELD)
    HELD.clear()
    return others


def test_a_folder_that_is_held_is_refused_in_one_sentence_until_it_is_released(tmp_path, file_system):
    others = held_elsewhere(tmp_path / "run")
    for fold in (None, 0):
        with pytest.raises(InputError, match=rf"run: is in use: process {os.getpid()} on \S+ trains it; wait for its"):
            claim(tmp_path / "run", new=False, fold=fold, check=fits)
        assert HELD == []
    for other in others:
        other.release()
    assert not (tmp_path / "run").exists()  # nothing was written into it
    assert claim(tmp_path / "run", new=False, fold=None, check=fits) == tmp_path / "run"


def test_folds_are_trained_beside_each_other_but_not_twice_and_not_beside_a_run_of_all(tmp_path, file_system):
    held_elsewhere(tmp_path, fold=0)
    with pytest.raises(InputError, match="is in use: .*process"):
        claim(tmp_path, new=False, fold=0, check=fits)
    with pytest.raises(InputError, match="is in use: (fold0 )?process"):
        claim(tmp_path, new=False, fold=None, check=fits)
    assert claim(tmp_path, new=False, fold=1, check=fits)


def test_the_processes_of_a_search_share_its_folder_and_no_run_takes_it(tmp_path, file_system):
    share(tmp_path / "search")
    share(tmp_path / "search")
    if HELD[0].by_name:  # such a file system tells of those who hold a folder alone, only
        return
    others = list(HELD)
    HELD.clear()
    with pytest.raises(InputError, match="search: is in use"):
        claim(tmp_path / "search", new=False, fold=None, check=fits)
    for other in others:
        other.release()
    claim(tmp_path / "search", new=False, fold=None, check=fits)
    with pytest.raises(InputError, match="search: is in use: process"):
        share(tmp_path / "search")


def test_a_new_folder_that_another_start_has_made_meanwhile_is_not_shared(tmp_path, file_system):
    base = tmp_path / "runs" / "task" / "demo"
    chosen = [choose_folder(base, None, resume=False, fold=None) for _ in range(2)]
    assert chosen == [base, base]
    assert claim(base, new=True, fold=None, check=fits) == base
    assert claim(base, new=True, fold=None, check=fits) is None
    assert choose_folder(base, None, resume=False, fold=None) == base.with_name("demo-2")
    assert choose_folder(base, None, resume=True, fold=None) == base
    assert choose_folder(base, None, resume=False, fold=1) == base


def test_what_no_longer_fits_when_the_lock_is_had_is_refused_and_nothing_stays_held(tmp_path, file_system):
    def changed(folder):
        raise InputError("another run began in between")

    with pytest.raises(InputError, match="in between"):
        claim(tmp_path / "a" / "run", new=False, fold=None, check=changed)
    assert not (tmp_path / "a").exists() and HELD == []


def test_a_lock_file_alone_is_not_a_run(tmp_path):
    for name in (".lock", ".lock.pid", ".run.json.123.tmp"):
        (tmp_path / name).touch()
    assert is_empty(tmp_path)
    refuse_full(tmp_path, goes_on=False)
    (tmp_path / "config.yaml").touch()
    with pytest.raises(InputError, match="is not empty"):
        refuse_full(tmp_path, goes_on=False)
    refuse_full(tmp_path, goes_on=True)


@pytest.mark.parametrize("name", [".lock", ".lock.pid"])
def test_the_lock_of_a_killed_process_is_not_in_the_way(tmp_path, file_system, name):
    (tmp_path / name).write_text(dead_holder())
    assert claim(tmp_path, new=False, fold=None, check=fits)
    check_held()


def test_a_process_with_the_number_of_a_dead_one_is_another(tmp_path, monkeypatch):
    monkeypatch.setattr(lock.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "no locks")))
    (tmp_path / ".lock.pid").write_text(json.dumps({**lock.this_process(), "began": "1"}))
    assert claim(tmp_path, new=False, fold=None, check=fits)


def test_without_flock_the_lock_of_another_machine_names_the_file_to_delete(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    path = tmp_path / ".lock.pid"
    path.write_text(json.dumps({"host": "elsewhere", "process": 7, "began": "1"}))
    with pytest.raises(InputError) as refused:
        claim(tmp_path, new=False, fold=None, check=fits)
    assert f"process 7 on elsewhere trains it (if it does not, delete {path})" in str(refused.value)


def test_of_many_processes_that_take_over_a_dead_lock_at_once_one_gets_it(tmp_path):
    program = """
import sys
from common.guards import lock
lock.fcntl = None
print("up", flush=True)
sys.stdin.readline()
try:
    lock.claim(lock.Path(sys.argv[1]), new=False, fold=None, check=lambda folder: None)
    print("mine", flush=True)
except lock.InputError:
    print("busy", flush=True)
sys.stdin.readline()
"""
    (tmp_path / ".lock.pid").write_text(dead_holder())
    command = [sys.executable, "-c", program, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
    starts = [subprocess.Popen(command, **pipes) for _ in range(4)]
    said = [start.stdout.readline().strip() for start in starts]
    for start in starts:
        print(file=start.stdin, flush=True)
    said += [start.stdout.readline().strip() for start in starts]  # nobody lets go before all have asked
    for start in starts:
        start.communicate("\n", timeout=60)
    assert sorted(said) == ["busy"] * 3 + ["mine"] + ["up"] * 4


def test_of_many_that_take_over_a_dead_lock_in_any_order_of_their_steps_one_gets_it(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    began = threading.Barrier(6)

    def ask(folder, said):
        began.wait()
        try:
            said.append(Lock(folder))
        except lock.Busy:
            said.append(None)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for n in range(50):
            (tmp_path / str(n)).mkdir()
            (tmp_path / str(n) / ".lock.pid").write_text(dead_holder())
            said = []
            threads = [threading.Thread(target=ask, args=(tmp_path / str(n), said)) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(said) == 6 and sum(held is not None for held in said) == 1
            assert os.listdir(tmp_path / str(n)) == [".lock.pid"]
    finally:
        sys.setswitchinterval(interval)


def test_a_takeover_that_was_killed_names_the_file_to_delete(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    (tmp_path / ".lock.pid").write_text(dead_holder())
    (tmp_path / ".lock.pid.next").write_text(dead_holder())
    assert is_empty(tmp_path)
    with pytest.raises(InputError, match=r"process 4194305 on .*\(if it does not, delete \S+/\.lock\.pid\.next\)"):
        claim(tmp_path, new=False, fold=None, check=fits)


def test_a_folder_that_is_deleted_moved_or_made_anew_is_no_longer_held(tmp_path, file_system):
    run = tmp_path / "run"
    for end in ("deleted", "moved", "made anew"):
        claim(run, new=False, fold=None, check=fits)
        check_held()
        os.rename(run, tmp_path / end)
        if end == "made anew":
            run.mkdir()
        with pytest.raises(InputError, match="run: was deleted or moved"):
            check_held()
        release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_that_outlives_the_run_does_not_hold_its_lock(tmp_path):
    reader, writer = os.pipe()
    is_up, says_so = os.pipe()
    claim(tmp_path, new=False, fold=None, check=fits)
    child = os.fork()
    if child == 0:
        os.write(says_so, b"x")
        os.read(reader, 1)
        os._exit(0)
    os.read(is_up, 1)
    os.close(HELD[0].descriptor)  # as at the end of a killed process: nothing is released
    HELD.clear()
    try:
        assert Lock(tmp_path)
    finally:
        os.write(writer, b"x")
        os.waitpid(child, 0)


# Real starts


def start(folder, *options, script="friends/train.py"):
    command = [sys.executable, ROOT / script, *options]
    with open(folder / f"log{next(numbers)}.txt", "w") as log:
        return subprocess.Popen([str(part) for part in command], cwd=folder, stdout=log, stderr=log, env=ENVIRONMENT)


numbers = count()


def logs(folder):
    return [path.read_text() for path in sorted(folder.glob("log*.txt"))]


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.02)


@pytest.mark.slow
def test_starts_with_gaps_of_0_to_6_seconds_have_a_folder_each(tmp_path):
    began = time.monotonic()
    processes = []
    for at in (0, 0, 3, 6):
        time.sleep(max(0, began + at - time.monotonic()))
        processes.append(start(tmp_path, *TINY))
    assert [process.wait(timeout=300) for process in processes] == [0] * 4, logs(tmp_path)
    runs = tmp_path / "runs" / "friends"
    names = ["demo", "demo-2", "demo-3", "demo-4"]
    assert sorted(path.name for path in runs.iterdir()) == names
    for text in logs(tmp_path):
        (done,) = [line for line in text.splitlines() if line.startswith("done: ")]
        assert done.replace("done: ", "run folder ") in text.splitlines()  # the messages name the right folder
    assert all(json.loads((runs / name / "run.json").read_text())["starts"] == 1 for name in names)
    assert not list(tmp_path.rglob(".lock*"))


@pytest.mark.slow
def test_a_run_folder_takes_one_resume_at_a_time_and_a_killed_one_is_not_in_the_way(tmp_path):
    options = [*TINY, "--num_train_epochs", "2", "--output_dir", "run", "--resume"]
    first = start(tmp_path, *options)
    wait_for(tmp_path / "run" / "run.json", first)
    second = start(tmp_path, *options)
    wait_for(tmp_path / "run" / "fold0" / "fold.json", first)
    os.kill(first.pid, signal.SIGSTOP)  # between two folds or in one: it does not matter
    test_file = ROOT / "friends/sample/test.csv"
    predict = start(tmp_path, "--run_dir", "run", "--test_file", test_file, script="friends/predict.py")
    assert second.wait(timeout=120) == 2
    assert predict.wait(timeout=120) in (0, 2)  # the finished fold is read while the other is trained
    os.kill(first.pid, signal.SIGKILL)
    assert start(tmp_path, *options).wait(timeout=300) == 0, logs(tmp_path)
    first.wait()
    refused = [text for text in logs(tmp_path) if "error: run: is in use: process" in text]
    assert len(refused) == 1 and f"process {first.pid} on" in refused[0] and "Traceback" not in "".join(logs(tmp_path))
