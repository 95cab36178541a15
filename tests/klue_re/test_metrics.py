"""KLUE-RE's metrics against their definition, counted by hand."""

import numpy as np
import pytest
from sklearn.metrics import auc, precision_recall_curve

from common.logits import Logits
from klue_re.metrics import relation_metrics

NAMES = ["no_relation", "per:title", "org:members", "per:child"]


def logits_of(predicted, labels, names=NAMES, seed=None):
    values = np.zeros((len(labels), len(names)))
    if seed is not None:
        values += np.random.default_rng(seed).normal(size=values.shape)
    values[np.arange(len(labels)), predicted] += 1.5
    return Logits([str(i) for i in range(len(labels))], values, np.array(labels), list(names))


def test_micro_f1_counts_true_and_false_relations_and_leaves_right_no_relations_out():
    labels = [0, 0, 0, 1, 1, 2, 2, 3]
    predicted = [0, 0, 1, 1, 2, 2, 0, 3]  # 3 right relations, 5 given, 5 there
    assert relation_metrics(logits_of(predicted, labels))["klue_micro_f1"] == pytest.approx(2 * 3 / (5 + 5))
    more = relation_metrics(logits_of([0] * 50 + predicted, [0] * 50 + labels))
    assert more["klue_micro_f1"] == pytest.approx(0.6)


def test_the_korean_name_of_no_relation_is_left_out_too():
    names = ["관계_없음", *NAMES[1:]]
    assert relation_metrics(logits_of([0, 0, 1, 2], [0, 0, 1, 1], names))["klue_micro_f1"] == pytest.approx(0.5)


def test_micro_f1_is_0_where_no_row_has_or_gets_a_relation():
    assert relation_metrics(logits_of([0, 0], [0, 0]))["klue_micro_f1"] == 0.0


def test_auprc_is_klues_mean_of_trapezoidal_areas_over_all_labels():
    labels = [0, 0, 0, 1, 1, 2, 2, 3, 3, 1]
    logits = logits_of([0, 1, 0, 1, 2, 2, 0, 3, 3, 1], labels, seed=3)
    one_hot, probabilities = np.eye(4)[labels], logits.probabilities()
    areas = []
    for c in range(4):
        precision, recall, _ = precision_recall_curve(one_hot[:, c], probabilities[:, c])
        areas.append(auc(recall, precision))
    assert relation_metrics(logits)["klue_auprc"] == pytest.approx(np.mean(areas))
    assert relation_metrics(logits_of(labels, labels))["klue_auprc"] == pytest.approx(1.0)


def test_labels_without_rows_do_not_change_the_metrics_and_keep_their_columns():
    labels, predicted = [0, 0, 1, 1, 2], [0, 1, 1, 1, 2]
    few = relation_metrics(logits_of(predicted, labels, NAMES[:3]))
    logits = logits_of(predicted, labels, [*NAMES[:3], *(f"absent{i}" for i in range(39))])
    logits.logits[:, 3:] = -50.0
    assert logits.logits.shape == (5, 42)
    assert relation_metrics(logits) == pytest.approx(few)


def test_rows_without_a_label_are_left_out():
    logits = logits_of([0, 1, 2], [0, 1, 2])
    assert relation_metrics(logits_of([0, 1, 2, 3], [0, 1, 2, -1])) == pytest.approx(relation_metrics(logits))
