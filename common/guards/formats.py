"""What a file that should hold text really is, told by its first bytes."""

import zipfile
from io import BytesIO

# Beginning of the file -> what it is and what to do.
BEGINNINGS = {
    b"\x1f\x8b": "is compressed with gzip; unpack it (gunzip)",
    b"BZh": "is compressed with bzip2; unpack it",
    b"\xfd7zXZ\x00": "is compressed with xz; unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; unpack it",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive; unpack it",
    b"Rar!": "is a RAR archive; unpack it",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook (.xls); save it as CSV",
    b"PAR1": "is a Parquet file; save it as CSV",
    b"%PDF": "is a PDF",
    b"SQLite format 3": "is an SQLite database",
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; fetch it (git lfs pull)",
    b"\xff\xfe": "is UTF-16; save the file as UTF-8",
    b"\xfe\xff": "is UTF-16; save the file as UTF-8",
}
PAGES = (b"<!doctype html", b"<html", b"<?xml", b"<head")


def each_once(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object, for object_pairs_hook. Raises ValueError for a key that stands twice: json would drop the first
    value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"an object has two values of {next(key for key in found if keys.count(key) > 1)!r:.80}")
    return found


def describe_foreign(data: bytes) -> str | None:
    """What is wrong with the bytes of a file that should be text, as the rest of a sentence; None where they may be."""
    if data.startswith(b"PK\x03\x04"):
        return f"is {describe_zip(data)}"
    for beginning, what in BEGINNINGS.items():
        if data.startswith(beginning):
            return what
    head = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head.startswith(PAGES):
        return "is a page of HTML or XML, perhaps of a login; download the file itself"
    return None


def describe_zip(data: bytes) -> str:
    """A workbook or another archive, with the first names in it."""
    try:
        names = zipfile.ZipFile(BytesIO(data)).namelist()
    except (zipfile.BadZipFile, ValueError, OSError):
        return "a zip archive that is damaged; download it again"
    if any(name.startswith("xl/") for name in names):
        return "an Excel workbook (.xlsx); save it as CSV"
    return f"a zip archive ({', '.join(names[:3]):.80}); unpack it"
