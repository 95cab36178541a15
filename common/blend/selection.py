"""Weights of runs by forward selection with replacement, in bags, each fold's from the other folds.

Caruana, Niculescu-Mizil, Crew & Ksikes 2004 "Ensemble Selection from Libraries of Models" (ICML), sections 2.1
(selection with replacement) and 2.3 (bags). Here logits are averaged, as predict.py --weights does, and a bag also
draws its rows anew, because a library of a few runs leaves few subsets to draw.
"""

from collections.abc import Callable

import numpy as np

from common.metrics import row_log_losses

MAX_ROUNDS = 50
ROWS_OF_A_BAG = 20_000  # at most; more rows do not make the weights of a few runs surer
RESAMPLES = 200
FEW_RUNS = 4  # up to here every bag has all runs

Loss = Callable[[np.ndarray, np.ndarray], float]  # logits (N, C), labels (N,) -> lower is better


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log likelihood, nats."""
    return float(row_log_losses(logits, labels).mean())


def error_rate(logits: np.ndarray, labels: np.ndarray) -> float:
    """1 - accuracy."""
    return float((logits.argmax(axis=1) != labels).mean())


def macro_f1_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """1 - macro F1, over the classes that occur in labels or predictions."""
    return 1 - macro_f1(logits.argmax(axis=1), labels, logits.shape[1])


def macro_f1(predictions: np.ndarray, labels: np.ndarray, num_labels: int) -> float:
    """As compute_metrics() has it, without its checks."""
    hits = np.bincount(labels[predictions == labels], minlength=num_labels)
    both = np.bincount(predictions, minlength=num_labels) + np.bincount(labels, minlength=num_labels)
    return float((2 * hits[both > 0] / both[both > 0]).mean())


LOSSES: dict[str, Loss] = {"log_loss": log_loss, "accuracy": error_rate, "macro_f1": macro_f1_loss}


def paired_gain(metric: str, a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """By how much logits a (N, C) are better than b on the same rows, and the standard error of this.

    metric: a key of LOSSES. The error is that of a mean of N independent differences; of macro F1 the standard
    deviation over RESAMPLES of the rows.
    """
    if metric != "macro_f1":
        per_row = [
            row_log_losses(part, labels) if metric == "log_loss" else part.argmax(1) != labels for part in (a, b)
        ]
        gains = per_row[1].astype(np.float64) - per_row[0]
        return float(gains.mean()), float(gains.std() / np.sqrt(len(gains)))
    predictions = [part.argmax(axis=1) for part in (a, b)]

    def better(rows: np.ndarray) -> float:
        return float(np.subtract(*[macro_f1(part[rows], labels[rows], a.shape[1]) for part in predictions]))

    generator = np.random.default_rng(0)
    drawn = [better(generator.integers(len(labels), size=len(labels))) for _ in range(RESAMPLES)]
    return better(np.arange(len(labels))), float(np.std(drawn, ddof=1))


def select(stack: np.ndarray, labels: np.ndarray, loss: Loss) -> np.ndarray:
    """(R,) how often each run is chosen: the run that lowers the loss of the mean most is added, MAX_ROUNDS times, each
    as often as it helps; the mean with the lowest loss counts.

    stack: (R, N, C) logits. Starts from the best run.
    """
    counts = np.zeros(len(stack))
    total = np.zeros(stack.shape[1:])
    best, best_loss = counts, np.inf
    for chosen in range(MAX_ROUNDS):
        losses = [loss((total + logits) / (chosen + 1), labels) for logits in stack]
        run = int(np.argmin(losses))
        counts = counts + np.eye(len(stack))[run]
        total += stack[run]
        if losses[run] < best_loss:
            best, best_loss = counts, losses[run]
    return best


def bagged_weights(stack: np.ndarray, labels: np.ndarray, loss: Loss, bags: int, seed: int) -> np.ndarray:
    """(R,) non-negative weights of sum 1: the mean over bags; or equal ones where these have no higher loss.

    stack: (R, N, C). A bag has N rows drawn with replacement (ROWS_OF_A_BAG at most) and half of the runs, all where
    there are FEW_RUNS or fewer.
    """
    num_runs, num_rows, _ = stack.shape
    generator = np.random.default_rng(seed)
    weights = np.zeros(num_runs)
    for _ in range(bags):
        rows = generator.integers(num_rows, size=min(num_rows, ROWS_OF_A_BAG))
        drawn = num_runs if num_runs <= FEW_RUNS else (num_runs + 1) // 2
        runs = np.sort(generator.choice(num_runs, size=drawn, replace=False))
        counts = select(stack[runs][:, rows], labels[rows], loss)
        weights[runs] += counts / counts.sum()
    weights /= weights.sum()
    equal = np.full(num_runs, 1 / num_runs)
    return weights if loss(blend(stack, weights), labels) < loss(blend(stack, equal), labels) else equal


def blend(stack: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N, C) float64: the weighted mean of logits (R, N, C)."""
    return np.tensordot(weights, stack.astype(np.float64), axes=1)


def cross_fit(
    stack: np.ndarray, labels: np.ndarray, folds: np.ndarray, loss: Loss, bags: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, C) blended with weights that no row of the row's own fold has had a part in, and these weights, (K,
    R), by fold in ascending order."""
    blended = np.zeros(stack.shape[1:])
    weights = []
    for fold in np.unique(folds):
        inside = folds == fold
        weights.append(bagged_weights(stack[:, ~inside], labels[~inside], loss, bags, seed))
        blended[inside] = blend(stack[:, inside], weights[-1])
    return blended, np.array(weights)
