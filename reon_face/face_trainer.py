"""The trainer of images: their batches, mixup and CutMix, and how long it waits for them."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import TrainingArguments

from common.folds import Fold
from common.guards.batch_norm import count_rows
from common.training import FoldTrainer

from images import FaceBatchSampler, FaceCollator


class FaceTrainer(FoldTrainer):
    """Batches of images, mixup and CutMix, and how long the processor or the disk kept the model waiting."""

    # seconds since this start, evaluations not included
    waited = worked = 0.0
    rows_seen = 0
    kept = 1.0  # share of each image in a mixed one, the rest is its neighbour's

    @classmethod
    def prepare(cls, make_model: Callable, fold: Fold, collate: Callable, training_args: TrainingArguments) -> None:
        if training_args.device.type == "cpu":
            from common.tricks.heap import keep_freed_memory

            keep_freed_memory()  # because all batches have the same size

    def make_batches(self, **shared: int) -> FaceBatchSampler:
        args = self.args
        return FaceBatchSampler(self.train_dataset, args.train_batch_size, args.seed, self.task.shuffle_rows, **shared)

    def get_train_dataloader(self) -> DataLoader:
        loader = super().get_train_dataloader()
        loader.collate_fn = FaceCollator(self.model.config, self.task)
        loader.generator = None  # because its workers would draw the same numbers for the transforms in each start
        return loader

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> tuple:
        began = time.perf_counter()
        batches, rows = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.waited += time.perf_counter() - began
        self.rows_seen += rows  # of all processes
        return batches, rows

    def training_step(self, model: torch.nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> torch.Tensor:
        began = time.perf_counter()
        loss = super().training_step(model, inputs, *args, **kwargs)
        self.worked += time.perf_counter() - began
        return loss

    def speed(self) -> dict[str, float | None]:
        """Of this start; None where nothing was left to be trained."""
        spent = self.waited + self.worked
        return {
            "images_per_second": float(self.rows_seen) / spent if spent else None,
            "wait_share": self.waited / spent if spent else None,
        }

    def compute_loss(self, model: torch.nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        self.kept = 1.0
        count_rows(inputs["labels"], len(inputs["pixel_values"]))
        alphas = self.task.mixup_alpha, self.task.cutmix_alpha
        if model.training and max(alphas) > 0:
            from mixing import mix

            pixel_values, self.kept = mix(inputs["pixel_values"], *alphas)
            inputs = {**inputs, "pixel_values": pixel_values}
        return super().compute_loss(model, inputs, *args, **kwargs)

    def total_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return super().total_loss(logits[: len(labels)], labels)  # because FaceCollator shows a single row twice

    def row_losses(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        losses = super().row_losses(logits, labels)
        if self.kept < 1:
            losses = self.kept * losses + (1 - self.kept) * super().row_losses(logits, labels.roll(1))
        return losses
