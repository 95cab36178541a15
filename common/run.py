"""The run folder: config.yaml, run.json, and what a finished fold leaves behind (docs/run_folder.md)."""

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from common.console import InputError, Stopped, print_once
from common.files import atomic_write, read_json, read_yaml, write_json
from common.guards.inputs import compare_data, data_sha256, rows_fingerprint, weights_fingerprints
from common.guards.launcher import launch_record
from common.guards.lock import check_held, choose_folder, claim, refuse_full, release
from common.guards.manifest import check_fold, fold_problem, read_sealed, write_sealed
from common.guards.surroundings import AT_END, check_temporary, describe_failure, record_failure, remove_stale
from common.logits import Logits
from common.options.args import metric_name, resolved_config
from common.options.machine import device_name, git_commit, package_versions

# Fields that may differ when a run goes on: they do not change its result.
FREE = {"report_to", "disable_tqdm", "log_level", "torch_num_threads", "dataloader_num_workers"}
FREE |= {"push_to_hub", "hub_model_id", "hub_private_repo", "metric_bootstrap"}


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
        self.done: dict[int, bool] = {}
        training_args.device  # noqa: B018  (reading it connects the processes)
        self.state = PartialState()
        self.dir = self.broadcast(self.choose_dir)  # start() claims it

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
        base = Path("runs") / self.task / self.preset
        folder = choose_folder(base, self.training_args.output_dir, self.args.resume, self.args.fold)
        self.check_dir(folder)
        return folder

    def check_dir(self, folder: Path) -> None:
        """Raise InputError where a folder holds another run, or the same and this one is not to go on with it."""
        refuse_full(folder, self.args.resume or self.args.fold is not None)
        for path in (folder / "config.yaml", *sorted(folder.glob("fold*/config.yaml"))):
            if path.exists():
                self.compare(path)

    def claim(self) -> Path:
        """Hold the folder; where another start has made it since it was chosen, the next. Raises InputError."""
        new = self.training_args.output_dir is None and not self.args.resume and self.args.fold is None
        AT_END.append(self.end)
        while not claim(self.dir, new, self.args.fold, self.check_dir):
            self.dir = self.choose_dir()
        return self.dir

    def compare(self, path: Path) -> None:
        """Raise InputError where a run that is to go on was started with other values."""
        before = read_yaml(path)
        for key in sorted(set(before) | set(self.config)):
            then = before.get(key)
            now = self.config.get(key)
            if key in self.args.DATA_FIELDS and then and now:
                continue  # another machine has them elsewhere; start() compares their contents
            if key not in FREE and then != now:
                then, now = ("not given" if value is None else value for value in (then, now))
                change = f"{key} was {then}, now it is {now}"
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
        data |= weights_fingerprints(self.args) | rows_fingerprint(examples)
        check_temporary()
        self.dir = self.broadcast(self.claim)
        self.record_dir = self.dir if self.args.fold is None else self.fold_dir(self.args.fold)
        compare_data(self.dir, data)
        path = self.record_dir / "run.json"
        before = read_json(path) if path.exists() else {}
        folds = range(self.config["num_folds"]) if self.args.fold is None else [self.args.fold]
        all_done = all(self.is_done(fold) for fold in folds)
        if not all_done and before.get("num_processes", self.state.num_processes) != self.state.num_processes:
            change = f"was started with {before['num_processes']} processes, now there are {self.state.num_processes}"
            how = "the effective batch would change, start as many, or name another --output_dir"
            raise InputError(f"{path}: {change}; {how}")
        for key, value in before.get("seconds", {}).items():
            self.seconds[key] = self.seconds.get(key, 0.0) + value
        self.record = {
            "task": self.task,
            "preset": self.preset,
            "metric": metric_name(self.args),
            "command": shlex.join(sys.argv),
            "commit": git_commit(),
            "data": data,
            "packages": package_versions(),
            "device": device_name(),
            **launch_record(self.training_args, self.state.num_processes),
            "threads": torch.get_num_threads(),
            "starts": before.get("starts", 0) + 1,
            **({"fold_threads": before["fold_threads"]} if "fold_threads" in before else {}),
        }
        if self.state.is_main_process:
            remove_stale(self.record_dir)
            with atomic_write(self.record_dir / "config.yaml") as file:
                yaml.safe_dump(self.config, file, sort_keys=False, allow_unicode=True)
        self.write_record("running")
        print_once(f"run folder {self.dir}")

    def write_record(self, status: str, write: Callable = write_json) -> None:
        if self.state.is_main_process:
            seconds = {**self.seconds, "total": self.seconds.get("total", 0.0) + time.perf_counter() - self.began}
            rounded = {name: round(value, 3) for name, value in seconds.items()}
            check_held()
            write(self.record_dir / "run.json", {**self.record, "status": status, "seconds": rounded})

    def end(self, error: BaseException | None) -> None:
        """Let go of the folder when main() ends; where an error is why, and start() had begun, run.json says so."""
        if self.record and isinstance(error, Exception) and not isinstance(error, Stopped):
            self.record["error"] = describe_failure(error)
            with suppress(InputError):  # the folder is gone
                self.write_record("failed", record_failure)

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
        """Whether a fold has its fold.json, written last, and all is as that says; damage is printed."""
        folder = self.fold_dir(fold)
        if fold not in self.done:
            exists = self.broadcast((folder / "fold.json").exists)
            problem = self.broadcast(lambda: fold_problem(folder)) if exists else None
            self.done[fold] = exists and problem is None
            if problem:
                print_once(f"{problem}; fold {fold} is trained again")
        return self.done[fold]

    def finish_fold(self, fold: int, logits: dict[str, Logits], info: dict[str, Any]) -> None:
        """Write the fold's logits (<name>_logits.npz), then fold.json, then drop its checkpoints."""
        folder = self.fold_dir(fold)
        self.done[fold] = True
        if self.state.is_main_process:
            for name, part in logits.items():
                part.save(folder / f"{name}_logits.npz")
            write_sealed(folder / "fold.json", {**info, "logits": list(logits)})
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        self.state.wait_for_everyone()
        self.write_record("running")

    def load_fold(self, fold: int) -> tuple[dict[str, Logits], dict[str, Any]]:
        """What finish_fold() wrote: the logits by name, and the fold's record."""
        folder = self.fold_dir(fold)
        info = read_sealed(folder / "fold.json")
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
        release()
        # because a process that ends first can bring the others down at exit
        self.state.destroy_process_group()
        print_once(f"done: {self.dir}", always=True)


def finished_folds(run_dir: str | Path) -> list[Path]:
    """A run's trained folds, in order; says when some are missing. Raises InputError for none or a damaged one."""
    numbers = {path.parent: path.parent.name.removeprefix("fold") for path in Path(run_dir).glob("fold*/fold.json")}
    folds = sorted((path for path in numbers if numbers[path].isdecimal()), key=lambda path: int(numbers[path]))
    if not folds:
        raise InputError(f"{run_dir}: holds no finished fold (fold<k>/fold.json); was it a run's folder?")
    for fold in folds:
        check_fold(fold)
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
