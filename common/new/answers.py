"""The sample submission -> the line of data.py that says what is handed in, with the reason in words."""

import json
import re

from common.console import InputError
from common.guards.cells import kind_of
from common.guards.samples import by_value, label_rows, list_length
from common.guards.spelling import nfc
from common.new.code import as_source
from common.new.kinds import SEPARATORS, Target
from common.new.roles import refuse_braces
from common.tables import Table, nearest
from common.tables.columns import is_list, listed

OF_PROBABILITIES = ("log_loss", "auc", "average_precision")  # metrics that a label tells next to nothing


def find_submission(
    sample: Table | None, target: Target, row_id: str | None, metric: str
) -> tuple[str, list[str], str]:
    """(source of a SubmissionFormat, names to import from common.submission, why). Raises InputError for a sample whose
    columns do not fit the target, and for one with several rows an id that are not one for each label."""
    if sample is None:
        name, function = default_answer(target, metric)
        return source(row_id or "id", {name: function}), [used(function)], "there is no sample submission; edit it"
    header = sample.header
    if len(header) == 1:
        function, why = answer_of(sample, header[0], target, metric)
        return source(None, {header[0]: function}), [used(function)], f"{why}; without ids, in the test file's order"
    ids = [fields[0] for _, fields in sample.rows]
    if len(header) == 2:
        refuse_braces(header[1], sample)
    if (column := label_rows(sample.rows)) is not None:
        return long_format(sample, column, target, metric)
    if len(set(ids)) < len(ids):
        value = next(value for value in ids if ids.count(value) > 1)
        what = f"id {value!r:.80} stands in {ids.count(value)} rows, expected one row an id, or one for each label"
        raise InputError(f"{sample.path}, column {header[0]}: {what}")
    others = header[1:]
    if len(others) > 1 and (around := around_names(others, target.names)):
        function = function_per_label(sample, others, target, metric)
        in_order = [f"{around[0]}{name}{around[1]}" for name in target.names]
        if in_order != others:
            labels = dict(zip(in_order, target.names, strict=True))
            each = {column: f"probability_of({as_source(labels[column])})" for column in others}
            why = f"{len(others)} columns, one a label, in another order than the labels: probability_of each"
            return source(header[0], each), ["probability_of"], why
        pattern = "{label}".join(part.replace("{", "{{").replace("}", "}}") for part in around)
        return source(header[0], {pattern: function}), [function], f"{len(others)} columns, one a label: {function}"
    if len(others) > 1:
        text = f"columns {','.join(others):.200}, expected one, or one for each of {', '.join(target.names)}"
        first = next((name for name in others if not matches(name, target)), others[0])
        raise InputError(f"{sample.path}, row 1: {text:.400}{nearest(first, target.names)}")
    function, why = answer_of(sample, others[0], target, metric)
    return source(header[0], {others[0]: function}), [used(function)], why


def long_format(sample: Table, column: int, target: Target, metric: str) -> tuple[str, list[str], str]:
    """find_submission() of a sample in which each id has a row for each label, named in a column of this number."""
    header = sample.header
    others = [name for number, name in enumerate(header) if number not in (0, column)]
    found = {*map(nfc, sample.column(header[column]))}
    if found != {*target.names}:
        strange = min(found ^ {*target.names})
        what = f"each id has a row for each of {len(found)} values, which are not the labels (first: {strange!r:.80})"
        raise InputError(f"{sample.path}, column {header[column]}: {what}; expected {', '.join(target.names):.200}")
    function = function_per_label(sample, others, target, metric)
    form = source(header[0], dict.fromkeys(others, function), header[column])
    return form, [function], f"a row for each label, named in {header[column]}; {', '.join(others)}: {function}"


def source(id_column: str | None, columns: dict[str, str], label_column: str | None = None) -> str:
    """label_column: of a row for each label of each id."""
    inside = ", ".join(f"{as_source(name)}: {function}" for name, function in columns.items())
    shared = f"{'None' if id_column is None else as_source(id_column)}, {{{inside}}}"
    if label_column is None:
        return f"SubmissionFormat({shared})"
    return f"LongFormat({shared}, label_column={as_source(label_column)})"


