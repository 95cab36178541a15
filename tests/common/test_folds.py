"""Splits and sampling."""

from types import SimpleNamespace

import numpy as np
import pytest

from common.console import InputError
from common.examples import TextExample
from common.folds import hold_out, make_splits, split_folds
from common.tricks.left_out import without_rows
from common.tricks.sampling import resample, target_counts


def data(rows=300, seed=0):
    generator = np.random.default_rng(seed)
    return generator.choice(4, rows, p=[0.6, 0.2, 0.15, 0.05]), np.repeat(np.arange(rows // 6), 6).astype(str)


def examples(labels, groups):
    pairs = zip(labels.tolist(), groups.tolist(), strict=True)
    return [TextExample(str(i), ["x"], label, str(group)) for i, (label, group) in enumerate(pairs)]


def test_every_row_is_held_out_once_and_no_group_is_on_both_sides():
    labels, groups = data()
    folds = split_folds(labels, groups, 5, 0)
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(300))
    for train, held in folds:
        assert not set(groups[train]) & set(groups[held]) and len(train) + len(held) == 300


@pytest.mark.parametrize("shared", [0, 4, 60])
def test_rows_that_are_alone_in_their_group_are_dealt_out_evenly_by_class(shared):
    labels = np.random.default_rng(0).choice(3, 500, p=[0.7, 0.2, 0.1])
    groups = np.concatenate([np.repeat(np.arange(shared // 2), 2), 1000 + np.arange(500 - shared)])
    folds = split_folds(labels, groups, 5, 0)
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(500))
    counts = np.array([np.bincount(labels[held], minlength=3) for _, held in folds])
    assert np.ptp(counts, axis=0).max() <= 1 and np.ptp(counts.sum(axis=1)) <= 2
    for train, held in folds:
        assert not set(groups[train]) & set(groups[held])
    assert not np.array_equal(folds[0][1], split_folds(labels, groups, 5, 1)[0][1])


def test_the_split_depends_on_the_seed_alone():
    labels, groups = data()
    same = [[held.tolist() for _, held in split_folds(labels, groups, 3, seed)] for seed in (1, 1, 2)]
    assert same[0] == same[1] != same[2]


def test_more_folds_than_groups_is_an_error_and_rare_labels_are_named(capsys):
    labels, groups = np.array([0, 1] * 6), np.repeat(["a", "b", "c"], 4)
    with pytest.raises(InputError, match="larger than the number of groups"):
        split_folds(labels, groups, 4, 0)
    labels[labels == 1] = [1, 0, 0, 0, 0, 0]
    args = SimpleNamespace(metric=None, num_folds=3, fold_seed=0)
    assert len(make_splits({"train": examples(labels, groups)}, ["joy", "fear"], args)) == 3
    assert capsys.readouterr().out == "1 labels occur in fewer than 3 groups, some folds lack them: fear\n"


def test_one_fold_trains_on_all_rows_where_there_is_an_eval_file_and_else_on_nine_tenths():
    labels, groups, args = np.arange(100) % 2, np.arange(100), SimpleNamespace(metric=None, num_folds=1, fold_seed=0)
    rows = {"train": examples(labels, groups), "eval": []}
    ((train, held),) = make_splits(rows, ["a", "b"], args)
    assert train.tolist() == list(range(100)) and held is None
    del rows["eval"]
    ((train, held),) = make_splits(rows, ["a", "b"], args)
    assert len(held) == 10 and sorted([*train, *held]) == list(range(100))


def test_a_tenth_is_held_back_in_whole_groups():
    labels, groups = data()
    train, held = hold_out(labels, groups, 0)
    assert 20 <= len(held) <= 42 and not set(groups[train]) & set(groups[held])
    with pytest.raises(InputError, match="one group"):
        hold_out(labels, np.zeros(300), 0)


@pytest.mark.parametrize("several", [False, True])
def test_a_group_that_is_larger_than_a_tenth_is_not_what_is_held_back(several):
    for seed in range(5):
        random = np.random.default_rng(seed)
        sizes = [*random.permutation([200, 60, *[8] * 30])]
        groups = np.repeat(np.arange(len(sizes)), sizes)
        labels = np.concatenate([random.choice(3, size, p=random.dirichlet([0.5] * 3)) for size in sizes])
        labels = np.eye(3, dtype=int)[labels] if several else labels
        train, held = hold_out(labels, groups, seed)
        assert 0 < len(held) <= 100 and not set(groups[train]) & set(groups[held])


def test_ratios_reach_from_as_it_is_to_all_equal():
    counts = np.array([1000, 100, 10, 0])
    assert target_counts(counts, 0, 0).tolist() == [1000, 100, 10, 0]
    assert target_counts(counts, 1, 0).tolist() == [1000, 1000, 1000, 0]
    assert target_counts(counts, 0, 1).tolist() == [10, 10, 10, 0]
    assert target_counts(counts, 0.5, 0).tolist() == [1000, 316, 100, 0]  # n^(1-r) n_max^r
    assert target_counts(counts, 0, 0.25).tolist() == [316, 100, 10, 0]  # only the largest class is cut
    with pytest.raises(InputError, match="oversample_ratio: 1.5"):
        target_counts(counts, 1.5, 0)


def test_resampling_reaches_the_target_counts_and_keeps_every_row_it_raises():
    labels = np.repeat([0, 1, 2], [50, 20, 3])
    rows = resample(labels, 0.5, 0, 0)
    assert np.bincount(labels[rows]).tolist() == target_counts(np.array([50, 20, 3]), 0.5, 0).tolist()
    assert set(range(73)) == set(rows.tolist())
    cut = resample(labels, 0, 1, 0)
    assert np.bincount(labels[cut]).tolist() == [3, 3, 3] and len(set(cut.tolist())) == 9
    assert resample(labels, 0, 0, 0).tolist() == list(range(73))


def test_dropped_rows_are_not_trained_on_and_still_predicted():
    splits = [(np.array([0, 1, 2]), np.array([3])), (np.array([0, 2, 3]), np.array([1]))]
    dropped = np.array([False, True, False, True])
    kept = without_rows(splits, dropped, np.array([0, 0, 1, 1]), "option")
    assert [train.tolist() for train, _ in kept] == [[0, 2], [0, 2]]
    assert [held.tolist() for _, held in kept] == [[3], [1]]
    with pytest.raises(InputError, match="option: leaves a fold with fewer than two classes"):
        without_rows(splits, dropped, np.array([0, 0, 0, 1]), "option")
