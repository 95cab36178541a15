"""The data.py of a task folder, and the options that it declares."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

from common.console import InputError
from common.guards.tasks import check_task_folder
from common.options.fields import DataArguments


def load_data_module(task_dir: Path) -> Any:
    """<task_dir>/data.py, as its siblings import it; what it imports of them is found, too."""
    check_task_folder(task_dir)
    path = task_dir / "data.py"
    spec = importlib.util.spec_from_file_location("data", path)
    sys.modules["data"] = module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(task_dir))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(task_dir))
    return module


def arguments_of(data: Any) -> type:
    """The dataclass of train.py's own fields that a data.py declares. Raises InputError where it declares none."""
    arguments = getattr(data, "TaskArguments", None)
    if not (isinstance(arguments, type) and issubclass(arguments, DataArguments)):
        raise InputError(f"{data.__file__}: declares no TaskArguments that inherits DataArguments")
    return arguments
