"""The files and folders that options name, and those of a task that none names."""

import os
from pathlib import Path
from typing import Any

from common.console import InputError, print_once


def find_data_files(args: Any, task_dir: Path, competition_files: dict[str, str]) -> None:
    """Fill in the competition's files from <task>/data/ where none were named, and make every path absolute."""
    if args.train_file is None:
        for key, name in competition_files.items():
            path = task_dir / "data" / name
            of_another_test = key == "sample_submission_file" and args.test_file not in (
                None,
                str(path.with_name(competition_files["test_file"])),
            )
            if getattr(args, key) is not None or of_another_test:
                continue
            if path.exists():
                setattr(args, key, str(path))
            elif key == "train_file":
                raise no_train_file(path, task_dir)
            else:
                print_once(f"no {relative(path)}: going on without {key}")
    for key in args.DATA_FIELDS:
        if (value := getattr(args, key)) is not None:
            check_there(value, key)
            path = Path(value)  # a link keeps its own name: it may be part of the ids
            path = path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name
            setattr(args, key, str(path))
    if hasattr(args, "model_name_or_path") and is_folder(args.model_name_or_path):
        args.model_name_or_path = str(Path(args.model_name_or_path).resolve())


def check_there(path: str | None, field: str) -> None:
    """Raise InputError where a file or folder that is named is not there."""
    if path is not None and not os.path.exists(path):  # Path.exists() raises for a name that is too long
        raise InputError(f"{path}: no such file or folder ({field})")


def no_train_file(path: Path, task_dir: Path) -> InputError:
    """What to put where, and what runs without."""
    from common.download.catalogue import SOURCES

    here = task_dir.name in SOURCES and relative(task_dir) == Path(task_dir.name)
    fetched = f"python -m common.download {task_dir.name}; " if here else ""
    demo = relative(task_dir / "configs" / "demo.yaml")
    sample = f", or run the bundled sample: python {relative(task_dir / 'train.py')} --config {demo}"
    return InputError(
        f"{relative(path)}: no such file; put the competition's files there ({fetched}see "
        f"{relative(task_dir / 'README.md')}) or name a --train_file{sample if demo.exists() else ''}"
    )


def is_folder(model_name_or_path: str, base: Path = Path()) -> bool:
    """Whether the model is named by a folder; `scratch` never is, though one may be called so."""
    return model_name_or_path != "scratch" and os.path.isdir(base / model_name_or_path)


def relative(path: Path) -> Path:
    """`path` as the user would type it from the current folder."""
    return Path(os.path.relpath(path))
