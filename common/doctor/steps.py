"""The process that measures: runs a train.py with one fold, whose rows are cut to some optimizer steps, and writes down
how long each part took.

    python -m common.doctor.steps RESULT.json STARTED friends/train.py --config friends/configs/final.yaml ...

Reading, the splits and the checks are those of the whole run; training, evaluation, prediction and saving those of the
fold, on fewer rows. Then the run is over. STARTED: time.time() of the start of this process.
"""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from common import folds
from common.batches import row_lengths
from common.console import Stopped
from common.files import write_json
from common.progress.meter import peak_resident
from common.workers import child
from common.workers.plan import make_plan

if TYPE_CHECKING:
    from common.run import Run

WARM = 2  # steps that are not counted: the first ones allocate, and import
STEPS = 10
EVALUATED = 2  # batches that are evaluated, and predicted of each file
folds_to_train = folds.folds_to_train


@dataclass
class Measured:
    """What one fold took. Seconds: start: from the start of the process to the fold; setup: to the first step;
    row_first, row: of a training row, in the first epoch, where it may be decoded for a cache, and later; evaluation,
    prediction: of all rows of a fold, extrapolated; checkpoint; save. rows: that a fold trains on in an epoch.
    evaluations, checkpoints: how many a fold has. workers: folds at a time. memory, gpu_memory: bytes at the peak, of
    this process and that torch has reserved."""

    start: float
    setup: float
    row_first: float
    row: float
    evaluation: float
    checkpoint: float
    prediction: float
    save: float
    rows: int
    epochs: float
    folds: int
    workers: int
    evaluations: int
    checkpoints: int
    memory: int
    gpu_memory: int


class Clock:
    """Takes the time of each optimizer step."""

    def __init__(self) -> None:
        self.stamps: list[float] = []
        register_optimizer_step_post_hook(self.step)

    def step(self, *_: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.stamps.append(time.perf_counter())


def measure_fold(run: "Run", splits: list, rows: dict[str, Any], result: Path, started: float) -> Iterator[folds.Fold]:
    """In place of folds_to_train(): the first fold, cut; then write what it took, and stop the run."""
    args, training_args = run.args, run.training_args
    workers = 1
    if len(splits) > 1 and args.fold is None:
        plan = make_plan(args, training_args, splits, rows)
        workers = plan.workers
        torch.set_num_threads(plan.threads[0])
    args.fold_workers = "1"
    start = time.time() - started
    whole = next(folds_to_train(run, splits, rows))
    effective = rows_of_step(args, training_args, whole.train_rows)
    count = min(len(whole.train_rows), effective * (WARM + STEPS))
    per_epoch = math.ceil(count / effective)
    epochs, steps = total_epochs(training_args, math.ceil(len(whole.train_rows) / effective))
    evaluations, checkpoints = (events(training_args, kind, epochs, steps) for kind in ("eval", "save"))
    # the run's own arguments, because the stages of reon_face read them; a fold has a copy
    training_args.max_steps = -1
    passes = max(math.ceil((WARM + STEPS) / per_epoch), 2 if getattr(args, "cache_dir", None) else 1)
    passes = min(passes, math.ceil(epochs))
    training_args.num_train_epochs = passes
    training_args.eval_steps = training_args.save_steps = per_epoch * passes  # read where a strategy is steps
    fold = cut(next(folds_to_train(run, splits, rows)), count, EVALUATED * training_args.per_device_eval_batch_size)
    clock = Clock()
    began = time.perf_counter()
    yield fold
    ended = time.perf_counter()

    train, predict = run.seconds["train"], run.seconds["predict"]
    first, later = (step * per_epoch / count for step in step_seconds(np.diff(clock.stamps), per_epoch))
    tail = began + train - clock.stamps[-1]  # the last evaluation, and its checkpoint
    history = run.load_fold(fold.number)[1]["log_history"]
    evaluated = [entry["eval_runtime"] for entry in history if "eval_runtime" in entry]
    evaluation = min(evaluated[-1], tail) if evaluated else tail
    predicted = [sum(map(len, part.to_predict.values())) for part in (fold, whole)]
    measured = Measured(
        start=start,
        setup=max(0.0, clock.stamps[0] - began - first * count / per_epoch),
        row_first=first,
        row=later,
        evaluation=evaluation * len(whole.eval_rows) / len(fold.eval_rows),
        checkpoint=tail - evaluation,
        prediction=predict * predicted[1] / max(1, predicted[0]),
        save=ended - began - train - predict,
        rows=len(whole.train_rows),
        epochs=epochs,
        folds=1 if args.fold is not None else len(splits),
        workers=workers,
        memory=peak_resident(),
        gpu_memory=torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0,
        evaluations=evaluations,
        checkpoints=checkpoints,
    )
    write_json(result, asdict(measured))
    raise Stopped("measured")


def cut(fold: folds.Fold, count: int, evaluated: int) -> folds.Fold:
    """The fold with so many of its training rows, drawn at random, and of the rows of each file."""

    def draw(rows: Any, most: int) -> np.ndarray:
        return np.sort(np.random.default_rng(0).choice(len(rows), min(len(rows), most), replace=False))

    trained = draw(fold.train_rows, count)
    predicted = {name: folds.select(rows, draw(rows, evaluated)) for name, rows in fold.to_predict.items()}
    return replace(
        fold,
        train_idx=fold.train_idx[trained],
        train_rows=folds.select(fold.train_rows, trained),
        eval_rows=folds.select(fold.eval_rows, draw(fold.eval_rows, evaluated)),
        to_predict=predicted,
    )


def rows_of_step(args: Any, training_args: Any, rows: Any) -> int:
    """About how many rows an optimizer step takes."""
    size = training_args.per_device_train_batch_size
    if tokens := getattr(args, "tokens_per_batch", None):
        size = max(1, round(tokens / row_lengths(rows).mean()))
    return size * training_args.gradient_accumulation_steps


def total_epochs(training_args: Any, steps: int) -> tuple[float, int]:
    """(epochs of a fold, its steps in all). steps: of one epoch."""
    if training_args.max_steps > 0:
        return training_args.max_steps / steps, training_args.max_steps
    return training_args.num_train_epochs, math.ceil(training_args.num_train_epochs * steps)


def events(training_args: Any, kind: str, epochs: float, steps: int) -> int:
    """How often a fold evaluates (kind eval) or writes a checkpoint (save)."""
    strategy = getattr(training_args, f"{kind}_strategy").value
    if strategy == "steps":
        every = getattr(training_args, f"{kind}_steps")
        return steps // (every if every >= 1 else math.ceil(every * steps))
    return 0 if strategy == "no" else math.ceil(epochs)


def step_seconds(deltas: np.ndarray, per_epoch: int) -> tuple[float, float]:
    """Mean seconds of a step in the first epoch, and later, from those between two steps; without those that an
    evaluation stands between, and the WARM first."""
    number = np.arange(1, len(deltas) + 1)  # of the step that each ends with
    inside = (number % per_epoch != 0) & (number >= WARM)
    if not inside.any():  # an epoch is a step
        inside[:] = True
    later = inside & (number >= per_epoch)
    first = inside & ~later
    of_all = float(deltas[inside].mean())
    return tuple(float(deltas[some].mean()) if some.any() else of_all for some in (first, later))


def main() -> None:
    result, started, *argv = sys.argv[1:]
    # main() of a train.py imports it when it runs
    folds.folds_to_train = lambda run, splits, rows: measure_fold(run, splits, rows, Path(result), float(started))
    sys.exit(child.run(argv))


if __name__ == "__main__":
    main()
