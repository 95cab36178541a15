"""No pipe, device or socket where a file is expected: reading it could wait, or go on, for ever.

refuse_special("/dev/stdin")         # InputError
refuse_special_options(args)         # of every path that an option names
"""

import dataclasses
import os
import re
import stat
from pathlib import Path
from typing import Any

from common.console import InputError

KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
READ = ("_file", "_path", "_weights", "start", "run_dir")  # how the names of options end whose folders are read
OF_THIS_PROCESS = re.compile(r"/dev/(stdin|stdout|stderr|fd/.*)|/proc/[^/]+/fd/.*")


def refuse_special(path: str | Path, option: str = "") -> None:
    """Raise InputError where a path is there and is neither a file nor a folder."""
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except (OSError, ValueError):  # who reads it says what is wrong
        return
    what = KINDS.get(kind)
    if what is None and OF_THIS_PROCESS.fullmatch(os.path.abspath(path)):
        what = "a stream of this process"
    if what is not None:
        hint = f" ({option})" if option else ""
        raise InputError(f"{path}: is {what}, a file was expected{hint}; write its content to a file first")


def refuse_special_options(args: Any) -> None:
    """refuse_special_values() of the fields of a dataclass."""
    refuse_special_values({item.name: getattr(args, item.name) for item in dataclasses.fields(args)})


def refuse_special_values(values: dict[str, Any]) -> None:
    """refuse_special() of whatever options name, and of what lies directly in the folders that are read.

    values: option -> value, or several.
    """
    for option, value in values.items():
        for path in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(path, (str, Path)) and str(path):
                refuse_special(path, option)
                for inside in os.scandir(path) if option.endswith(READ) and os.path.isdir(path) else ():
                    if not (inside.is_file() or inside.is_dir()):
                        refuse_special(inside.path, option)
