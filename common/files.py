"""Files: written whole or not at all, read with a sentence for what is wrong in them, fingerprints, order."""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import yaml

from common.console import InputError
from common.guards.bombs import load_yaml
from common.guards.formats import describe_foreign, each_once
from common.guards.special import refuse_special
from common.guards.spelling import nfc

csv.field_size_limit(2**31 - 1)  # characters; what is too long for a text is said by its row, not as "not CSV"
# A JSON escape of the first half of a character without the second, or the other way round.
HIGH, LOW = r"\\u[dD][89abAB][0-9a-fA-F]{2}", r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
HALF_SURROGATE = re.compile(f"{HIGH}(?!{LOW})|(?<!{HIGH}){LOW}")


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO]:
    """Open `path` for writing under a temporary name; fsync and rename when the block ends well, else remove.

    mode: "w" (text, UTF-8, LF) or "wb". Raises InputError where the folder cannot be made or written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = open(temporary, mode, **text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror.lower()})") from error
    try:
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: object) -> None:
    """Write `value` as indented UTF-8 JSON, atomically."""
    with atomic_write(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object that the project itself wrote. Raises InputError where the file is damaged."""
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        raise InputError(f"{path}: is damaged ({error}), expected the JSON that a run writes") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: is a {type(value).__name__}, expected the JSON object that a run writes")
    return value


def read_json_data(path: str | Path) -> Any:
    """Read a user's JSON file. Raises InputError that names the file and, for a mistake in the JSON, row and column."""
    text = read_text(path)
    try:
        value = json.loads(text, object_pairs_hook=each_once)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, row {error.lineno}, column {error.colno}: is not JSON ({error.msg})") from error
    except ValueError as error:  # an integer of too many digits, a key twice
        raise InputError(f"{path}: is not JSON that can be read ({error})") from error
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply to be read as JSON") from error
    if HALF_SURROGATE.search(text) and re.search("[\ud800-\udfff]", json.dumps(value, ensure_ascii=False)):
        found = HALF_SURROGATE.search(text)
        row = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        what = f"holds half a surrogate pair ({found[0]}), whole characters were expected"
        raise InputError(f"{path}, row {row}, column {column}: {what}")
    return value


def read_rows(
    path: str | Path, delimiter: str = ",", columns: Sequence[str] | None = None, text: str | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line on which it begins, fields) of each row of a CSV or TSV file with CSV quotes; empty rows are skipped.

    columns: names of the fields, where the file has no header; None: the first row is one, and is yielded, too. text:
    the file's, where it is read already. Raises InputError where a row has another number of fields, or is no CSV.
    """
    text = read_text(path) if text is None else text
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    row = 1
    try:
        for fields in reader:
            if fields:
                fields = fields if columns else [nfc(name) for name in fields]
                columns = columns or fields
                if len(fields) != len(columns):
                    separated = " separated by tabs" if delimiter == "\t" else ""
                    expected = f"expected {len(columns)}{separated} ({','.join(columns):.200})"
                    raise InputError(f"{path}, row {row}: {len(fields)} fields, {expected}")
                yield row, fields
            row = reader.line_num + 1
    except csv.Error as error:
        kind = "CSV" if delimiter == "," else "tab-separated text with CSV quotes"
        raise InputError(f"{path}, row {row}: is not {kind} ({error})") from error


def read_table(path: str | Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and read_rows() of a CSV file. Raises InputError where it has no header."""
    rows = list(read_rows(path))
    if not rows:
        raise InputError(f"{path}: is empty, expected a header and one row per id")
    return rows[0][1], rows[1:]


def read_text(path: str | Path, encoding: str = "utf-8") -> str:
    """The whole text of a data file; a byte-order mark is dropped.

    Raises InputError that names the file where it cannot be opened or is not text in `encoding`.
    """
    path = Path(path)
    refuse_special(path)
    if os.path.isdir(path):  # Path.is_dir() raises for a name that is too long
        raise InputError(f"{path}: is a folder, a file was expected")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror.lower()})") from error
    if foreign := describe_foreign(data):
        raise InputError(f"{path}, row 1: {foreign}, text was expected")
    if b"\0" in data and encoding == "utf-8":
        row = data[: data.index(b"\0")].count(b"\n") + 1
        raise InputError(f"{path}, row {row}: holds a NUL byte, so it is UTF-16 or damaged; save the file as UTF-8")
    try:
        text = data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        row = data[: error.start].count(b"\n") + 1
        what = f"is not {encoding.upper()} text (byte {data[error.start]:#04x})"
        raise InputError(f"{path}, row {row}: {what}; save the file as UTF-8") from error
    if not text.strip():
        raise InputError(f"{path}: is empty")
    return text


def natural(path: Path) -> list[tuple[int, str]]:
    """Sort key under which 2.jpg stands before 10.jpg."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.as_posix())]


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    refuse_special(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def walk(folder: str | Path) -> Iterator[str]:
    """All files below a folder but hidden ones, folder by folder, sorted; through links, but not in circles."""
    seen = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(root) in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(os.path.realpath(root))
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield from (os.path.join(root, name) for name in sorted(names) if name[0] != ".")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping. Raises InputError that names file and row."""
    try:
        content = load_yaml(read_text(path), path)
    except yaml.MarkedYAMLError as error:
        raise InputError(f"{path}, row {error.problem_mark.line + 1}: is not YAML ({error.problem})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a control character, a date as 2024-99-99, [[[[...
        raise InputError(f"{path}: is not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: a mapping of field: value was expected")
    return content
