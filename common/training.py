"""One fold through the Hugging Face Trainer: batches by length, the optional pieces, resume, and going on after an
out-of-memory error."""

import copy
import gc
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils.memory import should_reduce_batch_size
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.utils.logging import disable_progress_bar

from common.args import print_once
from common.batches import LengthBatchSampler, TokenBudgetBatchSampler, read_column
from common.checks import WATCHED
from common.errors import InputError, Stopped
from common.metrics import compute_metrics
from common.text import row_lengths

disable_progress_bar()  # of loading and saving; the Trainer's own stays
# In a checkpoint, what the optional pieces must remember. Averages are the same in all processes, queues are not.
EMA_STATE = "ema.safetensors"
OVERSAMPLER_STATE = "oversampler_{}.safetensors"


class FoldTrainer(Trainer):
    """Trainer with batches by length, a loss per row, and the pieces of TuningArguments that are on.

    args_task: the task's arguments. train_labels: (N,) labels of the rows that are trained on, for class weights and
    class counts.
    """

    def __init__(
        self, model: PreTrainedModel, args_task: Any, train_labels: np.ndarray, label_names: list[str], **kwargs: Any
    ):
        super().__init__(model, compute_loss_func=self.mean_loss, **kwargs)
        self.task = args_task
        self.ema = self.attack = self.oversampler = self.class_weights = None
        if args_task.class_weight_strength > 0:
            from common.loss import class_weights

            weights = class_weights(train_labels, len(label_names), args_task.class_weight_strength)
            self.class_weights = torch.tensor(weights, device=self.args.device)
        if args_task.fgm_epsilon > 0:
            from common.adversarial import FGM

            self.attack = FGM(model, args_task.fgm_epsilon)
        elif args_task.awp_epsilon > 0:
            from common.adversarial import AWP

            self.attack = AWP(model, args_task.awp_epsilon, args_task.awp_learning_rate)
        if args_task.ema_decay > 0:
            from common.ema import Ema

            self.ema = Ema(model, args_task.ema_decay)
        if args_task.feature_oversample_ratio > 0:
            from common.feature_space import FeatureSpaceOversampler

            counts = np.bincount(train_labels, minlength=len(label_names))
            self.oversampler = FeatureSpaceOversampler(
                model, counts.tolist(), args_task.feature_oversample_method, args_task.feature_oversample_ratio
            )
        self.add_callback(StepHooks(self))

    def get_train_dataloader(self) -> DataLoader:
        """Micro-batches of this process; not sharded again by Accelerate, the sampler knows rank and world size."""
        a = self.args
        lengths = row_lengths(self.train_dataset)
        shared = {"accumulation": a.gradient_accumulation_steps, "rank": a.process_index, "world_size": a.world_size}
        if self.task.tokens_per_batch:
            self.batches = TokenBudgetBatchSampler(lengths, self.task.tokens_per_batch, a.seed, **shared)
        else:
            self.batches = LengthBatchSampler(
                lengths, a.train_batch_size, a.seed, by_length=self.task.batch_by_length, **shared
            )
        return DataLoader(
            self.train_dataset,
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            num_workers=a.dataloader_num_workers,
            pin_memory=a.dataloader_pin_memory and not a.use_cpu,
            generator=torch.Generator(),  # or the loader would draw from the generator that dropout uses
        )

    def create_optimizer(self, *args: Any) -> torch.optim.Optimizer:
        if self.optimizer is None and (self.task.layerwise_lr_decay < 1 or self.task.head_learning_rate is not None):
            from common.layerwise_lr import parameter_groups

            a = self.args
            decay = self.task.layerwise_lr_decay
            decay_names = self.get_decay_parameter_names(self.model)
            groups = parameter_groups(
                self.model, a.learning_rate, decay, a.weight_decay, decay_names, self.task.head_learning_rate
            )
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(a, self.model)
            self.optimizer = optimizer_class(groups, **options)
        return super().create_optimizer(*args)

    def row_losses(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        from common.loss import classification_loss

        return classification_loss(
            logits,
            labels,
            weights=self.class_weights,
            focal_gamma=self.task.focal_gamma,
            label_smoothing=self.args.label_smoothing_factor,
        )

    def mean_loss(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        """Loss of a micro-batch: the sum over its rows / the rows of the effective batch; in evaluation the plain mean
        cross-entropy."""
        logits = outputs["logits"]
        if not self.model.training:
            return F.cross_entropy(logits.float(), labels)
        passes = len(logits) // len(labels)  # 2 with R-Drop
        labels = labels.repeat(passes)
        total = self.row_losses(logits, labels).sum()
        rows = len(labels)
        if self.oversampler:
            synthetic, count = self.oversampler.loss(labels, self.row_losses)
            total = (total + synthetic) * rows / (rows + count)
        total = total / passes
        if passes == 2:
            from common.rdrop import rdrop_loss

            total = total + self.task.rdrop_alpha * rdrop_loss(*logits.chunk(2)).sum()
        return total / num_items_in_batch

    def compute_loss(self, model: torch.nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        if (
            self.task.rdrop_alpha > 0 and model.training
        ):  # both passes in one: twice the rows, each with its own dropout
            inputs = {key: value if key == "labels" else torch.cat([value, value]) for key, value in inputs.items()}
        return super().compute_loss(model, inputs, *args, **kwargs)

    def training_step(self, model: torch.nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(model, inputs, *args, **kwargs)
        if self.attack:
            with self.attack.attacked():
                super().training_step(model, inputs, *args, **kwargs)
        return loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        if self.ema is None:
            return super().evaluate(*args, **kwargs)
        with self.ema.applied(self.model):
            return super().evaluate(*args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        super().save_model(output_dir, _internal_call)
        folder = Path(output_dir)
        if self.ema and self.args.should_save:
            save_file(self.ema.state_dict(), folder / EMA_STATE)
        if self.oversampler:
            folder.mkdir(parents=True, exist_ok=True)  # the first process may not have made it yet
            state = {key: value.contiguous() for key, value in self.oversampler.state_dict().items()}
            save_file(state, folder / OVERSAMPLER_STATE.format(self.args.process_index))

    def load_extra_state(self, checkpoint: str | Path) -> None:
        """Averages and queues as they were when the checkpoint was written."""
        if self.ema:
            self.ema.load_state_dict(load_file(Path(checkpoint) / EMA_STATE))
        if self.oversampler:
            self.oversampler.load_state_dict(
                load_file(Path(checkpoint) / OVERSAMPLER_STATE.format(self.args.process_index))
            )


class StepHooks(TrainerCallback):
    """Tells the sampler the epoch before each pass (exact after a resume, too) and the average of each step."""

    def __init__(self, trainer: FoldTrainer):
        self.trainer = trainer

    def on_epoch_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.batches.epoch = int(state.epoch)

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer.ema:
            self.trainer.ema.update(self.trainer.model)

    def on_epoch_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer.task.stop_after_epoch is not None and state.epoch >= self.trainer.task.stop_after_epoch:
            control.should_training_stop = True


def train_fold(
    make_model: Callable[[], PreTrainedModel],
    train_dataset: datasets.Dataset,
    eval_dataset: datasets.Dataset,
    collate: Callable,
    args: Any,
    training_args: TrainingArguments,
    fold_dir: Path,
    label_names: list[str],
    trainer_class: type[FoldTrainer] = FoldTrainer,
) -> tuple[FoldTrainer, dict[str, Any]]:
    """Train on the rows of tokenize(), or go on from the last complete checkpoint in fold_dir/checkpoints.

    Returns the trainer, whose model is ready to predict and to save (averaged and merged), and what to remember:
    log_history, train_samples_per_second (of this start, evaluations included), the per-device batch and accumulation
    that were used, best_metric. After an out-of-memory error the fold goes on from its last checkpoint with half the
    per-device batch and double accumulation. Raises Stopped after the checkpoint of stop_after_epoch, unless that is
    the last epoch.
    """
    training_args = copy.copy(training_args)
    training_args.output_dir = str(fold_dir / "checkpoints")
    training_args.push_to_hub = False  # the finished folds are pushed, not the checkpoints
    labels = read_column(train_dataset, "labels")
    eval_dataset = eval_dataset.select(
        np.argsort(-row_lengths(eval_dataset), kind="stable")
    )  # metrics do not depend on the order

    def adapted_model() -> torch.nn.Module:
        if args.lora_r == 0:
            return make_model()
        from common.lora import add_lora

        return add_lora(make_model(), args.lora_r, args.lora_alpha, args.lora_dropout)

    if args.auto_batch_size and args.tokens_per_batch:
        print_once("auto_batch_size: tokens_per_batch sets the batches; nothing is searched for")
    elif args.auto_batch_size:
        from common.batch_size import fit_batch_size

        fit_batch_size(adapted_model, train_dataset, collate, training_args, passes=2 if args.rdrop_alpha > 0 else 1)

    def watch(prediction: EvalPrediction) -> dict[str, float]:
        metrics = compute_metrics(prediction.predictions, prediction.label_ids, label_names)
        return {key: metrics[key] for key in WATCHED}

    while True:
        gc.collect()  # what the fold before, or the try that ran out of memory, held
        torch.cuda.empty_cache()
        set_seed(training_args.seed)
        model = adapted_model()
        trainer = trainer_class(
            model,
            args,
            labels,
            label_names,
            args=training_args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            data_collator=collate,
            compute_metrics=watch,
            callbacks=[EarlyStoppingCallback(args.early_stopping_patience)] if args.early_stopping_patience else None,
        )
        checkpoint = last_complete_checkpoint(Path(training_args.output_dir), training_args)
        before = TrainerState(epoch=0.0)
        if checkpoint:
            before = TrainerState.load_from_json(checkpoint / "trainer_state.json")
            trainer.load_extra_state(checkpoint)
        check_stop(before, args, training_args)
        began = time.perf_counter()
        try:
            if checkpoint and args.early_stopping_patience and stopped_early(before, args.early_stopping_patience):
                trainer.state = before  # train() would go on: it forgets that it was told to stop
                trainer._load_best_model()
            else:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            break
        except RuntimeError as error:
            if not should_reduce_batch_size(error) or training_args.world_size > 1:
                raise
            if args.tokens_per_batch:  # its micro-batches cannot be halved with the same effective batches
                raise InputError(
                    f"out of memory with tokens_per_batch {args.tokens_per_batch}: lower tokens_per_batch"
                ) from error
            from common.batch_size import halve_batch

            halve_batch(training_args)
        del trainer, model  # outside the except block, whose traceback holds the tensors
    check_stop(trainer.state, args, training_args)
    rows_trained = (trainer.state.epoch - before.epoch) * len(train_dataset)  # since this start
    speed = rows_trained / (time.perf_counter() - began)
    finish_model(trainer)
    return trainer, {
        "log_history": trainer.state.log_history,
        "best_metric": trainer.state.best_metric,
        "train_samples_per_second": speed,
        "per_device_train_batch_size": training_args.per_device_train_batch_size,
        "gradient_accumulation_steps": training_args.gradient_accumulation_steps,
        "train_class_counts": np.bincount(labels, minlength=len(label_names)).tolist(),
    }


def check_stop(state: TrainerState, args: Any, training_args: TrainingArguments) -> None:
    """Raise Stopped where stop_after_epoch is reached before the end of the run."""
    if (
        args.stop_after_epoch is not None
        and args.stop_after_epoch <= round(state.epoch, 6) < training_args.num_train_epochs
    ):
        raise Stopped(f"stopped after epoch {state.epoch:g} of {training_args.num_train_epochs:g}; --resume goes on")


def stopped_early(state: TrainerState, patience: int) -> bool:
    """Whether the run that wrote this state had stopped for want of a better evaluation."""
    return (
        state.stateful_callbacks["EarlyStoppingCallback"]["attributes"]["early_stopping_patience_counter"] >= patience
    )


def finish_model(trainer: FoldTrainer) -> None:
    """Put the averaged weights in for good and fold LoRA's updates into the encoder."""
    if trainer.ema:
        best = trainer.state.best_model_checkpoint
        if trainer.args.load_best_model_at_end and best:
            trainer.load_extra_state(best)
        for name, parameter in trainer.model.named_parameters():
            if name in trainer.ema.averages:
                parameter.data.copy_(trainer.ema.averages[name])
    if trainer.oversampler:
        trainer.oversampler.remove()
    if trainer.task.lora_r > 0:
        from common.lora import merge_lora

        trainer.model = merge_lora(trainer.accelerator.unwrap_model(trainer.model))


def last_complete_checkpoint(folder: Path, training_args: TrainingArguments) -> Path | None:
    """The newest checkpoint that was written to its end (trainer_state.json comes last); what a kill left half-written
    is removed."""
    complete = []
    for checkpoint in folder.glob("checkpoint-*"):
        try:
            step = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["global_step"]
            complete.append((step, checkpoint))
        except (OSError, ValueError):
            if training_args.should_save:
                shutil.rmtree(checkpoint)
    return max(complete)[1] if complete else None
