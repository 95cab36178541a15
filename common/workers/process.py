"""A parent's side of a child (child.py): start it, give it command lines of train.py, hear how they end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]  # where `common` is imported from
# What torchrun and accelerate launch set.
LAUNCHER = ("RANK", "WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK", "ROLE_NAME", "ROLE_WORLD_SIZE")
LAUNCHER += ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_", "ACCELERATE_")


def python_path() -> str:
    """PYTHONPATH of a process that imports `common` from where this one did."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


class Child:
    """One process that trains.

    ends_with_parent: it is killed with this process, Ctrl-C in a terminal reaches only this one, and the variables of a
    launcher are not handed on, because the child is no rank of it. extra: environment variables of its own. pass_fds:
    open files that it inherits.
    """

    def __init__(
        self, ends_with_parent: bool = False, extra: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
    ):
        command = [sys.executable, "-m", "common.workers.child", *["--end_with_parent"] * ends_with_parent]
        dropped = LAUNCHER if ends_with_parent else ()
        env = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        env["PYTHONPATH"] = python_path()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**env, **(extra or {})},
            pass_fds=pass_fds,
            start_new_session=ends_with_parent,
        )

    def send(self, **line: Any) -> None:
        """Tell the child something; nothing where it is gone, which hear() says."""
        try:
            print(json.dumps(line), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass

    def hear(self) -> dict[str, Any]:
        """What the child says next; {"code": a signal's number, negative} where it has ended."""
        line = self.process.stdout.readline()
        return json.loads(line) if line.endswith("\n") else {"code": self.process.wait()}

    def run(self, log: Path, argv: Sequence[str]) -> int:
        """The exit code of `python <argv>`, whose output goes to the end of `log`."""
        self.send(log=str(log), argv=list(argv))
        return self.hear()["code"]

    def kill(self) -> None:
        """End a child that ends with its parent, at once and with what it has started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
