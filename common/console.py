"""What the terminal shows: lines of the first process only, bad input as one sentence with exit code 2, and Ctrl-C.

Everything that is not an InputError is a bug and keeps its traceback.
"""

import argparse
import os
import sys
from collections.abc import Callable

from common.guards.terminal import LANG_HELP, printable

DIVERGED = "training diverged"  # how the message says it; common.search goes on with other values
QUIET = [False]  # --quiet


class InputError(Exception):
    """What the user gave cannot be used. The message says where it is, what is wrong and what was expected."""


class Stopped(Exception):
    """The run stops where the user wanted it to, and can go on. The message says where and how."""


class ArgumentParser(argparse.ArgumentParser):
    """A command line whose complaints are InputErrors, without abbreviated options; help begins with a docstring."""

    def __init__(self, prog: str, doc: str):
        super().__init__(prog=prog, allow_abbrev=False, epilog=LANG_HELP)
        self.doc = doc

    def error(self, message: str) -> None:
        raise InputError(f"command line: {message}")

    def format_help(self) -> str:
        return f"{self.doc.strip()}\n\n{super().format_help()}"

    def parse_known_args(self, *args: object, **kwargs: object) -> tuple[argparse.Namespace, list[str]]:
        from common.guards.special import refuse_special_values  # because it imports this module

        if "_ARGCOMPLETE" in os.environ:
            from common.options.completion import complete

            complete(self)
        namespace, rest = super().parse_known_args(*args, **kwargs)
        refuse_special_values(vars(namespace))
        return namespace, rest


def is_first_process() -> bool:
    """Whether this is the process that prints, as torchrun and accelerate number them."""
    return int(os.environ.get("RANK", "0")) == 0


def print_once(*values: object, always: bool = False) -> None:
    """print() from the first process only; with --quiet only what is to be said always, the results."""
    if is_first_process() and (always or not QUIET[0]):
        print(printable(" ".join(map(str, values))), flush=True)


def first_line(error: Exception) -> str:
    """What a library's error says, short enough for a sentence of ours; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def run_main(main: Callable[[], None], again: str = "start the same command with --resume to go on") -> None:
    """Run a script; an InputError becomes `error: ...` on stderr (from one process only) and exit code 2.

    again: what Ctrl-C tells the user.
    """
    from common.guards.processes import leave_group, speaks_first, together  # because these import this module
    from common.guards.surroundings import ending, steady_streams

    steady_streams()
    try:
        with ending(), together(again):
            main()
    except Stopped as stop:
        print_once(stop)
    except InputError as error:
        sys.stdout.flush()  # because a log of both streams should have them in this order, too
        if speaks_first():
            print(printable(f"error: {' '.join(str(error).splitlines())}"), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        if speaks_first():
            print(printable(f"\ninterrupted: {again}"), file=sys.stderr)
        sys.exit(130)
    finally:
        leave_group()
