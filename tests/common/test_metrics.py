import numpy as np
import pytest

from common.console import InputError
from common.metrics import compute_metrics

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
