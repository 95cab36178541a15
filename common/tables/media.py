"""Files that a table names: `img_7.jpg`, `train/img_7.jpg`, or `img_7` without its ending."""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from common.console import InputError, print_once
from common.files import natural
from common.guards.listing import IMAGE_SUFFIXES, VIDEO_SUFFIXES, print_left_out, sort_out
from common.guards.spelling import nfc


def find_file(folder: Path, name: str, suffixes: Sequence[str], where: str, deep: bool = True) -> Path:
    """The file (or the folder of frames) in folder that a cell names, with one of these suffixes or none.

    A name in another Unicode form than on the disk, or with its ending in another case, is found, too, and so is a path
    that comes from elsewhere but leads through a folder of this name: ../input/images/img_7.jpg in images; and, where
    deep is on, a file in one of its subfolders that alone has this name. Raises InputError, which begins with where,
    for a name that leads out of the folder, for a missing file, and for a name that two files have.
    """
    parts = Path(name.strip().replace("\\", "/")).parts
    inside = behind(own_name(folder), parts)
    ways = [way for way in (parts, inside) if way and way[0] != "/" and ".." not in way]
    if not ways:
        raise InputError(f"{where}: {name!r:.80}, expected the name of a file in {folder}")
    for way in ways:
        if there := found_as(folder, way, suffixes):
            break
    else:
        problem = f"{where}: {folder} holds no {name!r:.80}"
        if deep:
            return found_below(folder, ways[0], suffixes, problem)
        raise InputError(problem)
    if len(there) > 1:
        names = ", ".join(path.name for path in there[:3])
        raise InputError(f"{where}: {name!r:.80} may be {names:.200}; write its ending, too")
    if way != parts:
        say_behind(folder, parts[: len(parts) - len(way)])
    return there[0]


def behind(own: str, parts: tuple[str, ...]) -> tuple[str, ...]:
    """What a path from elsewhere has behind the folder named own; nothing where it does not lead through it."""
    last = max((i for i, part in enumerate(parts[:-1]) if nfc(part) == own), default=len(parts))
    return parts[last + 1 :]


@lru_cache(maxsize=64)
def own_name(folder: Path) -> str:
    """The name of a folder, in data/ of a contest where a link leads to."""
    return nfc(folder.resolve().name)


@lru_cache(maxsize=64)
def say_behind(folder: Path, start: tuple[str, ...]) -> None:
    """One line on the beginning that names have, for each."""
    print_once(f"{folder}: names that begin with {Path(*start).as_posix()}/ are read as files of this folder")


def found_as(folder: Path, parts: tuple[str, ...], suffixes: Sequence[str]) -> list[Path]:
    """The files that the parts of a name mean in folder; the one that is named so to the letter, alone."""
    found = folder.joinpath(*parts)
    if fits(found, suffixes):
        return [found]
    return [path for path in spelled_otherwise(folder, parts, suffixes) if fits(path, suffixes)]


def fits(path: Path, suffixes: Sequence[str]) -> bool:
    """Whether a path is there: a file or, where the suffixes are videos', a folder of frames."""
    return path.is_file() or path.is_dir() and not set(VIDEO_SUFFIXES).isdisjoint(suffixes)


def spelled_otherwise(folder: Path, parts: Sequence[str], suffixes: Sequence[str]) -> list[Path]:
    """The files that a name means where its ending is missing or in another case, or letters are composed in another
    way than on the disk (NFC and NFD)."""
    for part in parts[:-1]:
        names = names_of(folder, folder.stat().st_mtime_ns).get(key_of(part), []) if folder.is_dir() else []
        if part not in names and len(names) != 1:
            return []
        folder = folder / (part if part in names else names[0])
    if not folder.is_dir():
        return []
    names = names_of(folder, folder.stat().st_mtime_ns)
    return [folder / name for suffix in ("", *suffixes) for name in names.get(key_of(parts[-1] + suffix), [])]


def found_below(folder: Path, parts: tuple[str, ...], suffixes: Sequence[str], problem: str) -> Path:
    """The one file below a folder whose path ends in the parts of a name. Raises InputError where there is none, with
    this problem, or several."""
    changed = folder.stat().st_mtime_ns if folder.is_dir() else 0
    index = names_below(folder, changed, tuple(suffixes))
    paths = [path for suffix in ("", *suffixes) for path in index.get(key_of(parts[-1] + suffix), [])]
    ends = [nfc(part) for part in parts[:-1]]
    there = [path for path in paths if [nfc(part) for part in path.parts[:-1]][len(path.parts) - len(parts) :] == ends]
    if not there:
        raise InputError(problem)
    if len(there) > 1:
        names = ", ".join(path.as_posix() for path in there[:3])
        raise InputError(f"{problem}, but below it are {names:.200}; write the folder, too")
    say_below(folder)
    return folder / there[0]


@lru_cache(maxsize=64)
def say_below(folder: Path) -> None:
    """One line on names that say no folder."""
    print_once(f"{folder}: names are looked for in its subfolders, too")


@lru_cache(maxsize=8)
def names_below(folder: Path, changed: int, suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    """key_of() -> the paths below a folder of the files in its subfolders with these suffixes; where these are videos',
    of folders of frames. changed: as of names_of()."""
    paths = {path.relative_to(folder) for path in sort_out(folder, suffixes)[0]}
    if not set(VIDEO_SUFFIXES).isdisjoint(suffixes):
        paths |= {path.relative_to(folder).parent for path in sort_out(folder, IMAGE_SUFFIXES)[0]}
    names: dict[str, list[Path]] = {}
    for path in sorted(path for path in paths if len(path.parts) > 1):
        names.setdefault(key_of(path.name), []).append(path)
    return names


def key_of(name: str) -> str:
    """The same for the spellings of a name: NFC, and its ending in small letters."""
    stem, ending = os.path.splitext(nfc(name))
    return stem + ending.lower()


@lru_cache(maxsize=64)
def names_of(folder: Path, changed: int) -> dict[str, list[str]]:
    """key_of() -> the names in a folder, for a table of many files. changed: when the folder did, last."""
    names: dict[str, list[str]] = {}
    for path in folder.iterdir():
        names.setdefault(key_of(path.name), []).append(path.name)
    return names


def files_of(
    folder: Path, columns: Sequence[str], suffixes: Sequence[str], endings: bool = True
) -> Iterator[tuple[int, dict[str, str]]]:
    """A folder as Table.records() of its files with these suffixes, 2.jpg before 10.jpg; each column holds their names
    (without their endings where endings is False). Raises InputError where there are none."""
    found, others = sort_out(folder, suffixes)
    if not found:
        raise InputError(f"{folder}: holds no files that end in {', '.join(suffixes[:5])}, ...")
    print_left_out(folder, others)
    for number, path in enumerate(sorted((path.relative_to(folder) for path in found), key=natural), start=1):
        name = (path if endings else path.with_suffix("")).as_posix()
        yield number, dict.fromkeys(columns, name)
