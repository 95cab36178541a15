"""Folds for rows with several labels: each label's rows in equal parts."""

import numpy as np

from common.console import InputError


def split_several(
    labels: np.ndarray, groups: np.ndarray, num_folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """[(train_idx, eval_idx)] of K folds, as common.folds.split_folds().

    labels: (N, C) of zeros and ones. Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, algorithm 1) of
    whole groups: the label that fewest of the rows left have is dealt out first, each time to the fold that lacks most
    rows of it, then most rows at all. Rows without a label are a label of their own. Raises InputError when K is larger
    than the number of groups.
    """
    names, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if num_folds > len(names):
        raise InputError(f"num_folds: {num_folds} is larger than the {len(names)} groups that may not be split")
    shown = np.column_stack([labels, ~labels.any(axis=1)]).astype(np.int64)
    counts = np.zeros((len(names), shown.shape[1]), dtype=np.int64)
    np.add.at(counts, group_of, shown)  # rows of each group with each label
    wanted = np.tile(counts.sum(axis=0) / num_folds, (num_folds, 1))
    room = np.full(num_folds, len(labels) / num_folds)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(names))
    fold_of = np.full(len(names), -1)
    left = counts.sum(axis=0)
    while left.any():
        label = int(np.where(left > 0, left, left.max() + 1).argmin())
        for group in order[(fold_of[order] < 0) & (counts[order, label] > 0)]:
            fold = max(range(num_folds), key=lambda k: (wanted[k, label], room[k]))
            fold_of[group] = fold
            wanted[fold] -= counts[group]
            room[fold] -= sizes[group]
            left -= counts[group]
    rows = fold_of[group_of]
    return [(np.flatnonzero(rows != fold), np.flatnonzero(rows == fold)) for fold in range(num_folds)]
