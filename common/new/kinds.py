"""The kind of a target: labels, several labels, a number or ordered classes; and the metric that it is measured by."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from common.console import InputError
from common.guards.spelling import nfc
from common.new.looks import Column, is_number
from common.tables import Table
from common.tables.columns import listed

KINDS = ("labels", "several", "number", "ordered")
OF_NUMBERS = ("rmse", "mse", "mae", "r2", "pearson", "spearman")
OF_ORDER = ("quadratic_kappa",)
MOST_LABELS = 500
FEW = 20  # different whole numbers, at most, are labels
SEPARATORS = (",", ";", "|", " ")


@dataclass
class Target:
    """kind: one of KINDS; names: the labels, or the column of a number; separator: between the labels of a cell;
    may_be_empty: an empty cell is a row without a label; why: the reason in words; counts: rows of each label."""

    kind: str
    columns: list[str]
    names: list[str]
    why: str
    counts: dict[str, int]
    separator: str = ","
    may_be_empty: bool = False

    @property
    def registered(self) -> str:
        """As common/targets calls it."""
        return {"labels": "classes"}.get(self.kind, self.kind)


def find_target(train: Table, columns: Sequence[Column], kind: str | None, metric: str | None) -> Target:
    """Raises InputError for empty cells, for words among numbers, and for what is neither labels nor numbers."""
    for column in columns:
        refuse_empty(train, column, lists=kind == "several")
    if len(columns) > 1:
        return indicator_columns(train, columns, kind)
    (column,) = columns
    if kind == "several" or (kind is None and (found := separator_of(column)) is not None):
        return several_labels(column, found if kind is None else separator_of(column) or ",", kind)
    numbers = sum(map(is_number, column.values))
    wants_number = kind == "number" or (kind is None and metric in OF_NUMBERS)
    whole = [value for value in column.values if is_number(value) and float(value).is_integer()]
    mostly = numbers >= 0.9 * len(column.values) and len(whole) < numbers
    if wants_number or (kind is None and (mostly or (numbers == len(column.values) and len(column.counts) > FEW))):
        return number(train, column, kind, metric)
    return classes(train, column, kind, metric)


def refuse_empty(train: Table, column: Column, lists: bool) -> None:
    """Raise InputError for cells without a target; an empty list is one that says `[]`."""
    empty = [row for (row, _), cell in zip(train.rows, column.cells, strict=True) if not cell.strip()]
    if empty and not lists:
        counts = f"{len(empty):,} of {len(column.cells):,} rows have no target (first: row {empty[0]})"
        raise InputError(f"{train.path}, row {empty[0]}, column {column.name}: {counts}; label them or take them out")
    if not column.values:
        raise InputError(f"{train.path}, column {column.name}: holds nothing, expected a target in each row")


def indicator_columns(train: Table, columns: Sequence[Column], kind: str | None) -> Target:
    """Several columns of 0 and 1, one a label."""
    for column in columns:
        for (row, _), cell in zip(train.rows, column.cells, strict=True):
            if cell.strip() not in ("0", "1"):
                what = "expected 0 or 1, since several target columns are a label each"
                raise InputError(f"{train.path}, row {row}, column {column.name}: {cell!r:.80}, {what}")
    if kind not in (None, "several"):
        raise InputError(f"--kind: {kind} has one target column, {len(columns)} were named")
    names = [column.name for column in columns]
    counts = {column.name: column.counts.get("1", 0) for column in columns}
    return Target("several", names, names, "several columns of 0 and 1", counts)


def separator_of(column: Column) -> str | None:
    """What separates the labels of a cell, if cells hold several that recur; None: they do not."""
    if sum(value.strip().startswith("[") and value.strip().endswith("]") for value in column.values) == len(
        column.values
    ):
        return ","
    for separator in SEPARATORS:
        if not any(separator in value.strip() for value in column.values):
            continue
        cells = [listed(value, separator) for value in column.values]
        labels = Counter(name for cell in cells for name in cell)
        distinct = all(len(set(cell)) == len(cell) for cell in cells)
        # the parts of a single name, `Cause-Effect(e1,e2)` or `very good`, hardly stand alone elsewhere
        alone = {cell[0] for cell in cells if len(cell) == 1}
        known = sum(labels[name] for name in alone) / max(labels.total(), 1)
        fits = len(alone) == len(labels) if separator == " " else known >= 0.5
        if distinct and fits and len(labels) < len(column.counts) and len(labels) <= max(2, len(cells) / 10):
            return separator
    return None


def several_labels(column: Column, separator: str, kind: str | None) -> Target:
    counts = Counter(name for cell in column.cells for name in listed(cell, separator))
    if len(counts) < 2:
        raise InputError(f"column {column.name}: {len(counts)} label, expected two or more")
    names = in_order(counts)
    both = sum(len(listed(cell, separator)) > 1 for cell in column.values)
    why = "--kind says so" if kind else f"{both:,} cells hold several, separated by {separator!r}"
    return Target(
        "several", [column.name], names, why, {name: counts[name] for name in names}, separator, bool(column.empty)
    )


def number(train: Table, column: Column, kind: str | None, metric: str | None) -> Target:
    for (row, _), cell in zip(train.rows, column.cells, strict=True):
        if not is_number(cell):
            others = sum(map(is_number, column.values))
            what = f"{cell!r:.80} is not a number" + (f", as {others:,} others are" if others else "")
            raise InputError(f"{train.path}, row {row}, column {column.name}: {what}; mend it, or say --kind labels")
    if len({float(value) for value in column.values}) < 2:
        raise InputError(f"{train.path}, column {column.name}: all rows have the same number")
    by_metric = f"--metric {metric} is of numbers" if metric in OF_NUMBERS else None
    why = "--kind says so" if kind else by_metric or "all are numbers, and not a few whole ones"
    return Target("number", [column.name], [column.name], why, {column.name: len(column.cells)})


def classes(train: Table, column: Column, kind: str | None, metric: str | None) -> Target:
    counts = Counter(nfc(value.strip()) for value in column.values)
    if len(counts) < 2:
        raise InputError(f"{train.path}, column {column.name}: all rows have the same label, expected two or more")
    if len(counts) > MOST_LABELS or (len(counts) > 20 and len(counts) > len(column.values) / 3):
        what = f"{len(counts):,} different values in {len(column.values):,} rows; is it an id or a text?"
        raise InputError(f"{train.path}, column {column.name}: {what} name another --target, or say --kind labels")
    ordered = kind == "ordered" or (kind is None and metric in OF_ORDER)
    if ordered and not all(map(is_number, counts)):
        word = next(value for value in counts if not is_number(value))
        raise InputError(
            f"{train.path}, column {column.name}: {word!r:.80} is not a number; ordered classes have to be"
        )
    names = in_order(counts)
    why = "--kind says so" if kind else f"{len(names)} different values"
    if ordered and not kind:
        why = f"--metric {metric} is of ordered classes"
    elif not kind and len(names) > 2 and all(map(is_number, names)):
        why += "; where their order counts, say --kind ordered or --kind number"
    return Target("ordered" if ordered else "labels", [column.name], names, why, {name: counts[name] for name in names})


def in_order(names: Sequence[str] | Counter) -> list[str]:
    """By number where all are, else by name."""
    return sorted(names, key=(lambda name: float(name)) if all(map(is_number, names)) else None)
