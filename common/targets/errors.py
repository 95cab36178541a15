"""How sure a metric is."""

from collections.abc import Sequence

import numpy as np

from common.logits import Logits
from common.targets.classes import known_rows
from common.targets.registry import Metric


def standard_error(metric: Metric, logits: Logits, of_folds: Sequence[float], resamples: int) -> float | None:
    """Of the metric of these rows: with resamples the deviation over so many samples of the rows, with replacement
    (bootstrap, Efron 1979); else that of the mean over folds (their training rows overlap: the true error is larger);
    None with one fold."""
    if resamples == 0:
        return float(np.std(of_folds, ddof=1) / np.sqrt(len(of_folds))) if len(of_folds) > 1 else None
    known = known_rows(logits.labels)
    labels, values = logits.labels[known], logits.logits[known].astype(np.float64)
    generator = np.random.default_rng(0)
    drawn = (generator.integers(len(labels), size=len(labels)) for _ in range(resamples))
    return float(np.std([metric.function(labels[rows], values[rows]) for rows in drawn], ddof=1))
