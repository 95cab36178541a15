"""Classification metrics from logits."""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax
from sklearn.metrics import average_precision_score, f1_score

from common.console import DIVERGED, InputError


def compute_metrics(logits: np.ndarray, labels: np.ndarray, label_names: Sequence[str]) -> dict[str, float]:
    """Metrics of logits (N, C) against labels (N,) in 0..C-1; rows with label -1 (unknown) are left out.

    Fractions between 0 and 1, but for log_loss, in nats:
    accuracy           with its binomial `standard_error`
    macro_f1           unweighted mean over the classes that occur in labels or predictions (F1 is 0 for a class in one
                       of them only)
    weighted_f1        mean over the classes that occur in the labels, weighted by their rows
    log_loss           over all C columns, not clipped
    auprc              average precision (step-wise, not trapezoidal), unweighted mean over the classes that occur in
                       the labels
    majority_share     share of the most frequent label: the accuracy of a model that has learned nothing
    n, classes_in_labels, classes_predicted    counts: rows with a label, and different classes among their labels and
    predictions

    Raises InputError where no row has a label or a logit is not finite.
    """
    known = np.asarray(labels) >= 0
    labels = np.asarray(labels)[known]
    n = len(labels)
    if n == 0:
        raise InputError("no row has a known label, expected at least one to compute metrics")
    logits = np.asarray(logits, dtype=np.float64)[known]
    if not np.isfinite(logits).all():
        raise InputError(f"the model's logits are not finite: {DIVERGED}, expected a lower learning_rate to train")
    log_probabilities = log_softmax(logits, axis=1)
    predictions = log_probabilities.argmax(axis=1)
    accuracy = float(np.mean(predictions == labels))
    support = np.bincount(labels, minlength=len(label_names))
    precisions = [average_precision_score(labels == c, log_probabilities[:, c]) for c in np.flatnonzero(support)]
    return {
        "accuracy": accuracy,
        "standard_error": float(np.sqrt(accuracy * (1 - accuracy) / n)),
        "macro_f1": float(f1_score(labels, predictions, average="macro", zero_division=0)),
        "weighted_f1": float(f1_score(labels, predictions, average="weighted", zero_division=0)),
        "log_loss": float(-log_probabilities[np.arange(n), labels].mean()),
        "auprc": float(np.mean(precisions)),
        "majority_share": float(support.max() / n),
        "n": n,
        "classes_in_labels": int(np.count_nonzero(support)),
        "classes_predicted": len(np.unique(predictions)),
    }


def row_log_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) negative log likelihood in nats of labels (N,) under softmax(logits), logits (N, C)."""
    return -log_softmax(np.asarray(logits, dtype=np.float64), axis=1)[np.arange(len(labels)), labels]
