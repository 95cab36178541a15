"""By how much one trial is better than another, and how sure that is."""

import numpy as np
from sklearn.metrics import f1_score

from common.logits import Logits
from common.metrics import row_log_losses


def bootstrap_difference(metric: str, a: Logits, b: Logits, resamples: int = 200) -> tuple[float, float]:
    """By how much a is better than b on the same rows, and the standard error of this: the rows drawn anew, `resamples`
    times.

    metric: accuracy, macro_f1 or log_loss (where lower is better).
    """
    b = b.reorder(a.ids)
    labels = a.labels
    predictions = [part.logits.argmax(axis=1) for part in (a, b)]
    gain = (predictions[0] == labels).astype(np.float64) - (predictions[1] == labels)  # per row
    if metric == "log_loss":
        gain = row_log_losses(b.logits, labels) - row_log_losses(a.logits, labels)

    def better(rows: np.ndarray) -> float:
        if metric != "macro_f1":
            return float(gain[rows].mean())
        return float(
            np.subtract(*[f1_score(labels[rows], p[rows], average="macro", zero_division=0) for p in predictions])
        )

    generator = np.random.default_rng(0)
    drawn = [better(generator.integers(len(labels), size=len(labels))) for _ in range(resamples)]
    return better(np.arange(len(labels))), float(np.std(drawn, ddof=1))
