"""Soft labels: a student learns what teachers say of its rows, beside the rows' labels.

Hinton, Vinyals & Dean 2015 "Distilling the Knowledge in a Neural Network", section 2: cross-entropy between the
softmaxes of both models' logits over a temperature T, times T^2 (so that its gradient keeps its size for any T), mixed
with that of the label. Teachers are finished K-fold runs; what they say of a row is its out-of-fold logits, of the
model that did not train on it.

What "the same folds" guarantees, and what not. The student of fold k never trains on a row of fold k, and no soft label
is that of a model that had the row itself. But the model that speaks of a row of fold j has trained on the rows of fold
k: through near copies, a little of their labels reaches the student that is measured on them. So out-of-fold scores of
a student are optimistic against those of its teacher (tests/benchmarks/teacher_leak.py); rows that neither has seen
(eval_file) tell what it is worth. teacher_logits own_fold is free of it: the student of fold k gets what the teacher's
own model of fold k says, which knows these rows from its training, and no row of fold k.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from common.blend.runs import held_out_ids, oof_file, sha256_of_run
from common.console import InputError, print_once
from common.examples import labels_of
from common.folds import Fold, Splits
from common.guards.inputs import data_sha256
from common.guards.spelling import nfc
from common.logits import Logits, average
from common.targets import as_target

SoftLabels = dict[str, np.ndarray]  # id -> (2 + C,) float32: weight, temperature, logits


def check_teachers(args: Any, examples: Sequence, splits: Splits, label_names: Sequence[str]) -> None:
    """Raise InputError for a teacher that is no K-fold run, or whose labels, rows or folds are others than these.

    examples: those of the training file, all in splits. Held-out rows of the student must be exactly those that one
    fold of the teacher held out; where an eval_file is measured instead, no row is held out.
    """
    ids = [nfc(row.id) for row in examples]
    for path in map(Path, args.teacher):
        part = Logits.load(oof_file(path))
        if part.label_names != list(label_names):
            raise InputError(f"teacher {path}: its labels are {part.label_names}, those here are {list(label_names)}")
        known = dict(zip(map(nfc, part.ids.tolist()), part.labels.tolist(), strict=True))
        if missing := [row_id for row_id in ids if row_id not in known]:
            what = f"says nothing of {len(missing)} rows of train_file (first: id {missing[0]})"
            raise InputError(f"teacher {path}: {what}; one that was trained on the same rows was expected")
        wrong = [i for i, label in zip(ids, labels_of(examples), strict=True) if known[i] != label]
        if wrong:
            what = f"{len(wrong)} rows had another label in it (first: id {wrong[0]})"
            raise InputError(f"teacher {path}: {what}; one of the same train_file was expected")
        held = {frozenset(rows) for rows in held_out_ids(path).values()}
        for fold, (_, eval_idx) in enumerate(splits):
            if eval_idx is not None and frozenset(ids[i] for i in eval_idx) not in held:
                why = f"none of its folds held out just the rows that fold {fold} holds out here"
                how = "give the num_folds, fold_seed and max_train_samples of the teacher, or an eval_file"
                raise InputError(f"teacher {path}: {why}, so they would leak; {how}")
        note_other_training(path, args, splits)
        if args.teacher_logits == "own_fold":
            check_own_folds(path, dict(zip(ids, labels_of(examples).tolist(), strict=True)), splits)
    if args.teacher_logits == "own_fold":
        return
    print_once(f"soft labels of {len(args.teacher)} run(s) for {len(ids)} rows; {OPTIMISTIC}")


def check_soft_labels(args: Any, examples: dict[str, Sequence], splits: Splits, label_names: Sequence[str]) -> None:
    """Raise InputError as check_teachers() and check_pseudo() do, as far as they are on; and for a target that is not
    one of several classes a row."""
    if (kind := as_target(label_names).kind) != "classes":
        option = "teacher" if args.teacher else "pseudo_file"
        raise InputError(f"{option}: soft labels and pseudo-labels are of one of several classes a row, not of {kind}")
    if args.teacher:
        check_teachers(args, examples["train"], splits, label_names)
    if "pseudo" in examples:
        from common.tricks.pseudo import check_pseudo

        check_pseudo(args, examples["pseudo"], examples["train"], splits, label_names)


OPTIMISTIC = (
    "the models that gave them had trained on rows that are held out here, so out-of-fold scores are optimistic: "
    "measure on an eval_file"
)


def own_fold_file(path: str | Path, fold: int, num_folds: int) -> Path:
    """Where a run keeps what a fold's model, without folds the average of all, says of its test_file."""
    return Path(path) / (f"fold{fold}/test_logits.npz" if num_folds > 1 else "test_logits.npz")


def note_other_training(run_dir: str | Path, args: Any, splits: Splits) -> None:
    """Say where an eval_file is measured and a run had another train_file: it may have had rows of the eval_file."""
    found = sha256_of_run(run_dir, "train_file") if splits[0][1] is None else None
    if found and found != data_sha256(args.train_file):
        where = "if rows of eval_file were in that, scores on it are optimistic"
        print_once(f"warning: {run_dir}: was trained on another train_file than {args.train_file}; {where}")


