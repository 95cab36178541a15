"""Files that a table names: `img_7.jpg`, `train/img_7.jpg`, or `img_7` without its ending."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from common.console import InputError
from common.files import natural


def find_file(folder: Path, name: str, suffixes: Sequence[str], where: str) -> Path:
    """The file (or the folder of frames) in folder that a cell names, with one of these suffixes or none.

    Raises InputError, which begins with where, for a name that leads out of the folder and for a missing file.
    """
    parts = Path(name.strip().replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise InputError(f"{where}: {name!r:.80}, expected the name of a file in {folder}")
    found = folder.joinpath(*parts)
    for candidate in (found, *(found.with_name(found.name + suffix) for suffix in suffixes)):
        if candidate.exists():
            return candidate
    raise InputError(f"{where}: {folder} holds no {name!r:.80}")


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
