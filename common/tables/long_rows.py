"""A submission of several rows an id, one for each label: `id,label,score`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.console import InputError, is_first_process
from common.guards.cells import check_label
from common.guards.samples import check_ids, read_sample, sample_columns
from common.guards.spelling import nfc
from common.logits import Logits
from common.submission import Submission, SubmissionFormat, check_submission, write_submission
from common.tables.answers import probability


@dataclass(frozen=True)
class LongFormat(SubmissionFormat):
    """C rows an id, one for each label: its name in label_column, and in each of columns what a function gives for
    every label (probability, score, yes_or_no).

    LongFormat("id", {"score": score}, label_column="label")
    """

    label_column: str = "label"

    def column_names(self, label_names: Sequence[str]) -> list[str]:
        return [self.label_column, *self.columns]

    def cells_asked(self, label_names: Sequence[str]) -> dict[str, Any]:
        asked = {**super().cells_asked(label_names), "label_names": label_names, "label_columns": [self.label_column]}
        return {**asked, "probability_columns": False}  # they sum to 1 over an id's rows

    def kinds(self, label_names: Sequence[str]) -> dict[str, str]:
        shares = [name for name, function in self.columns.items() if function is probability]
        return SubmissionFormat(None, self.columns).kinds(label_names) | dict.fromkeys(shares, "probability")

    def values(self, logits: Logits) -> dict[str, Sequence[Sequence]]:
        """Column -> C lists of N cells. Raises InputError for a function that gives others."""
        return {name: of_labels(name, function(logits), logits) for name, function in self.columns.items()}

    def fit(self, sample: str | None, ids: Sequence[str], label_names: Sequence[str]) -> "LongSubmission":
        """As SubmissionFormat.fit(). Raises InputError for a sample that has not each id with each label once."""
        if not sample:
            return LongSubmission(self)
        header, rows = read_sample(sample)
        names = [self.id_column, *self.column_names(label_names)]
        if header[:1] != names[:1] or sorted(header) != sorted(names):
            raise InputError(f"{sample}, row 1: columns are {','.join(header)}, expected {','.join(names)}")
        pairs = read_pairs(sample, header, rows, header.index(self.label_column), label_names)
        by_id = sorted({nfc(row_id): (row, [row_id]) for row, row_id, _ in pairs}.items())
        check_ids(sample, self.id_column, [row for _, row in by_id], "the test file", sorted(ids, key=nfc))
        sample_columns(sample, header, rows, **self.cells_asked(label_names))
        return LongSubmission(self, sample, [row_id for _, row_id, _ in pairs], [c for *_, c in pairs], header[1:])


@dataclass(frozen=True)
class LongSubmission(Submission):
    """A LongFormat and, where there is a sample, the id and the label's number of each of its rows, and its columns."""

    labels: list[int] | None = None
    columns: list[str] | None = None

    def write(self, path: str | Path, logits: Logits | None) -> None:
        """As Submission.write()."""
        if logits is None or not is_first_process():
            return
        names = logits.label_names
        values = self.format.values(logits)
        ids = [row_id for row_id in logits.ids.tolist() for _ in names] if self.ids is None else self.ids
        labels = list(range(len(names))) * len(logits.ids) if self.labels is None else self.labels
        place = {nfc(row_id): i for i, row_id in enumerate(logits.ids.tolist())}
        pairs = [(c, place[nfc(row_id)]) for row_id, c in zip(ids, labels, strict=True)]
        cells = {self.format.label_column: [names[c] for c in labels]}
        cells |= {name: [of_label[c][i] for c, i in pairs] for name, of_label in values.items()}
        write_submission(path, ids, {name: cells[name] for name in self.columns or cells}, self.format.id_column)
        if self.sample is not None:
            check_submission(path, self.sample, **self.format.cells_asked(names))


def of_labels(name: str, cells: Sequence, logits: Logits) -> Sequence[Sequence]:
    """The cells of a column, C lists of N. Raises InputError for a function that gives others."""
    shape = len(logits.label_names), len(logits.ids)
    if len(cells) != shape[0] or any(isinstance(of_label, str) or len(of_label) != shape[1] for of_label in cells):
        what = "has not a cell for every label, expected probability, score, yes_or_no or a function like them"
        raise InputError(f"SUBMISSION, column {name}: {what}")
    return cells


def read_pairs(
    path: str | Path, header: Sequence[str], rows: Sequence[tuple[int, list[str]]], column: int, names: Sequence[str]
) -> list[tuple[int, str, int]]:
    """(row, id, number of the label) of each row. Raises InputError where an id has not each label once."""
    numbers = {nfc(name): c for c, name in enumerate(names)}
    seen: dict[tuple[str, int], int] = {}
    pairs = []
    for row, fields in rows:
        label = nfc(fields[column])
        check_label(label, names, f"{path}, row {row}, column {header[column]}")
        pair = nfc(fields[0]), numbers[label]
        if pair in seen:
            what = f"id {fields[0]!r:.80} has the label {label!r:.80} in row {seen[pair]}, too"
            raise InputError(f"{path}, row {row}: {what}; expected each once")
        seen[pair] = row
        pairs.append((row, fields[0], numbers[label]))
    for row, row_id, _ in pairs:
        if missing := [name for name in names if (nfc(row_id), numbers[nfc(name)]) not in seen]:
            what = f"id {row_id!r:.80} has no row of the label {missing[0]!r:.80}"
            raise InputError(f"{path}, row {row}: {what}, expected one for each label")
    return pairs
