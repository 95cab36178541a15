import subprocess
import sys

import numpy as np
import pytest

from common.console import InputError
from common.metrics import compute_metrics, holm, paired_difference

NAMES = ["a", "b", "c"]


def logits_for(predictions, c=3, margin=4.0):
    return margin * np.eye(c)[np.asarray(predictions)]


def test_known_confusion_gives_the_values_computed_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 2])
    metrics = compute_metrics(logits_for([0, 0, 1, 1, 1, 0]), labels, NAMES)
    f1 = [2 / 3, 0.8, 0.0]
    assert metrics["accuracy"] == pytest.approx(4 / 6)
    assert metrics["standard_error"] == pytest.approx(np.sqrt(4 / 6 * 2 / 6 / 6))
    assert metrics["macro_f1"] == pytest.approx(np.mean(f1))
    assert metrics["weighted_f1"] == pytest.approx(np.average(f1, weights=[3, 2, 1]))
    assert metrics["majority_share"] == 0.5
    assert (metrics["n"], metrics["classes_in_labels"], metrics["classes_predicted"]) == (6, 3, 2)


def test_log_loss_of_uniform_logits_is_log_c_and_of_huge_logits_is_not_clipped():
    assert compute_metrics(np.zeros((4, 3)), np.array([0, 1, 2, 0]), NAMES)["log_loss"] == pytest.approx(np.log(3))
    assert compute_metrics(np.array([[0.0, 5000.0, 0.0]]), np.array([0]), NAMES)["log_loss"] == pytest.approx(5000)


def test_rows_with_label_minus_one_change_nothing():
    logits = np.random.default_rng(0).normal(size=(20, 3))
    labels = np.arange(20) % 3
    more_logits, more_labels = np.vstack([logits, 9 * np.ones((5, 3))]), np.append(labels, [-1] * 5)
    assert compute_metrics(more_logits, more_labels, NAMES) == compute_metrics(logits, labels, NAMES)


def test_classes_that_occur_nowhere_do_not_change_f1_and_auprc():
    metrics = compute_metrics(logits_for([0, 1, 1, 0]), np.array([0, 1, 1, 1]), NAMES)
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)
    assert metrics["classes_in_labels"] == 2
    assert compute_metrics(logits_for([0, 1]), np.array([0, 1]), NAMES)["auprc"] == 1.0


def test_auprc_is_average_precision_meaned_over_classes():
    logits = np.array([[3.0, 0.0], [2.0, 0.0], [1.0, 0.0], [0.0, 0.0]])  # ranked by class 0: right, wrong, right, wrong
    expected = ((1 / 1 + 2 / 3) / 2 + (1 / 1 + 2 / 3) / 2) / 2
    assert compute_metrics(logits, np.array([0, 1, 0, 1]), ["a", "b"])["auprc"] == pytest.approx(expected)


@pytest.mark.parametrize(("logits", "labels"), [(np.zeros((2, 3)), [-1, -1]), (np.full((2, 3), np.nan), [0, 1])])
def test_no_label_and_logits_that_are_not_finite_are_input_errors(logits, labels):
    with pytest.raises(InputError):
        compute_metrics(logits, np.array(labels), NAMES)


def test_evaluate_metrics_fed_in_batches_equal_compute_metrics():
    evaluate = pytest.importorskip("evaluate")
    from common.evaluate_metrics import AUPRC, Accuracy, LogLoss, MacroF1, WeightedF1

    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(30, 3)).astype(np.float32), rng.integers(-1, 3, 30)
    metric = evaluate.combine([Accuracy(), MacroF1(), WeightedF1(), LogLoss(), AUPRC()])
    for rows in (slice(0, 16), slice(16, 30)):
        metric.add_batch(predictions=logits[rows], references=labels[rows])
    expected = compute_metrics(logits, labels, NAMES)
    assert metric.compute() == {
        key: expected[key] for key in ("accuracy", "macro_f1", "weighted_f1", "log_loss", "auprc")
    }


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


@pytest.mark.parametrize("module", ["metrics", "logits", "submission", "report"])
def test_module_imports_neither_torch_nor_evaluate(module):
    code = f"import sys, common.{module}; sys.exit(bool({{'torch', 'evaluate', 'datasets'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
