"""Over- and undersampling by a ratio from 0 (as it is) to 1 (all classes equal), of the training part of a fold."""

import numpy as np

from common.console import InputError


def resample(labels: np.ndarray, oversample_ratio: float, undersample_ratio: float, seed: int) -> np.ndarray:
    """Ascending row numbers (with repeats) that bring every class to its target count.

    labels: (N,) int >= 0. A class is cut without replacement; it is raised by whole copies and a random rest without
    replacement.
    """
    counts = np.bincount(labels)
    targets = target_counts(counts, oversample_ratio, undersample_ratio)
    generator = np.random.default_rng(seed)
    chosen = []
    for label in np.flatnonzero(counts):
        rows = np.flatnonzero(labels == label)
        copies, rest = divmod(int(targets[label]), len(rows))
        chosen += [np.repeat(rows, copies), generator.permutation(rows)[:rest]]
    return np.sort(np.concatenate(chosen))


def target_counts(counts: np.ndarray, oversample_ratio: float, undersample_ratio: float) -> np.ndarray:
    """Rows per class after sampling. counts: (C,) int, zeros allowed and kept.

    Undersampling with ratio r cuts a class to at most n_max * (n_min / n_max)^r rows, so that a small r touches the
    largest class alone; oversampling then raises a class of n rows to n^(1-r) * n_max^r. Raises InputError for a ratio
    outside [0, 1].
    """
    for name, ratio in (("oversample_ratio", oversample_ratio), ("undersample_ratio", undersample_ratio)):
        if not 0 <= ratio <= 1:
            raise InputError(f"{name}: {ratio} is not between 0 and 1")
    present = counts > 0
    n = counts[present].astype(float)
    n = np.minimum(n, n.max() * (n.min() / n.max()) ** undersample_ratio)
    n = n ** (1 - oversample_ratio) * n.max() ** oversample_ratio
    targets = np.zeros_like(counts)
    targets[present] = np.rint(n).astype(counts.dtype)
    return targets
