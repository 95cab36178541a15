"""What this machine can do, and whether a task's preset can run on it: a line a finding, and what to do about it.

python -m common.doctor                                             # the machine
python -m common.doctor friends                                     # and the preset that friends/train.py would take
python -m common.doctor friends --config friends/configs/final.yaml --measure      # minutes and memory of the run

--measure trains some ten steps in a temporary folder. Exit code 1: the preset cannot run here, and the last line names
the nearest that can; 2: bad input.
"""

import argparse  # PYTHON_ARGCOMPLETE_OK
import logging
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from common.console import ArgumentParser, InputError, first_line, print_once, run_main
from common.doctor.findings import Finding, fatal_names
from common.doctor.packages import INSTALL, find_packages, installed
from common.guards.tasks import check_task_folder
from common.guards.terminal import told

if TYPE_CHECKING:
    from common.doctor.hub import Hub


def main() -> None:
    args = parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    found = say(find_packages())
    if fatal_names(found):
        end(found, f"packages are missing: {INSTALL}")
    try:
        from common.doctor.hub import Hub
        from common.doctor.machine import find_machine
    except (ImportError, OSError) as error:  # a library of torch's that is not there
        end([], f"torch or transformers cannot be imported ({first_line(error)}): install them anew, {INSTALL}")
    hub = Hub()
    found += say([*find_machine(), hub.finding()])
    if args.task is None:
        end(found, "a GPU cannot be used")
        return
    try:
        examine(args, hub, found)
    except ImportError as error:
        end([], f"{args.task} cannot run here, a package of it is missing ({first_line(error)}): {INSTALL}")


def parse_args() -> argparse.Namespace:
    """The command line. Raises InputError."""
    parser = ArgumentParser("python -m common.doctor", __doc__)
    parser.add_argument("task", nargs="?", type=Path, help="task folder; without it the machine alone is looked at")
    parser.add_argument("--config", help="YAML preset; default: the one that the task's train.py would take")
    parser.add_argument("--measure", action="store_true", help="train ten steps: minutes and memory of the whole run")
    args = parser.parse_args()
    if args.task is None and (args.config is not None or args.measure):
        raise InputError("command line: --config and --measure need a task folder, as friends")
    if args.task is not None:
        check_task_folder(args.task)  # before the seconds that torch takes
    return args


def examine(args: argparse.Namespace, hub: "Hub", found: list[Finding]) -> None:
    """The lines on a preset, and the last one."""
    from common.doctor.preset import check, look_at, nearest, read

    preset = read(args.task, args.config)
    print_once(f"preset {preset.path} ({preset.why})")
    own = say(look_at(preset, hub))
    missing = fatal_names(own)
    if not missing:
        check(preset)
    if args.measure and not set(missing) - {"data"}:
        from common.doctor.measure import measure

        print_once("measuring: some ten steps of its train.py")
        own += say(measure(preset, sample="data" in missing))
    if not fatal_names([*found, *own]):
        print_once(f"{preset.path} can run here")
        return
    other = nearest(preset, hub)
    near = f"the nearest preset that can: --config {other}" if other else f"no preset of {args.task} can"
    end([*found, *own], f"{preset.path} cannot run here ({', '.join(map(told, fatal_names([*found, *own])))}); {near}")


def say(findings: Iterable[Finding]) -> list[Finding]:
    """Print each as it is found."""
    said = []
    for finding in findings:
        print_once(finding)
        said.append(finding)
    return said


def end(found: list[Finding], sentence: str) -> None:
    """Exit code 1 and a sentence where something is fatal."""
    if not found or fatal_names(found):
        print_once(sentence)
        sys.exit(1)


if __name__ == "__main__":
    if installed("PyYAML") is None:  # without which run_main() cannot be imported
        say(find_packages())
        sys.exit(f"packages are missing: {INSTALL}")
    run_main(main, again="start the same command again")
