"""Tables of a competition as rows of text, whatever file they come in.

table = read_table("train.csv.gz")          # csv, tsv, jsonl, json, parquet, xlsx, arrow, a folder of datasets
for row, values in table.records():         # row: what a message names; values: column -> text, "" where missing
    ...

What a file is, is told by its content: gzip and zip are unpacked, the encoding, the delimiter and whether quotes mean
anything are found, and said in a line where they are not the usual (UTF-8, the file's own delimiter, CSV quotes).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.console import InputError, print_once
from common.guards.spelling import nfc
from common.tables.nearest import nearest

__all__ = ["Table", "nearest", "read_table"]


@dataclass
class Table:
    """Header (C,) in NFC and rows, each (the line or entry that it begins on, C fields).

    remarks: what was not usual in the file. encoding: of a text; None of files with types. quoted: whether a layer of
    CSV quotes was taken off; False where a quote opens nothing.
    """

    path: str
    header: list[str]
    rows: list[tuple[int, list[str]]]
    remarks: list[str] = field(default_factory=list)
    quoted: bool = True
    encoding: str | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def records(self, needed: Sequence[str] = (), optional: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
        """(row, column -> text) of each row; an optional column that the file does not have is not in it.

        Raises InputError for a needed column that is not there, with the nearest that is, and for a name that stands
        twice in the header.
        """
        for number, name in enumerate(self.header):
            if name in self.header[:number]:
                raise InputError(f"{self.path}, row 1: two columns are named {name!r:.80}, expected each name once")
        for column in needed:
            if column not in self.header:
                also = f" and, if labelled, {','.join(optional)}" if optional else ""
                found = f"columns are {','.join(self.header)!r:.200}"
                expected = f"expected {','.join(needed)}{also}"
                what = f"no column {column!r}{nearest(column, self.header)}"
                raise InputError(f"{self.path}, row 1: {what}; {found}, {expected}")
        for row, fields in self.rows:
            yield row, dict(zip(self.header, fields, strict=True))

    def column(self, name: str) -> list[str]:
        """(N,) texts of a column. Raises InputError as records() does."""
        return [values[name] for _, values in self.records([name])]


def read_table(
    path: str | Path,
    columns: Sequence[str] | None = None,
    tab_quotes: bool | None = None,
    note: Callable[[str], None] | None = print_once,
) -> Table:
    """The one table of a file (or of a folder that datasets wrote).

    columns: its columns, where the file has no header; tab_quotes: whether CSV quotes mean anything between tabs; None:
    what the content shows. note: what takes a line of the table's remarks, if there are any. Raises
    InputError that names file, row and column for what is no table.
    """
    from common.tables.headers import name_columns, refuse_header_as_row
    from common.tables.sources import open_table  # pyarrow and openpyxl only where they are needed

    table = open_table(Path(path), columns, tab_quotes)
    table.header = [nfc(name) for name in table.header]
    refuse_header_as_row(table, named=columns is not None)
    name_columns(table)
    if table.remarks and note:
        note(f"{Path(path).name}: {', '.join(table.remarks)}")
    return table
