"""What runs are blended for, and how much better one is than another on the same rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.metrics import row_log_losses
from common.targets import Classes, Metric
from common.targets.registry import METRICS, decide, find_metric, macro_of, micro_of

RESAMPLES = 200
# of a target's kind, in the order of the table; the first is what a blend is for where no metric was chosen
SCORES = {
    "classes": ("log_loss", "accuracy", "macro_f1"),
    "ordered": ("log_loss", "accuracy", "quadratic_kappa", "mae"),
    "several": ("log_loss", "exact_match", "micro_f1", "macro_f1"),
    "number": ("rmse", "mae", "pearson", "spearman"),
}


@dataclass(frozen=True)
class Score:
    """A metric of logits, of which there are (N, C), against labels in the shape that the metric's target has.

    rows: (logits, labels) -> (N,) losses, where the metric is their mean, or 1 - their mean; None: it is no mean.
    is_own: it is the folder's, of which only its function is known.
    """

    metric: Metric
    rows: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    is_own: bool = False

    @property
    def name(self) -> str:
        return self.metric.name

    def value(self, logits: np.ndarray, labels: np.ndarray) -> float:
        return float(self.metric.function(labels, logits.astype(np.float64)))

    def loss(self, logits: np.ndarray, labels: np.ndarray) -> float:
        """value(), turned round where more of it is better. Infinite where the folder's own metric has no value, as for
        rows of a bag that lack a class."""
        try:
            value = self.value(logits, labels)
        except (ValueError, ArithmeticError):
            if not self.is_own:
                raise
            return float("inf")
        return float("inf") if np.isnan(value) else -value if self.metric.greater_is_better else value

    def gain(self, a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """By how much logits a are better than b on the same rows, and the standard error of this: that of a mean of N
        independent differences; where the metric is no mean, the standard deviation over RESAMPLES of the rows, as far
        as it has a value there."""
        if self.rows is not None:
            gains = self.rows(b, labels).astype(np.float64) - self.rows(a, labels)
            return float(gains.mean()), float(gains.std() / np.sqrt(len(gains)))
        generator = np.random.default_rng(0)
        drawn = []
        for _ in range(RESAMPLES):
            rows = generator.integers(len(labels), size=len(labels))
            pair = self.loss(b[rows], labels[rows]), self.loss(a[rows], labels[rows])
            drawn += [pair[0] - pair[1]] if np.isfinite(pair).all() else []
        error = float(np.std(drawn, ddof=1)) if len(drawn) > 1 else float("nan")
        return self.loss(b, labels) - self.loss(a, labels), error


def find_score(name: str, target: Classes, own: Metric | None = None) -> Score:
    """The score of a metric's name. own: the folder's metric. Raises InputError as find_metric() does."""
    return score_of(find_metric(name, target, own))


def score_of(metric: Metric) -> Score:
    """The score of a metric, of common/targets/registry.py or a folder's own."""
    name = metric.name
    if metric is not METRICS.get(name):
        return Score(metric, is_own=True)
    if name in COUNTED:
        return Score(Metric(name, of_counts(COUNTED[name])))
    if name in CONFUSED:
        return Score(Metric(name, of_pairs(CONFUSED[name], metric)))
    return Score(metric, ROWS.get(name))


def scores_of(target: Classes, chosen: Score) -> list[Score]:
    """Those of the table: SCORES, of two classes F1 of the second, and the chosen one."""
    names = list(SCORES[target.kind])
    if target.kind == Classes.kind and len(target) == 2:
        names.append("f1")
    return [*(find_score(name, target) for name in names if name != chosen.name), chosen]


def row_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) negative log likelihoods, nats; of several labels the mean over them."""
    if labels.ndim == 1:
        return row_log_losses(logits, labels)
    return (np.logaddexp(0, logits.astype(np.float64)) - labels * logits).mean(axis=1)


def row_errors(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) whether a row's class, or any of its labels, is wrong."""
    wrong = decide(logits, labels) != labels
    return wrong.reshape(len(labels), -1).any(axis=1)


def residuals(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) prediction - label: of a number, or in classes."""
    return (logits[:, 0] if logits.shape[1] == 1 else logits.argmax(axis=1)) - labels


def row_distances(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) absolute residuals()."""
    return np.abs(residuals(logits, labels))


def counts(predictions: np.ndarray, labels: np.ndarray, num_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """(C,) rows in which a class is rightly predicted; (C,) rows that are predicted to have it, and rows that have
    it."""
    if labels.ndim == 2:
        return (predictions & labels).sum(axis=0), predictions.sum(axis=0) + labels.sum(axis=0)
    hits = np.bincount(labels[predictions == labels], minlength=num_labels)
    return hits, np.bincount(predictions, minlength=num_labels) + np.bincount(labels, minlength=num_labels)


def of_counts(score: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[np.ndarray, np.ndarray], float]:
    """A metric from counts(): scikit-learn's function takes a hundred times as long."""
    return lambda labels, logits: score(*counts(decide(logits, labels), labels, logits.shape[1]))


def second_f1(hits: np.ndarray, both: np.ndarray) -> float:
    """F1 of the second class, of counts()."""
    return float(2 * hits[1] / max(1, both[1]))


def of_pairs(score: Callable[[np.ndarray], float], metric: Metric) -> Callable[[np.ndarray, np.ndarray], float]:
    """A metric from the (C, C) rows of each label (first) and prediction, as fast; of several labels, as it is."""

    def function(labels: np.ndarray, logits: np.ndarray) -> float:
        if labels.ndim == 2:
            return metric.function(labels, logits)
        num_labels = logits.shape[1]
        pairs = labels * num_labels + logits.argmax(axis=1)
        return score(np.bincount(pairs, minlength=num_labels**2).reshape(num_labels, num_labels))

    return function


def weighted_f1_of(pairs: np.ndarray) -> float:
    """Mean F1 of the classes, weighted by their rows."""
    rows = pairs.sum(axis=1)
    return float(2 * pairs.diagonal() / np.maximum(1, rows + pairs.sum(axis=0)) @ rows / rows.sum())


def mcc_of(pairs: np.ndarray) -> float:
    """R_K of Gorodkin 2004; 0 where labels or predictions are one class throughout."""
    rows, predicted, total = (x.astype(np.float64) for x in (pairs.sum(axis=1), pairs.sum(axis=0), pairs.sum()))
    spread = (total**2 - predicted @ predicted) * (total**2 - rows @ rows)
    return float((pairs.trace() * total - rows @ predicted) / np.sqrt(spread)) if spread else 0.0


def kappa_of(pairs: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights; 0 where labels and predictions are one class throughout."""
    classes = np.arange(len(pairs))
    distances = (classes[:, None] - classes) ** 2
    expected = np.outer(pairs.sum(axis=1), pairs.sum(axis=0)) / pairs.sum()
    chance = (distances * expected).sum()
    return float(1 - (distances * pairs).sum() / chance) if chance else 0.0


CONFUSED = {"weighted_f1": weighted_f1_of, "mcc": mcc_of, "quadratic_kappa": kappa_of}
COUNTED = {"macro_f1": macro_of, "micro_f1": micro_of, "f1": second_f1}
ROWS = {
    "log_loss": row_losses,
    "accuracy": row_errors,
    "exact_match": row_errors,
    "mae": row_distances,
    "mse": lambda logits, labels: residuals(logits, labels) ** 2,
}
