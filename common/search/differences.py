"""By how much one trial is better than another, and how sure that is."""

import numpy as np

from common.logits import Logits
from common.metrics import metric_of


def bootstrap_difference(metric: str, a: Logits, b: Logits, resamples: int = 200) -> tuple[float, float]:
    """By how much a is better than b on the same rows, and the standard error of this: the rows drawn anew, `resamples`
    times.

    metric: a name of common/targets/registry.py, or the METRIC of the folder's data.py.
    """
    b = b.reorder(a.ids)
    chosen = metric_of(metric, "data", a.label_names)
    sign = 1 if chosen.greater_is_better else -1

    def better(rows: np.ndarray) -> float:
        scores = [chosen.function(a.labels[rows], part.logits[rows].astype(np.float64)) for part in (a, b)]
        return sign * (scores[0] - scores[1])

    generator = np.random.default_rng(0)
    drawn = [better(generator.integers(len(a.ids), size=len(a.ids))) for _ in range(resamples)]
    return better(np.arange(len(a.ids))), float(np.std(drawn, ddof=1))
