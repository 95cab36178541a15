"""Several processes, also of several machines on a shared folder, work on one search. Needs flock (Linux, macOS,
WSL)."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Workers:
    """This process among a search's workers, by a file of its own that stays locked while it, or what it started,
    lives.

    flock belongs to the open file, which the child that trains inherits: after a kill of the search it trains on to its
    stop, and until then nobody else takes its trial.
    """

    def __init__(self, search_dir: Path):
        self.dir = search_dir
        (self.dir / "workers").mkdir(parents=True, exist_ok=True)
        self.me = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"
        self.lock = open(self.dir / "workers" / self.me, "w")  # noqa: SIM115  (until the process ends)
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time decides and writes."""
        with open(self.dir / "lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def is_busy(self, worker: str) -> bool:
        """Whether this worker, "" for none, is another one that lives."""
        if worker in ("", self.me) or not (self.dir / "workers" / worker).exists():
            return False
        with open(self.dir / "workers" / worker) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False
