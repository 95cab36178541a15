"""What an evaluation of the loop measures, as an evaluate.Metric, which needs no network (evaluate.load does).

Watched(keep_in_memory=True).compute(predictions=logits, references=labels, label_names=label_names)
"""

import datasets
import evaluate
import numpy as np

from common.metrics import compute_metrics
from common.options.fields import WATCHED


class Watched(evaluate.Metric):
    """WATCHED of compute_metrics(). predictions: logits (N, C), float32; references: labels (N,), -1 where unknown."""

    def _info(self) -> evaluate.MetricInfo:
        features = {"predictions": datasets.List(datasets.Value("float32")), "references": datasets.Value("int64")}
        return evaluate.MetricInfo(
            description=f"{', '.join(WATCHED)} of logits",
            citation="",
            inputs_description="predictions: logits (N, C); references: labels (N,)",
            features=datasets.Features(features),
        )

    def _compute(self, predictions: list, references: list, label_names: list[str]) -> dict[str, float]:
        metrics = compute_metrics(np.array(predictions, dtype=np.float32), np.array(references), label_names)
        return {key: metrics[key] for key in WATCHED}
