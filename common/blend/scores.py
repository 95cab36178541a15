"""What runs are blended for, and how much better one is than another on the same rows.

Labels are (N,), one of C classes a row, or (N, C) zeros and ones, several labels a row: a label is predicted where its
logit is above 0.
"""

from collections.abc import Callable

import numpy as np

from common.console import InputError
from common.metrics import row_log_losses
from common.targets import Classes
from common.targets.registry import decide, macro_of, micro_of

RESAMPLES = 200

Loss = Callable[[np.ndarray, np.ndarray], float]  # logits (N, C), labels -> lower is better


def row_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) negative log likelihoods, nats; of several labels the mean over them."""
    if labels.ndim == 1:
        return row_log_losses(logits, labels)
    return (np.logaddexp(0, logits.astype(np.float64)) - labels * logits).mean(axis=1)


def row_errors(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) whether a row's class, or any of its labels, is wrong."""
    wrong = decide(logits, labels) != labels
    return wrong.reshape(len(labels), -1).any(axis=1)


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of row_losses()."""
    return float(row_losses(logits, labels).mean())


def error_rate(logits: np.ndarray, labels: np.ndarray) -> float:
    """1 - accuracy, 1 - exact match."""
    return float(row_errors(logits, labels).mean())


def macro_f1_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """1 - macro F1, over the classes that occur in labels or predictions."""
    return 1 - macro_of(*counts(decide(logits, labels), labels, logits.shape[1]))


def micro_f1_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """1 - F1 over all decisions on several labels."""
    return 1 - micro_of(*counts(decide(logits, labels), labels, logits.shape[1]))


def f1_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """1 - F1 of the second of two classes."""
    return 1 - f1(*counts(decide(logits, labels), labels, logits.shape[1]))


LOSSES: dict[str, Loss] = {
    "log_loss": log_loss,
    "accuracy": error_rate,
    "exact_match": error_rate,
    "macro_f1": macro_f1_loss,
    "micro_f1": micro_f1_loss,
    "f1": f1_loss,
}
# of a target's kind, in the order of the table
SCORES = {
    "classes": ("log_loss", "accuracy", "macro_f1"),
    "several": ("log_loss", "exact_match", "micro_f1", "macro_f1"),
}


def scores_of(target: Classes) -> tuple[str, ...]:
    """SCORES; of two classes F1 of the second, too."""
    names = SCORES[target.kind]
    return (*names, "f1") if target.kind == Classes.kind and len(target) == 2 else names


def check_score(option: str, name: str, target: Classes) -> None:
    """Raise InputError for a score that the runs' target does not have."""
    if name not in (names := scores_of(target)):
        raise InputError(f"{option}: {name} is none of these runs' scores, expected one of {', '.join(names)}")


def counts(predictions: np.ndarray, labels: np.ndarray, num_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """(C,) rows in which a class is rightly predicted; (C,) rows that are predicted to have it, and rows that have
    it."""
    if labels.ndim == 2:
        return (predictions & labels).sum(axis=0), predictions.sum(axis=0) + labels.sum(axis=0)
    hits = np.bincount(labels[predictions == labels], minlength=num_labels)
    return hits, np.bincount(predictions, minlength=num_labels) + np.bincount(labels, minlength=num_labels)


def f1(hits: np.ndarray, both: np.ndarray) -> float:
    """F1 of the second class, of counts()."""
    return float(2 * hits[1] / max(1, both[1]))


F1 = {"macro_f1": macro_of, "micro_f1": micro_of, "f1": f1}


def paired_gain(metric: str, a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """By how much logits a (N, C) are better than b on the same rows, and the standard error of this.

    metric: a key of LOSSES. The error is that of a mean of N independent differences; of an F1 the standard deviation
    over RESAMPLES of the rows.
    """
    if metric not in F1:
        of_rows = row_losses if metric == "log_loss" else row_errors
        gains = of_rows(b, labels).astype(np.float64) - of_rows(a, labels)
        return float(gains.mean()), float(gains.std() / np.sqrt(len(gains)))
    score = F1[metric]
    predictions = [decide(part, labels) for part in (a, b)]

    def better(rows: np.ndarray) -> float:
        return float(np.subtract(*[score(*counts(part[rows], labels[rows], a.shape[1])) for part in predictions]))

    generator = np.random.default_rng(0)
    drawn = [better(generator.integers(len(labels), size=len(labels))) for _ in range(RESAMPLES)]
    return better(np.arange(len(labels))), float(np.std(drawn, ddof=1))
