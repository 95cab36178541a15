"""The kind of a target: labels, several labels, a number or ordered classes; and the metric that it is measured by."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from common.console import InputError
from common.guards.cells import is_missing
from common.guards.samples import by_value
from common.guards.spelling import look, nfc
from common.new.looks import Column, is_number
from common.tables import Table, nearest
from common.tables.columns import is_list, listed, marked_labels, plain_number
from common.targets.registry import METRICS

KINDS = ("labels", "several", "number", "ordered")
OF_NUMBERS = ("rmse", "mse", "mae", "r2", "pearson", "spearman")
OF_ORDER = ("quadratic_kappa",)
MOST_LABELS = 500
FEW = 20  # different whole numbers, at most, are labels
SEPARATORS = (",", ";", "|", "/", " ")
STYLES = ((".", ""), (".", ","), (",", ""), (",", "."), (",", " "), (".", " "), (".", "'"))  # decimal mark, thousands
WHOLE = re.compile(r"-?[0-9]+\.0+")
UNIT = re.compile(r"[^\w\s.,]{0,3}\s?[0-9][0-9.,' ]*\s?[^0-9.,]{0,5}")
HALVES = {"0", "00", "5", "25", "50", "75"}  # behind the decimal comma of marks and half stars


@dataclass
class Target:
    """kind: one of KINDS; names: the labels, or the column of a number; separator: between the labels of a cell;
    may_be_empty: an empty cell is a row without a label; why: the reason in words; counts: rows of each label;
    is_json: the labels of a cell stand in brackets; decimal, thousands: of a number, as number_of() has them."""

    kind: str
    columns: list[str]
    names: list[str]
    why: str
    counts: dict[str, int]
    separator: str = ","
    may_be_empty: bool = False
    is_json: bool = False
    decimal: str = "."
    thousands: str = ""

    @property
    def registered(self) -> str:
        """As common/targets calls it."""
        return {"labels": "classes"}.get(self.kind, self.kind)


def find_target(
    train: Table,
    columns: Sequence[Column],
    kind: str | None,
    metric: str | None,
    order: Sequence[str] | None = None,
    decimal: str | None = None,
) -> Target:
    """order: the names of ordered classes; decimal: the decimal mark, where --decimal says it. Raises InputError for
    empty cells, for words among numbers, and for what is neither labels nor numbers."""
    for column in columns:
        refuse_empty(train, column, lists=kind == "several")
    if len(columns) > 1:
        return indicator_columns(train, columns, kind)
    (column,) = columns
    if order:
        return classes(train, column, "ordered", metric, order)
    style = number_style(train, column, decimal) if kind in (None, "number") else None
    separator = separator_of(column)
    if kind is None and separator == "," and style and metric not in OF_NUMBERS:
        refuse_decimals(train, column)
    if kind == "several" or (kind is None and separator is not None and metric not in OF_NUMBERS):
        return several_labels(train, column, separator or stated_separator(train, column), kind)
    if kind == "number" or (kind is None and metric in OF_NUMBERS):
        return number(train, column, kind, metric, style)
    whole = [cell for cell in column.values if is_number(cell) and float(cell).is_integer()]
    if kind is None and not (style in (None, (".", "")) and is_of_labels(metric, len(whole) == len(column.values))):
        numbers = sum(map(is_number, column.values))
        mostly = numbers >= 0.9 * len(column.values) and len(whole) < numbers
        of_marks = style not in (None, (".", ""))
        if mostly or of_marks or (style and len(column.counts) > FEW):
            return number(train, column, kind, metric, style)
    return classes(train, column, kind, metric)


def is_of_labels(metric: str | None, whole: bool) -> bool:
    """Whether a metric that is named says that numbers are labels: macro_f1 of 46 codes, or quadratic_kappa of half
    stars. whole: whether all are; a share such as 0.35 is no label."""
    return metric in METRICS and "number" not in METRICS[metric].kinds and (whole or metric in OF_ORDER)


def number_style(train: Table, column: Column, decimal: str | None) -> tuple[str, str] | None:
    """(decimal mark, thousands mark) with which all cells are numbers; None: there is none. Raises InputError where
    two give different numbers."""
    values = [value.strip() for value in column.values]
    styles = [style for style in STYLES if decimal in (None, style[0])]
    found = [style for style in styles if all(plain_number(value, *style) for value in values)]
    for style in list(found):
        # nobody groups some thousands and not others
        if style[1] and any(len(re.sub("[^0-9].*", "", value.lstrip("+-"))) > 3 for value in values):
            found.remove(style)
    if (".", "") in found:
        return ".", ""
    read = {tuple(map(float, (plain_number(value, *style) for value in values))) for style in found}
    if len(read) > 1:
        cell = next(value for value in values if "," in value or "." in value)
        row = train.rows[[c.strip() for c in column.cells].index(cell)][0]
        what = f"{cell!r:.80} may be {' or '.join(dict.fromkeys(plain_number(cell, *style) for style in found))}"
        raise InputError(
            f"{train.path}, row {row}, column {column.name}: {what}; say --decimal , or --decimal . (or --kind)"
        )
    return found[0] if found else None


def refuse_decimals(train: Table, column: Column) -> None:
    """Raise InputError where cells such as `3,5` may be lists of labels, or numbers with a decimal comma."""
    pairs = [value.strip().split(",") for value in column.values if "," in value]
    if any(len(pair) != 2 for pair in pairs):
        return
    falling = [pair for pair in pairs if float(pair[0]) > float(pair[1])]
    if falling or {pair[1] for pair in pairs} <= HALVES:
        cell = ",".join((falling or pairs)[0])
        what = f"{cell!r:.80} may be two labels or a number with a decimal comma"
        raise InputError(f"{train.path}, column {column.name}: {what}; say --kind several or --kind number")


def refuse_empty(train: Table, column: Column, lists: bool) -> None:
    """Raise InputError for cells without a target (nothing, or NaN, NA, null); an empty list is one that says `[]`."""
    empty = [
        (row, cell)
        for (row, _), cell in zip(train.rows, column.cells, strict=True)
        if is_missing(cell) and not (lists and not cell.strip())
    ]
    if empty:
        row, cell = empty[0]
        shown = f", {cell.strip()!r}" if cell.strip() else ""
        counts = f"{len(empty):,} of {len(column.cells):,} rows have no target (first: row {row}{shown})"
        raise InputError(f"{train.path}, row {row}, column {column.name}: {counts}; label them or take them out")
    if not column.values:
        raise InputError(f"{train.path}, column {column.name}: holds nothing, expected a target in each row")


def indicator_columns(train: Table, columns: Sequence[Column], kind: str | None) -> Target:
    """Several columns of 0 and 1, one a label: several labels a row, or one where each row has exactly one."""
    names = [column.name for column in columns]
    held = []
    for row, values in train.records():
        held.append(marked_labels(values, names, f"{train.path}, row {row}") or [])
    if kind not in (None, "several", "labels"):
        raise InputError(f"--kind: {kind} has one target column, {len(columns)} were named")
    counts = Counter(name for row in held for name in row)
    each_one = all(len(row) == 1 for row in held)
    if kind == "labels" and not each_one:
        number = next(i for i, row in enumerate(held) if len(row) != 1)
        what = f"{len(held[number])} of {', '.join(names):.200} are 1, expected one (--kind labels)"
        raise InputError(f"{train.path}, row {train.rows[number][0]}: {what}")
    found = "labels" if each_one and kind != "several" else "several"
    why = "columns of 0 and 1, and each row has one 1" if found == "labels" else "several columns of 0 and 1"
    return Target(found, names, names, why, {name: counts[name] for name in names})


def separator_of(column: Column) -> str | None:
    """What separates the labels of a cell, if cells hold several that recur; None: they do not."""
    if all(map(is_list, column.values)):
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


def stated_separator(train: Table, column: Column) -> str:
    """Where --kind says that cells hold several labels: the separator that leaves fewest different ones, a space where
    there is no other. Raises InputError where no cell has one and none is empty."""
    found = [mark for mark in SEPARATORS if any(mark in value.strip() for value in column.values)]
    if not found and not column.empty:
        what = f"no cell holds several labels, which are separated by one of {' '.join(SEPARATORS)} or a space"
        raise InputError(f"{train.path}, column {column.name}: {what}")
    marks = [mark for mark in found if mark != " "] or found or [","]
    return min(marks, key=lambda mark: len({name for value in column.values for name in listed(value, mark)}))


def several_labels(train: Table, column: Column, separator: str, kind: str | None) -> Target:
    held = [listed(cell, separator) for cell in column.cells]
    refuse_marks(train, column, held)
    counts = Counter(name for names in held for name in names)
    if len(counts) < 2:
        raise InputError(f"{train.path}, column {column.name}: {len(counts)} label, expected two or more")
    names = in_order(counts)
    both = sum(len(listed(cell, separator)) > 1 for cell in column.values)
    why = f"{'--kind says so; ' if kind else ''}{both:,} cells hold several, separated by {separator!r}"
    return Target(
        "several",
        [column.name],
        names,
        why,
        {name: counts[name] for name in names},
        separator,
        bool(column.empty),
        is_list(column.values[0]),
    )


def refuse_marks(train: Table, column: Column, held: Sequence[list[str]]) -> None:
    """Raise InputError for cells that are a 0 or 1 for each label in place of names, and for one that has a name twice.
    held: the names of each cell."""
    twice = next((i for i, names in enumerate(held) if len(set(names)) < len(names)), None)
    sizes = {len(names) for names in held}
    marks = {name for names in held for name in names} <= {"0", "1", "0.0", "1.0"}
    cell = column.cells[twice or 0]
    row = train.rows[twice or 0][0]
    if marks and len(sizes) == 1 and max(sizes) > 1:
        what = f"{cell!r:.80} is a 0 or 1 for each of several labels; make a column of each, --target a,b,c"
        raise InputError(f"{train.path}, row {row}, column {column.name}: {what}")
    if twice is not None:
        name = next(name for name in held[twice] if held[twice].count(name) > 1)
        what = f"{cell!r:.80} has the label {name!r:.80} twice, expected each once"
        raise InputError(f"{train.path}, row {row}, column {column.name}: {what}")


def number(train: Table, column: Column, kind: str | None, metric: str | None, style: tuple[str, str] | None) -> Target:
    decimal, thousands = style or (".", "")
    by_metric = f"--metric {metric} is of numbers" if metric in OF_NUMBERS else None
    values = [plain_number(cell.strip(), decimal, thousands) for cell in column.cells]
    values = [value if value is not None and math.isfinite(float(value)) else None for value in values]
    if None in values:
        place = values.index(None)
        others = len(values) - values.count(None)
        what = f"{column.cells[place]!r:.80} is not a number" + (f", as {others:,} others are" if others else "")
        why = f" ({by_metric})" if by_metric and not kind else ""
        where = f"{train.path}, row {train.rows[place][0]}, column {column.name}"
        raise InputError(f"{where}: {what}{why}; mend it, or say --kind labels")
    if len({float(value) for value in values}) < 2:
        raise InputError(f"{train.path}, column {column.name}: all rows have the same number")
    why = "--kind says so" if kind else by_metric or "all are numbers, and not a few whole ones"
    if not kind and not by_metric and all(float(value).is_integer() for value in values):
        why += "; where they are codes of classes, say --kind labels" * (len(column.counts) < len(values) / 5)
    if style not in (None, (".", "")):
        marks = [f"{decimal!r} is the decimal mark"] * (decimal == ",") + [f"{thousands!r} groups thousands"] * (
            thousands != ""
        )
        why += f"; {', '.join(marks)}"
    counts = {column.name: len(column.cells)}
    return Target("number", [column.name], [column.name], why, counts, decimal=decimal, thousands=thousands)


def classes(
    train: Table, column: Column, kind: str | None, metric: str | None, order: Sequence[str] | None = None
) -> Target:
    counts = Counter(nfc(value.strip()) for value in column.values)
    if all(WHOLE.fullmatch(name) for name in counts):  # 1.0 as pandas writes 1 in a column with a gap
        counts = Counter(nfc(value.strip()).partition(".")[0] for value in column.values)
    if len(counts) < 2:
        raise InputError(f"{train.path}, column {column.name}: all rows have the same label, expected two or more")
    if len(counts) > MOST_LABELS or (len(counts) > 20 and len(counts) > len(column.values) / 3):
        what = f"{len(counts):,} different values in {len(column.values):,} rows; is it an id or a text?"
        first = column.values[0]
        unit = f" Numbers with a sign or a unit ({first!r:.40}) have to be written without it;" * has_unit(column)
        raise InputError(
            f"{train.path}, column {column.name}: {what}{unit} name another --target, or say --kind labels"
        )
    ordered = kind == "ordered" or (kind is None and metric in OF_ORDER)
    if ordered and not order and not all(map(is_number, counts)):
        word = next(value for value in counts if not is_number(value))
        how = f"say the order of {', '.join(sorted(counts))}, the lowest first, with --order a,b,c"
        raise InputError(f"{train.path}, column {column.name}: {word!r:.80} is not a number; {how:.200}")
    names = in_order(counts)
    if order:
        names = list(map(nfc, order))
        if unknown := [name for name in counts if name not in names]:
            what = f"--order has no {unknown[0]!r:.80}{nearest(unknown[0], names)}, which is a label"
            raise InputError(f"{train.path}, column {column.name}: {what}")
        if len(set(names)) < len(names) or len(names) < 2:
            raise InputError(f"--order: {','.join(names):.200}, expected two names or more, each once")
    why = "--kind says so" if kind else f"{len(names)} different values"
    if order:
        why = "--order says so"
    elif ordered and not kind:
        why = f"--metric {metric} is of ordered classes"
    elif not kind and len(names) > 2 and all(map(is_number, names)):
        why += "; where their order counts, say --kind ordered or --kind number"
    elif not kind and has_unit(column) and not all(map(is_number, names)):
        why += "; a number with a sign or a unit has to be written without it"
    looks = list(map(look, names))
    if alike := [name for name, own in zip(names, looks, strict=True) if looks.count(own) > 1]:
        other = next(name for name in names if name != alike[0] and look(name) == look(alike[0]))
        in_case = other.casefold() == alike[0].casefold()
        how = "differ in case only" if in_case else "look alike"
        why += f"; {alike[0]!r:.40} and {other!r:.40} {how}: are they one label?"
    same = [name for name in names if [by_value(other) for other in names].count(by_value(name)) > 1]
    if same:
        why += f"; {same[0]!r:.40} and {same[1]!r:.40} are the same number: are they one label?"
    return Target("ordered" if ordered else "labels", [column.name], names, why, {name: counts[name] for name in names})


def has_unit(column: Column) -> bool:
    """Whether nearly all cells are a number with something before or behind it, $1,200.00 or 7%."""
    return sum(bool(UNIT.fullmatch(value.strip())) for value in column.values) >= 0.9 * len(column.values)


def in_order(names: Sequence[str] | Counter) -> list[str]:
    """By number where all are, else by name."""
    return sorted(names, key=(lambda name: float(name)) if all(map(is_number, names)) else None)
