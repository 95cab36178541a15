"""The text of bytes that do not say their encoding: UTF-8, UTF-16, UTF-32, cp949 (Korean Windows) or cp1252 (western).

The rules count what each encoding leaves behind. Of UTF-8 text, Hangul is three bytes, the first 0xea to 0xed; of cp949
text, the 2,350 syllables of KS X 1001, which are nearly all that people write, are 0xb0-0xc8 0xa1-0xfe; western text
has single bytes beyond ASCII among ASCII letters.
"""

import re
from pathlib import Path

from common.console import InputError

HANGUL_UTF8 = re.compile(rb"[\xea-\xed][\x80-\xbf]{2}")
MULTIBYTE_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
HANGUL_CP949 = re.compile(rb"[\xb0-\xc8][\xa1-\xfe]")
HANGUL = re.compile("[가-힣]")
HANJA = re.compile("[\u4e00-\u9fff\uf900-\ufaff]")
ASCII = bytes(range(128))
WESTERN_SHARE = 0.25  # of the letters, at most, are beyond ASCII in western text
# byte-order marks; UTF-32's first, since one of them begins as one of UTF-16
MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
UNUSUAL = re.compile("[\x00-\x08\x0e-\x1f]")


def decode(path: Path, data: bytes) -> tuple[str, str]:
    """(text without a byte-order mark, name of its encoding). Raises InputError where it is none of those."""
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            try:
                return data.decode(encoding), encoding
            except UnicodeDecodeError as error:
                raise InputError(f"{path}: begins as {encoding} and is damaged; save the file as UTF-8") from error
    if b"\0" in data:
        return decode_utf16_without_mark(path, data)
    try:
        return data.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError as error:
        row = data[: error.start].count(b"\n") + 1
        where = f"{path}, row {row}: is not UTF-8 text (byte {data[error.start]:#04x})"
        if is_mostly_utf8(data):
            raise InputError(f"{where}; the file is damaged there, save it as UTF-8") from error
        for encoding in ("cp949", "cp1252"):
            if (is_korean if encoding == "cp949" else is_western)(data):
                return decode_as(path, data, encoding), encoding
        raise InputError(f"{where}, nor cp949 or cp1252; save the file as UTF-8") from error


def decode_as(path: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        row = data[: error.start].count(b"\n") + 1
        what = f"is not {encoding.upper()} text (byte {data[error.start]:#04x})"
        raise InputError(f"{path}, row {row}: {what}; save the file as UTF-8") from error


def decode_utf16_without_mark(path: Path, data: bytes) -> tuple[str, str]:
    """UTF-16 whose NUL bytes all stand at one side of ASCII characters. Raises InputError for any other NUL byte."""
    for encoding, side in (("utf-16-le", 1), ("utf-16-be", 0)):
        if b"\0" not in data[1 - side :: 2] and len(data) % 2 == 0:
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError:
                continue
            # chance would give few ASCII characters; a header and its delimiters are ASCII
            if not UNUSUAL.search(text) and sum(character.isascii() for character in text[:200]) >= len(text[:200]) / 5:
                return text, f"{encoding.upper()} without a mark"
    row = data[: data.index(b"\0")].count(b"\n") + 1
    raise InputError(f"{path}, row {row}: holds a NUL byte, so it is UTF-16 or damaged; save the file as UTF-8")


def beyond_ascii(data: bytes) -> int:
    return len(data.translate(None, ASCII))


def is_mostly_utf8(data: bytes) -> bool:
    """Whether whole characters of UTF-8 make up more than half of the bytes beyond ASCII (in cp949 text, Hangul would
    by chance be one in a hundred)."""
    hangul = 3 * len(HANGUL_UTF8.findall(data))
    western = sum(map(len, MULTIBYTE_UTF8.findall(data)))
    korean = 2 * len(HANGUL_CP949.findall(data))
    half = beyond_ascii(data) / 2
    return hangul > half or (western > half and western > korean)


def is_korean(data: bytes) -> bool:
    """By the syllables of KS X 1001; or, where others prevail, because it is too much for western text and is cp949.

    Chinese (GBK) and Japanese (EUC-JP) have the same bytes: what would be more than a quarter Hanja is not Korean.
    """
    text = data.decode("cp949", errors="ignore")
    if 4 * len(HANJA.findall(text)) > len(HANGUL.findall(text)):
        return False
    if 2 * len(HANGUL_CP949.findall(data)) > beyond_ascii(data) / 2:
        return True
    try:
        return not is_western(data) and 4 * len(HANGUL.findall(data.decode("cp949"))) > beyond_ascii(data)
    except UnicodeDecodeError:
        return False


def is_western(data: bytes) -> bool:
    letters = sum(chr(byte).isalpha() for byte in data if byte < 128)
    return beyond_ascii(data) <= WESTERN_SHARE * (letters + beyond_ascii(data))
