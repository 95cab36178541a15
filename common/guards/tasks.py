"""A folder that a command is to work on is a task's. Imports nothing that is installed."""

from pathlib import Path

from common.console import InputError
from common.tables.nearest import nearest


def check_task_folder(task_dir: Path) -> None:
    """Raise InputError, with the name that was perhaps meant, where a folder has no data.py."""
    if not (task_dir / "data.py").is_file():
        names = [path.parent.name for path in task_dir.parent.glob("*/data.py")]
        raise InputError(f"{task_dir}: is not a task folder, it has no data.py{nearest(task_dir.name, names)}")