def check_own_folds(path: Path, labels: dict[str, int], splits: Splits) -> None:
    """Raise InputError where a teacher's fold k held out other rows than fold k here, or does not speak of a row, or of
    another with its id: the label tells. labels: id -> label, of the training rows in order."""
    ids = list(labels)
    if len(splits) == 1 and splits[0][1] is not None:
        how = "name an --eval_file, or K folds as the teacher's"
        raise InputError(f"teacher {path}: some of its models have seen the tenth that is held back here; {how}")
    held = held_out_ids(path)
    for fold, (_, eval_idx) in enumerate(splits):
        if eval_idx is not None and set(held.get(fold, ())) != {ids[i] for i in eval_idx}:
            raise InputError(f"teacher {path}: its fold {fold} held out other rows than here (teacher_logits own_fold)")
        file = own_fold_file(path, fold, len(splits))
        part = Logits.load(file) if file.is_file() else None
        spoken_of = dict(zip(map(nfc, part.ids.tolist()), part.labels.tolist(), strict=True)) if part else {}
        expected = "a run whose --test_file is the train_file was expected"
        if missing := [row_id for row_id in ids if row_id not in spoken_of]:
            what = f"has no logits of {len(missing)} training rows (first: id {missing[0]})"
            raise InputError(f"teacher {file}: {what}; {expected}")
        if wrong := [row_id for row_id, label in labels.items() if spoken_of[row_id] != label]:
            what = f"{len(wrong)} rows have no label in it or another than in train_file (first: id {wrong[0]})"
            raise InputError(f"teacher {file}: {what}; {expected}")


def teacher_labels(args: Any, fold: int) -> SoftLabels:
    """What the mean logits of all teachers say of every row."""
    files = [oof_file(Path(path)) for path in args.teacher]
    if args.teacher_logits == "own_fold":
        files = [own_fold_file(path, fold, args.num_folds) for path in args.teacher]
    mean = average([Logits.load(file) for file in files])
    head = np.array([args.teacher_weight, args.temperature])
    values = np.column_stack([np.tile(head, (len(mean.ids), 1)), mean.logits]).astype(np.float32)
    return dict(zip(map(nfc, mean.ids.tolist()), values, strict=True))


def with_soft_labels(fold: Fold, rows: dict[str, Any]) -> Fold:
    """The fold with its teachers' soft labels and with its pseudo-labelled rows, as far as these are on."""
    soft = teacher_labels(fold.args, fold.number) if fold.args.teacher else {}
    fold = replace(fold, soft_labels=soft)
    if "pseudo" in rows:
        from common.tricks.pseudo import add_pseudo_rows

        fold = add_pseudo_rows(fold, rows["pseudo"])
    return fold


def mixed_losses(hard: Tensor, logits: Tensor, soft: Tensor) -> Tensor:
    """(B,) float32: each row's loss with its soft label weighed in.

    hard: (B,) losses of the labels. logits: (B, C). soft: (B, 2 + C) weight w, temperature T (above 0), teacher's
    logits v: (1 - w) hard + w T^2 H(softmax(v / T), softmax(logits / T)).
    """
    weight, temperature = soft[:, 0], soft[:, 1:2]
    targets = (soft[:, 2:] / temperature).softmax(dim=1)
    cross_entropy = -(targets * F.log_softmax(logits.float() / temperature, dim=1)).sum(dim=1)
    return (1 - weight) * hard + weight * temperature[:, 0] ** 2 * cross_entropy


def soft_rows(ids: Sequence[str], soft_labels: SoftLabels, num_labels: int) -> Tensor:
    """(B, 2 + C) of these rows; weight 0 for one without a soft label."""
    nothing = np.concatenate([[0, 1], np.zeros(num_labels)]).astype(np.float32)
    return torch.from_numpy(np.stack([soft_labels.get(nfc(row_id), nothing) for row_id in ids]))


class SoftCollator:
    """A collator's batches with `soft`, (B, 2 + C), of the rows' ids."""

    def __init__(self, collate: Callable, soft_labels: SoftLabels, num_labels: int):
        self.collate = collate
        self.soft_labels = soft_labels
        self.num_labels = num_labels

    def __call__(self, rows: list[dict]) -> dict[str, Tensor]:
        soft = soft_rows([row["id"] for row in rows], self.soft_labels, self.num_labels)
        return {**self.collate(rows), "soft": soft}


class SoftRows(Dataset):
    """A data set whose rows have `soft`, (2 + C,), too; ids: those of its rows, in order."""

    def __init__(self, rows: Dataset, ids: Sequence[str], soft_labels: SoftLabels, num_labels: int):
        self.rows = rows
        self.soft = soft_rows(ids, soft_labels, num_labels)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict:
        return {**self.rows[number], "soft": self.soft[number]}


def taught(trainer_class: type, soft_labels: SoftLabels) -> type:
    """A FoldTrainer class whose rows have soft labels in training; evaluations and predictions are as they were."""

    class Taught(trainer_class):
        soft: Tensor

        def get_train_dataloader(self) -> Any:
            loader = super().get_train_dataloader()
            loader.collate_fn = SoftCollator(loader.collate_fn, soft_labels, len(self.class_names))
            return loader

        def compute_loss(self, model: torch.nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> Any:
            inputs = dict(inputs)  # because an adversarial attack's second pass is given the same one
            self.soft = inputs.pop("soft", None)  # None: rows that are evaluated
            return super().compute_loss(model, inputs, *args, **kwargs)

        def row_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
            passes = len(labels) // len(self.soft)  # 2 with R-Drop
            return mixed_losses(super().row_losses(logits, labels), logits, self.soft.repeat(passes, 1))

    Taught.__name__ = f"Taught{trainer_class.__name__}"
    return Taught
