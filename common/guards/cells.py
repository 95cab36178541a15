"""What a cell of a submission may hold: a value of the kind that the sample has in its column."""

import difflib
import math
import re
from collections.abc import Sequence

from common.console import InputError

# What pandas and the leaderboards that read with it take for no value; lower case.
MISSING = {"", "nan", "-nan", "na", "n/a", "#n/a", "#na", "#n/a n/a", "<na>", "null", "1.#ind", "-1.#ind", "1.#qnan"}
INTEGER = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
EXPECTED = {
    "integer": "a whole number, as the sample has there",
    "number": "a finite number, as the sample has there",
    "probability": "a probability between 0 and 1",
    "binary": "0 or 1",
    "text": "one",
}


def kind_of(cells: Sequence[str]) -> str:
    """integer, number or text: what all cells of a sample's column are, those without a value aside."""
    values = [cell for cell in cells if not is_missing(cell)]
    if not values:
        return "text"
    if all(INTEGER.fullmatch(value) for value in values):
        return "integer"
    return "number" if all(NUMBER.fullmatch(value) for value in values) else "text"


def is_missing(value: str) -> bool:
    """Whether a cell has no value. None is not among these: it can be a label."""
    return value.strip().lower() in MISSING


def check_cell(value: str, kind: str, where: str) -> None:
    """Raise InputError, which begins with `where`, for a cell that is not of the kind.

    kind: a key of EXPECTED. Numbers are in ASCII digits, without spaces or underscores, and finite: float() would take
    more than competitions do.
    """
    if is_missing(value):
        raise InputError(f"{where}: {value!r} is no value, expected {EXPECTED[kind]}")
    fits = {
        "integer": lambda: INTEGER.fullmatch(value),
        "number": lambda: NUMBER.fullmatch(value) and math.isfinite(float(value)),
        "probability": lambda: NUMBER.fullmatch(value) and 0 <= float(value) <= 1,
        "binary": lambda: value in ("0", "1"),
        "text": lambda: True,
    }
    if not fits[kind]():
        raise InputError(f"{where}: {value!r:.80}, expected {EXPECTED[kind]}")


def check_label(value: str, label_names: Sequence[str], where: str) -> None:
    """Raise InputError, which begins with `where`, for a cell that holds none of the labels."""
    if value not in label_names:
        nearest = difflib.get_close_matches(value, label_names, n=1, cutoff=0.0)[0]
        expected = f"one of the {len(label_names)} labels (nearest: {nearest!r})"
        raise InputError(f"{where}: unknown label {value!r:.80}, expected {expected}")
