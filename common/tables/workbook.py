"""An Excel workbook (.xlsx) with one sheet that holds something, read by openpyxl row by row."""

import datetime
import re
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from common.console import InputError, first_line
from common.guards.bombs import check_cells
from common.tables import Table
from common.tables.cells import to_text

# A cell with a formula and nothing in <v>; where the value is an empty text, its type (t) says so.
FORMULA = rb"<f(?:\s[^>]*)?(?:/>|>[^<]*</f>)"
UNCALCULATED = re.compile(
    rb'<c (?![^>]*\bt=")[^>]*\br="([A-Z]+[0-9]+)"[^>]*>\s*' + FORMULA + rb"\s*(?:<v\s*/>|<v></v>)?\s*</c>"
)
# what openpyxl lets through of a damaged workbook
DAMAGED = (KeyError, ValueError, TypeError, AttributeError, IndexError, EOFError, OSError, NotImplementedError)


def read_workbook(path: Path, data: bytes) -> Table:
    """Rows are numbered as Excel does; the first is the header. A formula gives the value that Excel saved with it.

    A date is ISO 8601, a whole number has no point and the zeros in front that its format shows. Raises InputError for
    a damaged workbook, several sheets with content, a formula without its value, and one that claims too much.
    """
    from xml.etree.ElementTree import ParseError

    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = openpyxl.load_workbook(BytesIO(data), read_only=True, data_only=True)
        sheets = {}
        cells = 0
        for sheet in book.worksheets:
            rows = []
            for number, cells_of_row in enumerate(sheet.iter_rows(), start=1):
                row = [as_shown(cell) for cell in cells_of_row]
                cells += len(row)
                check_cells(path, len(data), cells)
                if any(value is not None for value in row):
                    rows.append((number, row))
            if rows:
                sheets[sheet.title] = rows
    except (BadZipFile, InvalidFileException, ParseError, zlib.error, *DAMAGED) as error:
        raise InputError(f"{path}: is not an Excel workbook that can be read ({first_line(error)})") from error
    refuse_uncalculated(path, data)
    if len(sheets) != 1:
        named = f" ({', '.join(sheets):.80})" if sheets else ""
        raise InputError(f"{path}: {len(sheets)} sheets hold something{named}, expected one; save the one as CSV")
    (rows,) = sheets.values()
    line, names = rows[0]
    width = max(place for place, name in enumerate(names) if name is not None) + 1
    if None in names[:width]:
        raise InputError(f"{path}, row {line}: column {names.index(None) + 1} has no name, expected a header")
    table = Table(str(path), [to_text(name, f"{path}, row {line}") for name in names[:width]], [])
    for row, values in rows[1:]:
        if any(value is not None for value in values[width:]):
            raise InputError(f"{path}, row {row}: has more cells than the {width} columns of the header")
        padded = [*values[:width], *[None] * (width - len(values))]
        table.rows.append((row, [to_text(whole(value), f"{path}, row {row}") for value in padded]))
    return table


def refuse_uncalculated(path: Path, data: bytes) -> None:
    """Raise InputError for a formula that no program has calculated yet: its cell would be empty."""
    archive = ZipFile(BytesIO(data))
    for name in archive.namelist():
        if name.startswith("xl/worksheets/") and (found := UNCALCULATED.search(archive.read(name))):
            where = f"{path}, cell {found[1].decode()}"
            raise InputError(f"{where}: holds a formula without its value; open the file in Excel and save it")


def as_shown(cell: Any) -> object:
    """A cell's value; 7 that Excel shows as 007 (format 000) is that text, as an id or a postcode is meant. Excel knows
    no date without a time: where the format shows none, it is one."""
    value = cell.value
    if (
        isinstance(value, datetime.datetime)
        and value.time() == datetime.time()
        and "h" not in cell.number_format.lower()
    ):
        return value.date()
    if type(value) is int and len(cell.number_format) > 1 and set(cell.number_format) == {"0"}:
        return f"{value:0{len(cell.number_format)}}"
    return value


def whole(value: object) -> object:
    """Excel knows no whole numbers: 3.0 is 3."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
