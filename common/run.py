"""The run folder: config.yaml, run.json, and what a finished fold leaves behind (docs/run_folder.md)."""

import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from common.console import InputError, Stopped, print_once
from common.files import atomic_write, data_sha256, read_json, read_yaml, write_json
from common.logits import Logits
from common.options.args import resolved_config

PACKAGES = ("torch", "transformers", "accelerate", "datasets", "peft", "scikit-learn", "numpy")
# Fields that may differ when a run goes on: they do not change its result.
FREE = {"report_to", "disable_tqdm", "log_level", "torch_num_threads", "dataloader_num_workers"}
FREE |= {"push_to_hub", "hub_model_id", "hub_private_repo"}


class Run:
    """One run folder, from its choice to its last file. Nothing is written before start(), so that bad input leaves
    nothing behind.

    args, training_args: of train.py. notes: sentences for the report. state: which of several processes this is.
    """

    def __init__(self, args: Any, training_args: Any, task_dir: Path):
        self.args = args
        self.training_args = training_args
        self.config = resolved_config(args, training_args)
        config = Path(args.config)
        self.task = task_dir.resolve().name
        self.preset = config.resolve().parent.name if config.stem == "config" else config.stem
        self.seconds: dict[str, float] = {}
        self.began = time.perf_counter()
        self.notes: list[str] = []
        self.record: dict[str, Any] = {}
        training_args.device  # noqa: B018  (reading it connects the processes)
        self.state = PartialState()
        self.dir = self.broadcast(self.choose_dir)
        # one fold writes into its own folder only: others may run at the same time
        self.record_dir = self.dir if args.fold is None else self.fold_dir(args.fold)

    def broadcast(self, choose: Callable[[], Any]) -> Any:
        """What the first process chooses, on every process; its InputError too."""
        box: list[Any] = [None]
        if self.state.is_main_process:
            try:
                box = [choose()]
            except InputError as error:
                box = [error]
        broadcast_object_list(box)
        if isinstance(box[0], InputError):
            raise box[0]
        return box[0]

    def choose_dir(self) -> Path:
        """The folder of this run. Raises InputError where it holds another run."""
        goes_on = self.args.resume or self.args.fold is not None
        if self.training_args.output_dir is not None:
            folder = Path(self.training_args.output_dir)
            if folder.exists() and not folder.is_dir():
                raise InputError(f"{folder}: is a file, a folder was expected (output_dir)")
            if folder.is_dir() and any(folder.iterdir()) and not goes_on:
                how = "name another --output_dir, or give --resume to go on with the run in it"
                raise InputError(f"{folder}: is not empty; {how}")
        else:
            base = Path("runs") / self.task / self.preset
            taken = sorted(int(n) for path in base.parent.glob("*") if (n := number_of(path, base)))
            if self.args.fold is not None or not base.exists():
                folder = base
            elif self.args.resume:
                folder = base.with_name(f"{base.name}-{taken[-1]}") if taken else base
            else:
                folder = next(base.with_name(f"{base.name}-{n}") for n in count(2) if n not in taken)
        for path in (folder / "config.yaml", *sorted(folder.glob("fold*/config.yaml"))):
            if path.exists():
                self.compare(path)
        return folder

    def compare(self, path: Path) -> None:
        """Raise InputError where a run that is to go on was started with other values."""
        before = read_yaml(path)
        for key in sorted(set(before) | set(self.config)):
            then = before.get(key)
            now = self.config.get(key)
            if key in self.args.DATA_FIELDS and then and now:
                continue  # another machine has them elsewhere; start() compares their contents
            if key not in FREE and then != now:
                change = f"was made with {key} {then}, now it is {now}"
                raise InputError(f"{path}: {change}; give the same values or another --output_dir")

    def note(self, text: str) -> None:
        """Print a sentence and keep it for the report."""
        print_once(text)
        self.notes.append(text)

    def start(self, examples: dict[str, Sequence]) -> None:
        """Write config.yaml and run.json. examples: as of read_files(). Raises InputError where a file has changed."""
        rows = {f"{name}_file": len(part) for name, part in examples.items()}
        files = {key: self.config[key] for key in self.args.DATA_FIELDS if self.config.get(key)}
        data = {key: {"path": path, "sha256": data_sha256(path), "rows": rows.get(key)} for key, path in files.items()}
        for path in (self.dir / "run.json", *sorted(self.dir.glob("fold*/run.json"))):
            for key, entry in read_json(path)["data"].items() if path.exists() else ():
                if data.get(key, {}).get("sha256") != entry["sha256"]:
                    change = f"has changed since the run in {self.dir} started"
                    raise InputError(f"{entry['path']}: {change}; name another --output_dir")
        path = self.record_dir / "run.json"
        before = read_json(path) if path.exists() else {}
        all_done = all(self.is_done(fold) for fold in range(self.config["num_folds"]))
        if not all_done and before.get("num_processes", self.state.num_processes) != self.state.num_processes:
            change = f"was started with {before['num_processes']} processes, now there are {self.state.num_processes}"
            how = "the effective batch would change, start as many, or name another --output_dir"
            raise InputError(f"{path}: {change}; {how}")
        for key, value in before.get("seconds", {}).items():
            self.seconds[key] = self.seconds.get(key, 0.0) + value
        self.record = {
            "task": self.task,
            "preset": self.preset,
            "command": shlex.join(sys.argv),
            "commit": git_commit(),
            "data": data,
            "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
            "device": device_name(),
            "num_processes": self.state.num_processes,
            "threads": torch.get_num_threads(),
            "starts": before.get("starts", 0) + 1,
        }
        if self.state.is_main_process:
            with atomic_write(self.record_dir / "config.yaml") as file:
                yaml.safe_dump(self.config, file, sort_keys=False, allow_unicode=True)
        self.write_record("running")
        print_once(f"run folder {self.dir}")

    def write_record(self, status: str) -> None:
        if self.state.is_main_process:
            seconds = {**self.seconds, "total": self.seconds.get("total", 0.0) + time.perf_counter() - self.began}
            rounded = {name: round(value, 3) for name, value in seconds.items()}
            write_json(self.record_dir / "run.json", {**self.record, "status": status, "seconds": rounded})

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's wall-clock seconds to run.json's seconds[name]."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
            if isinstance(sys.exception(), Stopped):
                self.write_record("stopped")

    def cache_file(self, name: str) -> Path:
        """Where this process keeps the tokenized rows called `name` until finish(); each start writes them anew."""
        return self.record_dir / "rows" / f"{name}-{self.state.process_index}.arrow"

    def fold_dir(self, fold: int) -> Path:
        return self.dir / f"fold{fold}"

    def is_done(self, fold: int) -> bool:
        """fold.json is the last file that a fold writes."""
        return (self.fold_dir(fold) / "fold.json").exists()

    def finish_fold(self, fold: int, logits: dict[str, Logits], info: dict[str, Any]) -> None:
        """Write the fold's logits (<name>_logits.npz), then fold.json, then drop its checkpoints."""
        folder = self.fold_dir(fold)
        if self.state.is_main_process:
            for name, part in logits.items():
                part.save(folder / f"{name}_logits.npz")
            write_json(folder / "fold.json", {**info, "logits": list(logits)})
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        self.state.wait_for_everyone()
        self.write_record("running")

    def load_fold(self, fold: int) -> tuple[dict[str, Logits], dict[str, Any]]:
        """What finish_fold() wrote: the logits by name, and the fold's record."""
        folder = self.fold_dir(fold)
        info = read_json(folder / "fold.json")
        return {name: Logits.load(folder / f"{name}_logits.npz") for name in info["logits"]}, info

    def finish(self) -> None:
        """Push the folds where that is on, write that the run is done, and part from the other processes."""
        if self.training_args.push_to_hub and self.args.fold is None and self.state.is_main_process:
            from common.tricks.push import push_folds

            push_folds(self)
        self.write_record("done")
        self.state.wait_for_everyone()
        if self.state.is_main_process:
            for path in (self.record_dir / "rows", *self.record_dir.glob("fold*/rows")):
                shutil.rmtree(path, ignore_errors=True)
        # because a process that ends first can bring the others down at exit
        self.state.destroy_process_group()
        print_once(f"done: {self.dir}")


