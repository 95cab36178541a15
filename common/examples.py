"""A row as data.py hands it over, and the files of a run as rows, checked."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.console import InputError
from common.guards.spelling import nfc
from common.options.fields import PseudoArguments
from common.targets.classes import known_rows

LONGEST_TEXT = 10_000  # characters; more is a file that was read wrong, an open quote say


@dataclass
class TextExample:
    """One row: segments in the order in which the model reads them, `main` the number of the one truncated last."""

    id: str
    segments: list[str]
    label: Any = -1  # what the target calls unknown: -1 of classes
    group: str = ""  # rows of one group stay in one fold; default: each row is a group
    main: int = 0
    template: str | None = None  # segments fill its fields, in order; None: they are joined as the tokenizer does
    context: bool = False  # whether the others than `main` are lines around it, which have rows of their own

    def __post_init__(self) -> None:
        self.segments = [nfc(segment) for segment in self.segments]
        self.group = self.group or nfc(self.id)

    @property
    def own(self) -> list[str]:
        """The segments but for the context."""
        return [self.segments[self.main]] if self.context else self.segments


def read_files(args: Any, read: Callable[[str], Sequence]) -> dict[str, Sequence]:
    """{"train": rows, "eval": ..., "test": ...} of the files that args name, cut to max_..._samples and checked.

    read: path -> rows, each with an id, a label and a group. Raises InputError as it and check_examples() do.
    """
    limits = {"train": args.max_train_samples, "eval": args.max_eval_samples, "test": args.max_predict_samples}
    examples = {}
    for name, limit in limits.items():
        if path := getattr(args, f"{name}_file"):
            examples[name] = read(path)[:limit]
    check_files(args, examples)
    if isinstance(args, PseudoArguments) and args.pseudo_file:
        from common.tricks.pseudo import read_pseudo

        examples["pseudo"] = read_pseudo(args, read, examples["train"])
    return examples


def check_files(args: Any, examples: dict[str, Sequence]) -> None:
    """check_examples() of the rows of each file; again where a task has left rows out."""
    for name, rows in examples.items():
        least_classes = 2 if name == "train" else 1
        check_examples(rows, getattr(args, f"{name}_file"), labelled=name != "test", least_classes=least_classes)


def cut_test_rows(args: Any, rows: Sequence) -> Sequence:
    """The rows of predict.py's test_file, cut and checked in the same way."""
    rows = rows[: args.max_predict_samples]
    check_examples(rows, args.test_file)
    return rows


def labels_of(examples: Sequence) -> np.ndarray:
    """(N,) int64, -1 where unknown; of other targets than classes (N, C) int64 or (N,) float64 (common/targets)."""
    return np.array([example.label for example in examples])


def groups_of(examples: Sequence) -> np.ndarray:
    """(N,) of what the rows have as their group."""
    return np.array([example.group for example in examples])


def texts_of(examples: Sequence[TextExample]) -> list[str]:
    """Every segment of every row, in order; behind a row's, the template around them."""
    templates = [[example.template] if example.template else [] for example in examples]
    return [text for example, own in zip(examples, templates, strict=True) for text in (*example.segments, *own)]


def check_id(row_id: str, column: str, row: int, first_row: dict[str, int], path: str | Path) -> None:
    """Raise InputError for an id that is empty or that an earlier row has. first_row: id -> its row, which is added."""
    where = f"{path}, row {row}, column {column}"
    if not row_id.strip():
        raise InputError(f"{where}: is empty")
    key = nfc(row_id)
    if key in first_row:
        raise InputError(f"{where}: {row_id!r:.80} is repeated, expected in row {first_row[key]} only")
    first_row[key] = row


def check_text(text: str, where: str) -> None:
    """Raise InputError, which begins with `where`, for a text that is too long to be one."""
    if len(text) > LONGEST_TEXT:
        much = f"has {len(text):,} characters, more than {LONGEST_TEXT:,}"
        raise InputError(f"{where}: {much}; is a quote left open?")


def check_examples(examples: Sequence, source: str | Path, *, labelled: bool = False, least_classes: int = 1) -> None:
    """Raise InputError for a file without rows, for a repeated id or one that no CSV can hold and, where the rows must
    be labelled, for rows without a label and for fewer than least_classes."""
    if not len(examples):
        raise InputError(f"{source}: holds no rows")
    ids = [example.id for example in examples]
    row_id, count = Counter(map(nfc, ids)).most_common(1)[0]
    if count > 1:
        raise InputError(f"{source}: id {row_id} occurs {count} times, expected once")
    if broken := [row_id for row_id in ids if "\r" in row_id]:  # Python's csv writes it without quotes
        raise InputError(f"{source}: id {broken[0]!r} holds a carriage return")
    if not labelled:
        return
    labels = labels_of(examples)
    if (unknown := ~known_rows(labels)).any():
        counts = f"{unknown.sum()} of {len(ids)} rows have no label (first: id {ids[int(unknown.argmax())]})"
        raise InputError(f"{source}: {counts}, expected one in each row")
    if len(np.unique(labels, axis=0)) < least_classes:
        raise InputError(f"{source}: all {len(ids)} rows have the same label, expected two classes or more")
