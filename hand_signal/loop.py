"""What stands around the loop of train.py: its set-up, the evaluation after an epoch, checkpoints."""

import dataclasses
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import set_seed
from safetensors.torch import load_file, save_file
from transformers import TrainerState, get_scheduler

from common.console import print_once
from common.files import write_json
from common.folds import Fold
from common.options.fields import WATCHED
from common.training import last_complete_checkpoint

from clips import ClipDataset, make_loader, predict_clips
from metrics import Watched
from model import VideoClassifier

WEIGHTS = "evaluated.safetensors"  # in checkpoints/: those that the fold will have, of the best or the last evaluation


class Loop:
    """Model, optimizer, schedule and loader of a fold, as its last complete checkpoint in checkpoints/ left them.

    model: of this process; wrapped: what Accelerate made of it. batch_rows, step_rows: for each batch of an epoch its
    rows on this process, and those of its optimizer step. state: where the fold stands. ema: None where it is off.
    """

    def __init__(self, fold: Fold, make_model: Callable[[], VideoClassifier], train_set: ClipDataset):
        args = fold.training_args
        self.args = args
        self.folder = fold.dir / "checkpoints"
        self.accelerator = Accelerator(
            cpu=args.use_cpu,
            mixed_precision="bf16" if args.bf16 else "fp16" if args.fp16 else "no",
            gradient_accumulation_steps=args.gradient_accumulation_steps,
            dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True, data_seed=args.seed),
            log_with=args.report_to or None,
            project_dir=fold.dir,
        )
        set_seed(args.seed)
        self.model = make_model()
        optimizer = make_optimizer(self.model, args)
        loader = make_loader(train_set, args.per_device_train_batch_size, args.dataloader_num_workers, shuffle=True)
        self.wrapped, self.optimizer, self.loader = self.accelerator.prepare(self.model, optimizer, loader)

        self.batch_rows = np.full(len(self.loader), args.per_device_train_batch_size)
        if self.accelerator.num_processes == 1:  # of several, Accelerate fills up the last batches
            self.batch_rows[-1] -= self.batch_rows.sum() - len(train_set)
        steps = np.arange(len(self.loader)) // args.gradient_accumulation_steps
        self.step_rows = np.bincount(steps, self.batch_rows)[steps].tolist()
        self.steps_per_epoch = int(steps[-1]) + 1

        num_steps = self.steps_per_epoch * int(args.num_train_epochs)
        # not prepared, because Accelerate steps such a one once for every process
        self.scheduler = get_scheduler(
            args.lr_scheduler_type,
            self.optimizer,
            args.get_warmup_steps(num_steps),
            num_steps,
            scheduler_specific_kwargs=dict(args.lr_scheduler_kwargs or {}),
        )
        self.ema = None
        if fold.args.ema_decay > 0:
            from common.tricks.ema import Ema

            self.ema = Ema(self.model, fold.args.ema_decay)
        self.accelerator.register_for_checkpointing(self.scheduler, *([] if self.ema is None else [self.ema]))
        self.state = TrainerState(epoch=0.0)
        if checkpoint := last_complete_checkpoint(self.folder, args):
            self.state = TrainerState.load_from_json(checkpoint / "trainer_state.json")
            self.accelerator.load_state(checkpoint)
        # on every process, because predict_clips() gives all rows to each; the folder stays empty
        self.metric = Watched(keep_in_memory=True, cache_dir=str(self.folder / "metric"))

    def evaluate(self, eval_set: ClipDataset, label_names: list[str], train_loss: float) -> None:
        """Measure the model, averaged where ema_decay is on, after an epoch; log it, and keep its weights where they
        are the best so far, or the best are not asked for."""
        args = self.args
        state = self.state
        batches = args.per_device_eval_batch_size, args.dataloader_num_workers
        with nullcontext() if self.ema is None else self.ema.applied(self.model):
            seen = predict_clips(self.model, eval_set, self.accelerator, label_names, *batches)
            scores = self.metric.compute(predictions=seen.logits, references=seen.labels, label_names=label_names)
            entry = {
                "epoch": state.epoch,
                "step": state.global_step,
                "loss": train_loss,
                "learning_rate": self.scheduler.get_last_lr()[0],
                "eval_loss": scores["log_loss"],
                **{f"eval_{key}": scores[key] for key in WATCHED},
            }
            watched = entry["eval_" + (args.metric_for_best_model or "loss").removeprefix("eval_")]
            better = state.best_metric is None or (
                watched > state.best_metric if args.greater_is_better else watched < state.best_metric
            )
            if better:
                state.best_metric = watched
                state.best_global_step = state.global_step
            if (better or not args.load_best_model_at_end) and self.accelerator.is_main_process:
                self.folder.mkdir(parents=True, exist_ok=True)
                weights = {key: value.contiguous() for key, value in self.model.state_dict().items()}
                save_file(weights, self.folder / WEIGHTS)
        state.log_history.append(entry)
        self.accelerator.log(entry, step=state.global_step)
        print_once(", ".join(f"{key} {entry[key]:.4g}" for key in ("epoch", "loss", "eval_loss", "eval_accuracy")))

    def save(self) -> None:
        """Write a checkpoint, and drop the oldest above save_total_limit."""
        checkpoint = self.folder / f"checkpoint-{self.state.global_step}"
        self.accelerator.save_state(checkpoint)
        if self.accelerator.is_main_process:
            # last, because a checkpoint without it is not complete
            write_json(checkpoint / "trainer_state.json", dataclasses.asdict(self.state))
            complete = sorted(self.folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
            for old in complete[: -self.args.save_total_limit]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def finish(self) -> None:
        """Put the weights in that evaluate() kept."""
        self.model.load_state_dict(load_file(self.folder / WEIGHTS))
        if self.args.report_to:
            self.accelerator.end_training()


def make_optimizer(model: VideoClassifier, args: Any) -> torch.optim.Optimizer:
    """AdamW; biases and norms are not decayed, as in the paper's code."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": args.weight_decay}, {"params": others, "weight_decay": 0.0}]
    betas = (args.adam_beta1, args.adam_beta2)
    return torch.optim.AdamW(groups, lr=args.learning_rate, betas=betas, eps=args.adam_epsilon, fused=True)
