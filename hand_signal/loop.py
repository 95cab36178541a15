"""What stands around the loop of train.py: its set-up, the evaluation after an epoch, checkpoints."""

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import TorchDynamoPlugin, set_seed
from safetensors.torch import load_file, save_file
from transformers import TrainerState, get_scheduler

from common.batches import LengthBatchSampler
from common.examples import labels_of
from common.files import write_json
from common.folds import Fold
from common.guards.batch_norm import count_rows, share_batch_norm
from common.guards.checkpoints import finish_checkpoint, last_whole_checkpoint
from common.guards.lock import check_held
from common.guards.manifest import link
from common.guards.pickles import load_tensors, refusing_pickles
from common.guards.rows import NO_ROW, FilledRows, nothing_of, share_buffers
from common.metrics import task_metric
from common.progress.lines import shown_metrics
from common.progress.meter import Meter
from common.targets import Classes, SeveralLabels, labels_of_config

from clips import ClipDataset, make_loader, predict_clips
from metrics import Watched
from model import VideoClassifier

# in checkpoints/ and in each checkpoint: those that the fold will have, of the best or the last evaluation
WEIGHTS = "evaluated.safetensors"
STATES = "states.pt"  # in a checkpoint: of optimizer, schedule, averages and fp16's scaler


class Loop:
    """Model, optimizer, schedule and loader of a fold, as its last complete checkpoint in checkpoints/ left them.

    model: of this process; wrapped: what Accelerate made of it. batches: which clips this process takes. step_rows: for
    each batch of an epoch the rows of its optimizer step, over all processes; shares: what backward() and DDP divide a
    gradient by. state: where the fold stands. ema: None where it is off. target: what is learned (common/targets).
    """

    def __init__(self, fold: Fold, make_model: Callable[[], VideoClassifier], train_set: ClipDataset):
        args = fold.training_args
        self.args = args
        self.folder = fold.dir / "checkpoints"
        self.accelerator = Accelerator(
            cpu=args.use_cpu,
            mixed_precision="bf16" if args.bf16 else "fp16" if args.fp16 else "no",
            gradient_accumulation_steps=args.gradient_accumulation_steps,
            dynamo_plugin=TorchDynamoPlugin(backend=args.torch_compile_backend, mode=args.torch_compile_mode),
            log_with=args.report_to or None,
            project_dir=fold.run.dir / "tensorboard" / fold.dir.name,
        )
        set_seed(args.seed)
        self.model = make_model()
        self.target = labels_of_config(self.model.config)
        self.target.fit(labels_of(fold.train_rows))
        if settings := self.target.settings():
            self.model.config.target = settings
        share_batch_norm(self.model)
        optimizer = make_optimizer(self.model, args)
        self.wrapped, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        who = {"rank": self.accelerator.process_index, "world_size": self.accelerator.num_processes}
        accumulation = args.gradient_accumulation_steps
        size = args.per_device_train_batch_size
        self.batches = ClipBatchSampler(len(train_set), size, args.seed, accumulation=accumulation, **who)
        if fold.soft_labels:
            from common.tricks.teacher import SoftRows

            ids = [example.id for example in train_set.examples]
            train_set = SoftRows(train_set, ids, fold.soft_labels, self.model.config.num_labels)
        loader = make_loader(FilledRows(train_set), self.batches, args.dataloader_num_workers)
        # as of one process, because Accelerate would fill up the last batches with rows that then count twice
        self.loader = prepare_data_loader(loader, self.accelerator.device, 1, 0, put_on_device=True)
        steps = np.arange(len(self.batches)) // accumulation
        effective = self.batches.effective
        self.step_rows = np.minimum(effective, len(train_set) - steps * effective).tolist()
        self.steps_per_epoch = int(steps[-1]) + 1
        self.shares = accumulation * self.accelerator.num_processes

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
        self.state = TrainerState(epoch=0.0)
        self.quiet = fold.args.quiet
        if checkpoint := last_whole_checkpoint(self.folder, args):
            self.state = TrainerState.load_from_json(checkpoint / "trainer_state.json")
            with refusing_pickles(checkpoint):
                self.model.load_state_dict(load_file(checkpoint / "model.safetensors"))
            for name, state in load_tensors(checkpoint / STATES).items():
                self.parts()[name].load_state_dict(state)
            if self.accelerator.is_main_process:
                link(checkpoint / WEIGHTS, self.folder / WEIGHTS)
            self.accelerator.wait_for_everyone()
        self.meter = Meter(fold, self.state.epoch)
        # on every process, because predict_clips() gives all rows to each; the folder stays empty
        kind = None if self.target.kind == Classes.kind else self.target.kind
        self.watched = Watched(kind, keep_in_memory=True, cache_dir=str(self.folder / "metric"))
        self.metric = task_metric(fold.args, self.target)
        self.shown = shown_metrics(fold.args, self.target)

    def logits(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(B, C) float32 of a training batch, of streams of key points (S, B, C). labels: NO_ROW for a clip that fills
        a place."""
        count_rows(labels if labels.ndim == 1 else labels[:, 0])
        output = self.wrapped(pixel_values=pixel_values)
        return output.get("stream_logits", output.logits).float()

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The sum over a batch's rows; of streams, which learn as if each were a model, their mean; of several labels
        the mean over these, as eval_loss. targets: (B,), or (B, C) of mixup and of several labels. batch: `soft` where
        there are teachers."""
        if logits.ndim == 3:
            return torch.stack([self.loss(stream, targets, batch) for stream in logits]).mean()
        smoothing = self.args.label_smoothing_factor
        if self.target.kind != Classes.kind:
            if batch["labels"].flatten()[0] == NO_ROW:  # a clip that fills a place
                return nothing_of(logits)
            decisions = len(self.target) if self.target.kind == SeveralLabels.kind else 1
            return self.target.row_losses(logits, targets, None, 0.0, smoothing).sum() / decisions
        if "soft" not in batch or batch["labels"][0] < 0:
            return F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum")
        from common.tricks.teacher import mixed_losses

        hard = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
        return mixed_losses(hard, logits, batch["soft"]).sum()

    def evaluate(self, eval_set: ClipDataset, label_names: list[str], train_loss: float) -> None:
        """Measure the model, averaged where ema_decay is on, after an epoch; log it, and keep its weights where they
        are the best so far, or the best are not asked for."""
        args = self.args
        state = self.state
        share_buffers(self.model)
        batches = args.per_device_eval_batch_size, args.dataloader_num_workers
        with nullcontext() if self.ema is None else self.ema.applied(self.model):
            seen = predict_clips(self.model, eval_set, self.accelerator, self.target, *batches)
            how = {"label_names": label_names, "metric": self.metric}
            scores = self.watched.compute(predictions=seen.logits, references=seen.labels, **how)
            entry = {
                "epoch": state.epoch,
                "step": state.global_step,
                "loss": train_loss,
                "learning_rate": self.scheduler.get_last_lr()[0],
                "eval_loss": scores[self.target.loss],
                **{f"eval_{key}": scores[key] for key in scores},
            }
            watched = entry["eval_" + (args.metric_for_best_model or "loss").removeprefix("eval_")]
            better = state.best_metric is None or (
                watched > state.best_metric if args.greater_is_better else watched < state.best_metric
            )
            if better:
                state.best_metric = watched
                state.best_global_step = state.global_step
            if (better or not args.load_best_model_at_end) and self.accelerator.is_main_process:
                check_held()
                self.folder.mkdir(parents=True, exist_ok=True)
                (self.folder / WEIGHTS).unlink(missing_ok=True)  # the older checkpoints keep theirs
                save_file(self.weights(), self.folder / WEIGHTS)
        state.log_history.append(entry)
        self.accelerator.log(entry, step=state.global_step)
        if self.accelerator.is_main_process:
            shown = ("loss", "eval_loss", *(f"eval_{name}" for name in self.shown))
            self.meter.show(state.epoch, args.num_train_epochs, {key: entry[key] for key in shown})

    def save(self) -> None:
        """Write a checkpoint of tensors and numbers, and drop the oldest above save_total_limit. Random states are not
        among them, because those of an epoch depend on seed and epoch alone."""
        checkpoint = self.folder / f"checkpoint-{self.state.global_step}"
        if self.accelerator.is_main_process:
            check_held()
            checkpoint.mkdir()
            save_file(self.weights(), checkpoint / "model.safetensors")
            torch.save({name: part.state_dict() for name, part in self.parts().items()}, checkpoint / STATES)
            link(self.folder / WEIGHTS, checkpoint / WEIGHTS)
            write_json(checkpoint / "trainer_state.json", dataclasses.asdict(self.state))
            finish_checkpoint(checkpoint, self.args.save_total_limit)
        self.accelerator.wait_for_everyone()

    def parts(self) -> dict[str, Any]:
        """By name what has a state beside the model."""
        parts = {"optimizer": self.optimizer, "scheduler": self.scheduler, "ema": self.ema}
        parts["scaler"] = self.accelerator.scaler  # of fp16
        return {name: part for name, part in parts.items() if part is not None}

    def weights(self) -> dict[str, torch.Tensor]:
        """As safetensors wants them."""
        return {key: value.contiguous() for key, value in self.model.state_dict().items()}

    def finish(self) -> None:
        """Put the weights in that evaluate() kept."""
        with refusing_pickles(self.folder):
            self.model.load_state_dict(load_file(self.folder / WEIGHTS))
        if self.args.report_to:
            self.accelerator.end_training()


class ClipBatchSampler(LengthBatchSampler):
    """Random batches of `rows` clips as LengthBatchSampler shares them out, in the order of torch's RandomSampler."""

    def __init__(self, rows: int, batch_size: int, seed: int, **shared: int):
        super().__init__(np.ones(rows, dtype=np.int64), batch_size, seed, by_length=False, **shared)

    def effective_batches(self) -> list[np.ndarray]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).numpy()
        return [order[i : i + self.effective] for i in range(0, len(order), self.effective)]


def make_optimizer(model: VideoClassifier, args: Any) -> torch.optim.Optimizer:
    """AdamW; biases and norms are not decayed, as in the paper's code."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": args.weight_decay}, {"params": others, "weight_decay": 0.0}]
    betas = (args.adam_beta1, args.adam_beta2)
    return torch.optim.AdamW(groups, lr=args.learning_rate, betas=betas, eps=args.adam_epsilon, fused=True)
