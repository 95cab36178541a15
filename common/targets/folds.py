"""Who gets which row: rows that are alone in their group, and rows with several labels."""

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


def deal_out(fold_of: np.ndarray, labels: np.ndarray, num_folds: int, seed: int) -> None:
    """Give each row without a fold (-1), in random order, to the one with fewest rows of its class, then fewest rows.

    These are the rows that are alone in their group: StratifiedGroupKFold looks at each group in turn, which takes it
    half a minute for the 150,000 of NSMC.
    """
    alone = np.random.default_rng(seed).permutation(np.flatnonzero(fold_of < 0))
    placed = fold_of >= 0
    for c in np.unique(labels[alone]):
        rows = alone[labels[alone] == c]
        counts = np.bincount(fold_of[placed & (labels == c)], minlength=num_folds)
        totals = np.bincount(fold_of[placed], minlength=num_folds)
        for row in rows:
            fold = min(range(num_folds), key=lambda k: (counts[k], totals[k]))
            fold_of[row] = fold
            counts[fold] += 1
            totals[fold] += 1
        placed[rows] = True
