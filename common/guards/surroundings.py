"""What a machine can lack: room on a disk, file descriptors, a temporary folder, a terminal; a run folder that is gone.

steady_streams()                     # a closed or ASCII terminal ends nothing
with ending():                       # what a library says of a full disk becomes one sentence
    main()
"""

import errno
import gc
import io
import json
import os
import re
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from common.console import InputError, Stopped
from common.files import write_json
from common.guards.lock import HELD, TEMPORARY, check_held, release, start_of
from common.guards.terminal import LANGUAGES, language_of_system, speak, take_language
from common.workers import link as parent

AT_END: list[Callable[[BaseException | None], None]] = []  # called once, with what main() has ended with
SENTENCES = {
    errno.ENOSPC: "no space left on {where}; make room there and start again",
    errno.EDQUOT: "no space left on {where} within the quota; make room there and start again",
    errno.EROFS: "{where} is mounted read-only",
    errno.EMFILE: "too many open files for one process; raise the limit (ulimit -n) or lower --dataloader_num_workers",
    errno.ENFILE: "too many open files on this machine; close other programs",
    errno.EFBIG: "a file grew larger than is allowed on {where} (ulimit -f, or the limit of its file system)",
    errno.EIO: "{where} cannot be read or written (input/output error)",
    errno.ESTALE: "{where} has gone away (stale file handle)",
    errno.ENOMEM: "no memory left on this machine",
    errno.EACCES: "{where} cannot be read or written (permission denied)",
    errno.EPERM: "{where} cannot be read or written (operation not permitted)",
}
# What libraries say where they lose the number: datasets and pyarrow, safetensors and other Rust, torch's loaders.
NUMBER = re.compile(r"(?:\[errno |os error |error code: )(\d+)", re.IGNORECASE)
TEXTS = {
    errno.ENOSPC: ("no space left on device", "out of shared memory"),
    errno.EDQUOT: ("disk quota exceeded",),
    errno.EROFS: ("read-only file system",),
    errno.EMFILE: ("too many open files",),
    errno.EFBIG: ("file too large",),
    errno.ENOMEM: ("cannot allocate memory", "can't allocate memory"),
}
NO_TEMPORARY = ("no usable temporary directory", "temporary directory could not be created")
TORCH_WRITER = ("inline_container", "PytorchStreamWriter", "iostream error")  # torch.save() does not say why
PROBE = 4 * 2**20  # bytes


def explain(error: BaseException) -> str | None:
    """The sentence for an error that is the machine's and not the program's; None for all others."""
    try:
        check_held()
    except InputError as gone:
        return str(gone)
    for link in chain(error):
        text = str(link)
        if any(words in text.lower() for words in NO_TEMPORARY):
            return "no usable temporary folder was found; name one that can be written in TMPDIR"
        number = number_of(link)
        if number is None and isinstance(link, RuntimeError) and any(words in text for words in TORCH_WRITER):
            number = probe(where_written(None))
        if number is not None:
            return SENTENCES[number].format(where=f"the disk of {where_written(getattr(link, 'filename', None))}")
    return None


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from, or after."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def number_of(error: BaseException) -> int | None:
    """The errno of SENTENCES that an error has or speaks of."""
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number in SENTENCES:
        return number
    text = str(error)
    if isinstance(error, (ImportError, SyntaxError)):
        return None
    said = [int(found) for found in NUMBER.findall(text) if int(found) in SENTENCES]
    return next(iter(said), next((n for n, words in TEXTS.items() if any(w in text.lower() for w in words)), None))


def where_written(filename: Any) -> str:
    """The file that an error names, else the run folder, else the current one."""
    if isinstance(filename, (str, bytes, os.PathLike)) and filename:
        return os.fsdecode(filename)
    return str(HELD[0].folder) if HELD else os.getcwd()


