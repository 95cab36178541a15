"""The metrics of KLUE-RE, as fractions: Park et al. 2021 "KLUE: Korean Language Understanding Evaluation" (arXiv
2105.09680), and its code, klue_baseline/metrics/functional.py of github.com/KLUE-benchmark/KLUE-baseline."""

import numpy as np
from scipy.special import softmax
from sklearn.metrics import auc, f1_score, precision_recall_curve

from common.logits import Logits

NO_RELATION = ("no_relation", "관계_없음")


def relation_metrics(logits: Logits) -> dict[str, float]:
    """KLUE's metrics over the rows with a label; there is at least one.

    klue_micro_f1   over all labels but no_relation: a no_relation row counts only where it was given a relation; 0
                    where no row has or was given one
    klue_auprc      area under the precision-recall curve (trapezoidal) of each label, no_relation too, unweighted mean.
                    KLUE's code gives 0.5 for a label without rows; such labels are left out here (KLUE's own evaluation
                    sets have rows of all)
    """
    known = logits.labels >= 0
    labels = logits.labels[known]
    values = logits.logits[known].astype(np.float64)
    relations = [number for number, name in enumerate(logits.label_names) if name not in NO_RELATION]
    probabilities = softmax(values, axis=1)
    areas = []
    for number in np.unique(labels):
        precision, recall, _ = precision_recall_curve(labels == number, probabilities[:, number])
        areas.append(auc(recall, precision))
    micro_f1 = f1_score(labels, values.argmax(axis=1), average="micro", labels=relations, zero_division=0)
    return {"klue_micro_f1": float(micro_f1), "klue_auprc": float(np.mean(areas))}
