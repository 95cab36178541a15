"""What a sample submission shows of the submission that is wanted: its columns, its ids, what its cells are like.

A sample of one value in all rows (0, "x") is a placeholder and shows nothing but whether it is a number.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from common.console import InputError, print_once
from common.files import read_table
from common.guards.cells import NUMBER, check_cell, is_missing, kind_of
from common.guards.spelling import nfc
from common.tables.nearest import nearest

Rows = list[tuple[int, list[str]]]
MARKS = {";": "semicolons", "\t": "tabs", "|": "bars"}
say = cache(print_once)  # once, however often a sample is read


def read_sample(path: str | Path) -> tuple[list[str], Rows]:
    """Header and rows of a sample submission: of the CSV that a submission is, else of any table (common/tables).

    Raises InputError for what is neither.
    """
    problem = None
    try:
        header, rows = read_table(path)
        if len(header) > 1 or not any(mark in header[0] for mark in MARKS):
            return header, rows
    except InputError as error:
        problem = error
    from common.tables import read_table as read_any

    try:
        table = read_any(path, tab_quotes=True, note=None)
    except InputError as error:
        raise problem or error from None
    say(f"{path}: is no CSV in UTF-8 with commas, which a submission will be; its rows are read as a table")
    return table.header, table.rows


def check_header(path: str | Path, header: list[str], sample_path: str | Path, expected: list[str]) -> None:
    """Raise InputError where columns are others than the sample's, have a name twice, or are not separated by
    commas."""
    for name, columns in ((sample_path, expected), (path, header)):
        marks = [what for mark, what in MARKS.items() if len(columns) == 1 and mark in columns[0]]
        if marks:
            raise InputError(f"{name}, row 1: {columns[0]!r:.80} is separated by {marks[0]}, expected commas")
    if header != expected:
        columns = f"{','.join(header)}, expected {','.join(expected)}"
        raise InputError(f"{path}, row 1: columns are {columns} as in {sample_path}")
    for number, name in enumerate(header):
        if name in header[:number]:
            raise InputError(f"{path}, row 1: two columns are named {name!r:.80}, expected each name once")


def check_count(path: str | Path, found: int, expected_path: str | Path, expected: int) -> None:
    """Raise InputError where two files without ids differ in their number of rows."""
    if found != expected:
        raise InputError(f"{path}: {found} rows, expected {expected} as in {expected_path}")


def check_rows(path: str | Path, header: list[str], rows: Rows, sample_path: str | Path, expected: Rows) -> None:
    """Raise InputError where a submission's rows are not the sample's: their number, where there are no ids; the ids;
    or the ids and labels, where an id has several rows."""
    if len(header) == 1:
        check_count(path, len(rows), sample_path, len(expected))
        return
    column = label_rows(expected)
    if column is not None:
        rows, expected = ([(n, [f"{fields[0]}, {fields[column]}"]) for n, fields in part] for part in (rows, expected))
    name = header[0] if column is None else f"{header[0]}, {header[column]}"
    check_ids(path, name, rows, sample_path, [fields[0] for _, fields in expected], exact=True)


def label_rows(rows: Rows) -> int | None:
    """The number of the column in which each id has the same labels, each in a row of its own; None: there is none, as
    where each id has one row."""
    of_id: dict[str, list[list[str]]] = {}
    for _, fields in rows:
        of_id.setdefault(nfc(fields[0]), []).append(fields)
    width = len(rows[0][1]) if rows else 0
    if len(of_id) == len(rows) or width < 3:
        return None
    for column in range(1, width):
        labels = [[fields[column] for fields in group] for group in of_id.values()]
        if all(len(set(names)) == len(names) and set(names) == set(labels[0]) for names in labels):
            return column
    return None


def value_columns(header: list[str], rows: Rows) -> list[str]:
    """The columns but for the id and, where an id has several rows, the labels."""
    column = label_rows(rows)
    return [name for number, name in enumerate(header) if number not in (0, column)] or header


def check_ids(
    path: str | Path, column: str, rows: Rows, sample_path: str | Path, expected: list[str], exact: bool = False
) -> None:
    """Raise InputError where the first fields of `rows` are not exactly `expected`, the sample's ids in its order.

    exact: also where they differ only in how their letters are composed, which a competition tells apart.
    """
    known = set(map(nfc, expected))
    first_line: dict[str, int] = {}
    if repeated := len(expected) - len(known):
        hint = "each once, or with the same labels in each, one a row"
        raise InputError(f"{sample_path}, column {column}: {repeated} ids are repeated, expected {hint}")
    for line, (row_id, *_) in rows:
        where = f"{path}, row {line}, column {column}: id {row_id!r}"
        key = nfc(row_id)
        if key in first_line:
            raise InputError(f"{where} is repeated, expected in row {first_line[key]} only")
        if key not in known:
            alike = next((other for other in expected if by_value(other.strip()) == by_value(row_id.strip())), None)
            hint = "" if alike is None else f"; it is {alike!r:.80} there"
            raise InputError(f"{where} is not in {sample_path}, expected only its ids{hint}")
        first_line[key] = line
    if missing := [row_id for row_id in expected if nfc(row_id) not in first_line]:
        what = f"{len(missing)} ids are missing (first: {missing[0]!r}), expected all {len(expected)} of {sample_path}"
        raise InputError(f"{path}, column {column}: {what}")
    for (line, (row_id, *_)), wanted in zip(rows, expected, strict=True):
        where = f"{path}, row {line}, column {column}: id {row_id!r}"
        if nfc(row_id) != nfc(wanted):
            raise InputError(f"{where}, expected {wanted!r} (the order of {sample_path})")
        if exact and row_id != wanted:
            raise InputError(f"{where} is composed of other characters than in {sample_path} (NFC and NFD)")


class SampleColumn:
    """The cells of a sample's column, and what they ask for.

    labels: the names of which the submission has one there; None: it has no names. stated: what it has whatever the
    sample has (guards/cells.py); None: what the sample has.
    """

    def __init__(self, cells: Sequence[str], labels: Sequence[str] | None = None, stated: str | None = None):
        self.values = list(dict.fromkeys(cell for cell in cells if not is_missing(cell)))
        self.labels = labels
        self.stated = stated
        self.kind = stated or kind_of(cells)
        self.are_words = len(self.values) > 1 and not any(map(NUMBER.fullmatch, self.values))
        self.lengths = {list_length(value) for value in self.values}
        self.spelled = {fold(value): value for value in self.values} if self.kind == "text" else {}

    def refuse_other(self, where: str) -> None:
        """Raise InputError, which begins with where, for a sample that shows something else than what is written."""
        numbers = self.stated in ("probability", "number", "integer", "binary")
        if self.are_words and numbers:
            raise InputError(f"{where}: {self.values[0]!r:.80} is not a number, the submission has numbers there")
        if self.labels and len(self.values) > 1 and self.kind != "list":
            own = set(map(by_value, self.labels))
            if not own & set(map(by_value, self.values)):
                what = f"{self.values[0]!r:.80} is not one of the {len(self.labels)} labels"
                raise InputError(f"{where}: {what}{nearest(self.values[0], self.labels)}, the submission has those")

    def check(self, value: str, where: str) -> None:
        """Raise InputError, which begins with where, for a cell of the submission that is not like these."""
        if self.labels is None:
            check_cell(value, self.kind, where)
        if self.kind != "text":
            return
        if self.labels is None and self.are_words and NUMBER.fullmatch(value):
            raise InputError(f"{where}: {value!r:.80}, expected text such as {self.values[0]!r:.80}")
        wanted = self.spelled.get(fold(value), value)
        if value not in self.values and wanted != value and wanted not in (self.labels or ()):
            raise InputError(f"{where}: {value!r:.80}, expected {wanted!r:.80} as the sample spells it")
        if self.lengths == {(length := max(self.lengths, default=0))} and length and list_length(value) != length:
            raise InputError(f"{where}: {value!r:.80}, expected a list of {length} numbers, as the sample has there")


def fold(value: str) -> str:
    return nfc(value).strip().casefold()


def by_value(value: str) -> str | float:
    """1.0 is the label 1."""
    return float(value) if NUMBER.fullmatch(value) else nfc(value)


def list_length(value: str) -> int:
    """Of a JSON list of finite numbers; else 0."""
    try:
        numbers = json.loads(value) if value.startswith("[") else None
    except (ValueError, RecursionError):
        return 0
    if not isinstance(numbers, list) or not all(type(n) in (int, float) and math.isfinite(n) for n in numbers):
        return 0
    return len(numbers)


def sample_columns(
    sample_path: str | Path,
    header: Sequence[str],
    rows: Sequence[tuple[int, list[str]]],
    label_names: Sequence[str] | None,
    label_columns: Sequence[str],
    probability_columns: bool,
    kinds: Mapping[str, str] | None,
) -> tuple[dict[str, SampleColumn], list[str]]:
    """(column -> what its cells ask for, the columns of probabilities), the id aside; of check_submission()'s options.

    Raises InputError for a sample whose cells are something else.
    """
    others = header[1:] or header
    stated = kinds or {}
    probabilities = [c for c in others if c not in label_columns and c not in stated] if probability_columns else []
    named = [] if label_names is None else label_columns or [c for c in others if c not in (*probabilities, *stated)]
    stated = dict.fromkeys(probabilities, "probability") | stated
    columns = {}
    for number, column in enumerate(header):
        if column in others:
            cells = [fields[number] for _, fields in rows]
            columns[column] = SampleColumn(cells, label_names if column in named else None, stated.get(column))
            columns[column].refuse_other(f"{sample_path}, column {column}")
    return columns, probabilities
