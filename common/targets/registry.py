"""Metrics by name, and a competition's own: what steers evaluation, the best checkpoint, search and report."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from common.console import InputError, print_once
from common.guards.cells import NUMBER
from common.targets.classes import Classes

say = cache(print_once)  # once, however often the metric is looked up
OF_CLASSES = ("classes", "ordered")
ALL = (*OF_CLASSES, "several")


@dataclass(frozen=True)
class Metric:
    """A metric and its name in options, presets and metrics.json.

    function: labels and logits of the rows that have a label -> float. Labels are (N,) class numbers, (N, C) zeros and
    ones of SeveralLabels, or (N,) numbers; logits (N, C), before softmax or sigmoid, of Number (N, 1) in its units.
    kinds: the targets that it is defined for; None: those that the function takes.
    """

    name: str
    function: Callable[[np.ndarray, np.ndarray], float]
    greater_is_better: bool = True
    kinds: tuple[str, ...] | None = None


def decide(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Predictions in the shape of the labels: the most likely class, or every label above 0."""
    return logits.argmax(axis=1) if labels.ndim == 1 else (logits > 0).astype(np.int64)


def f1(average: str) -> Callable[[np.ndarray, np.ndarray], float]:
    """F1 of decide(); binary: of the second of two classes; macro: over classes in labels or predictions, 0 where there
    are none."""

    def score(labels: np.ndarray, logits: np.ndarray) -> float:
        from sklearn.metrics import f1_score

        predictions = decide(logits, labels)
        if labels.ndim == 2:
            return f1_of_several(average, labels, predictions)
        return float(f1_score(labels, predictions, average=average, zero_division=0))

    return score


