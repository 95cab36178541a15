"""Ordered classes: for each class but the last, the probability that a row is beyond it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from common.targets.classes import Classes, only_known

if TYPE_CHECKING:
    from torch import Tensor


class Ordered(Classes):
    """The names of C classes in their order. A row's label is the number of its class, -1 where unknown.

    Conditional ordinal regression (CORN, Shi, Cao and Raschka 2021, arXiv 2111.08851, eq. 6 to 8): output k is the
    logit of P(y > k | y >= k); the product of the first k is P(y > k), so that it cannot grow with k. The last of the
    C outputs is not used: the model keeps an output per class. Logits has the logarithms of the C probabilities.
    """

    kind = "ordered"
    metric = "quadratic_kappa"
    watched = ("accuracy", "macro_f1", "quadratic_kappa", "log_loss", "classes_predicted")
    card = {"accuracy": "accuracy", "quadratic_kappa": "cohen_kappa", "log_loss": "log_loss"}

    def to_logits(self, outputs: "Tensor") -> "Tensor":
        import torch
        from torch.nn.functional import logsigmoid

        beyond = logsigmoid(outputs[:, :-1])  # (B, C - 1)
        reached = torch.cat([torch.zeros_like(outputs[:, :1]), beyond.cumsum(-1)], dim=-1)  # log P(y >= k)
        stays = torch.cat([logsigmoid(-outputs[:, :-1]), torch.zeros_like(outputs[:, :1])], dim=-1)
        return reached + stays

    def row_losses(
        self, outputs: "Tensor", labels: "Tensor", weights: "Tensor | None", focal_gamma: float, label_smoothing: float
    ) -> "Tensor":
        """(B,) float32: binary cross-entropy of the questions that a row's class answers, which is -log P(class)."""
        losses = -self.to_logits(outputs.float()).gather(1, labels[:, None])[:, 0]
        return losses if weights is None else losses * weights[labels]

    def check(self, args: Any, training_args: Any) -> None:
        why = "ordered classes are learned by yes-no questions, which it is not defined for"
        self.refuse(args, ("focal_gamma",), why)
        self.refuse(training_args, ("label_smoothing_factor",), why)

    def measure(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """As of Classes, and quadratic_kappa (Cohen 1968, quadratic weights; 0 where all are one class) and mae, in
        classes."""
        values = super().measure(logits, labels)
        logits, labels = only_known(logits, labels)
        predictions = logits.argmax(axis=1)
        distance = float(np.abs(predictions - labels).mean())
        return {**values, "quadratic_kappa": quadratic_kappa(labels, predictions), "mae": distance}

    def summary(self, values: dict[str, float]) -> str:
        return f"quadratic kappa {values['quadratic_kappa']:.4f}, {super().summary(values)}"

    def short(self, values: dict[str, float]) -> str:
        return f"quadratic kappa {values['quadratic_kappa']:.4f}, {super().short(values)}"


def quadratic_kappa(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights of two (N,) int >= 0; 0 where both are one and the same class throughout. A
    class that no row has lies between its neighbours all the same."""
    if len(np.unique([labels, predictions])) < 2:
        return 0.0
    from sklearn.metrics import cohen_kappa_score

    classes = np.arange(max(np.max(labels), np.max(predictions)) + 1)
    return float(cohen_kappa_score(labels, predictions, labels=classes, weights="quadratic"))
