"""Training in stages: each on a part of the data, from the weights of the last, measured on the same rows and on all
parts so far."""

import copy
import dataclasses
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
from transformers import PretrainedConfig, PreTrainedModel, TrainingArguments

from common.batches import read_column
from common.console import InputError, print_once
from common.examples import labels_of
from common.folds import Fold, Splits, split_folds
from common.guards.first_pass import check_pixels
from common.guards.manifest import fold_problem, read_sealed, write_sealed
from common.guards.seen import note_seen
from common.inference import predict_logits
from common.metrics import compute_metrics
from common.options.checks import check_optimizer
from common.options.parser import coerce_to
from common.report.run_files import words
from common.run import Run
from common.training import train_fold

from face_trainer import FaceTrainer
from images import FaceCollator

if TYPE_CHECKING:
    from data import Faces

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


def check_stages(
    run: Run, stages: Sequence[Stage], splits: Splits, faces: "Faces", make_model: Callable[[str, int], PreTrainedModel]
) -> PretrainedConfig:
    """Try every part and every start of each fold, and say which held-out rows a start has seen; the model's config.

    faces: those of train_file. make_model: start (imagenet, scratch, a folder), number of the fold -> model. Raises
    InputError for parts that are too many and for weights that cannot be had.
    """
    labels = labels_of(faces)
    starts = list(dict.fromkeys(stage.start for stage in stages if stage.start))
    for fold, (train_idx, _) in enumerate(splits):
        for stage in stages:
            part_rows(stage.part, labels[train_idx], faces.groups[train_idx], run.args.fold_seed)
        for start in starts:
            is_run = start not in ("imagenet", "scratch")  # which are the same for all folds
            if fold == 0 or is_run:
                model = make_model(start, fold)
                config = check_pixels(model, 2, *model.config.pretrained_cfg["input_size"]).config
    for start in starts:
        if start != "scratch":
            note_seen(run, run.args.model_name_or_path if start == "imagenet" else start, splits, faces)
    return config


def train_stages(
    fold: Fold,
    stages: Sequence[Stage],
    make_model: Callable[[str, int], PreTrainedModel],
    groups: np.ndarray,
    collate: FaceCollator,
) -> tuple[FaceTrainer, dict[str, Any]]:
    """Train one fold through all stages, or go on where it stopped: what common.training.train_fold() returns for the
    last.

    make_model: as in check_stages(). groups: (N,) of fold.train_rows. collate: of rows that are measured. The log
    history is that of all stages, epochs counted on; `stages` says of each its name, where it ends, and the accuracy
    after it on the rows that are evaluated and on all parts so far. Stages but the last leave fold.dir/stages/<n>/, a
    model's folder with stage.json.
    """
    labels = read_column(fold.train_rows, "labels")
    history = []
    records = []
    epochs = 0.0
    before = None  # folder of the stage before
    measured = {"eval": fold.eval_rows}  # and by name each part so far
    for number, stage in enumerate(stages, start=1):
        is_last = number == len(stages)
        rows = part_rows(stage.part, labels, groups, fold.args.fold_seed)
        measured.setdefault(stage.name, fold.train_rows.select(rows[:EARLIER_ROWS]))
        folder = fold.dir if is_last else fold.dir / "stages" / str(number)
        if not is_last and fold.run.broadcast(lambda folder=folder: is_whole(folder)):
            record = read_sealed(folder / "stage.json")
        else:
            training_args = copy.copy(stage.training_args)
            training_args.seed = fold.training_args.seed
            part = fold.train_rows.select(rows)
            of_stage = dataclasses.replace(fold, dir=folder, training_args=training_args, train_rows=part)
            start = stage.start or str(before)
            trainer, info = train_fold(
                of_stage, lambda start=start: make_model(start, fold.number), collate, FaceTrainer
            )
            record = {"name": stage.name, "log_history": info["log_history"], **trainer.speed()}
            if len(stages) > 1:
                record["accuracy"] = {name: score(trainer, some) for name, some in measured.items()}
            if not is_last:
                save_stage(trainer, folder, record)
        entries = [{**entry, "epoch": entry["epoch"] + epochs} for entry in record["log_history"]]
        history += entries
        epochs = max([entry["epoch"] for entry in entries], default=epochs)
        if not is_last:
            history.append({"epoch": epochs, "stage_end": number})
        records.append({key: value for key, value in record.items() if key != "log_history"} | {"epoch": epochs})
        before = folder
    return trainer, {**info, "log_history": history, "stages": records}


def is_whole(folder: Path) -> bool:
    """Whether a stage is done and its files are as it left them; damage is printed."""
    if not (folder / "stage.json").exists():
        return False
    if problem := fold_problem(folder, "stage.json"):
        print_once(f"{problem}; the stage is trained again")
    return problem is None


def save_stage(trainer: FaceTrainer, folder: Path, record: dict[str, Any]) -> None:
    """The model of a stage that is not the last, then stage.json: with it the stage is done."""
    if trainer.args.should_save:
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(folder)
        write_sealed(folder / "stage.json", record)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    trainer.accelerator.wait_for_everyone()


def score(trainer: FaceTrainer, rows: datasets.Dataset) -> float:
    """The metric of the target: of classes the share of rows whose label has the largest logit."""
    batch_size = trainer.args.per_device_eval_batch_size
    shared = trainer.data_collator, trainer.accelerator, trainer.class_names, batch_size
    logits = predict_logits(trainer.model, rows, *shared)
    return compute_metrics(logits.logits, logits.labels, trainer.class_names)[trainer.class_names.metric]


def note_stages(run: Run) -> None:
    """Lines for the report, from the finished folds: speed, waiting, and what each stage keeps of the earlier parts."""
    for fold in range(run.args.num_folds):
        logits, info = run.load_fold(fold)
        metric = words(next(iter(logits.values())).label_names.metric)
        stages = info["stages"]
        for number, stage in enumerate(stages, start=1):
            line = f"fold {fold}, stage {number} ({stage['name']})" if len(stages) > 1 else f"fold {fold}"
            if stage["images_per_second"] is not None:
                waiting = f"{stage['wait_share']:.1%} of the time waiting for data"
                line += f": {stage['images_per_second']:.0f} images/s, {waiting}"
            if "accuracy" in stage:
                cells = [f"{name} {value:.4f}" for name, value in stage["accuracy"].items()]
                line += f"; {metric} after it: {', '.join(cells)}"
            run.notes.append(line)
