"""Training in stages: each on a part of the data, from the weights of the last, measured on the same rows and on all
parts so far."""

import copy
import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, TrainingArguments

from common.batches import read_column
from common.console import InputError
from common.files import read_json, write_json
from common.folds import split_folds
from common.inference import predict_logits
from common.logits import Logits
from common.metrics import compute_metrics
from common.options.args import coerce_to
from common.options.checks import check_optimizer
from common.training import FoldTrainer, train_fold

from images import FaceBatchSampler, FaceCollator

# what a stage may set, as TrainingArguments has it
OWN = (
    "per_device_train_batch_size",
    "num_train_epochs",
    "learning_rate",
    "optim",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
)
EARLIER_ROWS = 2000  # of an earlier part are measured after each stage


@dataclass
class Stage:
    """part: (number from 0, of how many), all rows: (0, 1). start: imagenet, scratch, a run's folder, or None: the
    stage before."""

    part: tuple[int, int]
    start: str | None
    training_args: TrainingArguments

    @property
    def name(self) -> str:
        return f"part {self.part[0] + 1}/{self.part[1]}" if self.part[1] > 1 else "all"


def parse_stages(stages: Sequence[str | dict] | None, start: str, training_args: TrainingArguments) -> list[Stage]:
    """The stages of a run, one where none are named. Raises InputError."""
    if not stages:
        return [Stage((0, 1), start, training_args)]
    parsed = []
    for number, raw in enumerate(stages, start=1):
        where = f"stages, stage {number}"
        if isinstance(raw, str):
            fields = [pair.partition("=") for pair in raw.split()]
            raw = {key: value for key, _, value in fields}
        values = {key: str(value) for key, value in raw.items()}
        if unknown := sorted(set(values) - {"part", "start", "momentum", *OWN}):
            raise InputError(f"{where}: {unknown[0]} is not one of part, start, momentum, {', '.join(OWN)}")
        stage_args = copy.copy(training_args)
        for key in set(values) & set(OWN):
            setattr(stage_args, key, coerce_to(TrainingArguments, key, values[key], f"{where}, {key}"))
        if "momentum" in values:
            stage_args.optim_args = f"momentum={values['momentum']}"
        try:
            stage_args = dataclasses.replace(stage_args)  # its own checks
            float(values.get("momentum", 0))
        except (ValueError, TypeError) as error:
            raise InputError(f"{where}: {' '.join(str(error).split())}") from error
        if not (
            stage_args.learning_rate > 0
            and stage_args.num_train_epochs > 0
            and stage_args.per_device_train_batch_size > 0
        ):
            raise InputError(
                f"{where}: learning_rate, num_train_epochs and per_device_train_batch_size must be above 0"
            )
        check_optimizer(stage_args)
        part = parse_part(values.get("part", "all"), where)
        parsed.append(Stage(part, values.get("start", start if number == 1 else None), stage_args))
    return parsed


def parse_part(text: str, where: str) -> tuple[int, int]:
    """(0, 4) of `1/4`, (0, 1) of `all`. Raises InputError."""
    if text == "all":
        return 0, 1
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise InputError(f"{where}: part {text!r} is neither all nor one of several, as 1/4")
    return int(number) - 1, int(of)


