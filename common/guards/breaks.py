"""Whether a video file breaks off: what containers say of their own size, which a half copied file does not have.

    refuse_cut(path)     # InputError: clip.mkv: 1,200 of at least 2,400 bytes are there, is the file truncated?

Readers of Matroska, FLV, ASF and transport streams give the frames that are there, and say nothing of those that are
not. A file that was recorded as it came says no size, and is taken as it is. MP4 and AVI count their frames, see
shown_frames() of videos.py.
"""

import os
from pathlib import Path
from typing import BinaryIO

from common.console import InputError, first_line

EBML = b"\x1a\x45\xdf\xa3"  # RFC 8794: what Matroska and WebM begin with
SEGMENT = b"\x18\x53\x80\x67"  # RFC 9559: the element that holds all others
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")  # the header object of WMV and ASF
ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # the object of the file's properties
PACKETS = ((188, 0), (192, 4))  # of MPEG-TS, and of M2TS: bytes, and those before the mark
MARK = 0x47  # each packet's first byte
LOOKED_AT = 1 << 16  # bytes of a header


def refuse_cut(path: str | Path) -> None:
    """Raise InputError where a video file says that it has more bytes than are there, or cannot be read."""
    try:
        found = os.path.getsize(path)
        with open(path, "rb") as file:
            whole = stated_bytes(file, found)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from error
    if whole > found:
        raise InputError(f"{path}: {found:,} of at least {whole:,} bytes are there, is the file truncated?")


def stated_bytes(file: BinaryIO, found: int) -> int:
    """How many bytes the file of `found` bytes has by its own account; 0 where it gives none."""
    start = file.read(LOOKED_AT)
    if start.startswith(EBML):
        return end_of_segment(start)
    if start.startswith(ASF):
        return size_in_asf(start)
    if start.startswith(b"FLV"):
        return end_of_tags(file, found)
    for packet, mark in PACKETS:
        if len(start) > 3 * packet and set(start[mark : 4 * packet : packet]) == {MARK}:
            return -(-found // packet) * packet
    return 0


def end_of_segment(start: bytes) -> int:
    """Where the segment of a Matroska file ends; 0 where its size is not known, as in a stream."""
    header, at = read_vint(start, 4)
    at += header or 0
    while start[at : at + 4] != SEGMENT:  # what may stand before it: padding
        if at + 2 >= len(start) or start[at] < 0x80:
            return 0
        size, after = read_vint(start, at + 1)
        at = after + (size or 0)
    size, at = read_vint(start, at + 4)
    return 0 if size is None else at + size


def read_vint(data: bytes, at: int) -> tuple[int | None, int]:
    """A number of EBML, whose length is that of its leading zeros, None where all its bits are set: unknown; and where
    it ends."""
    if at >= len(data) or not data[at]:
        return None, at + 1
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length]) & (1 << 7 * length) - 1
    return (None if value == (1 << 7 * length) - 1 else value), at + length


def size_in_asf(start: bytes) -> int:
    """The size in an ASF's properties; 0 where they are not found, or are those of a broadcast."""
    at = start.find(ASF_FILE)
    if at < 0 or len(start) < at + 92 or start[at + 88] & 1:
        return 0
    return int.from_bytes(start[at + 40 : at + 48], "little")


def end_of_tags(file: BinaryIO, found: int) -> int:
    """Where the last tag of an FLV ends; tags are followed from the first to the last. Behind each stands its length,
    which the last may lack."""
    file.seek(5)
    at = int.from_bytes(file.read(4)) + 4
    while at < found:
        file.seek(at)
        header = file.read(11)
        if header and header[0] & 0x1F not in (8, 9, 18):  # sound, pictures, data
            return 0
        at += 11 + int.from_bytes(header[1:4]) + 4
    return at - 4