def number_of(path: Path, base: Path) -> str | None:
    """The N of <base>-N; None of other names."""
    number = path.name.removeprefix(f"{base.name}-")
    return number if number != path.name and number.isdecimal() else None


def git_commit() -> str | None:
    """The commit of the checkout that the script runs in, with -dirty where it was changed; None outside of git."""
    folder = os.path.dirname(os.path.abspath(sys.argv[0]))
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return None
    return result.stdout.strip() or None


def finished_folds(run_dir: str | Path) -> list[Path]:
    """A run's folders of trained folds, in order; says when some are missing. Raises InputError for none."""
    numbers = {path.parent: path.parent.name.removeprefix("fold") for path in Path(run_dir).glob("fold*/fold.json")}
    folds = sorted((path for path in numbers if numbers[path].isdecimal()), key=lambda path: int(numbers[path]))
    if not folds:
        raise InputError(f"{run_dir}: holds no finished fold (fold<k>/fold.json); was it a run's folder?")
    wanted = read_config(run_dir).get("num_folds")
    if len(folds) != wanted:
        print_once(f"{run_dir}: {len(folds)} of {wanted} folds are trained; only these are averaged")
    return folds


def read_config(run_dir: str | Path) -> dict[str, Any]:
    """config.yaml of a run, or of a fold that was trained alone."""
    for path in (Path(run_dir) / "config.yaml", *sorted(Path(run_dir).glob("fold*/config.yaml"))):
        if path.exists():
            return read_yaml(path)
    raise InputError(f"{run_dir}: holds no config.yaml; a run's folder was expected")


def device_name() -> str:
    """The GPU's own name; of other accelerators what torch calls them; else cpu."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else "cpu"
