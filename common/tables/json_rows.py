"""JSON lines (an object a line), and one JSON array of objects."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.console import InputError
from common.guards.formats import each_once
from common.tables import Table
from common.tables.cells import Written, to_text


def is_json_lines(text: str) -> bool:
    """Whether the first line is a JSON object."""
    first = text.lstrip().partition("\n")[0].strip()
    if not (first.startswith("{") and first.endswith("}")):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def read_json_lines(path: Path, text: str) -> Table:
    """Rows are numbered by their lines. Raises InputError for a line that is no object."""
    entries = []
    for row, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entries.append((row, json.loads(line, object_pairs_hook=each_once, parse_float=Written)))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, row {row}, column {error.colno}: is not JSON ({error.msg})") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, row {row}: is not JSON that can be read ({error})") from error
    if len(entries) == 1 and path.suffix.lower() == ".json" and holds_rows(entries[0][1]):
        return read_json_array(path, text)
    return table_of(path, entries)


def read_json_array(path: Path, text: str) -> Table:
    """Rows are numbered by their entries, from 1. An object whose only list of objects holds the rows is as that list
    (`{"version": 1, "data": [...]}`)."""
    try:
        entries = json.loads(text, object_pairs_hook=each_once, parse_float=Written)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, row {error.lineno}, column {error.colno}: is not JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON that can be read ({error})") from error
    key = None
    if isinstance(entries, dict) and len(inside := lists_of_rows(entries)) == 1:
        (key,) = inside
        entries = entries[key]
    if not isinstance(entries, list):
        raise InputError(f"{path}, row 1: is a JSON {type(entries).__name__}, expected an array of objects, one a row")
    table = table_of(path, enumerate(entries, start=1))
    table.remarks += [] if key is None else [f"its rows are those of {key!r:.80}"]
    return table


def lists_of_rows(entry: dict) -> list[str]:
    """The keys of an object with a list of objects."""
    return [k for k, v in entry.items() if isinstance(v, list) and v and all(isinstance(row, dict) for row in v)]


def holds_rows(entry: Any) -> bool:
    """Whether an object is no row, but holds a list of them, or a column of rows in each of its keys."""
    if not isinstance(entry, dict) or not entry:
        return False
    return len(lists_of_rows(entry)) == 1 or all(isinstance(value, dict) and value for value in entry.values())


def flat(entry: dict[str, Any], before: str = "") -> dict[str, Any]:
    """An object without objects in it: {"input": {"text": "a"}} has the column input.text. Raises ValueError for a
    column that is there twice."""
    cells: dict[str, Any] = {}
    for key, value in entry.items():
        inner = flat(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
        if twice := cells.keys() & inner:
            raise ValueError(f"{min(twice)!r:.80} stands there twice")
        cells |= inner
    return cells


def table_of(path: Path, entries: Iterable[tuple[int, Any]]) -> Table:
    """Columns in the order in which they are first seen; what an object does not have is empty. See flat()."""
    entries = list(entries)
    for row, entry in entries:
        if not isinstance(entry, dict):
            raise InputError(f"{path}, row {row}: is a JSON {type(entry).__name__}, expected an object, one a row")
    try:
        entries = [(row, flat(entry)) for row, entry in entries]
    except ValueError as error:
        raise InputError(f"{path}: is not JSON that can be read ({error})") from error
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply to be read as JSON") from error
    header = list(dict.fromkeys(key for _, entry in entries for key in entry))
    rows = [
        (row, [to_text(entry.get(key), f"{path}, row {row}, column {key}") for key in header]) for row, entry in entries
    ]
    for row, fields in rows:
        for key, value in zip(header, fields, strict=True):
            if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
                raise InputError(
                    f"{path}, row {row}, column {key}: holds half a surrogate pair, expected whole characters"
                )
    return Table(str(path), header, rows)
