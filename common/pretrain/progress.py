"""The lines of a further pre-training."""

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from common.console import print_once
from common.progress.lines import aligned, clock

NAMES = ("epoch", "loss", "rows/s", "left")


class EpochLines(TrainerCallback):
    """A line for each epoch, in place of the Trainer's dictionaries. rows: of an epoch."""

    def __init__(self, rows: int):
        self.rows = rows

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.before, self.began = state.epoch or 0.0, time.perf_counter()
        print_once(aligned(NAMES, NAMES))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float],
        **kwargs: Any,
    ) -> None:
        if "loss" not in logs:  # the summary at the end
            return
        an_epoch = (time.perf_counter() - self.began) / (state.epoch - self.before)
        left = clock(an_epoch * (args.num_train_epochs - state.epoch))
        cells = [f"{state.epoch:.4g}/{args.num_train_epochs:.4g}", f"{logs['loss']:.4f}"]
        print_once(aligned([*cells, f"{self.rows / an_epoch:.1f}", left], NAMES))
