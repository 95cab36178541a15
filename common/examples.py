"""Rows as every task's data.py hands them over, and the checks that hold for all tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import InputError


@dataclass
class TextExample:
    """One row: segments in the order in which the model reads them, `main` the number of the one that is truncated
    last."""

    id: str
    segments: list[str]
    label: int = -1  # -1: unknown
    group: str = ""  # rows of one group stay in one fold; default: each row is a group
    main: int = 0

    def __post_init__(self) -> None:
        self.group = self.group or self.id


@dataclass
class Entity:
    """Characters start to end of a sentence, 0-based, both inclusive; type: what a named-entity tagger says, None where
    unknown."""

    start: int
    end: int
    type: str | None = None


@dataclass(kw_only=True)
class RelationExample(TextExample):
    """A sentence, the only segment, and the two entities whose relation is the label."""

    e1: Entity
    e2: Entity


def labels_of(examples: Sequence[TextExample]) -> np.ndarray:
    """(N,) int64, -1 where unknown."""
    return np.fromiter((example.label for example in examples), dtype=np.int64, count=len(examples))


def check_examples(
    examples: Sequence[TextExample], source: str, *, labelled: bool = False, least_classes: int = 1
) -> None:
    """Raise InputError for a file without rows, for a repeated id or one that no CSV can hold and, where the rows must
    be labelled, for rows without a label and for fewer than least_classes."""
    if not examples:
        raise InputError(f"{source}: holds no rows")
    hashes = np.fromiter(
        (hash(example.id) for example in examples), dtype=np.int64, count=len(examples)
    )  # not all ids in memory
    _, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    if counts.max() > 1:
        row = int(first[counts == counts.max()].min())
        raise InputError(f"{source}: id {examples[row].id} occurs {counts.max()} times, expected once")
    if broken := [example.id for example in examples if "\r" in example.id]:  # Python's csv writes it without quotes
        raise InputError(f"{source}: id {broken[0]!r} holds a carriage return")
    if labelled:
        unlabelled = [example.id for example in examples if example.label < 0]
        if unlabelled:
            counts = f"{len(unlabelled)} of {len(examples)} rows have no label (first: id {unlabelled[0]})"
            raise InputError(f"{source}: {counts}, expected one in each row")
        if len({example.label for example in examples}) < least_classes:
            raise InputError(f"{source}: all {len(examples)} rows have the same label, expected two classes or more")
