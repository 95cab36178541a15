"""A full disk, too few file descriptors, no temporary folder, a terminal that is ASCII or closed, a run folder that is
deleted: one sentence, exit code 2, run.json says "failed"."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress

import datasets
import numpy as np
import pyarrow
import pytest
import torch
from safetensors.torch import save_file

from common.console import InputError, Stopped, run_main
from common.files import read_json, write_json
from common.guards import surroundings
from common.guards.lock import claim, release
from common.guards.surroundings import AT_END, ending, explain, record_failure, remove_stale
from common.logits import Logits
from tests.tools.scripts import ENVIRONMENT, ROOT

TINY = ["--config", ROOT / "friends/configs/demo.yaml", "--max_train_samples", "60", "--num_folds", "2"]
TINY += ["--num_train_epochs", "1", "--torch_num_threads", "1", "--disable_tqdm", "true"]
ROOM = 2**20  # bytes
NUMBERS = {"x": list(range(400_000))}


def write_arrow(path):
    table = datasets.Dataset.from_dict(NUMBERS).data.table
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def map_rows(path):
    rows = datasets.Dataset.from_dict(NUMBERS)
    rows.map(lambda row: {"y": row["x"]}, batched=True, cache_file_name=f"{path}.arrow", load_from_cache_file=False)


def save_logits(path):
    random = np.random.default_rng(0)
    Logits([str(i) for i in range(60_000)], random.normal(size=(60_000, 8)), [-1] * 60_000, list("abcdefgh")).save(path)


WRITERS = {
    "safetensors": lambda path: save_file({"a": torch.zeros(ROOM)}, path),
    "torch": lambda path: torch.save({"a": torch.zeros(ROOM)}, path),
    "arrow": write_arrow,
    "datasets": map_rows,
    "logits": save_logits,
    "json": lambda path: write_json(path, {"a": "x" * 3 * ROOM}),
    "python": lambda path: path.write_bytes(b"0" * 3 * ROOM),
}


@contextmanager
def small_disk(folder):
    """A disk of ROOM bytes where one can be mounted, else a limit on the size of a file: the words in the sentence."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    with suppress(FileNotFoundError):
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            try:
                yield "no space left on the disk of"
            finally:
                subprocess.run(["umount", "-l", str(folder)], check=True)
            return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield "a file grew larger than is allowed"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_sentence_whatever_library_meets_it(tmp_path, monkeypatch, name):
    with small_disk(tmp_path / "disk") as words:
        claim(tmp_path / "disk", new=False, fold=None, check=lambda folder: None)
        try:
            with pytest.raises(InputError, match=rf"^{words} .*disk"), ending():
                WRITERS[name](tmp_path / "disk" / "file")
        finally:
            release()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EDQUOT, "Disk quota exceeded", "a/b"), "no space left on the disk of a/b within the quota"),
        (OSError("[Errno 28] No space left on device"), "no space left on"),  # as a loader's worker hands it over
        (OSError(errno.EROFS, "Read-only file system"), "is mounted read-only"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files for one process"),
        (RuntimeError("unable to open shared memory object </torch_1>: Too many open files (24)"), "too many open"),
        (RuntimeError("Too many open files. Communication with the workers is no longer possible."), "too many open"),
        (RuntimeError("killed by signal: Bus error. workers are out of shared memory"), "no space left"),
        (RuntimeError("I/O error: Disk quota exceeded (os error 122)"), "within the quota"),
        (OSError(errno.ENFILE, "Too many open files in system"), "on this machine"),
        (MemoryError(), "no memory left"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "no memory left"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"), "TMPDIR"),
    ],
)
def test_each_thing_that_a_machine_lacks_has_its_sentence_also_below_other_errors(error, words):
    for wrapped in (error, raised_after(error), raised_from(error)):
        assert words in explain(wrapped)


def raised_from(error):
    try:
        raise KeyError("library") from error
    except KeyError as outer:
        return outer


def raised_after(error):
    try:
        try:
            raise error
        except type(error):
            raise ValueError("library")  # noqa: B904  (not from it)
    except ValueError as outer:
        return outer


@pytest.mark.parametrize("error", [ValueError("shapes"), FileNotFoundError(2, "No such file"), KeyError(28)])
def test_a_bug_stays_a_bug(error):
    assert explain(error) is None
    with pytest.raises(type(error)), ending():
        raise error


@pytest.mark.parametrize("error", [None, InputError("bad"), Stopped("stopped"), KeyError("bug")])
def test_whoever_asked_is_told_once_how_a_program_ended(error):
    told = []
    AT_END.append(told.append)
    with suppress(Exception), ending():
        if error:
            raise error
    with ending():
        pass
    assert told == [error]


