"""The texts of a run's rows by id, read again as its train.py read them."""

import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from common.console import InputError
from common.guards.inputs import data_sha256
from common.options.decoders import TextTaskArguments
from common.options.task_module import arguments_of, load_data_module
from common.report.run_files import RunFiles, sha256_of

FILES = {
    "oof": ("train_file",),
    "eval": ("eval_file", "train_file"),
}  # where a part's rows stand; the first that is set
LONGEST = 400  # characters of a row that are shown


def load_task(folder: Path | None, task: str) -> Any:
    """data.py of the task's folder, as the module `data`; where none is given, of the folder of that name here, if
    there is one."""
    here = Path(Path(task).name)
    if folder is None and not (task and (here / "data.py").is_file()):
        return None
    return load_data_module(folder or here)


def read_texts(run: RunFiles, part: str) -> tuple[dict[str, str], str]:
    """(id -> text of the rows of a part, why there are none). Needs load_task() before."""
    data = sys.modules.get("data")
    if data is None:
        return {}, f"no folder {run.task}/ with a data.py here; --task names it"
    try:
        arguments = arguments_of(data)
        if not issubclass(arguments, TextTaskArguments):
            return {}, ""
        option = next((name for name in FILES[part] if run.config.get(name)), None)
        if option is None:
            return {}, f"config.yaml names no {FILES[part][0]}"
        path = str(run.config[option])
        if not os.path.isfile(path):
            return {}, f"{path} is not on this machine"
        if data_sha256(path) != sha256_of(run, option):
            return {}, f"{path} has changed since the run"
        args = arguments(**{item.name: run.config[item.name] for item in fields(arguments) if item.name in run.config})
        rows = data.read_examples(path, data.make_preprocessing(args))
    except InputError as error:
        return {}, str(error)
    return {row.id: shorten(" | ".join(row.segments)) for row in rows}, ""


def shorten(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
