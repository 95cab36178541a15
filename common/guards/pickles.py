"""Pickles can run code when they are read (Python's documentation of pickle): torch reads tensors without it.

    state = load_tensors(path)
    with refusing_pickles(checkpoint):
        trainer.train(resume_from_checkpoint=checkpoint)     # transformers reads its files with weights_only=True

What is refused is one sentence that names the file; nothing of it runs.
"""

import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from common.console import InputError, Stopped, first_line
from common.guards.surroundings import explain

REFUSED = "holds something else than tensors and numbers; nothing of it was run"
UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, pickle.UnpicklingError)


def load_tensors(path: str | Path) -> Any:
    """What torch.save() wrote, on the CPU. Raises InputError where it is no such file, or holds what would run."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        if explain(error):
            raise
        raise InputError(f"{path}: {REFUSED} ({first_line(error)})") from error


@contextmanager
def refusing_pickles(folder: str | Path | None) -> Iterator[None]:
    """Turn what a library says of a folder's files that it cannot or must not read into an InputError with the file."""
    try:
        yield
    except (InputError, Stopped):
        raise
    except Exception as error:
        if folder is None or explain(error):
            raise
        for path in sorted(Path(folder).iterdir()):
            check_readable(path)
        raise


def check_readable(path: Path) -> None:
    """Raise InputError for a file of tensors or of JSON that is something else."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt"):
                pass
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path}: {REFUSED} ({first_line(error)})") from error
    if path.suffix in (".pt", ".pth", ".pkl") or path.suffix == ".bin" and path.name != "training_args.bin":
        from transformers.trainer_pt_utils import safe_globals

        with safe_globals():
            load_tensors(path)
