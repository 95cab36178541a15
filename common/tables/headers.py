"""Headers as files have them: a line that stands twice, columns without a name."""

from common.console import InputError
from common.guards.spelling import nfc
from common.tables import Table


def refuse_header_as_row(table: Table, named: bool) -> None:
    """Raise InputError for a row that is the header once more: of files put together, or read with names (named) though
    they have some. Of a single column it may be a text."""
    for row, fields in table.rows if len(table.header) > 1 else ():
        if fields[0] == table.header[0] and list(map(nfc, fields)) == table.header:
            hint = "leave --columns out, or take the line out" if named else "take the line out"
            raise InputError(f"{table.path}, row {row}: the names of the columns stand there, expected a row; {hint}")


def name_columns(table: Table) -> None:
    """Leave columns without a name and any cell out, which spreadsheets write behind a table; name what is left of them
    as pandas does where it is more than one."""
    nameless = [place for place, name in enumerate(table.header) if not name.strip()]
    empty = {place for place in nameless if not any(fields[place].strip() for _, fields in table.rows)}
    if empty and len(empty) < len(table.header):
        kept = [place for place in range(len(table.header)) if place not in empty]
        table.header = [table.header[place] for place in kept]
        table.rows = [(row, [fields[place] for place in kept]) for row, fields in table.rows]
        table.remarks.append(f"{len(empty):,} columns without a name or a cell are left out")
    left = [place for place, name in enumerate(table.header) if not name.strip()]
    if len(left) > 1:
        for place in left:
            table.header[place] = f"Unnamed: {place}"
        table.remarks.append(f"{len(left):,} columns without a name are called Unnamed")
