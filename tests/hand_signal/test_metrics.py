"""hand_signal/metrics.py: what the loop measures is what compute_metrics() says, without a network and without files."""

import numpy as np

from common.metrics import compute_metrics
from common.options.fields import WATCHED
from common.targets.registry import METRICS
from hand_signal.metrics import Watched


def test_an_evaluation_has_the_bits_of_compute_metrics_each_time_and_leaves_the_random_numbers_alone(tmp_path):
    metric = Watched(keep_in_memory=True, cache_dir=str(tmp_path))
    random = np.random.default_rng(0)
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    for rows in (60, 7):
        logits = random.normal(0, 3, (rows, 5)).astype(np.float32)
        labels = random.integers(-1, 5, rows)
        expected = compute_metrics(logits, labels, list("abcde"))
        found = metric.compute(predictions=logits, references=labels, label_names=list("abcde"))
        assert found == {key: expected[key] for key in WATCHED}
        own = metric.compute(predictions=logits, references=labels, label_names=list("abcde"), metric=METRICS["mcc"])
        assert own == {**found, "mcc": compute_metrics(logits, labels, list("abcde"), METRICS["mcc"])["mcc"]}
    assert np.array_equal(np.random.get_state()[1], before)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