def test_a_failure_is_recorded_without_any_room(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    write_json(path, {"status": "running", "old": "x" * 100})
    (tmp_path / "fold0/checkpoints/checkpoint-3").mkdir(parents=True)
    tries = []

    def full(*_):
        tries.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(surroundings, "write_json", full)
    record_failure(path, {"status": "failed"})
    assert len(tries) == 2 and read_json(path) == {"status": "failed"}
    assert not (tmp_path / "fold0/checkpoints/checkpoint-3").exists()  # half-written


def test_temporary_files_of_dead_processes_are_removed_and_no_others(tmp_path):
    (tmp_path / "fold0").mkdir()
    stale = [tmp_path / ".run.json.4194305.tmp", tmp_path / "fold0/.x.npz.4194306.tmp"]
    kept = [tmp_path / f".run.json.{os.getpid()}.tmp", tmp_path / "x.tmp", tmp_path / "fold0/.a.tmp"]
    for path in (*stale, *kept):
        path.touch()
    remove_stale(tmp_path)
    assert [path.exists() for path in (*stale, *kept)] == [False] * 2 + [True] * 3


def test_without_a_temporary_folder_nothing_begins(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    with pytest.raises(SystemExit):
        run_main(surroundings.check_temporary)
    assert "error: no usable temporary folder was found; name one" in capsys.readouterr().err


# Real runs


def start(folder, *options, prefix="", redirect="> out.txt 2> err.txt", **environment):
    """A shell that starts friends/train.py."""
    options = " ".join(str(option) for option in (*TINY, *options))
    command = f"{prefix} exec {sys.executable} {ROOT}/friends/train.py {options} {redirect}"
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": "", **environment}
    return subprocess.Popen(["bash", "-c", command], cwd=folder, env=environment)


def refused(folder, process, words, run="run"):
    """Exit code 2, one sentence that run.json has, too."""
    assert process.wait(timeout=300) == 2, (folder / "err.txt").read_text()
    errors = (folder / "err.txt").read_text()
    (sentence,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert words in sentence and "Traceback" not in errors
    if run:
        record = read_json(folder / run / "run.json")
        assert record["status"] == "failed" and f"error: {record['error']}" == sentence
    return sentence


@pytest.mark.slow
def test_a_run_on_a_full_disk_fails_in_one_sentence_and_goes_on_when_there_is_room(tmp_path):
    """Its first checkpoint has no room, or a later file."""
    process = start(tmp_path, "--output_dir run", prefix="ulimit -f 2000;")
    refused(tmp_path, process, "a file grew larger than is allowed on the disk of run")
    assert not list(tmp_path.glob("run/fold*/fold.json")) and not list((tmp_path / "run").rglob(".*"))
    assert not list((tmp_path / "run").rglob("manifest.json"))
    (tmp_path / "run/.config.yaml.4194305.tmp").touch()
    assert start(tmp_path, "--output_dir run --resume").wait(timeout=300) == 0
    record = read_json(tmp_path / "run/run.json")
    assert record["status"] == "done" and "error" not in record and not list((tmp_path / "run").rglob(".*"))


@pytest.mark.slow
def test_too_few_file_descriptors_are_one_sentence(tmp_path):
    process = start(tmp_path, "--output_dir run --dataloader_num_workers 4", prefix="ulimit -n 40;")
    refused(tmp_path, process, "too many open files for one process; raise the limit (ulimit -n)")


@pytest.mark.slow
def test_a_run_whose_folder_is_deleted_or_moved_ends_in_one_sentence_and_does_not_make_it_again(tmp_path):
    for how in (shutil.rmtree, lambda run: os.rename(run, tmp_path / "elsewhere")):
        process = start(tmp_path, "--output_dir run --num_train_epochs 50")
        while not (tmp_path / "run/fold0/checkpoints").exists():
            assert process.poll() is None
            time.sleep(0.05)
        how(tmp_path / "run")
        refused(tmp_path, process, "run: was deleted or moved while the run was writing into it", run=None)
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_terminal_that_is_ascii_or_closed_or_full_ends_nothing(tmp_path, buffered):
    program = "from common.console import run_main; import sys; "
    program += "run_main(lambda: [print('한글', flush=True) for _ in range(3)] and sys.stderr.write('끝') and None)"
    (tmp_path / "program.py").write_text(program)
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": buffered}

    def run(redirect, **more):
        command = f"{sys.executable} program.py {redirect}"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=tmp_path, env={**environment, **more}, capture_output=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    for name in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        assert run("", **name) == (0, "\\ud55c\\uae00\n" * 3, "\\ub05d")
    assert run("") == (0, "한글\n" * 3, "끝")
    for redirect in (">&-", "2>&-", ">&- 2>&-", "> /dev/full", "2> /dev/full", "| true", "2>&1 | true"):
        code, _, errors = run(redirect)
        assert code == 0 and errors in ("", "끝"), redirect


def test_what_is_opened_later_does_not_get_the_number_of_a_closed_stream(tmp_path):
    program = "import os; from common.console import run_main; "
    program += "run_main(lambda: open('x', 'w').write(str(os.open('y', os.O_CREAT))))"
    (tmp_path / "program.py").write_text(program)
    subprocess.run(["bash", "-c", f"{sys.executable} program.py >&- 2>&-"], cwd=tmp_path, env=ENVIRONMENT, check=True)
    assert json.loads((tmp_path / "x").read_text()) > 2
