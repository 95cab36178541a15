"""What the tables of tests/benchmarks say of a difference."""

import numpy as np
import pytest

from tests.benchmarks.paired import holm, paired_difference


def test_paired_difference_is_surer_than_two_separate_accuracies():
    rng = np.random.default_rng(2)
    b = rng.random(1000) < 0.7
    a = b | (rng.random(1000) < 0.1)
    difference, error = paired_difference(a, b)
    assert difference == pytest.approx(a.mean() - b.mean())
    assert error == pytest.approx(np.std(a.astype(int) - b.astype(int), ddof=1) / np.sqrt(1000))
    assert error < np.sqrt(a.var() / 1000 + b.var() / 1000)


def test_holm_equals_the_textbook_example_in_any_order():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])
