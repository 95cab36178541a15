"""The log of a search's trials, journal.log: a JSON object a line, as Optuna's JournalFileBackend appends them."""

import json
import os
from pathlib import Path

from common.console import InputError, print_once


def mend_journal(path: Path) -> None:
    """Cut off a last line that a kill or a full disk left half written, and say so; Optuna would refuse the whole file.

    Call it while no other worker writes. Raises InputError that names the line for damage elsewhere.
    """
    if not path.exists():
        return
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    whole = 0  # bytes
    for number, line in enumerate(lines, start=1):
        if line.endswith(b"\n") and is_entry(line):
            whole += len(line)
        elif number < len(lines):
            raise InputError(
                f"{path}, row {number}: is damaged, expected the JSON that a search writes; remove the folder"
            )
    if whole < len(data):
        with open(path, "r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
        print_once(f"{path}: its last line was half written and is cut off; what it said is done again")


def is_entry(line: bytes) -> bool:
    """Whether a line is an operation of Optuna's journal."""
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and isinstance(entry.get("op_code"), int)
