"""Several processes (torchrun, accelerate launch): whichever way one ends, it leaves the process group, the others end
within seconds, and one of them says why.

    try:
        with together(again):      # a process that is gone becomes an InputError, SIGTERM a KeyboardInterrupt
            main()
    except InputError as error:
        if speaks_first():
            print(error)
    finally:
        leave_group()

A launcher sends SIGTERM to the others when one has ended. Python would look at it only after the wait for a process
that never answers; so a thread gets it, too, and ends what does not end by itself.
"""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from common.console import InputError, Stopped
from common.guards.terminal import printable

GRACE = 5  # seconds that the way out may take after SIGTERM or Ctrl-C
SIGNALS = (signal.SIGTERM, signal.SIGINT)
# What gloo, NCCL and the store say where another process has gone, and where it does not answer.
GONE = re.compile(
    r"connection (was likely )?(closed|reset|refused|aborted)|broken pipe|gloo/transport|pair closure|remote process"
    r"|failed to (recv|send)|socket(Timeout| error)?|NCCL",
    re.IGNORECASE,
)
LATE = re.compile(r"timed? ?out", re.IGNORECASE)


def are_several() -> bool:
    """Whether a launcher has started more than one process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def together(again: str) -> Iterator[None]:
    """Run a program that may be one of several processes. Raises InputError, which ends with `again`, where another one
    has gone or does not answer; KeyboardInterrupt for SIGTERM."""
    if not are_several() or threading.current_thread() is not threading.main_thread():
        yield
        return
    watch_signals(again)
    try:
        yield
    except BaseException as error:
        ignore_signals()  # the launcher's SIGTERM would interrupt what says why this process ends
        if isinstance(error, (InputError, Stopped)) or not isinstance(error, Exception):
            raise
        reason = lost(error)
        if reason is None:
            speaks_first()  # the traceback says it
            raise
        raise InputError(f"{reason}; {again}") from error


def lost(error: Exception) -> str | None:
    """What an error of a collective call says of another process; None for other errors."""
    from torch import distributed

    kinds = (distributed.DistError, distributed.DistBackendError, ConnectionError)
    text = str(error)
    if not (isinstance(error, kinds) or isinstance(error, RuntimeError) and "gloo" in text):
        return None
    if LATE.search(text) and not re.search("closed|reset", text):
        return "another process of this run does not answer (ddp_timeout says how long to wait)"
    return "another process of this run has ended" if GONE.search(text) else None


def speaks_first() -> bool:
    """Whether this is the first of the processes that has to say why it ends. Without torchrun, which keeps a store for
    all of them, each says it."""
    if not are_several() or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    from datetime import timedelta

    from torch.distributed import TCPStore

    names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT")
    key = "/".join(["said", *(os.environ.get(name, "") for name in names)])
    try:
        port = int(os.environ["MASTER_PORT"])
        store = TCPStore(os.environ["MASTER_ADDR"], port, is_master=False, timeout=timedelta(seconds=GRACE))
        return store.add(key, 1) == 1
    except (RuntimeError, ValueError, KeyError):  # the launcher is gone
        return True


def watch_signals(again: str) -> None:
    """SIGTERM becomes KeyboardInterrupt; GRACE seconds after it, or after Ctrl-C, the process ends in any case."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=forget_signals)
    threading.Thread(target=end_late, args=(read, again), daemon=True).start()


def ignore_signals() -> None:
    """A process on its way out has nothing left to be interrupted."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def forget_signals() -> None:
    """A forked worker has no pipe of its own, and ends as it always did."""
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def end_late(read: int, again: str) -> None:
    """Wait for a signal, and end a process that is still there GRACE seconds later."""
    while not set(os.read(read, 64)) & {*SIGNALS}:  # other signals have Python's attention, too
        continue
    time.sleep(GRACE)
    if speaks_first():
        print(printable(f"\ninterrupted: {again}"), file=sys.stderr, flush=True)
    os._exit(128 + signal.SIGTERM)


def leave_group() -> None:
    """Leave the process group, if there is one: a process that ends in it can abort, or bring the others down. Signals
    find nothing to interrupt any more."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return
    ignore_signals()
    ending = sys.exception()
    leaving = threading.Thread(target=distributed.destroy_process_group, daemon=True)
    leaving.start()
    leaving.join(GRACE)
    if leaving.is_alive():  # it waits for a process that is gone
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ending.code if isinstance(ending, SystemExit) else 1 if ending else 0)
