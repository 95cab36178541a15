"""Weights of runs by forward selection with replacement, in bags, each fold's from the other folds.

Caruana, Niculescu-Mizil, Crew & Ksikes 2004 "Ensemble Selection from Libraries of Models" (ICML), sections 2.1
(selection with replacement) and 2.3 (bags). Here logits are averaged, as predict.py --weights does, and a bag also
draws its rows anew, because a library of a few runs leaves few subsets to draw.
"""

import numpy as np

from common.blend.scores import Score

MAX_ROUNDS = 50
ROWS_OF_A_BAG = 20_000  # at most; more rows do not make the weights of a few runs surer
FEW_RUNS = 4  # up to here every bag has all runs


def select(stack: np.ndarray, labels: np.ndarray, score: Score) -> np.ndarray:
    """(R,) how often each run is chosen: the run that lowers the loss of the mean most is added, MAX_ROUNDS times, each
    as often as it helps; the mean with the lowest loss counts.

    stack: (R, N, C) logits. Starts from the best run.
    """
    counts = np.zeros(len(stack))
    total = np.zeros(stack.shape[1:])
    best, best_loss = counts, np.inf
    for chosen in range(MAX_ROUNDS):
        losses = [score.loss((total + logits) / (chosen + 1), labels) for logits in stack]
        run = int(np.argmin(losses))
        counts = counts + np.eye(len(stack))[run]
        total += stack[run]
        if losses[run] < best_loss or not best.any():  # no loss is finite in a bag that a metric has no value for
            best, best_loss = counts, losses[run]
    return best


def bagged_weights(stack: np.ndarray, labels: np.ndarray, score: Score, bags: int, seed: int) -> np.ndarray:
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
        counts = select(stack[runs][:, rows], labels[rows], score)
        weights[runs] += counts / counts.sum()
    weights /= weights.sum()
    equal = np.full(num_runs, 1 / num_runs)
    better = score.loss(blend(stack, weights), labels) < score.loss(blend(stack, equal), labels)
    return weights if better else equal


def blend(stack: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N, C) float64: the weighted mean of logits (R, N, C)."""
    return np.tensordot(weights, stack.astype(np.float64), axes=1)


def cross_fit(
    stack: np.ndarray, labels: np.ndarray, folds: np.ndarray, score: Score, bags: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, C) blended with weights that no row of the row's own fold has had a part in, and these weights, (K,
    R), by fold in ascending order."""
    blended = np.zeros(stack.shape[1:])
    weights = []
    for fold in np.unique(folds):
        inside = folds == fold
        weights.append(bagged_weights(stack[:, ~inside], labels[~inside], score, bags, seed))
        blended[inside] = blend(stack[:, inside], weights[-1])
    return blended, np.array(weights)
