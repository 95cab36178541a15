"""Finished runs of one task on the same rows: what differs between them, and how sure that is.

Rows are matched by id. Every difference is of the same rows and against the first run; its standard error takes the
rows as independent and the two trainings as they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.blend.runs import like_first, short_names
from common.blend.scores import score_of
from common.console import InputError
from common.guards.manifest import read_sealed
from common.logits import Logits
from common.metrics import metric_of
from common.report.number_page import tenths
from common.report.run_files import RunFiles, read_run, sha256_of
from common.report.run_page import COUNTS, mean_and_error
from common.report.several_page import label_scores
from common.targets import Classes, Metric
from common.targets.classes import known_rows
from common.targets.registry import METRICS, OF_CLASSES, decide

MOST_RUNS = 8  # as many as there are colours
NOT_SET = "not set"
NO_SCORES = (*COUNTS, "n", "majority_share", "label_mean", "label_std", "labels_per_row")  # of a target's metrics


@dataclass
class Comparison:
    """names, files, histories: of each of the R runs; a history is a log for each fold. parts: "oof", "eval" -> the R
    runs' logits of the same N labelled rows, in the same order. notes: what a reader should know before."""

    names: list[str]
    files: list[RunFiles]
    histories: list[list[list[dict]]]
    parts: dict[str, list[Logits]]
    notes: list[str]

    @property
    def target(self) -> Classes:
        return next(iter(self.parts.values()))[0].label_names


@dataclass(frozen=True)
class Change:
    """A row that one run has right and the other wrong; of a number, one whose error changed. first, other: what the
    runs say; sure: the probability that each gives to that, of a number the size of its error. better: the other is
    right, or nearer."""

    id: str
    label: str
    first: str
    other: str
    sure: tuple[float, float]
    better: bool


class Piece(NamedTuple):
    """A class, a label, or a tenth of a number's labels. scores: of each run recall and F1, or mean absolute and mean
    error. changes: of each run but the first by how much the former is better, and the standard error of this."""

    name: str
    rows: int
    scores: list[tuple[float, float]]
    changes: list[tuple[float, float]]


def load_comparison(paths: Sequence[Path]) -> Comparison:
    """Raises InputError, which names the run, for one that has not ended or is damaged, that is another task's, or that
    has no rows in common with the first."""
    if not 2 <= len(paths) <= MOST_RUNS:
        raise InputError(f"{paths[0]}: {len(paths)} runs were given to compare, 2 to {MOST_RUNS} were expected")
    names = short_names(paths)
    files = [read_run(path) for path in paths]
    for path, run in zip(paths, files, strict=True):
        if run.task != files[0].task:
            raise InputError(f"{path}: is a run of {run.task}, {paths[0]} is one of {files[0].task}; expected one task")
        if not run.metrics:
            raise InputError(f"{path}: has no results in metrics.json yet; its train.py with --resume finishes it")
    shared = [part for part in ("oof", "eval") if all(part in run.metrics for run in files)]
    if not shared:
        have = ", ".join(f"{name}: {' and '.join(run.metrics)}" for name, run in zip(names, files, strict=True))
        raise InputError(f"{paths[0]}: the runs were measured on other rows ({have}), expected oof or eval of all")
    loaded = {part: [Logits.load(path / f"{part}_logits.npz") for path in paths] for part in shared}
    parts, problems = {}, []
    for part, logits in loaded.items():
        try:
            parts[part] = aligned(paths, logits)
        except InputError as error:
            problems.append(error)
    if not parts:
        raise problems[0]
    notes = [f"{error}; these rows are not compared" for error in problems]
    notes += warnings_of(names, files, parts)
    return Comparison(names, files, [history_of(path) for path in paths], parts, notes)


