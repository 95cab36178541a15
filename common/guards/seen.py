"""Rows that are measured and are not new: a run's weights were trained on them, or a training row reads the same. Their
scores are optimistic, which is said."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.console import print_once
from common.examples import TextExample
from common.logits import Logits
from common.run import read_config
from common.tables.columns import same_text

if TYPE_CHECKING:
    from common.folds import Splits
    from common.run import Run


def note_seen(run: "Run", source: str | None, splits: "Splits", examples: Sequence[Any]) -> None:
    """A warning for each fold whose held-out rows the weights have seen. source: a run, of which fold k begins with
    fold k, one of its folds, or a file in that; anything else is a model that says nothing of rows. examples: those of
    the training file, or a data set of them."""
    fold_dir = None if source is None else fold_of(Path(source))
    if source is None or fold_dir is None and not any(Path(source).glob("fold*/fold.json")):
        return
    run_dir = Path(source) if fold_dir is None else fold_dir.parent
    held = {path.parent.name: set(Logits.load(path).ids.tolist()) for path in run_dir.glob("fold*/held_out_logits.npz")}
    for fold, (_, eval_idx) in enumerate(splits):
        if eval_idx is None:
            continue
        rows = [examples[int(i)] for i in eval_idx]
        ids = {row["id"] if isinstance(row, dict) else row.id for row in rows}
        if seen := len(ids & trained_on(fold_dir or run_dir / f"fold{fold}", held, ids, run.config)):
            share = f"{seen} of its {len(ids)} held-out rows"
            run.note(f"warning: fold {fold}: {source} was trained on {share}: their scores are optimistic")


def note_copies(examples: dict[str, Sequence]) -> None:
    """Say how many texts of the eval_file read as one of the train_file does, but for case and white space.

    examples: as of read_files().
    """
    measured = [row for row in examples.get("eval", ()) if isinstance(row, TextExample)]
    known = {same_text(row.segments) for row in examples["train"]} if measured else set()
    if copies := sum(same_text(row.segments) in known for row in measured):
        print_once(f"eval_file: {copies:,} of {len(measured):,} rows read as a row of train_file does, and are not new")


def fold_of(path: Path) -> Path | None:
    """The fold that a path is, or lies in; None where it is none."""
    return next((folder for folder in (path, path.parent) if (folder / "fold.json").is_file()), None)


def trained_on(fold_dir: Path, held: dict[str, set[str]], ids: set[str], config: dict[str, Any]) -> set[str]:
    """Of these rows of config's train_file those that a fold's model was trained on: what the other folds held out;
    where there are none, all of the same train_file but what it has held out itself. held: fold -> the rows it held
    out."""
    own = held.get(fold_dir.name, set())
    if others := [rows for name, rows in held.items() if name != fold_dir.name]:
        return set().union(*others) - own
    before = read_config(fold_dir.parent)
    whole = before.get("train_file") == config.get("train_file") and before.get("max_train_samples") is None
    return ids - own if whole else set()
