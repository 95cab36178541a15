"""What a file is, by its first bytes: packed, columnar, JSON, or delimited text."""

import os
import zipfile
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from common.console import InputError
from common.guards.bombs import check_unpacked, unpacked_limit
from common.guards.formats import describe_foreign
from common.guards.listing import is_hidden
from common.guards.special import refuse_special
from common.tables import Table
from common.tables.delimited import read_delimited
from common.tables.encodings import decode
from common.tables.json_rows import is_json_lines, read_json_array, read_json_lines

BLOCK = 2**20  # bytes that are unpacked at a time


def open_table(path: Path, columns: Sequence[str] | None, tab_quotes: bool | None) -> Table:
    """read_table() without the checks of its header."""
    refuse_special(path)
    if os.path.isdir(path):
        from common.tables.columnar import read_saved_dataset

        return read_saved_dataset(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror.lower()})") from error
    return read_bytes(path, data, columns, tab_quotes, [])


def read_bytes(path: Path, data: bytes, columns: Sequence[str] | None, tab_quotes: bool | None, remarks: list) -> Table:
    """The table in these bytes of a file; one layer of packing is taken off."""
    if data.startswith(b"\x1f\x8b") and not remarks:
        return read_bytes(path, unpack_gzip(path, data), columns, tab_quotes, ["gzip"])
    if data.startswith(b"PK\x03\x04") and not remarks:
        archive = open_zip(path, data)
        if any(name.startswith("xl/") for name in archive.namelist()):
            from common.tables.workbook import read_workbook

            check_unpacked(path, len(data), sum(entry.file_size for entry in archive.infolist()))
            return read_workbook(path, data)
        name, content = only_member(path, archive)
        return read_bytes(path, content, columns, tab_quotes, [f"{name} in a zip archive"])
    if data.startswith((b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")):
        from common.tables.columnar import read_arrow, read_parquet

        table = (read_parquet if data.startswith(b"PAR1") else read_arrow)(path, data)
    else:
        table = read_text_table(path, data, columns, tab_quotes)
    table.remarks = [*remarks, *table.remarks]
    return table


def read_text_table(path: Path, data: bytes, columns: Sequence[str] | None, tab_quotes: bool | None) -> Table:
    """JSON lines, a JSON array of objects, or delimited text."""
    foreign = describe_foreign(data)
    if foreign and "UTF-16" not in foreign:
        raise InputError(f"{path}, row 1: {foreign}, a table was expected")
    text, encoding = decode(path, data)
    if not text.strip():
        raise InputError(f"{path}: is empty")
    if is_json_lines(text):
        table = read_json_lines(path, text)
    elif path.suffix.lower() == ".json":
        table = read_json_array(path, text)
    else:
        table = read_delimited(path, text, columns, tab_quotes)
    table.encoding = encoding
    table.remarks = [*([] if encoding == "UTF-8" else [encoding]), *table.remarks]
    return table


def unpack_gzip(path: Path, data: bytes) -> bytes:
    """All members of a gzip file. Raises InputError for a damaged one, and for one that unpacks to too much."""
    parts = []
    size = 0
    rest = data
    try:
        while rest.startswith(b"\x1f\x8b"):
            unpacker = zlib.decompressobj(wbits=31)
            while not unpacker.eof:
                part = unpacker.decompress(rest, BLOCK)
                rest = unpacker.unconsumed_tail
                if not (part or rest or unpacker.eof):
                    raise InputError(f"{path}: ends in the middle of its gzip data; download it again")
                parts.append(part)
                size += len(part)
                check_unpacked(path, len(data), size)
            rest = unpacker.unused_data
    except zlib.error as error:
        raise InputError(f"{path}: is a gzip file that is damaged; download it again") from error
    return b"".join(parts)


def open_zip(path: Path, data: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise InputError(f"{path}, row 1: is a zip archive that is damaged; download it again") from error


def only_member(path: Path, archive: zipfile.ZipFile) -> tuple[str, bytes]:
    """Name and content of the one file of an archive, what systems add aside. Raises InputError for none or several."""
    seen = [entry for entry in archive.infolist() if not entry.is_dir()]
    entries = [entry for entry in seen if not any(map(is_hidden, entry.filename.split("/")))]
    names = ", ".join(entry.filename for entry in entries[:3])
    if len(entries) != 1:
        raise InputError(f"{path}: is a zip archive of {len(entries)} files ({names:.80}), expected one; unpack it")
    (entry,) = entries
    packed = max(entry.compress_size, 1)
    check_unpacked(path, packed, entry.file_size)
    try:
        with archive.open(entry) as file:
            return entry.filename, file.read(unpacked_limit(packed) + 1)
    except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        what = "needs a password" if entry.flag_bits & 1 else "is damaged or packed in a way that is not known"
        raise InputError(f"{path}: {names:.80} in this zip archive {what}") from error