def aligned(paths: Sequence[Path], logits: Sequence[Logits]) -> list[Logits]:
    """The runs' logits in the order of the first run's, without rows that have no label. Raises InputError where their
    rows or labels are others."""
    first, *others = logits
    logits = [first, *(like_first(one, first, path, paths[0]) for one, path in zip(others, paths[1:], strict=True))]
    known = known_rows(first.labels)
    if not known.any():
        raise InputError(f"{paths[0]}: none of its rows has a label")
    return [replace(one, ids=one.ids[known], logits=one.logits[known], labels=one.labels[known]) for one in logits]


def history_of(path: Path) -> list[list[dict]]:
    """The log of each fold that the run still has. Raises InputError where one is damaged."""
    logs = []
    for record in sorted(path.glob("fold*/fold.json")):
        log = read_sealed(record).get("log_history")
        if not isinstance(log, list) or not all(isinstance(entry, dict) for entry in log):
            raise InputError(f"{record}: is damaged, it has no log_history")
        logs.append(log)
    return logs


def warnings_of(names: Sequence[str], files: Sequence[RunFiles], parts: dict[str, list[Logits]]) -> list[str]:
    """What makes a difference less sure than its standard error says."""
    notes = []
    configs = [run.config for run in files]
    if "oof" in parts and any(len({str(one.get(key)) for one in configs}) > 1 for key in ("num_folds", "fold_seed")):
        notes.append("the runs have split the rows into other folds, which is a part of the differences")
    if "eval" in parts and len({str(one.get("num_folds")) for one in configs}) > 1:
        notes.append("rows of eval have the mean of a run's folds, and one run has more of them than another")
    for name, run in zip(names, files, strict=True):
        config = run.config
        if config.get("load_best_model_at_end") and ("oof" in parts or "oof" not in run.metrics):
            notes.append(f"{name}: its checkpoints were chosen on these rows, which is optimistic")
        if config.get("teacher") and config.get("teacher_logits") != "own_fold":
            notes.append(f"{name}: had out-of-fold soft labels, so that its score is optimistic")
    return notes


def option_rows(files: Sequence[RunFiles]) -> list[tuple[str, list[str]]]:
    """(option, its value in each run) where these differ; where a path does and its contents do not, that is said."""
    rows = []
    for key, values in differing([run.config for run in files]):
        prints = [sha256_of(run, key) for run in files]
        same = prints[0] is not None and all(one == prints[0] for one in prints)
        rows.append((f"{key} (same contents)" if same else key, values))
    return rows


def setting_rows(files: Sequence[RunFiles]) -> list[tuple[str, list[str]]]:
    """The same of what the runs were started with and on: commit, device, packages."""
    keys = ("commit", "device", "launcher", "num_processes", "mixed_precision", "threads")
    return list(differing([{key: run.record.get(key) for key in keys} | run.record["packages"] for run in files]))