def used(function: str) -> str:
    """The name to import of a source such as probability_of("1")."""
    return function.partition("(")[0]


def default_answer(target: Target, metric: str) -> tuple[str, str]:
    """(column, function) where there is no sample."""
    column = target.columns[0] if len(target.columns) == 1 else "labels"
    if target.kind == "number":
        return column, "number"
    if target.kind == "several":
        if len(target.columns) > 1 or metric in OF_PROBABILITIES:
            return "{label}", "score" if metric in OF_PROBABILITIES else "yes_or_no"
        return column, joined(target.separator, target.is_json)
    if metric in OF_PROBABILITIES:
        second = f"probability_of({as_source(target.names[-1])})"
        return (column, second) if len(target.names) == 2 else ("{label}", "probability")
    return column, "most_likely_label"


def joined(separator: str, is_json: bool = False) -> str:
    """The function whose cells hold several labels with this separator."""
    if is_json:
        return "label_json"
    return {",": "label_list", " ": "label_words"}.get(separator, f"labels_joined({as_source(separator)})")


def matches(column: str, target: Target) -> bool:
    return any(column.endswith(name) for name in target.names)


def around_names(columns: list[str], names: list[str]) -> tuple[str, str] | None:
    """What stands before and behind the names, where the columns are those of every name, in any order; None: they are
    not."""
    if len(columns) != len(names):
        return None
    for name in names:
        for place in (match.start() for match in re.finditer(f"(?={re.escape(name)})", columns[0])):
            before, behind = columns[0][:place], columns[0][place + len(name) :]
            if {f"{before}{other}{behind}" for other in names} == set(columns):
                return before, behind
    return None


def order_of_sample(sample: Table | None, target: Target) -> list[str]:
    """The labels in the order of the sample's columns, where these are one for every label; else as they are. So where
    their order says something: of ordered classes, and of two, whose second is the positive one of a metric."""
    names = target.names
    if target.kind == "ordered" or (target.kind == "labels" and len(names) == 2):
        return names
    others = sample.header[1:] if sample is not None else []
    if around := around_names(others, names):
        before, behind = around
        return [column[len(before) : len(column) - len(behind)] for column in others]
    return names


def function_per_label(sample: Table, columns: list[str], target: Target, metric: str) -> str:
    cells = [cell for column in columns for cell in sample.column(column)]
    if target.kind == "several":
        return "score" if kind_of(cells) == "number" or metric in OF_PROBABILITIES else "yes_or_no"
    return "probability"


