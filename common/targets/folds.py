"""Folds for rows with several labels: each label's rows, and each pair's, in equal parts."""

import numpy as np

from common.console import InputError


def split_several(
    labels: np.ndarray, groups: np.ndarray, num_folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """[(train_idx, eval_idx)] of K folds, as common.folds.split_folds().

    labels: (N, C) of zeros and ones. Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011) of the groups,
    each with the labels that any of its rows has. Raises InputError when K is larger than the number of groups.
    """
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    names, group_of = np.unique(groups, return_inverse=True)
    if num_folds > len(names):
        raise InputError(f"num_folds: {num_folds} is larger than the {len(names)} groups that may not be split")
    of_group = np.zeros((len(names), labels.shape[1]), dtype=np.int64)
    np.maximum.at(of_group, group_of, labels)
    none = (of_group.sum(axis=1) == 0).astype(np.int64)  # rows without a label are shared out evenly, too
    splitter = MultilabelStratifiedKFold(n_splits=num_folds, shuffle=True, random_state=seed)
    fold_of = np.empty(len(names), dtype=np.int64)
    for fold, (_, held) in enumerate(splitter.split(of_group, np.column_stack([of_group, none]))):
        fold_of[held] = fold
    rows = fold_of[group_of]
    return [(np.flatnonzero(rows != fold), np.flatnonzero(rows == fold)) for fold in range(num_folds)]
