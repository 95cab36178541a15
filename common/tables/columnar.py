"""Parquet, Arrow and folders of `datasets`, read by pyarrow in small pieces, with limits on what they may claim.

A dictionary or a run of equal values makes a column of any length from a few bytes: what is counted are cells, which
cost memory whatever they hold; strings stay shared.
"""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from common.console import InputError, first_line
from common.guards.bombs import check_cells, check_unpacked
from common.tables import Table
from common.tables.cells import to_text

BATCH = 1024  # rows


def read_parquet(path: Path, data: bytes) -> Table:
    """Rows are numbered from 1. Raises InputError for a damaged file and one that claims too much."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        file = parquet.ParquetFile(BytesIO(data))
        schema = file.schema_arrow
        check_cells(path, len(data), file.metadata.num_rows * max(len(schema), 1))
        strings = [field.name for field in schema if pyarrow.types.is_string(field.type)]
        file = parquet.ParquetFile(BytesIO(data), read_dictionary=strings)
        return table_of(path, len(data), schema.names, file.iter_batches(batch_size=BATCH))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: is not a Parquet file that can be read ({first_line(error)})") from error


def read_arrow(path: Path, data: bytes) -> Table:
    """An Arrow file (Feather) or stream."""
    import pyarrow

    try:
        if data.startswith(b"ARROW1"):
            reader = pyarrow.ipc.open_file(pyarrow.py_buffer(data))
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            reader = pyarrow.ipc.open_stream(pyarrow.py_buffer(data))
            batches = iter(reader)
        return table_of(path, len(data), reader.schema.names, batches)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: is not an Arrow file that can be read ({first_line(error)})") from error


def read_saved_dataset(path: Path) -> Table:
    """What Dataset.save_to_disk() wrote: its Arrow files in their order, classes by their names."""
    import json

    from common.files import read_json

    state = path / "state.json"
    if not state.is_file():
        parts = sorted(p.name for p in path.iterdir() if (p / "state.json").is_file())
        hint = f"; it holds {', '.join(parts)}, name one of them" if parts else ""
        raise InputError(f"{path}: is a folder, expected a file or a folder that datasets' save_to_disk wrote{hint}")
    content = read_json(state)
    files = content.get("_data_files")
    if not isinstance(files, list) or not all(
        isinstance(f, dict) and isinstance(f.get("filename"), str) for f in files
    ):
        raise InputError(f"{state}: names no Arrow files, expected what datasets' save_to_disk writes")
    if content.get("_indices_data_files"):
        raise InputError(f"{path}: its rows are chosen by indices; save it after flatten_indices()")
    header: list[str] = []
    rows: list[tuple[int, list[str]]] = []
    for name in (file["filename"] for file in files):
        if Path(name).name != name or not (path / name).is_file():
            raise InputError(f"{state}: {name!r:.80} is no file of this folder")
        part = read_arrow(path / name, (path / name).read_bytes())
        if header and part.header != header:
            raise InputError(f"{path / name}: columns are {','.join(part.header)}, expected {','.join(header)}")
        header = part.header
        rows += [(len(rows) + number, fields) for number, fields in part.rows]
    info = path / "dataset_info.json"
    features = json.loads(info.read_text(encoding="utf-8")).get("features", {}) if info.is_file() else {}
    for place, column in enumerate(header):
        names = (features.get(column) or {}).get("names")
        for row, fields in rows if isinstance(names, list) else ():
            number = fields[place]
            if number not in ("", "-1"):
                if not (number.isdecimal() and int(number) < len(names)):
                    raise InputError(
                        f"{path}, row {row}, column {column}: {number!r:.80} is not one of {len(names)} classes"
                    )
                fields[place] = names[int(number)]
            else:
                fields[place] = ""
    return Table(str(path), header, rows)


def table_of(path: Path, size: int, header: list[str], batches: Iterable) -> Table:
    """Cells of record batches as text; a dictionary's strings are shared. size: bytes of the file."""
    import pyarrow

    rows: list[tuple[int, list[str]]] = []
    unpacked = 0
    for batch in batches:
        batch.validate(full=True)  # offsets of a damaged file lead out of its memory
        check_cells(path, size, (len(rows) + batch.num_rows) * max(len(header), 1))
        columns = []
        for name, column in zip(header, batch.columns, strict=True):
            where = f"{path}, rows {len(rows) + 1} to {len(rows) + batch.num_rows}, column {name}"
            if isinstance(column, pyarrow.DictionaryArray):
                shared = [to_text(value, where) for value in column.dictionary.to_pylist()]
                unpacked += sum(map(len, shared))
                numbers = column.indices.to_pylist()
                columns.append(["" if number is None else shared[number] for number in numbers])
            else:
                unpacked += column.nbytes
                check_unpacked(path, size, unpacked)
                columns.append([to_text(value, where) for value in column.to_pylist()])
        check_unpacked(path, size, unpacked)
        rows += [
            (len(rows) + number, list(fields)) for number, fields in enumerate(zip(*columns, strict=True), start=1)
        ]
    return Table(str(path), list(header), rows)