def answer_of(sample: Table, column: str, target: Target, metric: str) -> tuple[str, str]:
    """(the function whose cells are like those of this column, why)."""
    cells = sample.column(column)
    kind = kind_of(cells)
    as_there = "as the sample has there"
    if target.kind == "number":
        if kind == "text":
            raise InputError(f"{sample.path}, column {column}: {cells[0]!r:.80}, expected a number, as the target is")
        if kind == "integer" and len(set(cells)) > 1:
            return "whole_number", f"{column}: whole_number, {as_there}; number would not round"
        may_round = "; whole_number would round, if the contest wants it" * (kind == "integer")
        return "number", f"{column}: number, {as_there}{may_round}"
    if target.kind == "several":
        return answer_of_several(sample, column, target, metric)
    if any(cell.startswith("[") for cell in cells) and not set(cells) <= set(target.names):
        return "probability_list", f"{column}: probability_list, {as_there}"
    numeric = kind in ("integer", "number")
    own = [name for name in target.names if column.casefold().endswith(name.casefold())]
    own = [name for name in own if not column[: len(column) - len(name)][-1:].isalnum()]
    is_number = all(kind_of([name]) in ("integer", "number") for name in target.names)
    if numeric and own and not is_number:
        function = f"probability_of({as_source(own[-1])})"
        return function, f"{column}: {function}, by the column's name"
    as_labels = is_number and {*map(by_value, cells)} == {*map(by_value, target.names)}  # 0.0 and 1.0 are 0 and 1
    wants = metric in OF_PROBABILITIES or (kind == "number" and not (as_labels or set(cells) <= set(target.names)))
    if numeric and len(target.names) == 2 and wants:
        function = f"probability_of({as_source(target.names[1])})"
        return function, f"{column}: {function}, as {metric} and the sample's cells want; name the other label if not"
    if as_labels or set(cells) <= set(target.names):
        return "most_likely_label", f"{column}: most_likely_label, {as_there}"
    if is_number and numeric:
        other = next(cell for cell in cells if cell not in target.names)
        if len(set(cells)) > 1:
            doubt = f"{other!r:.20} there is not one of the labels; does the contest count otherwise?"
            return "most_likely_label", f"{column}: most_likely_label, but {doubt}"
        return "most_likely_label", f"{column}: most_likely_label, {as_there} ({other!r:.20} there is a placeholder)"
    if kind == "integer" and all(0 <= int(cell) < len(target.names) for cell in cells):
        meaning = ", ".join(f"{number} is {name}" for number, name in enumerate(target.names[:4]))
        return "most_likely_number", f"{column}: most_likely_number; edit LABEL_NAMES if not {meaning:.200}"
    wrong = next(cell for cell in cells if cell not in target.names)
    if (kind == "integer" and len(set(cells)) == 1) or listed(wrong) == []:
        return "most_likely_label", f"{column}: most_likely_label ({wrong!r:.20} there is a placeholder)"
    what = f"{wrong!r:.80} is not one of {', '.join(target.names):.200}{nearest(wrong, target.names)}"
    if nfc(wrong) in target.names:
        what = f"{wrong!r:.80} is composed of single letters (NFD), labels are written in NFC; write the sample so"
    raise InputError(f"{sample.path}, column {column}: {what}")


def answer_of_several(sample: Table, column: str, target: Target, metric: str) -> tuple[str, str]:
    """answer_of() where a row has several labels. Raises InputError for cells that hold others, or no names."""
    cells = sample.column(column)
    separator = separator_of_sample(cells, target)
    function = joined(separator, any(map(is_list, cells)))
    names = [listed(cell, separator) for cell in cells]
    others = [cell for cell, row in zip(cells, names, strict=True) if not is_each_once(row, target.names)]
    if not others:
        return function, f"{column}: {function}, as the sample has there"
    if all(list_length(cell) == len(target.names) for cell in cells):
        marks = all(number in (0, 1) for cell in cells for number in json.loads(cell))
        function = "label_marks" if marks and metric not in OF_PROBABILITIES else "probability_list"
        order = ", ".join(target.names)
        return function, f"{column}: {function}, as the sample has there, for {order:.200} in this order"
    if len(set(cells)) == 1 and len(names[0]) < 2:
        return function, f"{column}: {function} ({others[0]!r:.20} there is a placeholder)"
    wrong = next((name for name in listed(others[0], separator) if name not in target.names), others[0])
    what = f"{others[0]!r:.80} holds {wrong!r:.80}, which is not one of {', '.join(target.names):.200}"
    raise InputError(f"{sample.path}, column {column}: {what}{nearest(wrong, target.names)}; or leave --sample out")


def is_each_once(row: list[str], names: list[str]) -> bool:
    """Whether a cell's names are among these, each once."""
    return len(set(row)) == len(row) and set(row) <= set(names)


def separator_of_sample(cells: list[str], target: Target) -> str:
    """What separates the labels of the sample's cells where it holds several; else as in the training file."""
    for separator in dict.fromkeys((target.separator, *SEPARATORS)):
        names = [listed(cell, separator) for cell in cells]
        if any(len(row) > 1 for row in names) and all(name in target.names for row in names for name in row):
            return separator
    of_words = "," if any(" " in name for name in target.names) else " "
    return target.separator if len(target.columns) == 1 else of_words