def part_rows(part: tuple[int, int], labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Row numbers of a part: whole groups, all labels alike. The parts of one size are disjoint. Raises InputError for
    too many parts."""
    if part[1] == 1:
        return np.arange(len(labels))
    try:
        return split_folds(labels, groups, part[1], seed)[part[0]][1]
    except InputError as error:
        raise InputError(f"stages: the rows cannot be split into {part[1]} parts ({error})") from error


class FaceTrainer(FoldTrainer):
    """Batches of images, mixup, and how long the processor or the disk kept the model waiting."""

    # seconds since this start, evaluations not included
    waited = worked = 0.0
    rows_seen = 0
    kept = 1.0  # share of each image in a mixed one, the rest is its neighbour's

    def get_train_dataloader(self) -> DataLoader:
        a = self.args
        shared = {"accumulation": a.gradient_accumulation_steps, "rank": a.process_index, "world_size": a.world_size}
        self.batches = FaceBatchSampler(
            self.train_dataset, a.train_batch_size, a.seed, self.task.shuffle_rows, **shared
        )
        return DataLoader(
            self.train_dataset,
            batch_sampler=self.batches,
            collate_fn=FaceCollator(self.model.config, self.task),
            num_workers=a.dataloader_num_workers,
            pin_memory=a.dataloader_pin_memory and not a.use_cpu,
            # no generator of its own, or transforms would draw the same numbers in each start
        )

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> tuple:
        began = time.perf_counter()
        batches = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.waited += time.perf_counter() - began
        return batches

    def training_step(self, model: torch.nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> torch.Tensor:
        began = time.perf_counter()
        self.rows_seen += len(inputs["labels"])
        loss = super().training_step(model, inputs, *args, **kwargs)
        self.worked += time.perf_counter() - began
        return loss

    def compute_loss(self, model: torch.nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        self.kept = 1.0
        if self.task.mixup_alpha > 0 and model.training:
            # Zhang et al. 2018; torch's generator, whose state a checkpoint holds
            alpha = torch.tensor(self.task.mixup_alpha)
            self.kept = float(torch.distributions.Beta(alpha, alpha).sample())
            pixels = inputs["pixel_values"]
            inputs = {**inputs, "pixel_values": self.kept * pixels + (1 - self.kept) * pixels.roll(1, dims=0)}
        return super().compute_loss(model, inputs, *args, **kwargs)

    def row_losses(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        losses = super().row_losses(logits, labels)
        if self.kept < 1:
            losses = self.kept * losses + (1 - self.kept) * super().row_losses(logits, labels.roll(1))
        return losses


def train_stages(
    stages: Sequence[Stage],
    make_model: Callable[[str], PreTrainedModel],
    train_rows: datasets.Dataset,
    groups: np.ndarray,
    eval_rows: datasets.Dataset,
    collate: FaceCollator,
    args: Any,
    seed: int,
    fold_dir: Path,
    label_names: list[str],
) -> tuple[FoldTrainer, dict[str, Any]]:
    """Train one fold through all stages, or go on where it stopped: what common.training.train_fold() returns for the
    last.

    make_model: start (imagenet, scratch, a folder) -> model. groups: (N,) of train_rows. collate: of rows that are
    measured. The log history is that of all stages, epochs counted on; `stages` says of each its name, where it ends,
    and the accuracy after it on eval_rows and on all parts so far. Stages but the last leave fold_dir/stages/<n>/, a
    model's folder with stage.json.
    """
    labels = read_column(train_rows, "labels")
    history = []
    records = []
    epochs = 0.0
    before = None  # folder of the stage before
    measured = {}  # name of a part -> rows
    for number, stage in enumerate(stages, start=1):
        rows = part_rows(stage.part, labels, groups, args.fold_seed)
        measured.setdefault(stage.name, train_rows.select(rows[:EARLIER_ROWS]))
        folder = fold_dir / "stages" / str(number) if number < len(stages) else fold_dir
        if number < len(stages) and (folder / "stage.json").exists():
            record = read_json(folder / "stage.json")
        else:
            start = stage.start or str(before)
            stage.training_args.seed = seed
            trainer, info = train_fold(
                lambda start=start: make_model(start),
                train_rows.select(rows),
                eval_rows,
                collate,
                args,
                stage.training_args,
                folder,
                label_names,
                FaceTrainer,
            )
            spent = trainer.waited + trainer.worked
            record = {
                "name": stage.name,
                "log_history": info["log_history"],
                "images_per_second": trainer.rows_seen / spent if spent else None,
                "wait_share": trainer.waited / spent if spent else None,
            }
            if len(stages) > 1:
                parts = {"eval": eval_rows, **measured}
                record["accuracy"] = {
                    name: accuracy(trainer, part, label_names, stage.training_args.per_device_eval_batch_size)
                    for name, part in parts.items()
                }
            if number < len(stages):
                if trainer.args.should_save:
                    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(folder)
                    write_json(folder / "stage.json", record)
                    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
                trainer.accelerator.wait_for_everyone()
        entries = [{**entry, "epoch": entry["epoch"] + epochs} for entry in record["log_history"]]
        history += entries
        epochs = max([entry["epoch"] for entry in entries], default=epochs)
        if number < len(stages):
            history.append({"epoch": epochs, "stage_end": number})
        records.append({key: value for key, value in record.items() if key != "log_history"} | {"epoch": epochs})
        before = folder
    return trainer, {**info, "log_history": history, "stages": records}


def seen_before(run_dir: str | Path, fold: int, ids: Sequence[str]) -> int:
    """How many of these rows a fold's model of a K-fold run was trained on: the held-out rows of the run's other folds
    are known."""
    parts = {
        path.parent.name: set(Logits.load(path).ids.tolist())
        for path in Path(run_dir).glob("fold*/held_out_logits.npz")
    }
    own = parts.pop(f"fold{fold}", set())
    return len(set(ids) & set().union(*parts.values()) - own)


def accuracy(trainer: FoldTrainer, rows: datasets.Dataset, label_names: list[str], batch_size: int) -> float:
    logits = predict_logits(trainer.model, rows, trainer.data_collator, trainer.accelerator, label_names, batch_size)
    return compute_metrics(logits.logits, logits.labels, label_names)["accuracy"]


def stage_notes(fold: int, stages: Sequence[dict]) -> list[str]:
    """Lines for the report: speed, waiting, and what each stage keeps of the earlier parts."""
    lines = []
    for number, stage in enumerate(stages, start=1):
        line = f"fold {fold}, stage {number} ({stage['name']})" if len(stages) > 1 else f"fold {fold}"
        if stage["images_per_second"] is not None:
            line += (
                f": {stage['images_per_second']:.0f} images/s, {stage['wait_share']:.1%} of the time waiting for data"
            )
        if "accuracy" in stage:
            line += "; accuracy after it: " + ", ".join(
                f"{name} {value:.4f}" for name, value in stage["accuracy"].items()
            )
        lines.append(line)
    return lines
