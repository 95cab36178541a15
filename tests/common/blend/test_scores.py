"""A blend's metrics of decisions are those of scikit-learn, from counts."""

import numpy as np
import pytest

from common.blend.scores import CONFUSED, COUNTED, score_of
from common.targets.ordered import quadratic_kappa
from common.targets.registry import METRICS

ROWS = {
    "all classes": (np.arange(60) % 4, np.arange(60) % 7 % 4),
    "a class that is never predicted": (np.arange(60) % 4, np.arange(60) % 3),
    "a class in the middle that no row has": (np.arange(60) % 2 * 3, np.arange(60) % 3 // 2 * 3),
    "predictions of one class": (np.arange(60) % 4, np.full(60, 2)),
    "one class throughout": (np.full(60, 1), np.full(60, 1)),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # a single label
@pytest.mark.parametrize("labels, predictions", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("name", [*CONFUSED, *COUNTED])
def test_a_metric_from_counts_is_the_registrys(name, labels, predictions):
    if name == "f1":  # of two classes
        labels, predictions = labels % 2, predictions % 2
    logits = np.eye(2 if name == "f1" else 4)[predictions]
    assert score_of(METRICS[name]).value(logits, labels) == pytest.approx(METRICS[name].function(labels, logits))


def test_a_class_that_no_row_has_keeps_its_neighbours_apart_in_kappa():
    """Of ratings 0, 1 and 3 the last two are two apart, although no row is rated 2."""
    labels, predictions = np.array([0, 1, 3, 3]), np.array([0, 3, 1, 3])
    distances = np.square(labels[:, None] - predictions)
    by_hand = 1 - np.trace(distances) / (distances.sum() / 4)
    assert quadratic_kappa(labels, predictions) == pytest.approx(by_hand)
