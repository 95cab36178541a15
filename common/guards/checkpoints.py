"""Checkpoints that are whole: each gets its manifest last, old ones are dropped only then, a resume takes none other.

trainer.add_callback(WholeCheckpoints(trainer))
checkpoint = last_whole_checkpoint(folder, training_args)
"""

import copy
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from common.console import InputError, print_once
from common.files import read_json
from common.guards.lock import check_held
from common.guards.manifest import problem_of, write_manifest

STATE = "trainer_state.json"
READER = ThreadPoolExecutor(1, "manifest")  # its thread begins with the first checkpoint, and is waited for at exit
PENDING: list[Future] = []


class WholeCheckpoints(TrainerCallback):
    """A manifest for each checkpoint once all have written, and save_total_limit: the Trainer itself drops the
    last whole checkpoint before the new one has its manifest. Training goes on while the files are read for it."""

    def __init__(self, trainer: Any):
        self.trainer = trainer
        self.limit = trainer.args.save_total_limit
        trainer.args = copy.copy(trainer.args)
        trainer.args.save_total_limit = None
        if trainer.args.report_to:
            from common.tricks.trackers import keep_logs

            keep_logs(trainer)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The best checkpoint lies beside the others, where the run folder was moved too."""
        if state.best_model_checkpoint:
            state.best_model_checkpoint = str(Path(args.output_dir) / Path(state.best_model_checkpoint).name)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.accelerator.wait_for_everyone()
        if args.should_save:
            settle()
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            check_held()
            PENDING.append(READER.submit(finish_checkpoint, checkpoint, self.limit, state.best_model_checkpoint))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        settle()


def settle() -> None:
    """Wait until the last checkpoint has its manifest. Raises what kept it from it."""
    while PENDING:
        PENDING.pop().result()


def finish_checkpoint(checkpoint: Path, limit: int | None, best: str | None = None) -> None:
    """Write the manifest, then drop the oldest checkpoints above `limit` but the best. A later one, which training may
    be writing meanwhile, does not count."""
    check_held()
    write_manifest(checkpoint)
    found = sorted(checkpoint.parent.glob("checkpoint-*"), key=step_of)
    names = [path.name for path in found if step_of(path) <= step_of(checkpoint)]
    kept = {*names[-limit:], Path(best).name if best else ""} if limit and limit > 0 else set(names)
    for name in names:
        if name not in kept:
            shutil.rmtree(checkpoint.parent / name, ignore_errors=True)


def step_of(checkpoint: Path) -> int:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


def last_whole_checkpoint(folder: Path, training_args: Any) -> Path | None:
    """The newest checkpoint whose files, and whose best checkpoint's, are as they were written; those left are named
    with the reason, and removed by the first process. All processes get the same."""
    settle()  # of a try that ran out of memory
    state = PartialState()
    box: list[Any] = [None]
    if state.is_main_process:
        box = [choose_checkpoint(folder, training_args.should_save)]
    if state.num_processes > 1:
        broadcast_object_list(box)
    return box[0]


def choose_checkpoint(folder: Path, remove: bool) -> Path | None:
    chosen = None
    left = {}
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True):
        if problem := checkpoint_problem(checkpoint):
            left[checkpoint] = problem
        else:
            chosen = checkpoint
            break
    where = f"going on from {chosen.name}" if chosen else "starting the fold afresh"
    for checkpoint, problem in left.items():
        print_once(f"{checkpoint}: is left, {problem}; {where}")
        if remove:
            shutil.rmtree(checkpoint)
    return chosen


def checkpoint_problem(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, as the rest of a sentence; None where it is whole."""
    if problem := problem_of(checkpoint):
        return problem
    try:
        state = read_json(checkpoint / STATE)
    except InputError:
        return f"{STATE} is damaged"
    best = Path(state.get("best_model_checkpoint") or checkpoint).name
    if best != checkpoint.name and (problem := problem_of(checkpoint.parent / best)):
        return f"its best, {best}, {problem}"
    return None
