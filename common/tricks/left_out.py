"""Rows of the training file that are predicted but not trained on."""

import numpy as np

from common.console import InputError
from common.folds import Splits


def without_rows(splits: Splits, dropped: np.ndarray, labels: np.ndarray, option: str) -> Splits:
    """The splits with the dropped rows, (N,) bool, left out of training; they are still predicted.

    option: what the user set, for the InputError where a fold is left with fewer than two classes.
    """
    splits = [(train_idx[~dropped[train_idx]], eval_idx) for train_idx, eval_idx in splits]
    if any(len(np.unique(labels[train_idx])) < 2 for train_idx, _ in splits):
        raise InputError(f"{option}: leaves a fold with fewer than two classes to train on")
    return splits
