"""What a sample's draw.py is asked for, and the tables of a contest that it makes up with the files that it draws."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.console import InputError
from common.files import atomic_write, read_json


def read_recipe(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """A sample's drawn.json. Raises InputError where it lacks one of the names: another recipe's sample does."""
    recipe = read_json(path)
    if missing := [name for name in names if name not in recipe]:
        raise InputError(f"{path}: has no {missing[0]}; it is the sample of another task")
    return recipe


def write_contest(folder: Path, header: Sequence[str], rows: Sequence[list[str]], placeholders: Sequence[str]) -> None:
    """Write train.csv, test.csv (the files' names of the first quarter of the rows), truth.csv (their labels), and
    sample_<target>.csv, whose rows are in another order.

    The first column names the files, each other one is a target. placeholders: of each target what the sample holds.
    Raises InputError where nothing can be written.
    """
    held = len(rows) // 4
    order = np.random.default_rng(0).permutation(held)
    tables = {"train": [header, *rows[held:]], "test": [row[:1] for row in [header, *rows[:held]]]}
    tables["truth"] = [header, *rows[:held]]
    for target, cell in zip(header[1:], placeholders, strict=True):
        tables[f"sample_{target}"] = [[header[0], target], *([rows[i][0], cell] for i in order)]
    for name, lines in tables.items():
        with atomic_write(folder / f"{name}.csv") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)
