"""What a zip or tar file has under names that are looked for; nothing of it is written anywhere else."""

import errno
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from common.console import InputError, first_line
from common.guards.bombs import check_unpacked

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
# What the libraries raise for a damaged, truncated, encrypted or contradictory archive; gzip and bz2 an OSError without
# a number.
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)
DAMAGED += (EOFError, RuntimeError, NotImplementedError, UnicodeError)
CONTRADICTORY = {None, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}


@dataclass
class Member:
    """A file of an archive; read: opens it."""

    parts: tuple[str, ...]
    size: int  # bytes, unpacked
    read: Callable[[], IO[bytes]]


def unpack(archive: Path, names: Sequence[str], folder: Path) -> list[str]:
    """Move what an archive has of `names`, files or folders that lie side by side somewhere in it, into `folder`.

    What is there already stays. Returns the names that were moved. Raises InputError for an archive that is damaged,
    that has a link or a path that leads out of the folder, or that unpacks to more than is plausible: then nothing is
    written.
    """
    try:
        with members_of(archive) as members, tempfile.TemporaryDirectory(dir=folder, prefix=".unpacked") as temporary:
            depth, wanted = find(members, names)
            for member in wanted:
                path = Path(temporary, *member.parts[depth:])
                path.parent.mkdir(parents=True, exist_ok=True)
                with member.read() as source, open(path, "wb") as target:
                    shutil.copyfileobj(source, target)
            moved = [name for name in names if Path(temporary, name).exists() and not (folder / name).exists()]
            for name in reversed(moved):  # the first name last: it says that the others are there
                os.replace(Path(temporary, name), folder / name)
            return moved
    except (OSError, *DAMAGED) as error:
        if isinstance(error, OSError) and error.errno not in CONTRADICTORY:  # a full disk, say
            raise
        raise InputError(f"{archive}: cannot be unpacked ({first_line(error)})") from error


@contextmanager
def members_of(archive: Path) -> Iterator[list[Member]]:
    """The files of an open archive, folders left out. Raises InputError for what unpack() refuses."""
    members: list[Member] = []
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)  # 0: not made on Unix
                check_plain(archive, info.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
                parts = parts_of(archive, info.filename)
                if not info.is_dir():
                    members.append(Member(parts, info.file_size, partial(file.open, info)))
            check_size(archive, members)
            yield members
    else:
        with tarfile.open(archive) as file:
            for info in file:
                check_plain(archive, info.name, info.isreg() or info.isdir())
                parts = parts_of(archive, info.name)
                if info.isreg():
                    members.append(Member(parts, info.size, partial(file.extractfile, info)))
                    check_size(archive, members)  # before the next header is looked for behind so many bytes
            yield members


def check_size(archive: Path, members: list[Member]) -> None:
    """Raise InputError where the members are larger than is plausible for such an archive."""
    check_unpacked(archive, archive.stat().st_size, sum(member.size for member in members))


def check_plain(archive: Path, name: str, plain: bool) -> None:
    """Raise InputError for a link or a device."""
    if not plain:
        raise InputError(f"{archive}: {name!r:.200} is a link or no file, nothing of it is unpacked")


def parts_of(archive: Path, name: str) -> tuple[str, ...]:
    """The folders and the file of a member's name. Raises InputError where it leads out of the folder, on any
    system."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts or any(letter in name for letter in "\\:\0"):
        raise InputError(f"{archive}: {name!r:.200} leads out of the folder, nothing of it is unpacked")
    return parts


def find(members: list[Member], names: Sequence[str]) -> tuple[int, list[Member]]:
    """How many folders deep the names lie, and the files at or below them: where most of them lie side by side, and of
    such places the one with the shortest path."""
    places: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for member in members:
        for depth, part in enumerate(member.parts):
            if part in names:
                places[member.parts[:depth]].add(part)
    if not places:
        return 0, []
    place = max(places, key=lambda parts: (len(places[parts]), -len(parts)))
    depth = len(place)
    below = [m for m in members if m.parts[:depth] == place and len(m.parts) > depth and m.parts[depth] in names]
    return depth, below
