"""What train.py does for a trial: whole runs, and runs at a constant rate that stop after an epoch and go on."""

import math
import shutil
from pathlib import Path
from typing import IO, Any

from common.console import DIVERGED, InputError
from common.files import read_json
from common.options.checks import task_target
from common.search.space import EPOCHS, Space, as_options
from common.workers.process import Child


class Runs:
    """The runs of one worker's trials, in <dir>/<stage>-<number>, each with its output in <stage>-<number>.log.

    defaults: (task arguments, TrainingArguments) of the fast preset with `options`. lock: an open file that the
    training process inherits.
    """

    def __init__(self, folder: Path, task_dir: Path, space: Space, defaults: tuple, options: list[str], lock: IO):
        self.dir = folder
        self.task_dir = task_dir
        self.space = space
        self.options = options
        self.lock = lock
        self.task_args, self.training_args = defaults
        self.watched = task_target(self.task_args).watched  # what a run measures anyway
        self.child: Child | None = None

    def folder(self, stage: str, number: int) -> Path:
        return self.dir / f"{stage}-{number}"

    def whole(self, stage: str, number: int, options: dict[str, Any]) -> float:
        """The score of a run with the preset's own schedule, on the rows that it did not train on."""
        folds = self.space.finalist_folds if stage == "finalists" else 1
        if not self.train(stage, number, {**options, "num_folds": folds}):
            return self.space.worst
        metrics = read_json(self.folder(stage, number) / "metrics.json")
        return self.known(metrics["oof" if folds > 1 else "eval"][self.space.metric])

    def known(self, score: float) -> float:
        """A score; the worst where it is no number, as a folder's own correlation of equal predictions: Optuna would
        count the trial as failed, and it would be trained for ever."""
        return score if math.isfinite(score) else self.space.worst

    def epochs(self, number: int, options: dict[str, Any], target: int) -> list[float]:
        """The scores of epochs 1..target of a run at a constant rate; those that are trained already are not trained
        again."""
        longest = self.space.max_epochs
        warmup = float(options.get("warmup_steps", self.training_args.warmup_steps))
        schedule = {
            EPOCHS: longest,
            "lr_scheduler_type": "constant_with_warmup",
            "warmup_steps": warmup / longest
            if warmup < 1
            else int(warmup),  # a share of one epoch, so that all runs begin alike
            "stop_after_epoch": target,
            "num_folds": 1,
            "save_total_limit": 1,
        }
        healthy = self.train("coupled", number, {**options, **self.space.coupled_options, **schedule})
        fold = self.folder("coupled", number) / "fold0"
        key = f"eval_{self.space.metric}"
        states = [
            *fold.glob("fold.json"),
            *sorted(fold.glob("checkpoints/*/trainer_state.json"), key=step_of, reverse=True),
        ]
        history = read_json(states[0])["log_history"] if states else []
        scores = [self.known(entry[key]) for entry in history if key in entry]
        return scores if healthy else scores + [self.space.worst] * (target - len(scores))

    def train(self, stage: str, number: int, options: dict[str, Any]) -> bool:
        """Run train.py in the trial's folder, or go on with it; False where it diverged. Raises InputError with
        train.py's sentence."""
        folder = self.folder(stage, number)
        argv = [
            str(self.task_dir / "train.py"),
            "--config",
            str(self.space.preset),
            *self.options,
            *as_options(options),
        ]
        argv += ["--output_dir", str(folder), "--resume", "--disable_tqdm", "true"]
        if self.space.metric not in self.watched:
            argv += ["--metric", self.space.metric]
        argv += ["--eval_strategy", "epoch", "--save_strategy", "epoch", "--logging_strategy", "epoch"]
        if self.task_args.test_file:
            argv += ["--max_predict_samples", "1"]  # nobody needs a trial's predictions
        log = folder.with_suffix(".log")
        log.touch()
        if self.child is None:
            self.child = Child(pass_fds=[self.lock.fileno()])
        code = self.child.run(log, argv)
        if code == 0:
            return True
        last = ([*log.read_text(encoding="utf-8").strip().splitlines()] or ["it said nothing"])[-1]
        if code == 2 and DIVERGED in last:
            return False
        raise InputError(f"{log}: train.py ended with exit code {code}: {last.removeprefix('error: ')}")

    def drop_models(self, stage: str, number: int) -> None:
        """Free the disk: of a trial that is done, scores, logits and log stay."""
        for folder in [*self.folder(stage, number).glob("fold*"), self.folder(stage, number) / "rows"]:
            shutil.rmtree(folder, ignore_errors=True)


def step_of(path: Path) -> int:
    """The step of <...>/checkpoint-<step>/<file>."""
    return int(path.parent.name.rpartition("-")[2])
