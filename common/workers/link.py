"""A child's side of the two pipes between it and the process that it trains for: a JSON object a line. Imports no
torch."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any

LINK: "Link | None" = None  # of this process, where it is a child (child.py)
INTERVAL = 0.5  # seconds between two reports of steps


class Link:
    """What a child hears and says.

    ends_with_parent: end this process, and its data loaders, as soon as the parent is gone: a run resumes to the same
    bits after a kill at any moment. It must then lead a process group of its own.
    """

    def __init__(self, ends_with_parent: bool):
        self.ends_with_parent = ends_with_parent
        self.answers = os.fdopen(os.dup(1), "w")  # 1 becomes the log
        self.lines: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self.alone = True  # whether no other fold is trained beside this child's
        self.steps = 0
        self.said = 0.0
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        """Put what the parent says into the queue, None when it is gone."""
        with os.fdopen(os.dup(0), encoding="utf-8") as file:
            for line in file:
                self.lines.put(json.loads(line))
        if self.ends_with_parent:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        self.lines.put(None)

    def next(self) -> dict[str, Any] | None:
        """What the parent says next; None where it is gone."""
        return self.lines.get()

    def say(self, **answer: Any) -> None:
        print(json.dumps(answer), file=self.answers, flush=True)

    def count_step(self, *_: Any) -> None:
        """A hook of torch's optimizers: tells the parent the steps of this fold, now and then."""
        self.steps += 1
        if time.monotonic() - self.said > INTERVAL:
            self.said = time.monotonic()
            self.say(steps=self.steps)


def write_to(log: str | Path) -> None:
    """Let this process's output go to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
