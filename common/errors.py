"""Bad input: one clear sentence on stderr and exit code 2. Everything else is a bug and keeps its traceback."""

import argparse
import os
import sys
from collections.abc import Callable

DIVERGED = "training diverged"  # how the message says it; common.search goes on with other values


class InputError(Exception):
    """What the user gave cannot be used. The message says where it is, what is wrong and what was expected."""


class Stopped(Exception):
    """The run stops where the user wanted it to, and can go on. The message says where and how."""


class ArgumentParser(argparse.ArgumentParser):
    """A command line whose complaints are InputErrors, which takes no abbreviated options; its help begins with a
    module's docstring."""

    def __init__(self, prog: str, doc: str):
        super().__init__(
            prog=prog, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )

    def error(self, message: str) -> None:
        raise InputError(f"command line: {message}")


def first_line(error: Exception) -> str:
    """What a library's error says, short enough for a sentence of ours; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def run_main(main: Callable[[], None], again: str = "start the same command with --resume to go on") -> None:
    """Run a script's main(); an InputError becomes `error: ...` on stderr (from the first process only) and exit code
    2.

    again: what Ctrl-C tells the user.
    """
    try:
        main()
    except Stopped as stop:
        if int(os.environ.get("RANK", "0")) == 0:
            print(stop)
    except InputError as error:
        sys.stdout.flush()  # what was printed before stands before, in a log of both, too
        if int(os.environ.get("RANK", "0")) == 0:
            print("error:", " ".join(str(error).splitlines()), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\ninterrupted: {again}", file=sys.stderr)
        sys.exit(130)
