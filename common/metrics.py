"""Metrics of logits against labels: what the target measures, and the metric that is to be good."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from common.targets import Metric, as_target
from common.targets.classes import only_known
from common.targets.registry import METRICS, find_metric


def compute_metrics(
    logits: np.ndarray, labels: np.ndarray, label_names: Sequence[str], metric: Metric | None = None
) -> dict[str, float]:
    """What the measure() of common/targets gives: of classes accuracy, macro F1, log loss and others; and the metric
    where that is not among them, or is the folder's own of that name. Rows without a label are left out. Raises
    InputError where no row has one or a logit is not finite."""
    values = as_target(label_names).measure(logits, labels)
    if metric is not None and (metric.name not in values or metric is not METRICS.get(metric.name)):
        logits, labels = only_known(logits, labels)
        values[metric.name] = float(metric.function(labels, logits))
    return values


def metric_of(name: str | None, data: str, label_names: Sequence[str]) -> Metric | None:
    """The metric of that name, or without one the METRIC of the folder's data.py; None: there is none either.

    data: what data.py is called as a module. Raises InputError as find_metric() does.
    """
    default = getattr(sys.modules.get(data), "METRIC", None)
    own = default if isinstance(default, Metric) else None
    name = name or (own.name if own else default)
    return find_metric(name, as_target(label_names), own) if name else None


def task_metric(args: Any, label_names: Sequence[str]) -> Metric | None:
    """metric_of() what a train.py's arguments say, whose dataclass stands in data.py."""
    return metric_of(args.metric, type(args).__module__, label_names)


def row_log_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) negative log likelihood in nats of labels (N,) under softmax(logits), logits (N, C)."""
    from scipy.special import log_softmax  # data.py may import this module, and --help answers at once

    return -log_softmax(np.asarray(logits, dtype=np.float64), axis=1)[np.arange(len(labels)), labels]