def probe(folder: str) -> int | None:
    """The errno of writing PROBE bytes into a folder; None where that works."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * PROBE)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno if error.errno in SENTENCES else None
    return None


@contextmanager
def ending() -> Iterator[None]:
    """Run a program: what explain() knows becomes an InputError, and AT_END is told how it ended. Raises InputError for
    a --lang that is none."""
    choose_language(sys.argv)
    failure: BaseException | None = None
    spare = [os.open(os.devnull, os.O_RDONLY) for _ in range(2)]  # so that run.json can be written without any left
    try:
        yield
    except Exception as error:
        failure = error
        sentence = None if isinstance(error, (InputError, Stopped)) else explain(error)
        if sentence is not None:
            let_go(error)
            failure = InputError(sentence)
            raise failure from None
        raise
    finally:
        for descriptor in spare:
            os.close(descriptor)
        while AT_END:
            AT_END.pop()(failure)
        release()


def choose_language(argv: list[str]) -> None:
    """The language of this process: --lang, which is taken out of the command line, else that of the system. A process
    that trains for another one speaks English, because the other one reads its log, and says it in its own language."""
    given = take_language(argv)
    speak("en" if parent.LINK is not None else language_of_system())
    if given is not None and given not in LANGUAGES:
        raise InputError(f"command line: --lang {given!r:.40} is not one of {', '.join(LANGUAGES)}")
    if given is not None and parent.LINK is None:
        speak(given)


def let_go(error: BaseException) -> None:
    """Free what the calls that failed still hold, files say; a half-made object complains when it is freed, which is
    no news."""
    said = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        for link in chain(error):
            traceback.clear_frames(link.__traceback__)
        gc.collect()
    finally:
        sys.unraisablehook = said


def describe_failure(error: Exception) -> str:
    """The sentence of run.json; with the type where the error is a bug."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def check_temporary() -> None:
    """Raise the OSError of tempfile where there is no temporary folder: before a run, whose libraries need one."""
    tempfile.gettempdir()


def record_failure(path: Path, value: dict[str, Any]) -> None:
    """Write run.json when a run fails, on a full disk too: what is half-written there makes room, else its own bytes
    are overwritten in place. Raises nothing: then the sentence on the terminal is all."""
    ways = (write_json, write_with_room, overwrite)
    for write in ways:
        try:
            write(path, value)
            return
        except (OSError, InputError):
            continue


def write_with_room(path: Path, value: dict[str, Any]) -> None:
    drop_unfinished(path.parent)
    write_json(path, value)


def overwrite(path: Path, value: dict[str, Any]) -> None:
    """In place: needs no room but for what is longer than before."""
    with open(path, "r+", encoding="utf-8", newline="") as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        file.truncate()


def drop_unfinished(folder: Path) -> None:
    """Remove what a failed run leaves half-written, and what each start writes anew."""
    for rows in (folder / "rows", *folder.glob("fold*/rows")):
        shutil.rmtree(rows, ignore_errors=True)
    for checkpoint in folder.rglob("checkpoint-*"):
        if not (checkpoint / "manifest.json").exists():
            shutil.rmtree(checkpoint, ignore_errors=True)


def remove_stale(folder: Path, deep: bool = True) -> None:
    """Remove the temporary files (.<name>.<process>.tmp) that processes which are gone left in a folder."""
    for path in folder.rglob(".*.tmp") if deep else folder.glob(".*.tmp"):
        if TEMPORARY.fullmatch(path.name) and start_of(int(path.name.split(".")[-2])) is None:
            path.unlink(missing_ok=True)


class SteadyFile(io.FileIO):
    """A standard stream that may break (a closed pipe or terminal, a full disk) without ending the program."""

    def write(self, data: Any) -> int | None:
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except OSError:
            return memoryview(data).nbytes


def steady_streams() -> None:
    """Standard output and error that take every text and never raise: what an ASCII terminal cannot show becomes an
    escape, what a closed one does not take is lost. Streams that are no files (a notebook's) stay."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        buffer = getattr(stream, "buffer", None)
        file = getattr(buffer, "raw", buffer)  # with PYTHONUNBUFFERED there is nothing between
        if stream is None:  # closed before the start: a file that is opened later must not get its number
            keep_number(number)
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  (until the process ends)
        elif isinstance(file, io.FileIO) and not isinstance(file, SteadyFile):
            with suppress(OSError):
                stream.flush()
            steady = SteadyFile(stream.fileno(), "wb", closefd=False)
            how = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
            buffer = steady if buffer is file else io.BufferedWriter(steady)
            setattr(sys, name, io.TextIOWrapper(buffer, stream.encoding, "backslashreplace", **how))


def keep_number(number: int) -> None:
    """Open nothing under a standard stream's number, where it is free."""
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
