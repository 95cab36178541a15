"""What stands in the cells of a submission, from logits: labels, numbers, probabilities, scores, lists of labels.

Each gives the N cells of a column; where a column's name has {label} in it, C lists of N cells.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.console import InputError

if TYPE_CHECKING:
    from common.logits import Logits

__all__ = [
    "label_json",
    "label_list",
    "label_marks",
    "label_words",
    "labels_joined",
    "most_likely_label",
    "most_likely_number",
    "number",
    "probability",
    "probability_list",
    "probability_of",
    "score",
    "whole_number",
    "yes_or_no",
]


def most_likely_label(logits: "Logits") -> list[str]:
    """N label names."""
    return [logits.label_names[number] for number in logits.logits.argmax(axis=1)]


def most_likely_number(logits: "Logits") -> list[str]:
    """N numbers of labels, from 0."""
    return [str(number) for number in logits.logits.argmax(axis=1)]


def probability(logits: "Logits") -> list[list[str]]:
    """For each of C labels N probabilities with 8 digits; for a column of every label."""
    return np.char.mod("%.8f", logits.probabilities().T).tolist()


def probability_list(logits: "Logits") -> list[str]:
    """N JSON lists of C probabilities with 6 digits."""
    return [json.dumps([round(float(p), 6) for p in row]) for row in logits.probabilities()]


def score(logits: "Logits") -> list[list[str]]:
    """For each of C labels N probabilities of that label by itself: those of a row need not sum to 1."""
    return probability(logits)


@dataclass(frozen=True)
class probability_of:  # noqa: N801  (is written where the functions are)
    """N probabilities of one label, for a competition that wants only these."""

    label: str

    def __call__(self, logits: "Logits") -> list[str]:
        return probability(logits)[logits.label_names.index(self.label)]


def number(logits: "Logits") -> list[str]:
    """N numbers in the target's units, with 7 digits: logits are float32."""
    return [f"{value:.7g}" for value in logits.logits[:, 0].tolist()]


def whole_number(logits: "Logits") -> list[str]:
    """The same, rounded to whole numbers."""
    return [f"{value:.0f}" for value in np.rint(logits.logits[:, 0].astype(np.float64)) + 0.0]  # no -0


def yes_or_no(logits: "Logits") -> list[list[str]]:
    """For each of C labels N cells 1 or 0; for a column of every label. Of one class a row the likeliest is 1."""
    return np.char.mod("%d", given(logits).T).tolist()


def label_list(logits: "Logits") -> list[str]:
    """N cells like `2,3,4`: the labels of a row. At least the most likely: no cell is empty."""
    return [",".join(names) for names in chosen(logits)]


def label_words(logits: "Logits") -> list[str]:
    """The same, separated by spaces."""
    return [" ".join(names) for names in chosen(logits)]


@dataclass(frozen=True)
class labels_joined:  # noqa: N801  (is written where the functions are)
    """The same, with another separator: `2;3;4`."""

    separator: str

    def __call__(self, logits: "Logits") -> list[str]:
        return [self.separator.join(names) for names in chosen(logits)]


def label_json(logits: "Logits") -> list[str]:
    """N cells like `[2, 3, 4]`, or `["a", "b"]`; `[]` where a row has no label."""
    rows = [[logits.label_names[c] for c in np.flatnonzero(row)] for row in given(logits)]
    plain = all(name.isdecimal() for name in logits.label_names)
    return [f"[{', '.join(names)}]" if plain else json.dumps(names, ensure_ascii=False) for names in rows]


def label_marks(logits: "Logits") -> list[str]:
    """N cells like `[0, 1, 1]`: 1 or 0 for each of C labels, in their order."""
    return [str(row) for row in given(logits).astype(int).tolist()]


def chosen(logits: "Logits") -> list[list[str]]:
    """The labels of each row, at least one."""
    pairs = zip(given(logits), logits.logits, strict=True)
    rows = [np.flatnonzero(row) if row.any() else [own.argmax()] for row, own in pairs]
    return [[logits.label_names[c] for c in row] for row in rows]


def given(logits: "Logits") -> np.ndarray:
    """(N, C) bool: the labels of a row, above 0; where a row has one class, the likeliest."""
    if logits.label_names.kind == "several":
        return logits.logits > 0
    return np.arange(len(logits.label_names)) == logits.logits.argmax(axis=1)[:, None]


def answer_kind(function: Callable) -> str | None:
    """What the cells of a function here hold, as guards/cells.py names it; None: what the sample has there."""
    if isinstance(function, probability_of):
        return "probability"
    if isinstance(function, labels_joined):
        return "list"
    kinds = {score: "probability", number: "number", whole_number: "integer", yes_or_no: "binary"}
    kinds |= {most_likely_number: "integer"}
    return (kinds | dict.fromkeys((label_list, label_words, label_json), "list")).get(function)


def follows_decision(function: Callable) -> bool:
    """Whether a column's cells are what is decided, by the likeliest label or by thresholds, and no probabilities."""
    decided = (most_likely_label, most_likely_number, yes_or_no, label_list, label_words, label_json)
    decided += (label_marks,)
    return function in decided or isinstance(function, labels_joined)


def check_list(value: str, label_names: Sequence[str], where: str) -> None:
    """Raise InputError, which begins with `where`, for a cell that holds no list of known labels, each once."""
    from common.guards.cells import check_label
    from common.tables.columns import is_list, listed

    separators = [mark for mark in (",", ";", "|", "/") if mark in value] or ["," if is_list(value) else " "]
    read = [listed(value, mark) for mark in dict.fromkeys((*separators, " "))]  # a name may hold a comma or a slash
    names = next((names for names in read if all(name in label_names for name in names)), read[0])
    for name in [value] if value in label_names else names:
        check_label(name, label_names, where)
        if names.count(name) > 1:
            raise InputError(f"{where}: label {name!r:.80} stands there twice")
