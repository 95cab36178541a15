"""One fold through the Hugging Face Trainer: a loss per row, averaged weights, resume, going on after out-of-memory."""

import copy
import gc
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils.memory import should_reduce_batch_size
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, Sampler
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import EvalLoopOutput

from common.batches import LengthBatchSampler, read_column, row_lengths
from common.console import Stopped
from common.folds import Fold
from common.guards.batch_norm import share_batch_norm
from common.guards.checkpoints import WholeCheckpoints, last_whole_checkpoint
from common.guards.lock import check_held
from common.guards.options import loader_options
from common.guards.pickles import refusing_pickles
from common.guards.rows import NO_ROW, FilledRows, nothing_of, share_buffers
from common.guards.unused import search_where_needed
from common.metrics import compute_metrics, task_metric
from common.progress.callback import FoldProgress
from common.progress.lines import shown_metrics
from common.targets import Classes, as_target, labels_of_config, with_metric

EMA_STATE = "ema.safetensors"  # in a checkpoint; the averages are the same in all processes


class FoldTrainer(Trainer):
    """Trainer with random batches that resume exactly, a loss per row, class weights, focal loss and averaged weights.

    task: the task's arguments, of StoppingArguments and ImbalanceArguments at least. train_labels: (N,) labels of the
    rows that are trained on, for class weights.
    """

    def __init__(self, model: Any, task: Any, train_labels: np.ndarray, label_names: Classes, **kwargs: Any):
        super().__init__(model, compute_loss_func=self.mean_loss, **kwargs)
        share_batch_norm(model)
        label_names = as_target(label_names)
        self.task = task
        self.class_names = label_names
        self.ema = None
        self.class_weights = label_names.weights(train_labels, task.class_weight_strength)
        if self.class_weights is not None:
            self.class_weights = torch.tensor(self.class_weights, device=self.args.device)
        if task.ema_decay > 0:
            from common.tricks.ema import Ema

            self.ema = Ema(model, task.ema_decay)
        self.remove_callback(ProgressCallback)  # one of both prints dictionaries (common/progress)
        self.remove_callback(PrinterCallback)
        self.add_callback(StepHooks(self))
        self.add_callback(WholeCheckpoints(self))
        search_where_needed(self)

    @classmethod
    def adapt(cls, model: PreTrainedModel, fold: Fold, collate: Callable) -> torch.nn.Module:
        """The model as it is trained."""
        return model

    @classmethod
    def prepare(cls, make_model: Callable, fold: Fold, collate: Callable, training_args: TrainingArguments) -> None:
        """What changes training_args before the first try."""

    @classmethod
    def halve_batch(cls, task: Any, training_args: TrainingArguments, error: RuntimeError) -> None:
        """What changes training_args after out-of-memory; raises InputError where nothing is left to be tried."""
        from common.tricks.batch_size import halve_batch

        halve_batch(training_args)

    def make_batches(self, **shared: int) -> Sampler[list[int]]:
        """The sampler of the training rows, as row numbers; `epoch` is set before each pass. shared: who takes what."""
        ones = np.ones(len(self.train_dataset), dtype=np.int64)
        return LengthBatchSampler(ones, self.args.train_batch_size, self.args.seed, by_length=False, **shared)

    def get_train_dataloader(self) -> DataLoader:
        """Micro-batches of this process; not sharded again by Accelerate, the sampler knows rank and world size."""
        args = self.args
        who = {"rank": args.process_index, "world_size": args.world_size}
        self.batches = self.make_batches(accumulation=args.gradient_accumulation_steps, **who)
        return DataLoader(
            FilledRows(self.train_dataset),
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            **loader_options(args),
            generator=torch.Generator(),  # because the loader would draw from the one that dropout uses
        )

    def row_losses(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(B,) float32: the target's loss with label smoothing, class weights and focal loss, as far as they are on."""
        options = self.class_weights, self.task.focal_gamma, self.args.label_smoothing_factor
        return self.class_names.row_losses(logits, labels, *options)

    def total_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The sum over a micro-batch's rows."""
        return self.row_losses(logits, labels).sum()

    def mean_loss(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        """total_loss() / the rows of the effective batch; in evaluation nothing reads it (see evaluation_loop())."""
        logits = outputs["logits"]
        if not self.model.training or self.args.world_size > 1 and labels.flatten()[0] == NO_ROW:
            return nothing_of(logits)
        return self.total_loss(logits, labels) / num_items_in_batch

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        if self.ema is None:
            return super().evaluate(*args, **kwargs)
        with self.ema.applied(self.model):
            return super().evaluate(*args, **kwargs)

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> EvalLoopOutput:
        """eval_loss is the target's loss over all rows: the Trainer's own grows with the number of processes."""
        share_buffers(self.model)
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        output.metrics[f"{metric_key_prefix}_loss"] = output.metrics[f"{metric_key_prefix}_{self.class_names.loss}"]
        return output

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        logs.pop("total_flos", None)  # which counts the padding of this process's batches
        if "train_loss" in logs and self.args.world_size > 1:  # because the last steps are those of this process alone
            loss = torch.tensor(logs["train_loss"], device=self.args.device)
            logs["train_loss"] = self.accelerator.reduce(loss, "mean").item()
        super().log(logs, *args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        check_held()
        super().save_model(output_dir, _internal_call)
        if self.ema and self.args.should_save:
            save_file(self.ema.state_dict(), Path(output_dir) / EMA_STATE)

    def load_extra_state(self, checkpoint: str | Path) -> None:
        """What save_model() wrote beside the weights."""
        if self.ema:
            self.ema.load_state_dict(load_file(Path(checkpoint) / EMA_STATE))

    def load_best_model(self) -> None:
        """The weights of the best checkpoint, as train() does at its end; the Trainer has no public name for it."""
        self._load_best_model()

    def finish(self) -> None:
        """Put the averaged weights in for good."""
        share_buffers(self.model)
        if not self.ema:
            return
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint:
            self.load_extra_state(self.state.best_model_checkpoint)
        for name, parameter in self.model.named_parameters():
            if name in self.ema.averages:
                parameter.data.copy_(self.ema.averages[name])

    def gather(self) -> None:
        """After the last prediction: the first process puts together what is shared out (FSDP). Here nothing is."""


class StepHooks(TrainerCallback):
    """Tells the sampler the epoch before each pass (exact after a resume, too) and the average of each step."""

    def __init__(self, trainer: FoldTrainer):
        self.trainer = trainer

    def on_epoch_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.batches.epoch = int(state.epoch)

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        steps = math.ceil(len(self.trainer.batches) / args.gradient_accumulation_steps)
        whole, step = divmod(state.global_step, steps)  # the Trainer counts micro-batches: a last step has fewer
        state.epoch = whole + step / steps
        if self.trainer.ema:
            self.trainer.ema.update(self.trainer.model)

    def on_epoch_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        last = self.trainer.task.stop_after_epoch
        if last is not None and state.epoch >= last:
            control.should_training_stop = True


def train_fold(
    fold: Fold, make_model: Callable[[], PreTrainedModel], collate: Callable, trainer_class: type[FoldTrainer]
) -> tuple[FoldTrainer, dict[str, Any]]:
    """Train on fold.train_rows, or go on from the last complete checkpoint in fold.dir/checkpoints.

    Returns the trainer, whose model is ready to predict and to save (averaged and merged), and what to remember:
    log_history, train_samples_per_second (of this start, evaluations included), the per-device batch and accumulation
    that were used, best_metric. After an out-of-memory error the fold goes on from its last checkpoint with half the
    per-device batch and double accumulation. Raises Stopped after the checkpoint of stop_after_epoch, unless that is
    the last epoch.
    """
    task = fold.args
    training_args = copy.copy(fold.training_args)
    training_args.output_dir = str(fold.dir / "checkpoints")
    training_args.push_to_hub = False  # the finished folds are pushed, not the checkpoints
    labels = read_column(fold.train_rows, "labels")
    longest_first = np.argsort(-row_lengths(fold.eval_rows), kind="stable")

    if fold.soft_labels:
        from common.tricks.teacher import taught

        trainer_class = taught(trainer_class, fold.soft_labels)
    if training_args.fsdp:
        from common.sharded.trainer import sharded

        trainer_class = sharded(trainer_class, fold, make_model, collate)
    with fold.run.phase("train"):
        trainer_class.prepare(make_model, fold, collate, training_args)
        while True:
            gc.collect()  # what the fold before, or the try that ran out of memory, held
            torch.cuda.empty_cache()
            set_seed(training_args.seed)
            model = trainer_class.adapt(make_model(), fold, collate)
            label_names = labels_of_config(model.config)
            label_names.fit(labels)
            if settings := label_names.settings():
                model.config.target = settings
            trainer = trainer_class(
                model,
                task,
                labels,
                label_names,
                args=training_args,
                train_dataset=fold.train_rows,
                eval_dataset=fold.eval_rows.select(longest_first),  # metrics do not depend on the order
                data_collator=collate,
                compute_metrics=lambda prediction, names=label_names: watched_metrics(prediction, names, task),
                preprocess_logits_for_metrics=lambda outputs, _: outputs[0] if isinstance(outputs, tuple) else outputs,
                callbacks=[EarlyStoppingCallback(patience)] if (patience := task.early_stopping_patience) else None,
            )
            trainer.add_callback(FoldProgress(fold, shown_metrics(task, label_names)))
            try:
                epochs, seconds = train_on(trainer)
                break
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                trainer_class.halve_batch(task, training_args, error)
            del trainer, model  # outside the except block, whose traceback holds the tensors
        check_stop(trainer.state, task, training_args)
        trainer.finish()
    return trainer, {
        "log_history": trainer.state.log_history,
        "best_metric": trainer.state.best_metric,
        "train_samples_per_second": epochs * len(fold.train_rows) / seconds,
        "per_device_train_batch_size": training_args.per_device_train_batch_size,
        "gradient_accumulation_steps": training_args.gradient_accumulation_steps,
        "train_class_counts": label_names.counts(labels),
    }


def train_on(trainer: FoldTrainer) -> tuple[float, float]:
    """Train from the last complete checkpoint, or from the start: (epochs trained, seconds)."""
    patience = trainer.task.early_stopping_patience
    checkpoint = last_whole_checkpoint(Path(trainer.args.output_dir), trainer.args)
    before = TrainerState(epoch=0.0)
    with refusing_pickles(checkpoint):
        if checkpoint:
            before = TrainerState.load_from_json(checkpoint / "trainer_state.json")
            trainer.load_extra_state(checkpoint)
        check_stop(before, trainer.task, trainer.args)
        began = time.perf_counter()
        if checkpoint and patience and stopped_early(before, patience):
            trainer.state = before  # train() would go on: it forgets that it was told to stop
            trainer.load_best_model()
        else:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return trainer.state.epoch - before.epoch, time.perf_counter() - began


def watched_metrics(prediction: EvalPrediction, label_names: Classes, task: Any) -> dict[str, float]:
    """What the target watches in an evaluation, and the task's metric."""
    logits = label_names.to_logits(torch.from_numpy(prediction.predictions).float()).numpy()
    metric = task_metric(task, label_names)
    metrics = compute_metrics(logits, prediction.label_ids, label_names, metric)
    return {key: metrics[key] for key in with_metric(label_names.watched, metric)}


def check_stop(state: TrainerState, task: Any, training_args: TrainingArguments) -> None:
    """Raise Stopped where stop_after_epoch is reached before the end of the run."""
    last = task.stop_after_epoch
    if last is not None and last <= round(state.epoch, 6) < training_args.num_train_epochs:
        epochs = f"epoch {state.epoch:g} of {training_args.num_train_epochs:g}"
        raise Stopped(f"stopped after {epochs}; --resume goes on")


def stopped_early(state: TrainerState, patience: int) -> bool:
    """Whether the run that wrote this state had stopped for want of a better evaluation."""
    callback = state.stateful_callbacks["EarlyStoppingCallback"]
    return callback["attributes"]["early_stopping_patience_counter"] >= patience
