"""Files that a table names: `img_7.jpg`, `train/img_7.jpg`, or `img_7` without its ending."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from common.console import InputError
from common.files import natural
from common.guards.spelling import nfc


def find_file(folder: Path, name: str, suffixes: Sequence[str], where: str) -> Path:
    """The file (or the folder of frames) in folder that a cell names, with one of these suffixes or none.

    A name in another Unicode form than on the disk is found, too. Raises InputError, which begins with where, for a
    name that leads out of the folder, for a missing file, and for a name without an ending that two files have.
    """
    parts = Path(name.strip().replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise InputError(f"{where}: {name!r:.80}, expected the name of a file in {folder}")
    found = folder.joinpath(*parts)
    if found.exists():
        return found
    there = [path for suffix in suffixes if (path := found.with_name(found.name + suffix)).exists()]
    there = there or spelled_otherwise(folder, parts, suffixes)
    if len(there) > 1:
        names = ", ".join(path.name for path in there[:3])
        raise InputError(f"{where}: {name!r:.80} may be {names:.200}; write its ending, too")
    if not there:
        raise InputError(f"{where}: {folder} holds no {name!r:.80}")
    return there[0]


def spelled_otherwise(folder: Path, parts: Sequence[str], suffixes: Sequence[str]) -> list[Path]:
    """The files that a name means where letters are composed in another way than on the disk (NFC and NFD)."""
    for part in parts[:-1]:
        names = names_of(folder, folder.stat().st_mtime_ns).get(nfc(part), []) if folder.is_dir() else []
        if len(names) != 1:
            return []
        folder = folder / names[0]
    if not folder.is_dir():
        return []
    names = names_of(folder, folder.stat().st_mtime_ns)
    return [folder / name for suffix in ("", *suffixes) for name in names.get(nfc(parts[-1]) + suffix, [])]


@lru_cache(maxsize=64)
def names_of(folder: Path, changed: int) -> dict[str, list[str]]:
    """NFC -> the names in a folder, for a table of many files. changed: when the folder did, last."""
    names: dict[str, list[str]] = {}
    for path in folder.iterdir():
        names.setdefault(nfc(path.name), []).append(path.name)
    return names


def files_of(
    folder: Path, columns: Sequence[str], suffixes: Sequence[str], endings: bool = True
) -> Iterator[tuple[int, dict[str, str]]]:
    """A folder as Table.records() of its files with these suffixes, 2.jpg before 10.jpg; each column holds their names
    (without their endings where endings is False). Raises InputError where there are none."""
    from common.guards.listing import print_left_out, sort_out

    found, others = sort_out(folder, suffixes)
    if not found:
        raise InputError(f"{folder}: holds no files that end in {', '.join(suffixes[:5])}, ...")
    print_left_out(folder, others)
    for number, path in enumerate(sorted((path.relative_to(folder) for path in found), key=natural), start=1):
        name = (path if endings else path.with_suffix("")).as_posix()
        yield number, dict.fromkeys(columns, name)
