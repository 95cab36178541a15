"""Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2): log loss punishes confidence."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar

from common.logits import Logits
from common.metrics import row_log_losses

LOG_RANGE = (-3.0, 3.0)  # of the logarithm of a temperature: 0.05 to 20


def fit_temperature(parts: Sequence[Logits]) -> float:
    """The temperature T at which softmax(logits / T) of the labelled rows has the lowest log loss, between 0.05 and 20; 1 without rows."""
    logits = np.concatenate([part.logits[part.labels >= 0] for part in parts]).astype(np.float64)
    labels = np.concatenate([part.labels[part.labels >= 0] for part in parts])
    if not len(labels):
        return 1.0
    found = minimize_scalar(lambda t: row_log_losses(logits / np.exp(t), labels).mean(), bounds=LOG_RANGE, method="bounded")
    return float(np.exp(found.x))


def scale(logits: Logits, temperature: float) -> Logits:
    """The logits divided by the temperature."""
    return replace(logits, logits=logits.logits / temperature)


def calibrate(folds: Sequence[Logits]) -> dict:
    """The temperature of all folds' held-out rows, and what it is worth: log loss in nats without, and cross-fitted.

    Cross-fitted: each fold's rows at the temperature that the other folds' rows want (fold_temperatures). Measured on the rows that it was
    fitted on, a temperature would look better than it is. folds: the held-out rows of each, two folds or more.
    """
    others = [fit_temperature([part for i, part in enumerate(folds) if i != fold]) for fold in range(len(folds))]
    return {
        "temperature": fit_temperature(folds),
        "fold_temperatures": others,
        "log_loss": log_loss(folds),
        "log_loss_cross_fitted": log_loss([scale(part, temperature) for part, temperature in zip(folds, others, strict=True)]),
    }


def log_loss(parts: Sequence[Logits]) -> float:
    """Mean over the labelled rows of all parts, in nats."""
    return float(np.concatenate([row_log_losses(part.logits, part.labels)[part.labels >= 0] for part in parts]).mean())
