"""Delimited text: which character separates the fields, and whether a quote opens a field or is a character."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.console import InputError
from common.files import read_rows
from common.tables import Table

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
EXCEL = re.compile(r"sep=([,;|\t])\r?\n")  # a first line that tells Excel the delimiter
USUAL = {".tsv": "\t", ".txt": "\t", ".tab": "\t"}  # by a file's suffix; else a comma


def read_delimited(path: Path, text: str, columns: Sequence[str] | None, tab_quotes: bool | None) -> Table:
    """The table of a text: of the delimiters in its first line the one that gives all rows the same fields.

    Between commas, quotes mean something. Elsewhere they do where all rows then have the header's fields, and not where
    they have them only without, or where a quote would join lines that are whole rows (KorSTS). A first line `sep=;`
    names the delimiter, as it does for Excel. Raises InputError as read_rows() does.
    """
    if "\n" not in text:
        text = text.replace("\r", "\n")  # lines of an old Macintosh
    told = EXCEL.match(text)
    if told:
        text = "\n" + text[told.end() :]  # an empty line, so that rows keep their numbers
    found = [told[1]] if told else likely_delimiters(path, text)
    for delimiter in found:
        quotes = True if delimiter == "," else tab_quotes if delimiter == "\t" else None
        table = read_with(path, text, delimiter, columns, quotes)
        if table is not None:
            table.remarks += ["its first line names the delimiter"] if told else []
            return table
    # what is wrong is said for the most frequent delimiter
    in_lines = found[0] == "\t" and tab_quotes is False
    rows = read_lines(path, text, found[0], columns) if in_lines else read_rows(path, found[0], columns, text)
    list(rows)
    raise InputError(f"{path}: holds no rows")


def likely_delimiters(path: Path, text: str) -> list[str]:
    """Those in the first line, the most frequent first, or the usual one of the file's suffix."""
    first = text.lstrip("\r\n").partition("\n")[0]
    found = [delimiter for delimiter in DELIMITERS if delimiter in first] or [USUAL.get(path.suffix.lower(), ",")]
    # nobody writes a tab into a name
    return sorted(found, key=lambda delimiter: (delimiter != "\t", -len(first.split(delimiter))))


def read_with(
    path: Path, text: str, delimiter: str, columns: Sequence[str] | None, quotes: bool | None
) -> Table | None:
    """The table with this delimiter; None where its rows have different numbers of fields."""
    parsed = {}
    for quoted in (True, False) if quotes is None and '"' in text else (quotes is not False,):
        rows = read_rows(path, delimiter, columns, text) if quoted else read_lines(path, text, delimiter, columns)
        try:
            parsed[quoted] = list(rows)
        except InputError:
            continue
    if not parsed:
        return None
    quoted = True in parsed and not (False in parsed and len(parsed[False]) > len(parsed[True]))
    rows = parsed[quoted]
    header = list(columns) if columns else rows.pop(0)[1]
    remarks = []
    if delimiter not in (",", "\t") and len(header) > 1:
        remarks.append(f"separated by {DELIMITERS[delimiter]}")
    if not quoted and quotes is None:
        remarks.append("a quote opens nothing")
    if len(header) == 1 and (blank := blank_lines(rows)):
        remarks.append(f"{blank:,} blank lines between rows are no rows")
    return Table(str(path), header, rows, remarks, quoted)


def blank_lines(rows: list[tuple[int, list[str]]]) -> int:
    """How many blank lines stand between the rows of a single column, where each could be an empty text."""
    pairs = zip(rows, rows[1:], strict=False)
    return sum(max(0, later - row - 1 - fields[0].count("\n")) for (row, fields), (later, _) in pairs)


def read_lines(
    path: Path, text: str, delimiter: str, columns: Sequence[str] | None = None
) -> Iterator[tuple[int, list[str]]]:
    """read_rows() of a text in which a quote opens nothing, so that a line is a row."""
    for row, line in enumerate(text.split("\n"), start=1):
        if line := line.removesuffix("\r"):
            fields = line.split(delimiter)
            columns = columns or fields
            if len(fields) != len(columns):
                expected = f"expected {len(columns)} ({','.join(columns):.200})"
                raise InputError(f"{path}, row {row}: {len(fields)} fields, {expected}")
            yield row, fields
