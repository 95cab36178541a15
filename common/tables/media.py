"""Files that a table names: `img_7.jpg`, `train/img_7.jpg`, or `img_7` without its ending."""

from collections.abc import Sequence
from pathlib import Path

from common.console import InputError


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