def f1_of_several(average: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    """The same of zeros and ones (N, C); scikit-learn takes a single column for two classes."""
    hits, rows = (labels * predictions).sum(axis=0), labels.sum(axis=0)
    both = rows + predictions.sum(axis=0)
    if average == "weighted":
        return float(2 * hits / np.maximum(both, 1) @ rows / max(1, rows.sum()))
    return (micro_of if average == "micro" else macro_of)(hits, both)


def macro_of(hits: np.ndarray, both: np.ndarray) -> float:
    """Mean F1 of the classes that occur, 0 where none does. hits: (C,) rows in which a class is rightly predicted;
    both: (C,) rows that are predicted to have it, and rows that have it."""
    return float((2 * hits[both > 0] / both[both > 0]).mean()) if both.any() else 0.0


def micro_of(hits: np.ndarray, both: np.ndarray) -> float:
    """The same over all classes."""
    return float(2 * hits.sum() / max(1, both.sum()))


def accuracy(labels: np.ndarray, logits: np.ndarray) -> float:
    return float(np.mean(decide(logits, labels) == labels))


def exact_match(labels: np.ndarray, logits: np.ndarray) -> float:
    """Share of the rows with all labels right."""
    right = decide(logits, labels) == labels
    return float(np.mean(right if labels.ndim == 1 else right.all(axis=1)))


def log_loss(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean cross-entropy of a row, or of a decision of SeveralLabels, in nats."""
    if labels.ndim == 2:
        return float(np.mean(np.logaddexp(0, logits) - labels * logits))
    from common.metrics import row_log_losses

    return float(row_log_losses(logits, labels).mean())


def per_label(name: str, empty: float) -> Callable[[np.ndarray, np.ndarray], float]:
    """A function of sklearn.metrics over the scores of each class against the others, averaged over the classes that
    have rows of both kinds; of two classes, of the second. `empty` where no class has."""

    def score(labels: np.ndarray, logits: np.ndarray) -> float:
        from scipy.special import log_softmax
        from sklearn import metrics

        scores = logits if labels.ndim == 2 else log_softmax(logits, axis=1)
        columns = range(1, 2) if labels.ndim == 1 and logits.shape[1] == 2 else range(logits.shape[1])
        truth = {c: labels[:, c] if labels.ndim == 2 else (labels == c).astype(int) for c in columns}
        values = [getattr(metrics, name)(truth[c], scores[:, c]) for c in columns if 0 < truth[c].sum() < len(labels)]
        return float(np.mean(values)) if values else empty

    return score


def mcc(labels: np.ndarray, logits: np.ndarray) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, logits.argmax(axis=1)))


def kappa(labels: np.ndarray, logits: np.ndarray) -> float:
    from common.targets.ordered import quadratic_kappa

    return quadratic_kappa(labels, logits.argmax(axis=1))


def of_numbers(name: str) -> Callable[[np.ndarray, np.ndarray], float]:
    def score(labels: np.ndarray, logits: np.ndarray) -> float:
        from common.targets.number import MEASURES

        return MEASURES[name](labels, logits[:, 0])

    return score


def mae_of_classes(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean absolute error: of a number, or in classes."""
    found = logits[:, 0] if logits.shape[1] == 1 else logits.argmax(axis=1)
    return float(np.abs(found - labels).mean())


METRICS = {
    metric.name: metric
    for metric in [
        Metric("accuracy", accuracy, kinds=OF_CLASSES),
        Metric("exact_match", exact_match, kinds=ALL),
        Metric("f1", f1("binary"), kinds=("classes",)),
        Metric("macro_f1", f1("macro"), kinds=ALL),
        Metric("micro_f1", f1("micro"), kinds=ALL),
        Metric("weighted_f1", f1("weighted"), kinds=ALL),
        Metric("log_loss", log_loss, greater_is_better=False, kinds=ALL),
        Metric("auc", per_label("roc_auc_score", 0.5), kinds=ALL),
        Metric("average_precision", per_label("average_precision_score", 0.0), kinds=ALL),
        Metric("mcc", mcc, kinds=OF_CLASSES),
        Metric("quadratic_kappa", kappa, kinds=OF_CLASSES),
        Metric("mae", mae_of_classes, greater_is_better=False, kinds=("number", "ordered")),
        Metric("rmse", of_numbers("rmse"), greater_is_better=False, kinds=("number",)),
        Metric("mse", of_numbers("mse"), greater_is_better=False, kinds=("number",)),
        *(Metric(name, of_numbers(name), kinds=("number",)) for name in ("r2", "pearson", "spearman")),
    ]
}


def with_metric(watched: Sequence[str], metric: Metric | None) -> list[str]:
    """What an evaluation measures: what the target watches, and the metric that was asked for."""
    return list(dict.fromkeys([*watched, *([metric.name] if metric else [])]))


def find_metric(name: str, target: Classes, own: Metric | None = None) -> Metric:
    """The metric of that name for a target. own: the folder's. Raises InputError for one that is unknown or that is not
    defined for such a target."""
    if own is not None and own.name == name:
        return own
    fitting = [key for key, metric in METRICS.items() if target.kind in metric.kinds] + ([own.name] if own else [])
    if name not in fitting:
        near = difflib.get_close_matches(name, fitting, n=1)
        hint = f" (nearest: {near[0]})" if near else ""
        what = "is not defined for this target" if name in METRICS else "is unknown"
        raise InputError(f"metric: {name!r:.80} {what}{hint}, expected one of {', '.join(fitting)}")
    if name == "f1" and len(target) not in (0, 2):  # 0: not known yet
        what = f"f1 is of the second of two classes, there are {len(target)}"
        raise InputError(f"metric: {what}; expected macro_f1, micro_f1 or weighted_f1")
    note_order(name, target)
    return METRICS[name]


def note_order(name: str, target: Classes) -> None:
    """Say which order quadratic_kappa takes classes for that are neither Ordered nor ascending numbers."""
    if name != "quadratic_kappa" or target.kind != "classes":
        return
    numbers = [float(name) for name in target if NUMBER.fullmatch(name)]
    if len(numbers) < len(target) or numbers != sorted(numbers):
        say(f"metric: quadratic_kappa takes {', '.join(target):.200} for the order of the classes, lowest first")