def differing(records: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """(key, its value in each record) where these differ."""
    for key in dict.fromkeys(key for record in records for key in record):
        values = [record.get(key) for record in records]
        if any(value != values[0] for value in values):
            yield key, [shown(value) for value in values]


def shown(value: Any) -> str:
    """A value of config.yaml as a word of the page."""
    if value is None:
        return NOT_SET
    return str(value).lower() if isinstance(value, bool) else str(value)


def metrics_of(comparison: Comparison) -> tuple[list[Metric], list[str]]:
    """The metrics that are measured again, the runs' own first, and notes on those that cannot be."""
    target = comparison.target
    found, notes = {}, []
    for name in dict.fromkeys(run.metric for run in comparison.files):
        try:
            if metric := metric_of(name, "data", target):
                found[metric.name] = metric
        except InputError:
            notes.append(f"{name}: is the folder's own metric, which --task leads to")
    for name in dict.fromkeys([target.metric, *target.watched]):
        if name in METRICS and name not in found:
            found[name] = METRICS[name]
    return list(found.values()), notes


def better_by(metric: Metric, first: Logits, other: Logits) -> tuple[float, float]:
    """By how much the other is better than the first, and the standard error of this. Lower losses are better."""
    return score_of(metric).gain(other.logits, first.logits, first.labels)


def verdict(gain: tuple[float, float]) -> str:
    """better, worse, or undecided: less than two standard errors, or one of both is not known (NaN)."""
    difference, error = gain
    if not abs(difference) > 2 * error:
        return "undecided"
    return "better" if difference > 0 else "worse"


def class_rows(logits: Sequence[Logits]) -> list[Piece]:
    """Each class or label."""
    target = logits[0].label_names
    labels = logits[0].labels
    of = np.eye(len(target), dtype=np.int64)[labels] if labels.ndim == 1 else labels  # (N, C)
    decided = [decide(part.logits, labels) for part in logits]
    given = [np.eye(len(target), dtype=np.int64)[one] if one.ndim == 1 else one for one in decided]
    scores = [label_scores(of, one, 0) for one in given]
    rows = []
    for c, name in enumerate(target):
        members = of[:, c] == 1
        hits = [one[members, c] for one in given]
        changes = [difference_of(hit, hits[0]) for hit in hits[1:]]
        rows.append(Piece(name, int(members.sum()), [(float(s[1][c]), float(s[2][c])) for s in scores], changes))
    return rows


def tenth_rows(logits: Sequence[Logits]) -> list[Piece]:
    """Each tenth of a number's labels."""
    labels = logits[0].labels
    rows = []
    for span, inside in tenths(labels):
        errors = [part.logits[inside, 0].astype(np.float64) - labels[inside] for part in logits]
        changes = [difference_of(np.abs(errors[0]), np.abs(one)) for one in errors[1:]]
        rows.append(Piece(span, int(inside.sum()), [(np.abs(e).mean(), e.mean()) for e in errors], changes))
    return rows


def difference_of(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Mean of a - b and its standard error; NaN where there are fewer than two rows."""
    if len(a) < 2:
        return float("nan"), float("nan")
    return mean_and_error(np.asarray(a, dtype=np.float64) - b)


def changes_of(first: Logits, other: Logits) -> list[Change]:
    """The rows that changed sides, first those of whose answers both runs are sure; of a number all rows, first those
    whose error changed most."""
    target = first.label_names
    labels = first.labels
    if target.kind == "number":
        said = [part.logits[:, 0].astype(np.float64) for part in (first, other)]
        sure = np.abs(np.stack(said, axis=1) - labels[:, None])  # (N, 2)
        gains = sure[:, 0] - sure[:, 1]
        moved, order = gains != 0, np.argsort(-np.abs(gains), kind="stable")
    else:
        said = [decide(part.logits, labels) for part in (first, other)]
        right = [one == labels if labels.ndim == 1 else (one == labels).all(axis=1) for one in said]
        sure = np.stack([sureness(part) for part in (first, other)], axis=1)
        gains = right[1].astype(np.int64) - right[0]
        moved, order = gains != 0, np.argsort(-sure.min(axis=1), kind="stable")
    return [
        Change(
            str(first.ids[i]),
            target.in_words(labels[i]),
            target.in_words(said[0][i]),
            target.in_words(said[1][i]),
            (float(sure[i, 0]), float(sure[i, 1])),
            bool(gains[i] > 0),
        )
        for i in order[moved[order]]
    ]


def sureness(part: Logits) -> np.ndarray:
    """(N,) the probability of what is predicted: of the class, or of all labels as they are given or not."""
    probabilities = part.probabilities()
    if part.label_names.kind in OF_CLASSES:
        return probabilities.max(axis=1)
    return np.maximum(probabilities, 1 - probabilities).prod(axis=1)


def other_values(comparison: Comparison, part: str, measured: Sequence[str]) -> list[tuple[str, list[float]]]:
    """(name, its value in each run) of what only metrics.json has: a task's own metrics."""
    values = [run.metrics[part] for run in comparison.files]
    known = {*measured, *NO_SCORES}
    names = [key for key in values[0] if key not in known and not key.endswith("_error")]
    return [(name, [one[name] for one in values]) for name in names if all(name in one for one in values)]
