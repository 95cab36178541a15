"""Pseudo-labels: rows without labels join training with what an earlier run predicts for them (Lee 2013
"Pseudo-Label", ICML workshop).

They never are held out, and no model speaks of rows that it is measured on: with K folds, fold k gets the labels that
the run's own fold k gives, whose model has not seen the rows that fold k holds out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from common.blend.runs import held_out_ids, note_other_file
from common.console import InputError, print_once
from common.examples import TextExample, check_examples
from common.files import read_json, write_json
from common.folds import Fold, Splits
from common.guards.inputs import data_sha256
from common.guards.spelling import nfc
from common.logits import Logits
from common.tricks.teacher import note_other_training, own_fold_file

datasets.disable_progress_bars()  # of casting, which takes no time
PREFIX = "pseudo "  # of ids, because files of one competition number their rows alike
RECORD = "pseudo.json"  # in a fold's folder


def read_pseudo(args: Any, read: Callable[[str], Sequence], train: Sequence) -> list[TextExample]:
    """The rows of pseudo_file but copies of training texts, without labels; says how many are left out.

    Raises InputError as `read` and check_examples() do, and where no row is left.
    """
    rows = read(args.pseudo_file)
    check_examples(rows, args.pseudo_file)
    known = {text_of(row) for row in train}
    new = [replace(row, id=f"{PREFIX}{row.id}", label=-1) for row in rows if text_of(row) not in known]
    print_once(f"{args.pseudo_file}: {len(rows) - len(new)} of {len(rows)} rows are copies of training rows, left out")
    if not new:
        raise InputError(f"{args.pseudo_file}: all {len(rows)} rows are copies of training rows; none is left")
    return new


def text_of(row: TextExample) -> str:
    """What makes a row a copy: its own text, of a pair both, in lower case and without white space."""
    return "\n".join("".join(segment.lower().split()) for segment in row.own)


def check_pseudo(args: Any, rows: Sequence, train: Sequence, splits: Splits, label_names: Sequence[str]) -> None:
    """Raise InputError for a pseudo_run that is no run, has other labels or folds, or predicts nothing for a row."""
    run_dir = Path(args.pseudo_run)
    if len(splits) > 1:
        held = held_out_ids(run_dir)
        for fold, (_, eval_idx) in enumerate(splits):
            if set(held.get(fold, ())) != {nfc(train[int(i)].id) for i in eval_idx}:
                how = "give the run's num_folds, fold_seed and max_train_samples"
                raise InputError(f"pseudo_run {run_dir}: its fold {fold} held out other rows than here; {how}")
    elif splits[0][1] is not None:
        how = "name an --eval_file, or K folds as the run's"
        raise InputError(f"pseudo_run {run_dir}: its models have seen the tenth that is held back here; {how}")
    note_other_training(run_dir, args, splits)
    note_other_file(run_dir, "test_file", data_sha256(args.pseudo_file), args.pseudo_file)
    for fold in range(len(splits)):
        logits = predictions(args, fold, len(splits))
        if logits.label_names != list(label_names):
            raise InputError(f"pseudo_run {run_dir}: its labels are {logits.label_names}, expected {list(label_names)}")
        known = set(map(nfc, logits.ids.tolist()))
        if missing := [row.id for row in rows if nfc(row.id.removeprefix(PREFIX)) not in known]:
            first = missing[0].removeprefix(PREFIX)
            what = f"has no test logits for {len(missing)} rows of {args.pseudo_file} (first: id {first})"
            raise InputError(f"pseudo_run {run_dir}: {what}; start that run with --test_file {args.pseudo_file}")


def predictions(args: Any, fold: int, num_folds: int) -> Logits:
    """The run's test logits: of its fold, or where this run has no folds the average over all."""
    path = own_fold_file(args.pseudo_run, fold, num_folds)
    if not path.is_file():
        raise InputError(f"pseudo_run {path}: no such file; a run with --test_file {args.pseudo_file} was expected")
    return Logits.load(path)


@dataclass
class Chosen:
    """Which of N rows join a fold, (M,) numbers, with their labels (M,) and logits (M, C)."""

    rows: np.ndarray
    labels: np.ndarray
    logits: np.ndarray


def choose(args: Any, ids: Sequence[str], logits: Logits) -> Chosen:
    """The rows whose likeliest label has a probability of pseudo_min_probability or more."""
    place = {nfc(row_id): number for number, row_id in enumerate(logits.ids.tolist())}
    order = np.array([place[nfc(row_id.removeprefix(PREFIX))] for row_id in ids])
    probabilities = logits.probabilities()[order]
    rows = np.flatnonzero(probabilities.max(axis=1) >= args.pseudo_min_probability)
    return Chosen(rows, probabilities[rows].argmax(axis=1), logits.logits[order][rows])


def add_pseudo_rows(fold: Fold, pseudo: datasets.Dataset) -> Fold:
    """The fold with its pseudo-labelled rows after the others; counts go into fold.dir. With pseudo_soft the rows have
    soft labels of weight 1 and temperature 1."""
    args = fold.args
    ids = pseudo["id"]
    logits = predictions(args, fold.number, args.num_folds)
    chosen = choose(args, list(ids), logits)
    counts = np.bincount(chosen.labels, minlength=len(logits.label_names)).tolist()
    if fold.run.state.is_main_process:
        write_json(fold.dir / RECORD, {"rows": len(ids), "counts": dict(zip(logits.label_names, counts, strict=True))})
    if not len(chosen.rows):
        least = f"pseudo_min_probability {args.pseudo_min_probability:g}"
        print_once(
            f"warning: fold {fold.number}: none of {len(ids)} rows of pseudo_file reaches {least}; none joins it"
        )
        return fold
    added = pseudo.select(chosen.rows).remove_columns("labels").add_column("labels", chosen.labels)
    added = added.cast(fold.train_rows.features).select_columns(fold.train_rows.column_names)
    soft = dict(fold.soft_labels)
    if args.pseudo_soft:
        values = np.column_stack([np.ones((len(chosen.rows), 2)), chosen.logits]).astype(np.float32)
        soft |= zip(map(nfc, added["id"]), values, strict=True)
    return replace(fold, train_rows=datasets.concatenate_datasets([fold.train_rows, added]), soft_labels=soft)


def count_notes(run_dir: Path) -> list[str]:
    """A line per fold for the report: how many pseudo-labelled rows joined it, by class."""
    lines = []
    for path in sorted(run_dir.glob(f"fold*/{RECORD}")):
        record = read_json(path)
        named = ", ".join(f"{name} {count}" for name, count in record["counts"].items())
        total = sum(record["counts"].values())
        lines.append(f"{path.parent.name}: {total} of {record['rows']} pseudo-labelled rows were trained on: {named}")
    return lines
