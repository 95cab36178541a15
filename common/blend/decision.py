"""Offsets of the classes' log probabilities, for a decision that suits the score better than the likeliest label.

One offset a class, or for two classes the threshold of the second. Chosen by coordinate ascent; the step of one class
is exact, because the score only changes where a row changes its label. Each fold's come from the other folds.
"""

import numpy as np
from scipy.special import log_softmax

from common.blend.selection import LOSSES

MAX_PASSES = 10


def tune_offsets(logits: np.ndarray, labels: np.ndarray, metric: str) -> np.ndarray:
    """(C,) offsets, the first class's 0, with which the likeliest label has the best score on these rows.

    logits: (N, C). labels: (N,). metric: accuracy or macro_f1. Not better than none: zeros.
    """
    scores = log_softmax(np.asarray(logits, dtype=np.float64), axis=1)
    num_labels = scores.shape[1]
    offsets = np.zeros(num_labels)
    best = 1 - LOSSES[metric](scores, labels)
    for _ in range(MAX_PASSES):
        before = best
        for c in range(1 if num_labels == 2 else 0, num_labels):
            offset, score = best_offset(scores + offsets, labels, c, metric)
            if score > best + 1e-12:
                offsets[c] += offset
                best = score
        if best == before:
            break
    return offsets - offsets[0]


def best_offset(scores: np.ndarray, labels: np.ndarray, c: int, metric: str) -> tuple[float, float]:
    """(what to add to column c, the score then), the least change among equally good ones.

    From an offset of minus infinity upwards the rows turn to class c one after the other, by their margins.
    """
    num_rows, num_labels = scores.shape
    others = scores.copy()
    others[:, c] = -np.inf
    predictions = others.argmax(axis=1)
    margins = others.max(axis=1) - scores[:, c]
    order = np.argsort(margins, kind="stable")
    turned = np.arange(1, num_rows + 1)
    before = predictions[order]
    gained = np.zeros((num_rows + 1, num_labels))  # predictions of each class, row by row that turns
    hits = np.zeros_like(gained)
    gained[0] = np.bincount(predictions, minlength=num_labels)
    hits[0] = np.bincount(labels[predictions == labels], minlength=num_labels)
    gained[turned, before] = -1
    hits[turned, before] = -1.0 * (before == labels[order])
    gained[turned, c] = 1
    hits[turned, c] = labels[order] == c
    hits = hits.cumsum(axis=0)
    if metric == "accuracy":
        values = hits.sum(axis=1) / num_rows
    else:
        both = gained.cumsum(axis=0) + np.bincount(labels, minlength=num_labels)
        f1 = np.divide(2 * hits, both, out=np.zeros_like(both), where=both > 0)
        values = f1.sum(axis=1) / (both > 0).sum(axis=1)
    # between two margins that differ; before the first and after the last a step beyond
    margins = margins[order]
    cuts = np.concatenate([[margins[0] - 1], (margins[1:] + margins[:-1]) / 2, [margins[-1] + 1]])
    possible = np.concatenate([[True], np.diff(margins) > 1e-9, [True]])
    values = np.where(possible, values, -np.inf)
    good = np.flatnonzero(values >= values.max() - 1e-12)
    cut = good[np.argmin(np.abs(cuts[good]))]
    return float(cuts[cut]), float(values[cut])


def cross_fit_offsets(logits: np.ndarray, labels: np.ndarray, folds: np.ndarray, metric: str) -> np.ndarray:
    """Log probabilities (N, C) with the offsets that the rows of the other folds give."""
    shifted = log_softmax(np.asarray(logits, dtype=np.float64), axis=1)
    for fold in np.unique(folds):
        inside = folds == fold
        shifted[inside] += tune_offsets(logits[~inside], labels[~inside], metric)
    return shifted
