"""Several K-fold runs of one task on the same rows: their out-of-fold logits, and the fold that held each row out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.console import InputError, print_once
from common.files import read_json, read_yaml
from common.guards.manifest import check_fold
from common.guards.spelling import nfc
from common.logits import Logits
from common.targets import Classes
from common.targets.classes import known_rows


@dataclass
class Runs:
    """names: R strings. logits: R Logits of the same N rows in the same order, with the same labels. folds: (N,) the
    number of the fold that held each row out."""

    names: list[str]
    logits: list[Logits]
    folds: np.ndarray

    @property
    def stack(self) -> np.ndarray:
        """(R, N, C) float32."""
        return np.stack([part.logits for part in self.logits])

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64; (N, C) of several labels; (N,) float64 of a number."""
        return self.logits[0].labels

    @property
    def target(self) -> Classes:
        return self.logits[0].label_names


def load_runs(paths: Sequence[str | Path], task: str) -> Runs:
    """The runs' out-of-fold logits, calibrated where the run is. Raises InputError, which names the run, for one that
    has none, that is another task's, or whose rows, labels or folds are others than those of the first."""
    parts = []
    folds = []
    for path in map(Path, paths):
        check_task(path, task)
        part = Logits.load(oof_file(path))
        if parts:
            part = like_first(part, parts[0], path, paths[0])
        fold = fold_of_rows(path, part.ids)
        part = calibrated(part, path, fold)
        if folds and not np.array_equal(partition(fold), partition(folds[0])):
            raise InputError(f"{path}: has split the rows into other folds than {paths[0]}; expected the same folds")
        parts.append(part)
        folds.append(fold)
        note_other_file(path, "train_file", sha256_of_run(paths[0], "train_file"), f"that of {paths[0]}")
    return Runs(short_names(paths), parts, folds[0])


def temperatures(run_dir: Path) -> tuple[float, list[float]]:
    """What a run's logits are divided by for its submission, and fold by fold what the other folds want; 1 and none
    where nothing was calibrated. Raises InputError where calibration.json is damaged."""
    path = run_dir / "calibration.json"
    if not path.exists():
        return 1.0, []
    found = read_json(path)
    values = [found.get("temperature"), *found.get("fold_temperatures", [])]
    for value in values:
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise InputError(f"{path}: temperature is {value!r}, expected the number above 0 that train.py wrote")
    return values[0], values[1:]


def calibrated(part: Logits, run_dir: Path, folds: np.ndarray | None = None) -> Logits:
    """A run's logits as its submission and predict.py have them: divided by its temperature. folds: (N,) of rows that
    were held out, which get the temperature that the other folds want, so that they are measured cross-fitted."""
    overall, of_folds = temperatures(run_dir)
    divisor = np.full((len(part.ids), 1), overall, np.float32)
    if folds is not None and folds.max() < len(of_folds):
        divisor = np.array(of_folds, np.float32)[folds][:, None]
    return replace(part, logits=part.logits / divisor)


def check_task(run_dir: Path, task: str) -> None:
    """Raise InputError where a run is of another task folder. A copy of a folder is a task of its own."""
    record = run_dir / "run.json"
    if not record.is_file():
        raise InputError(f"{run_dir}: holds no run.json; the folder of a run was expected")
    if (found := read_json(record).get("task")) != task:
        raise InputError(f"{run_dir}: is a run of {found}, expected one of {task}")


def note_other_file(run_dir: str | Path, option: str, expected: str | None, whose: str) -> None:
    """Say that a run's train_file or test_file is another than the expected one, by SHA-256: its rows are told by their
    ids alone, and where these are the rows' numbers nothing else would show that the order is another."""
    found = sha256_of_run(run_dir, option)
    if None not in (found, expected) and found != expected:
        print_once(f"warning: {run_dir}: its {option} has other content than {whose}; rows are matched by id alone")


def sha256_of_run(run_dir: str | Path, option: str) -> str | None:
    """Of the file of a run's option; None where that is not known."""
    record = Path(run_dir) / "run.json"
    entry = read_json(record).get("data", {}).get(option) if record.is_file() else None
    return (entry or {}).get("sha256")


def oof_file(run_dir: Path) -> Path:
    """oof_logits.npz of a run. Raises InputError where there is none."""
    path = run_dir / "oof_logits.npz"
    if not path.is_file():
        raise InputError(f"{run_dir}: has no oof_logits.npz; a finished run with --num_folds of 2 or more was expected")
    return path


def like_first(part: Logits, first: Logits, path: str | Path, first_path: str | Path) -> Logits:
    """The rows in the order of the first run's. Raises InputError where labels or rows are others."""
    target = part.label_names
    if target != first.label_names or target.kind != first.label_names.kind:
        raise InputError(f"{path}: its labels are {', '.join(part.label_names)}, those of {first_path} are others")
    try:
        part = part.reorder(first.ids)
    except InputError as error:
        raise InputError(f"{path}: has other rows than {first_path} ({error})") from error
    known = known_rows(part.labels) | known_rows(first.labels)
    other = (part.labels != first.labels).reshape(len(known), -1).any(axis=1) & known
    if other.any():
        row = int(other.argmax())
        names = [target.in_words(labels[row]) for labels in (part.labels, first.labels)]
        what = f"{other.sum()} rows have another label than in {first_path}"
        raise InputError(f"{path}: {what} (first: id {part.ids[row]}, {names[0]} instead of {names[1]})")
    return part


def told_runs(paths: Sequence[str | Path]) -> list[str]:
    """The runs whose out-of-fold scores are optimistic because teachers told them of the rows (docs/blends.md)."""
    configs = {str(path): read_yaml(Path(path) / "config.yaml") for path in paths}
    return [
        path for path, config in configs.items() if config.get("teacher") and config["teacher_logits"] != "own_fold"
    ]


def held_out_ids(run_dir: str | Path) -> dict[int, list[str]]:
    """Fold -> the ids (NFC) that it held out. Raises InputError for a run without K folds, or a damaged one."""
    found = {}
    for record in sorted(Path(run_dir).glob("fold*/fold.json")):
        check_fold(record.parent)
        path = record.parent / "held_out_logits.npz"
        if path.is_file():
            found[int(record.parent.name.removeprefix("fold"))] = [nfc(i) for i in Logits.load(path).ids.tolist()]
    if not found:
        raise InputError(f"{run_dir}: no fold<k>/held_out_logits.npz says which rows a fold held out")
    return found


def fold_of_rows(run_dir: str | Path, ids: Sequence[str]) -> np.ndarray:
    """(N,) the fold that held each row out. Raises InputError where a row is in none."""
    fold_of = {row_id: fold for fold, held in held_out_ids(run_dir).items() for row_id in held}
    if missing := [row_id for row_id in ids if nfc(row_id) not in fold_of]:
        raise InputError(f"{run_dir}: {len(missing)} rows were held out by no fold (first: id {missing[0]})")
    return np.array([fold_of[nfc(row_id)] for row_id in ids])


def partition(folds: np.ndarray) -> np.ndarray:
    """(N,) folds, numbered anew in the order in which they first occur."""
    _, first, numbers = np.unique(folds, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers]


def short_names(paths: Sequence[str | Path]) -> list[str]:
    """The runs' folder names where these differ, else their paths as given. Raises InputError for one named twice."""
    resolved = [Path(path).resolve() for path in paths]
    if repeated := [path for number, path in enumerate(resolved) if path in resolved[:number]]:
        raise InputError(f"{repeated[0]}: is given twice, expected each run once")
    names = [path.name for path in resolved]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
