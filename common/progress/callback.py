"""The lines and the bar of a fold that the Trainer trains, in place of its own dictionaries and bars."""

from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from common.folds import Fold
from common.progress.meter import Meter


class FoldProgress(TrainerCallback):
    """A line for each evaluation, and for each epoch without one; a bar of the fold's steps on a terminal.

    shown: the metrics of an evaluation that have a column. Wants to be the last callback, because others correct the
    state's epoch.
    """

    def __init__(self, fold: Fold, shown: Iterable[str]):
        self.fold = fold
        self.shown = list(shown)
        self.loss: float | None = None  # none is logged yet
        self.waits = False  # whether an epoch has ended without a line

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        hidden = args.disable_tqdm or self.fold.args.quiet or not state.is_world_process_zero
        self.meter = Meter(self.fold, state.epoch or 0.0)
        self.bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc=f"fold {self.fold.number}",
            unit="step",
            leave=False,
            disable=hidden or None,  # None: where stderr is no terminal
        )

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.show_late(state)
        self.meter.go_on(state.epoch)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.meter.count(state.epoch)
        self.bar.update()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.waits = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float],
        **kwargs: Any,
    ) -> None:
        self.loss = logs.get("loss", self.loss)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **kwargs: Any,
    ) -> None:
        self.show(state, {name: metrics[f"eval_{name}"] for name in ("loss", *self.shown)})
        self.meter.go_on(state.epoch)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.show_late(state)
        self.bar.close()

    def show_late(self, state: TrainerState) -> None:
        """The line of an epoch that was not evaluated."""
        if self.waits:
            self.show(state, {})

    def show(self, state: TrainerState, scores: dict[str, float]) -> None:
        self.waits = False
        if state.is_world_process_zero:
            self.bar.clear()
            epochs = state.epoch * state.max_steps / state.global_step  # --max_steps may be a part of one
            found = {f"eval_{name}": value for name, value in scores.items()}
            self.meter.show(state.epoch, epochs, {"loss": self.loss, **found})
            self.bar.refresh()
