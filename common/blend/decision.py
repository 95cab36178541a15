"""Offsets of the classes' log probabilities, for a decision that suits the score better than the likeliest label; of
several labels a row, a threshold of each.

One offset a class, or for two classes the threshold of the second. Chosen by coordinate ascent; the step of one class
is exact for the commonest metrics, because these only change where a row changes its label, and the best of TRIES for
others. Each fold's come from the other folds.
"""

import numpy as np

from common.blend.scores import Score, counts, find_score
from common.console import InputError
from common.targets import Classes, Metric

MAX_PASSES = 10
TRIES = 50
EXACT = ("accuracy", "exact_match", "macro_f1", "micro_f1", "f1")
OF_PROBABILITIES = ("log_loss", "auc", "average_precision")


def find_decision_score(name: str, chosen: Score, target: Classes, own: Metric | None = None) -> Score:
    """What a decision is tuned for; an empty name: what weights are chosen for, or where that is none of decisions
    macro F1. own: the folder's metric. Raises InputError for a target without a decision or a metric that does not look
    at it."""
    if target.kind == "number":
        raise InputError("tune_decision: the target is a number, about which nothing is decided")
    fitting = chosen.is_own or chosen.name not in OF_PROBABILITIES
    score = find_score(name, target, own) if name else chosen if fitting else find_score("macro_f1", target)
    if score.name in OF_PROBABILITIES and not score.is_own:
        raise InputError(f"tune_decision: {score.name} is of probabilities, expected a metric of what is decided")
    return score


def tune_offsets(logits: np.ndarray, labels: np.ndarray, score: Score) -> np.ndarray:
    """(C,) offsets, the first class's 0, with which the likeliest label has the best score on these rows.

    logits: (N, C). labels: (N,); of several labels a row, (N, C): offsets of all logits. Not better than none: zeros.
    """
    scores = to_scores(logits, labels)
    several = labels.ndim == 2
    num_labels = scores.shape[1]
    offsets = np.zeros(num_labels)
    best = -score.loss(scores, labels)
    for _ in range(MAX_PASSES):
        before = best
        for c in range(1 if num_labels == 2 and not several else 0, num_labels):
            offset, value = best_step(scores + offsets, labels, c, score)
            if value > best + 1e-12:
                offsets[c] += offset
                best = value
        if best == before:
            break
    return offsets if several else offsets - offsets[0]


def best_step(scores: np.ndarray, labels: np.ndarray, c: int, score: Score) -> tuple[float, float]:
    """(what to add to column c, the score then, turned round where less of it is better)."""
    several = labels.ndim == 2
    if score.name in EXACT and not score.is_own:
        return (best_threshold if several else best_offset)(scores, labels, c, score.name)
    margins = np.sort(-scores[:, c] if several else without(scores, c).max(axis=1) - scores[:, c])
    cuts = np.unique(np.quantile(margins, np.linspace(0, 1, TRIES)))
    column = np.eye(scores.shape[1])[c]
    values = np.array([-score.loss(scores + cut * column, labels) for cut in cuts])
    good = np.flatnonzero(values >= values.max() - 1e-12)
    best = good[np.argmin(np.abs(cuts[good]))]
    return float(cuts[best]), float(values[best])


def without(scores: np.ndarray, c: int) -> np.ndarray:
    """(N, C) with minus infinity in column c."""
    others = scores.copy()
    others[:, c] = -np.inf
    return others


def to_scores(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N, C) float64 that offsets are added to: log probabilities of classes, logits of several labels."""
    from scipy.special import log_softmax  # --help answers at once

    logits = np.asarray(logits, dtype=np.float64)
    return logits.copy() if labels.ndim == 2 else log_softmax(logits, axis=1)


def best_threshold(scores: np.ndarray, labels: np.ndarray, c: int, metric: str) -> tuple[float, float]:
    """(what to add to column c, the score then) of several labels (N, C), the least change among equally good ones."""
    margins = -scores[:, c]
    order = np.argsort(margins, kind="stable")
    margins, own = margins[order], labels[order, c]
    predicted = np.arange(len(own) + 1)  # rows, from none to all, in the order in which they come to have the label
    hits = np.concatenate([[0], own.cumsum()])
    predictions = (scores > 0).astype(np.int64)
    if metric == "exact_match":
        others = np.delete(predictions == labels, c, axis=1).all(axis=1)[order]
        right = np.concatenate([[(others & (own == 0)).sum()], np.where(others, 2 * own - 1, 0)]).cumsum()
        return least_change(margins, right / len(own))
    all_hits, all_both = counts(predictions, labels, scores.shape[1])
    both = predicted + own.sum()
    if metric == "micro_f1":
        others = all_hits.sum() - all_hits[c], all_both.sum() - all_both[c]
        return least_change(margins, 2 * (others[0] + hits) / np.maximum(1, others[1] + both))
    seen = np.delete(all_both, c) > 0
    total = (2 * np.delete(all_hits, c)[seen] / np.delete(all_both, c)[seen]).sum()
    values = (total + 2 * hits / np.maximum(1, both)) / np.maximum(1, seen.sum() + (both > 0))
    return least_change(margins, values)


def best_offset(scores: np.ndarray, labels: np.ndarray, c: int, metric: str) -> tuple[float, float]:
    """(what to add to column c, the score then), the least change among equally good ones.

    From an offset of minus infinity upwards the rows turn to class c one after the other, by their margins.
    """
    num_rows, num_labels = scores.shape
    others = without(scores, c)
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
    if metric in ("accuracy", "exact_match", "micro_f1"):  # of one class a row they are the same
        values = hits.sum(axis=1) / num_rows
    elif metric == "f1":  # of the second of two classes
        values = 2 * hits[:, 1] / np.maximum(1, gained[:, 1].cumsum() + (labels == 1).sum())
    else:
        both = gained.cumsum(axis=0) + np.bincount(labels, minlength=num_labels)
        f1 = np.divide(2 * hits, both, out=np.zeros_like(both), where=both > 0)
        values = f1.sum(axis=1) / (both > 0).sum(axis=1)
    return least_change(margins[order], values)


def least_change(margins: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """(the offset of the best value that is nearest to 0, that value).

    margins: (N,) ascending, the offsets at which the rows turn. values: (N + 1,) the score when so many have turned.
    """
    # between two margins that differ; before the first and after the last a step beyond
    cuts = np.concatenate([[margins[0] - 1], (margins[1:] + margins[:-1]) / 2, [margins[-1] + 1]])
    possible = np.concatenate([[True], np.diff(margins) > 1e-9, [True]])
    values = np.where(possible, values, -np.inf)
    good = np.flatnonzero(values >= values.max() - 1e-12)
    cut = good[np.argmin(np.abs(cuts[good]))]
    return float(cuts[cut]), float(values[cut])


def cross_fit_offsets(logits: np.ndarray, labels: np.ndarray, folds: np.ndarray, score: Score) -> np.ndarray:
    """to_scores() with the offsets that the rows of the other folds give."""
    shifted = to_scores(logits, labels)
    for fold in np.unique(folds):
        inside = folds == fold
        shifted[inside] += tune_offsets(logits[~inside], labels[~inside], score)
    return shifted
