"""Splits for cross-validation, and the folds that a run still has to train.

Folds are stratified by label, and rows of one group (dialogue, sentence, subject, video) are never on both sides.
"""

import copy
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from common.batches import read_column
from common.console import InputError, print_once
from common.examples import groups_of, labels_of
from common.guards.seen import note_copies, note_seen
from common.metrics import task_metric
from common.options.fields import ImbalanceArguments, TeacherArguments, TextArguments
from common.targets import as_target
from common.targets.folds import deal_out, split_several

if TYPE_CHECKING:
    from common.run import Run

HOLDOUT_SHARE = 10  # one part in ten is held back where there is neither an eval_file nor K-fold
Splits = list[tuple[np.ndarray, np.ndarray | None]]  # (train_idx, eval_idx) of each fold; None: eval_file is evaluated


@dataclass
class Fold:
    """What train_fold(), predict_fold() and save_fold() need of one fold.

    training_args: with the fold's own seed. train_idx: row numbers of the training file, resampled; train_rows: these
    rows. to_predict: the rows that the model has not seen, by name: "held_out" of the training file, "eval", "test".
    soft_labels: what teachers say of rows, by id (common/tricks/teacher.py).
    """

    run: "Run"
    number: int
    dir: Path
    args: Any
    training_args: Any
    train_idx: np.ndarray
    train_rows: Any
    eval_rows: Any
    to_predict: dict[str, Any]
    soft_labels: dict[str, np.ndarray] = field(default_factory=dict)


def folds_to_train(run: "Run", splits: Splits, rows: dict[str, Any]) -> Iterator[Fold]:
    """The folds that are still to be trained, here (--fold_workers), each with rows resampled and seed + its number.

    rows: by "train", "eval" and "test", data sets or lists.
    """
    args = run.args
    parts = {name: rows[name] for name in ("eval", "test") if name in rows}
    left = [n for n in range(len(splits)) if args.fold in (None, n) and not run.is_done(n)]
    if isinstance(args, TextArguments):  # images and clips have more ways to begin
        note_seen(run, args.model_name_or_path, splits, rows["train"])
    if len(splits) > 1 and args.fold_workers != "1":
        from common.workers.folds import numbers_beside

        left = numbers_beside(run, splits, rows, left)
    for number in left:
        train_idx, eval_idx = splits[number]
        if isinstance(args, ImbalanceArguments) and (args.oversample_ratio or args.undersample_ratio):
            from common.tricks.sampling import resample

            labels = read_column(rows["train"], "labels")[train_idx]
            train_idx = train_idx[resample(labels, args.oversample_ratio, args.undersample_ratio, args.fold_seed)]
        training_args = copy.copy(run.training_args)
        training_args.seed += number
        train_rows = select(rows["train"], train_idx)
        eval_rows = rows["eval"] if eval_idx is None else select(rows["train"], eval_idx)
        to_predict = parts if eval_idx is None else {**parts, "held_out": eval_rows}
        folder = run.fold_dir(number)
        fold = Fold(run, number, folder, args, training_args, train_idx, train_rows, eval_rows, to_predict)
        if isinstance(args, TeacherArguments) and (args.teacher or "pseudo" in rows):
            from common.tricks.teacher import with_soft_labels

            fold = with_soft_labels(fold, rows)
        yield fold


def select(rows: Any, idx: np.ndarray) -> Any:
    """Rows by number, of a data set or a list."""
    return [rows[i] for i in idx] if isinstance(rows, list) else rows.select(idx)


def make_splits(examples: dict[str, Sequence], label_names: Sequence[str], args: Any) -> Splits:
    """K folds; or all rows and None where there is an eval file; or with a tenth of the rows held back.

    examples: rows by "train" and "eval", with a label each, the number of one of label_names, and a group. args: a
    script's, with num_folds and fold_seed. Says which classes some folds will lack. Raises InputError as split_folds()
    and hold_out() do.
    """
    target = as_target(label_names)
    task_metric(args, target)  # which may want two classes
    labels = labels_of(examples["train"])
    groups = groups_of(examples["train"])
    if args.num_folds == 1:
        all_rows = np.arange(len(labels)), None
        splits = [all_rows if "eval" in examples else hold_out(target.strata(labels), groups, args.fold_seed)]
    else:
        splits = split_folds(target.strata(labels), groups, args.num_folds, args.fold_seed)
    if args.num_folds > 1 and target.kind in ("classes", "ordered"):
        rare = [label_names[c] for c in np.unique(labels) if len(np.unique(groups[labels == c])) < args.num_folds]
        if rare:
            names = ", ".join(rare)
            print_once(f"{len(rare)} labels occur in fewer than {args.num_folds} groups, some folds lack them: {names}")
    note_copies(examples)
    if isinstance(args, TeacherArguments) and (args.teacher or "pseudo" in examples):
        from common.tricks.teacher import check_soft_labels

        check_soft_labels(args, examples, splits, label_names)
    return splits


def split_folds(
    labels: np.ndarray, groups: np.ndarray, num_folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """[(train_idx, eval_idx)] of K folds, both ascending; every row is in exactly one eval_idx.

    labels: (N,) int, or (N, C) of several labels. groups: (N,) of any type that numpy can compare.
    Raises InputError when K is larger than the number of groups.
    """
    if labels.ndim == 2:
        return split_several(labels, groups, num_folds, seed)
    num_groups = len(np.unique(groups))
    if num_folds > num_groups:
        what = f"the number of groups ({num_groups}) that may not be split"
        raise InputError(f"num_folds: {num_folds} is larger than {what}")
    most = int(np.unique(labels, return_counts=True)[1].max())
    if num_folds > most:
        what = f"the {most} rows of the most frequent class in train_file"
        raise InputError(f"num_folds: {num_folds} is larger than {what}")
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    shared = np.flatnonzero(sizes[group_of] > 1)
    fold_of = np.full(len(labels), -1)
    if np.count_nonzero(sizes > 1) < num_folds or np.bincount(labels[shared]).max() < num_folds:  # too few to stratify
        fold_of[shared] = np.unique(group_of[shared], return_inverse=True)[1] % num_folds
    else:
        splitter = StratifiedGroupKFold(n_splits=num_folds, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            # because make_splits() names them
            warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
            for fold, (_, held) in enumerate(splitter.split(shared, labels[shared], group_of[shared])):
                fold_of[shared[held]] = fold
    deal_out(fold_of, labels, num_folds, seed)
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(num_folds)]


def hold_out(labels: np.ndarray, groups: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(train_idx, eval_idx), about a tenth of the rows, in whole groups. Raises InputError for a single group."""
    most = int(np.unique(labels, axis=0, return_counts=True)[1].max())
    parts = min(HOLDOUT_SHARE, len(np.unique(groups)), HOLDOUT_SHARE if labels.ndim == 2 else most)
    if parts < 2:
        reason = "all rows belong to one group, or no class has two rows"
        raise InputError(f"train_file: {reason}, so none can be held back for evaluation; name an --eval_file")
    return min(split_folds(labels, groups, parts, seed), key=lambda s: max(1, abs(len(s[1]) * parts / len(labels) - 1)))
