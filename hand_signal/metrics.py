"""What an evaluation of the loop measures, as an evaluate.Metric, which needs no network (evaluate.load does).

Watched(keep_in_memory=True).compute(predictions=logits, references=labels, label_names=label_names)
Watched("several", ...)         # of common.targets.SeveralLabels; "number", "ordered" of the others
"""

import datasets
import evaluate
import numpy as np

from common.metrics import compute_metrics
from common.targets import Metric, Number, SeveralLabels, as_target, with_metric


class Watched(evaluate.Metric):
    """What the target watches of compute_metrics(), and the metric that was asked for. predictions: logits (N, C),
    float32; references: labels (N,), of several labels (N, C), -1 where unknown."""

    def _info(self) -> evaluate.MetricInfo:
        label = datasets.Value("float64" if self.config_name == Number.kind else "int64")
        features = {
            "predictions": datasets.List(datasets.Value("float32")),
            "references": datasets.List(label) if self.config_name == SeveralLabels.kind else label,
        }
        return evaluate.MetricInfo(
            description="what a target watches, of logits",
            citation="",
            inputs_description="predictions: logits (N, C); references: labels (N,) or (N, C)",
            features=datasets.Features(features),
        )

    def _compute(
        self, predictions: list, references: list, label_names: list[str], metric: Metric | None = None
    ) -> dict[str, float]:
        metrics = compute_metrics(np.array(predictions, dtype=np.float32), np.array(references), label_names, metric)
        return {key: metrics[key] for key in with_metric(as_target(label_names).watched, metric)}
