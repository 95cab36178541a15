"""The sample submission -> the line of data.py that says what is handed in, with the reason in words."""

from common.console import InputError
from common.guards.cells import kind_of
from common.new.code import as_source
from common.new.kinds import Target
from common.tables import Table, nearest
from common.tables.columns import listed


def find_submission(sample: Table | None, target: Target, row_id: str | None) -> tuple[str, list[str], str]:
    """(source of a SubmissionFormat, names to import from common.submission, why). Raises InputError for a sample whose
    columns do not fit the target, and for one with several rows an id."""
    if sample is None:
        id_column = row_id or "id"
        name, function = default_answer(target)
        return source(id_column, {name: function}), [function], "there is no sample submission; edit it"
    header = sample.header
    if len(header) == 1:
        function = answer_of(sample, header[0], target)
        why = f"{header[0]} without ids, in the test file's order"
        return source(None, {header[0]: function}), [used(function)], why
    ids = [fields[0] for _, fields in sample.rows]
    if len(set(ids)) < len(ids):
        value = next(value for value in ids if ids.count(value) > 1)
        what = f"id {value!r:.80} stands in {ids.count(value)} rows, expected one row an id"
        raise InputError(f"{sample.path}, column {header[0]}: {what}; write SUBMISSION by hand for several")
    others = header[1:]
    if pattern := label_pattern(others, target):
        function = function_per_label(sample, others, target)
        return source(header[0], {pattern: function}), [function], f"{len(others)} columns, one a label: {function}"
    if len(others) > 1:
        text = f"columns {','.join(others):.200}, expected one, or one for each of {', '.join(target.names)}"
        first = next((name for name in others if not matches(name, target)), others[0])
        raise InputError(f"{sample.path}, row 1: {text:.400}{nearest(first, target.names)}")
    function = answer_of(sample, others[0], target)
    why = f"{others[0]}: {function}, as the sample has there"
    return source(header[0], {others[0]: function}), [used(function)], why


def source(id_column: str | None, columns: dict[str, str]) -> str:
    inside = ", ".join(f"{as_source(name)}: {function}" for name, function in columns.items())
    return f"SubmissionFormat({'None' if id_column is None else as_source(id_column)}, {{{inside}}})"


def used(function: str) -> str:
    """The name to import of a source such as probability_of("1")."""
    return function.partition("(")[0]


def default_answer(target: Target) -> tuple[str, str]:
    column = target.columns[0] if len(target.columns) == 1 else "labels"
    return column, {"number": "number", "several": "label_list"}.get(target.kind, "most_likely_label")


def matches(column: str, target: Target) -> bool:
    return any(column.endswith(name) for name in target.names)


def label_pattern(columns: list[str], target: Target) -> str | None:
    """`p_{label}` where the columns are p_<label> of every label in the model's order; None: they are not.

    Raises InputError where they are, but in another order."""
    if len(columns) != len(target.names) or len(columns) < 2:
        return None
    before = {column.removesuffix(name) for column, name in zip(columns, target.names, strict=True)}
    if len(before) == 1 and all(column.endswith(name) for column, name in zip(columns, target.names, strict=True)):
        return f"{before.pop()}{{label}}"
    return None


def order_of_sample(sample: Table | None, names: list[str]) -> list[str]:
    """The labels in the order of the sample's columns, where these are p_<label> of every label; else as they are."""
    others = sample.header[1:] if sample is not None else []
    if len(others) != len(names):
        return names
    for length in range(max(map(len, others))):
        prefix = others[0][:length]
        if all(o.startswith(prefix) for o in others) and {o[length:] for o in others} == set(names):
            return [o[length:] for o in others]
    return names


def function_per_label(sample: Table, columns: list[str], target: Target) -> str:
    cells = [cell for column in columns for cell in sample.column(column)]
    if target.kind == "several":
        return "score" if kind_of(cells) == "number" else "yes_or_no"
    return "probability"


def answer_of(sample: Table, column: str, target: Target) -> str:
    """The function whose cells are like those of this column."""
    cells = sample.column(column)
    kind = kind_of(cells)
    if target.kind == "number":
        if kind == "text":
            raise InputError(f"{sample.path}, column {column}: {cells[0]!r:.80}, expected a number, as the target is")
        return "number"
    if target.kind == "several":
        if any(cell.startswith("[") for cell in cells):
            return "label_json"
        spaced = any(" " in cell and "," not in cell for cell in cells) or target.separator == " "
        return "label_words" if spaced else "label_list"
    if set(cells) <= set(target.names):
        return "most_likely_label"
    if any(cell.startswith("[") for cell in cells):
        return "probability_list"
    if kind == "number" and len(target.names) == 2:
        return f"probability_of({as_source(target.names[1])})"
    if kind == "integer" and all(0 <= int(cell) < len(target.names) for cell in cells):
        return "most_likely_number"
    wrong = next(cell for cell in cells if cell not in target.names)
    if kind == "integer" or listed(wrong) == []:
        return "most_likely_label"  # a placeholder such as 0 or nothing
    what = f"{wrong!r:.80} is not one of {', '.join(target.names):.200}{nearest(wrong, target.names)}"
    raise InputError(f"{sample.path}, column {column}: {what}")
