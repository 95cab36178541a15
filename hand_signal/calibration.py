"""Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2): log loss punishes
confidence."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from common.console import InputError, print_once
from common.files import read_json, write_json
from common.logits import Logits
from common.metrics import row_log_losses

if TYPE_CHECKING:
    from common.run import Run

CALIBRATION = "calibration.json"  # in a run's folder
SHOWN = ("temperature", "log_loss", "log_loss_cross_fitted")
LOG_RANGE = (-3.0, 3.0)  # of the logarithm of a temperature: 0.05 to 20


def fit_temperature(parts: Sequence[Logits]) -> float:
    """The temperature T at which softmax(logits / T) of the labelled rows has the lowest log loss, between 0.05 and 20;
    1 without rows.

    Of N rows, one more is taken to be wrong than is: a label counts as (N + 1) / (N + 2), the rest for another class
    (Platt 1999, section 2.2). Where all N are right, the lowest log loss alone would drive T to 0 and all probabilities
    to 0 and 1; so they stay at about 1 / (N + 2), which is what N rows can say of an error that was not seen. Where
    rows are wrong, it changes next to nothing.
    """
    logits = np.concatenate([part.logits[part.labels >= 0] for part in parts]).astype(np.float64)
    labels = np.concatenate([part.labels[part.labels >= 0] for part in parts])
    if not len(labels):
        return 1.0
    unseen = 1 / (len(labels) + 2)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        right = -row_log_losses(scaled, labels)  # log p(label)
        others = np.where(np.arange(logits.shape[1]) == labels[:, None], -np.inf, scaled)
        wrong = logsumexp(others, axis=1) - logsumexp(scaled, axis=1)  # log of all other classes' share
        return -((1 - unseen) * right + unseen * wrong).mean()

    found = minimize_scalar(loss, bounds=LOG_RANGE, method="bounded")
    return float(np.exp(found.x))


def read_temperature(run_dir: str | Path) -> float:
    """What calibrate_run() wrote, 1 where it did not. Raises InputError where it is damaged."""
    path = Path(run_dir) / CALIBRATION
    temperature = read_json(path).get("temperature") if path.exists() else 1.0
    if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise InputError(f"{path}: temperature is {temperature!r}, expected the number above 0 that train.py wrote")
    return float(temperature)


def scale(logits: Logits, temperature: float) -> Logits:
    """The logits divided by the temperature."""
    return replace(logits, logits=logits.logits / temperature)


def calibrate_run(run: "Run") -> float:
    """The temperature of calibrate() of all folds; writes and prints what it gives."""
    found = calibrate([run.load_fold(fold)[0]["held_out"] for fold in range(run.args.num_folds)])
    print_once(f"calibration: {', '.join(f'{key} {found[key]:.4f}' for key in SHOWN)}")
    if run.state.is_main_process:
        write_json(run.dir / CALIBRATION, found)
    return found["temperature"]


def calibrate(folds: Sequence[Logits]) -> dict:
    """The temperature of all folds' held-out rows, and what it is worth: log loss in nats without, and cross-fitted.

    Cross-fitted: each fold's rows at the temperature that the other folds' rows want (fold_temperatures). Measured on
    the rows that it was fitted on, a temperature would look better than it is. folds: the held-out rows of each, two
    folds or more.
    """
    others = [fit_temperature([part for i, part in enumerate(folds) if i != fold]) for fold in range(len(folds))]
    return {
        "temperature": fit_temperature(folds),
        "fold_temperatures": others,
        "log_loss": log_loss(folds),
        "log_loss_cross_fitted": log_loss(
            [scale(part, temperature) for part, temperature in zip(folds, others, strict=True)]
        ),
    }


def log_loss(parts: Sequence[Logits]) -> float:
    """Mean over the labelled rows of all parts, in nats."""
    return float(np.concatenate([row_log_losses(part.logits, part.labels)[part.labels >= 0] for part in parts]).mean())
