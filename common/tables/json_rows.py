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
    return table_of(path, entries)


def read_json_array(path: Path, text: str) -> Table:
    """Rows are numbered by their entries, from 1."""
    try:
        entries = json.loads(text, object_pairs_hook=each_once, parse_float=Written)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, row {error.lineno}, column {error.colno}: is not JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON that can be read ({error})") from error
    if not isinstance(entries, list):
        raise InputError(f"{path}, row 1: is a JSON {type(entries).__name__}, expected an array of objects, one a row")
    return table_of(path, enumerate(entries, start=1))


def table_of(path: Path, entries: Iterable[tuple[int, Any]]) -> Table:
    """Columns in the order in which they are first seen; what an object does not have is empty."""
    entries = list(entries)
    for row, entry in entries:
        if not isinstance(entry, dict):
            raise InputError(f"{path}, row {row}: is a JSON {type(entry).__name__}, expected an object, one a row")
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
