"""One process at a time writes into a run folder: it is claimed when it is chosen, and held for the life of the run.

    folder = claim(folder, new=True, fold=None, check=check)      # InputError where another process has it
    check_held()                                                   # InputError where it was deleted under way
    release()

A folder of our own choice is made exclusively; any other is held by flock(2) on <folder>/.lock, which the kernel lets
go of when the process ends. Where the file system has no flock, <folder>/.lock.pid is made exclusively and says who
holds it (host, process, its start in clock ticks since boot, proc(5)); that of a process of this host that is gone is
taken over by one of those who ask. A run of all folds holds its folder alone; a run of one fold holds fold<k>, and
shares the folder with runs of other folds.
"""

import errno
import glob
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from common.console import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"
LOCK_BY_NAME = ".lock.pid"  # without flock
TAKING_OVER = ".lock.pid.next"  # there while one process takes over the lock of another that is gone
TEMPORARY = re.compile(r"\..+\.\d+\.tmp")  # of common.files.atomic_write
NO_FLOCK = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF}
HELD: list["Lock"] = []  # by this process, in the order in which they were taken


class Busy(Exception):
    """Another process holds the lock. The message says which."""


class Lock:
    """The lock of one folder, which is made where it is not there. Raises Busy, OSError where it cannot be written."""

    def __init__(self, folder: Path, shared: bool = False, made: Sequence[Path] = ()):
        self.folder = folder
        self.shared = shared
        self.made = [*made, *missing(folder)]
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / LOCK
        self.descriptor = None if fcntl is None else self.take_flock(shared)
        self.by_name = self.descriptor is None
        if self.by_name:
            self.path = folder / LOCK_BY_NAME
            if not shared:  # what shares a folder looks for who holds it alone, below
                self.take_by_name()
            elif holder := living_holder(self.path):
                raise Busy(holder)
        HELD.append(self)

    def take_flock(self, shared: bool) -> int | None:
        """The open lock file; None where the file system has no flock."""
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:  # who was refused meanwhile has removed the empty folder
                self.folder.mkdir(parents=True, exist_ok=True)
                continue
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise Busy(described(self.path)) from None
            except OSError as error:
                os.close(descriptor)
                if error.errno not in NO_FLOCK:
                    raise
                self.path.unlink(missing_ok=True)
                return None
            if is_file(descriptor, self.path):
                if not shared:
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, json.dumps(this_process()).encode())
                return descriptor
            os.close(descriptor)  # who held it before has removed it meanwhile

    def take_by_name(self) -> None:
        """Make the file that says who holds the folder, or take over that of a process that is gone."""
        for _ in range(100):
            try:
                with open(self.path, "x", encoding="utf-8") as file:
                    json.dump(this_process(), file)
                return
            except FileExistsError:
                if holder := living_holder(self.path):
                    raise Busy(holder) from None
            if self.take_over():
                return
            time.sleep(0.02)  # another is at it, or has let go meanwhile
        taking = self.folder / TAKING_OVER
        raise Busy(f"{described(taking)} (if it does not, delete {taking})")

    def take_over(self) -> bool:
        """Write our name into the file of a process that is gone. Whether it was ours to do: of many one may, and the
        file is replaced, never absent, so that nobody makes a new one meanwhile. Raises Busy."""
        taking, replaced = self.folder / TAKING_OVER, False
        try:
            file = open(taking, "x", encoding="utf-8")
        except FileExistsError:
            return False
        try:
            with file:
                json.dump(this_process(), file)
            before = os.stat(self.path)
            if holder := living_holder(self.path):  # another took it over before us
                raise Busy(holder)
            after = os.stat(self.path)
            if (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):  # not let go and made anew
                os.replace(taking, self.path)
                replaced = True
        except FileNotFoundError:  # let go
            pass
        finally:
            if not replaced:
                taking.unlink(missing_ok=True)
        return replaced

    def change(self, shared: bool) -> None:
        """Share the folder with runs of one fold from now on, or hold it alone again. Raises Busy."""
        if self.by_name:
            if shared:
                self.path.unlink(missing_ok=True)
            else:
                self.take_by_name()
        else:
            try:
                fcntl.flock(self.descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(described(self.path)) from None
        self.shared = shared

    def is_held(self) -> bool:
        """Whether the lock file is still there and ours: not where the folder was deleted, moved or made anew."""
        if not self.by_name:
            return is_file(self.descriptor, self.path)
        return self.folder.is_dir() if self.shared else read_holder(self.path) == this_process()

    def release(self) -> None:
        """Remove the lock file, and the folders that were made for it where they are empty."""
        try:
            if self.by_name:
                if read_holder(self.path) == this_process():
                    self.path.unlink(missing_ok=True)
            elif is_file(self.descriptor, self.path):
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where others share it
                self.path.unlink()
        except OSError:
            pass
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None
        for path in self.made:
            try:
                path.rmdir()
            except OSError:  # it holds the run
                break


def claim(folder: Path, new: bool, fold: int | None, check: Callable[[Path], Any]) -> Path | None:
    """Hold a run folder, or its fold<k> beside others' folds, until release(). None where `new`, a folder that must not
    be there yet, was made by another meanwhile.

    check: raises InputError where the folder, now that nobody else writes into it, is not fit for the run. Raises
    InputError where another process holds it, or where it cannot be written.
    """
    made = missing(folder)
    try:
        if new:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        if fold is None:
            if Lock(folder, made=made).by_name:
                refuse_busy_folds(folder)
        else:
            Lock(folder, shared=True)
            Lock(folder / f"fold{fold}")
            if HELD[-1].by_name and (holder := living_holder(folder / LOCK_BY_NAME)):  # both take first, then look
                raise Busy(holder)
    except (FileExistsError, FileNotFoundError):  # the latter: who was refused has removed an empty folder
        if new:
            return None
        raise InputError(f"{folder}: is a file, a folder was expected (output_dir)") from None
    except Busy as busy:
        release()
        if new:
            return None
        folds = [path for path in folder.glob(f"fold*/{LOCK}*") if read_holder(path)] if fold is None else []
        what = f"{folds[0].parent.name} {described(folds[0])}" if folds else busy  # who shares a folder leaves no name
        raise InputError(f"{folder}: is in use: {what}; wait for its end, or name another --output_dir") from None
    except OSError as error:
        release()
        raise InputError(f"{folder}: cannot be written ({(error.strerror or str(error)).lower()})") from error
    try:
        check(folder)
    except InputError:
        release()
        raise
    return folder


def choose_folder(base: Path, output_dir: str | None, resume: bool, fold: int | None) -> Path:
    """The folder of a run: the given one, else `base`, <base>-2, ...: with `resume` the last, else the next; the folds
    of a run that are started one by one share `base`."""
    if output_dir is not None:
        return Path(output_dir)
    numbers = [path.name.removeprefix(f"{base.name}-") for path in base.parent.glob(f"{glob.escape(base.name)}-*")]
    taken = sorted(int(number) for number in numbers if number.isdecimal())
    if fold is not None or not base.exists():
        return base
    if resume:
        return base.with_name(f"{base.name}-{taken[-1]}") if taken else base
    return next(base.with_name(f"{base.name}-{n}") for n in count(2) if n not in taken)


def refuse_full(folder: Path, goes_on: bool) -> None:
    """Raise InputError where the run folder is a file, or holds files and the run in it is not to go on."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, a folder was expected (output_dir)")
    if folder.is_dir() and not is_empty(folder) and not goes_on:
        how = "name another --output_dir, or give --resume to go on with the run in it"
        raise InputError(f"{folder}: is not empty; {how}")


def missing(folder: Path) -> list[Path]:
    """The folders that have to be made for this one, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def share(folder: Path) -> None:
    """Hold a folder beside others of the same kind, the processes of a search, so that no run takes it. Raises
    InputError where a run has it."""
    try:
        Lock(folder, shared=True)
    except Busy as busy:
        raise InputError(f"{folder}: is in use: {busy}; name another --output_dir") from None
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({(error.strerror or str(error)).lower()})") from error


@contextmanager
def shared_with_folds(folder: Path) -> Iterator[None]:
    """Let the folds of a folder that this process holds be trained by other processes, each of which holds its own.
    Raises InputError where one of them is still trained at the end."""
    (lock,) = (lock for lock in HELD if lock.folder == folder)
    lock.change(shared=True)
    yield
    try:
        lock.change(shared=False)
    except Busy as busy:
        raise InputError(f"{folder}: is in use: {busy}; --resume collects the folds when it has ended") from None


def hold_fold(folder: Path) -> None:
    """Hold one more fold of a folder that is shared. Raises InputError where another process trains it."""
    try:
        Lock(folder)
    except Busy as busy:
        raise InputError(f"{folder}: is in use: {busy}; wait for its end") from None


def refuse_busy_folds(folder: Path) -> None:
    """Raise Busy where a process trains one of the folds, on a file system without flock."""
    for path in folder.glob(f"fold*/{LOCK_BY_NAME}"):
        if holder := living_holder(path):
            raise Busy(holder)


def check_held() -> None:
    """Raise InputError where a folder that this process holds was deleted, moved, or made anew by another."""
    for lock in HELD:
        if not lock.is_held():
            raise InputError(f"{lock.folder}: was deleted or moved while the run was writing into it")


def release() -> None:
    """Let go of all that this process holds."""
    while HELD:
        HELD.pop().release()


def forget() -> None:
    """A forked process, which may outlive the run, does not hold its locks."""
    for lock in HELD:
        if lock.descriptor is not None:
            os.close(lock.descriptor)
    HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but a lock and temporary files, which a killed start may leave."""
    own = (LOCK, LOCK_BY_NAME, TAKING_OVER)
    return all(path.name in own or TEMPORARY.fullmatch(path.name) for path in folder.iterdir())


def is_file(descriptor: int, path: Path) -> bool:
    """Whether the path still names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def this_process() -> dict[str, Any]:
    return {"host": host(), "process": os.getpid(), "began": start_of(os.getpid())}


def host() -> str:
    """The name of this machine, and which numbers its processes have (namespaces(7)): in a container the same number is
    another process."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def start_of(process: int) -> str | None:
    """When a process of this host began; "" where the system does not tell; None where there is none, or it is dead."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except OSError:
        pass
    if os.path.exists("/proc/self/stat"):
        return None
    import psutil

    return "" if psutil.pid_exists(process) else None


def read_holder(path: Path) -> dict[str, Any]:
    """What a lock file says; {} where it says nothing yet, or is none."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def described(path: Path) -> str:
    """Who holds a lock, for a sentence."""
    holder = read_holder(path)
    if not holder:
        return "another process trains it"
    return f"process {holder.get('process')} on {str(holder.get('host')).split()[0]} trains it"


def living_holder(path: Path) -> str | None:
    """Who holds the file, as described(); None where there is no such file, or its process of this host is gone."""
    holder = read_holder(path)
    if not holder:
        try:
            age = time.time() - path.stat().st_mtime
        except OSError:
            return None
        # made, but not written yet, or by a process that was killed in between
        return described(path) if age < 10 else None
    if holder.get("host") == host():
        began = start_of(int(holder["process"]))
        return described(path) if began is not None and began in ("", holder.get("began")) else None
    return f"{described(path)} (if it does not, delete {path})"
