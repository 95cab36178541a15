"""Which files of a folder are read, and one line on what is left out.

    images, others = sort_out(folder, IMAGE_SUFFIXES)
    print_left_out(folder, others)       # train: 12 files are left out: 9 .heic, 3 .txt

Endings are those that Pillow (common/guards/images.py) and FFmpeg through PyAV read. Hidden files, __MACOSX and what
Windows hides in folders are never spoken of.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from common.console import print_once
from common.files import walk
from common.guards.special import refuse_special

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif")
IMAGE_SUFFIXES += (".avif", ".jp2", ".j2k", ".mpo", ".pbm", ".pgm", ".ppm", ".pnm")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".asf", ".flv", ".ts")
VIDEO_SUFFIXES += (".mts", ".m2ts", ".vob", ".3gp", ".3g2", ".ogv")
SYSTEM_NAMES = ("__macosx", "thumbs.db", "desktop.ini")
MOST_ENDINGS = 8  # of one line


def is_hidden(name: str) -> bool:
    """Whether a system hides what has this name: .ipynb_checkpoints, ._clip.mp4, __MACOSX, Thumbs.db."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def is_regular(path: str | Path) -> bool:
    """Whether a path is a file; False for a folder and for a link to nowhere. Raises InputError for a pipe, a socket or
    a device: reading it could wait, or go on, for ever."""
    if os.path.isfile(path):
        return True
    refuse_special(path)
    return False


def seen_files(folder: str | Path) -> Iterator[str]:
    """All files below a folder, sorted folder by folder, but hidden ones and those of hidden folders."""
    start = len(os.path.join(folder, ""))
    return (path for path in walk(folder) if not any(map(is_hidden, path[start:].split(os.sep))))


def sort_out(folder: str | Path, suffixes: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Of seen_files(), those with one of these endings, and the others, with links to nowhere. Raises InputError for
    what has such an ending and is a pipe, a socket or a device."""
    chosen = []
    others = []
    for path in seen_files(folder):
        wanted = os.path.splitext(path)[1].lower() in suffixes and is_regular(path)
        chosen.append(Path(path)) if wanted else others.append(path)
    return chosen, others


def left_out(paths: Iterable[str | Path]) -> str:
    """How many files of which endings: `12 files are left out: 9 .heic, 3 .txt`; empty where there are none."""
    counts = Counter(ending(path) for path in paths)
    if not counts:
        return ""
    total = counts.total()
    named = [f"{count:,} {what}" for what, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    more = f" and {len(named) - MOST_ENDINGS} more endings" if len(named) > MOST_ENDINGS else ""
    files = "1 file is" if total == 1 else f"{total:,} files are"
    return f"{files} left out: {', '.join(named[:MOST_ENDINGS])}{more}"


def ending(path: str | Path) -> str:
    if os.path.islink(path) and not os.path.exists(path):
        return "links to nowhere"
    suffix = os.path.splitext(path)[1].lower()
    if not suffix:
        return "without an ending"
    return suffix[:20] if suffix.isprintable() else ascii(suffix)[1:-1][:20]


def print_left_out(folder: str | Path, paths: Iterable[str | Path]) -> None:
    """The line, from the first process; nothing where no file is left out."""
    if line := left_out(paths):
        print_once(f"{Path(folder).name or folder}: {line}")
