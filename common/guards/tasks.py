"""A folder that a command is to work on is a task's. Imports nothing that is installed."""

from collections.abc import Sequence
from pathlib import Path

from common.console import InputError, print_once
from common.tables.nearest import nearest


def check_task_folder(task_dir: Path) -> None:
    """Raise InputError, with the name that was perhaps meant, where a folder has no data.py."""
    if not (task_dir / "data.py").is_file():
        names = [path.parent.name for path in task_dir.parent.glob("*/data.py")]
        raise InputError(f"{task_dir}: is not a task folder, it has no data.py{nearest(task_dir.name, names)}")


def note_other_tasks(run_dirs: Sequence[str | Path], task_dir: Path) -> None:
    """Say which runs are of another folder: with the same labels, nothing else would tell that its rows are read by
    this folder's data.py."""
    from common.files import read_json

    for run_dir in run_dirs:
        record = Path(run_dir) / "run.json"
        task = read_json(record).get("task") if record.is_file() else None
        if task not in (None, task_dir.resolve().name):
            print_once(f"{run_dir}: is a run of {task}, its rows are read by data.py of {task_dir.resolve().name}")


def note_repeated(run_dirs: Sequence[str | Path]) -> None:
    """Say which run is named twice: whether that is meant, only its user knows."""
    places = [Path(path).resolve() for path in run_dirs]
    for number, path in enumerate(run_dirs):
        if places[number] in places[:number]:
            print_once(f"{path}: is given twice and counts twice in the average")
