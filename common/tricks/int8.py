"""8-bit weights for predictions of texts on CPUs, and what they change where labels are known.

Dynamic quantization: weights of linear layers are rounded to int8 once, their inputs to int8 per batch (torch's
quantize_dynamic; Zafrir et al. 2019, arXiv 1910.06188, section 3, without the training).
"""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from common.console import InputError, print_once
from common.logits import Logits, average
from common.metrics import compute_metrics
from common.targets.classes import known_rows

COMPARED = 1000  # labelled rows that are predicted a second time, with the weights as they are


class Int8Model(torch.nn.Module):
    """A copy of a model with int8 linear layers; everything else is float32, whatever the run was trained in."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=UserWarning)
            kinds = {torch.nn.Linear}
            self.model = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model).eval(), kinds, torch.qint8)

    def forward(self, **inputs: torch.Tensor) -> Any:
        with torch.autocast("cpu", enabled=False):
            return self.model(**inputs)


class Int8:
    """Predicts with int8 models, and says at the last one what that changes, on the first labelled rows.

    ensemble: its parts are those before, in the order of its weights. predict: predict_logits(). Raises InputError on a
    GPU.
    """

    def __init__(self, ensemble: Any, predict: Callable[..., Logits]):
        if ensemble.device.type != "cpu":
            raise InputError("int8: is for CPUs; on a GPU predict.py uses the precision of the run, bf16 or fp16")
        self.ensemble = ensemble
        self.predict = predict
        self.exact: list[Logits] = []

    def __call__(self, model: torch.nn.Module, rows: Dataset, *how: Any) -> Logits:
        """predict(model, rows, *how) with the model in int8."""
        logits = self.predict(Int8Model(model), rows, *how)
        labelled = np.flatnonzero(known_rows(logits.labels))[:COMPARED]
        if len(labelled):
            self.exact.append(self.predict(model, rows.select(labelled), *how))
            if len(self.exact) == len(self.ensemble.weights):
                self.say_change([*self.ensemble.parts, logits], self.ensemble.weights)
        return logits

    def say_change(self, parts: list[Logits], weights: list[float]) -> None:
        """Print scores of the average with and without int8, on the same rows. parts: of each fold, all rows."""
        exact = average(self.exact, weights)
        ours = average(parts, weights)
        known = np.isin(ours.ids, exact.ids)
        ours = Logits(ours.ids[known], ours.logits[known], ours.labels[known], ours.label_names)
        target = exact.label_names
        before, after = (compute_metrics(part.logits, part.labels, target) for part in (exact, ours))
        names = dict.fromkeys((target.metric, target.loss))
        cells = [f"{name} {after[name]:.4f}, without {before[name]:.4f}" for name in names]
        if target.kind == "classes":
            right = [part.logits.argmax(axis=1) == part.labels for part in (exact, ours)]
            difference = right[1].astype(float) - right[0]
            error = difference.std() / np.sqrt(len(difference))
            cells[0] += f" (difference {difference.mean():+.4f} ± {error:.4f})"
        print_once(f"int8: {'; '.join(cells)}; on {len(exact.ids)} labelled rows")
