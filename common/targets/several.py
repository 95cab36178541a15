"""Any number of labels a row: a sigmoid and binary cross-entropy for each."""

from typing import TYPE_CHECKING, Any

import numpy as np

from common.console import InputError
from common.targets.classes import Classes, only_known

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

AVERAGES = ("micro", "macro", "weighted")


class SeveralLabels(Classes):
    """The names of C labels, of which a row has any number. A row's label is a tuple of C zeros and ones: encode().

    weights() and focal_gamma are those of Lin et al. 2017, eq. 4 and 5, for each label by itself.
    """

    kind = "several"
    problem_type = "multi_label_classification"
    metric = "micro_f1"
    watched = ("micro_f1", "macro_f1", "exact_match", "log_loss")
    card = {"micro_f1": "f1_micro", "macro_f1": "f1_macro", "exact_match": "exact_match"}

    @property
    def unknown(self) -> tuple[int, ...]:
        return (-1,) * len(self)

    def encode(self, names: "Iterable[str]", where: str) -> tuple[int, ...]:
        """The label of a row that has these. Raises InputError, which begins with `where`, for a name that is none of
        them or that stands twice."""
        names = list(names)
        for name in names:
            if name not in self:
                raise InputError(f"{where}: {name!r:.80} is not one of {', '.join(self)}")
            if names.count(name) > 1:
                raise InputError(f"{where}: {name!r} stands there twice")
        return tuple(int(name in names) for name in self)

    def array(self, labels: Any) -> np.ndarray:
        array = np.asarray(labels, dtype=np.int64)
        bad = (array < -1) | (array > 1)
        if array.ndim != 2 or array.shape[1] != len(self) or bad.any():
            raise InputError(f"labels are {array.shape}, expected {len(self)} zeros and ones a row, or -1: unknown")
        return array

    def in_words(self, label: Any) -> str:
        if label[0] < 0:
            return "unknown"
        return ", ".join(name for name, given in zip(self, label, strict=True) if given) or "none"

    def counts(self, labels: np.ndarray) -> list[int]:
        """Rows with each label."""
        return labels.sum(axis=0).tolist()

    def weights(self, labels: np.ndarray, strength: float) -> np.ndarray | None:
        """(C,) float32: what a row that has a label counts, (rows without / rows with) ** strength."""
        if strength == 0:
            return None
        rows = np.clip(labels.sum(axis=0), 1, max(1, len(labels) - 1))
        return (((len(labels) - rows) / rows) ** strength).astype(np.float32)

    def row_losses(
        self, outputs: "Tensor", labels: "Tensor", weights: "Tensor | None", focal_gamma: float, label_smoothing: float
    ) -> "Tensor":
        """(B,) float32: the sum over the labels; the Trainer divides by rows times labels."""
        from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

        outputs = outputs.float()
        targets = labels.to(outputs)
        smooth = targets * (1 - label_smoothing) + label_smoothing / 2
        losses = binary_cross_entropy_with_logits(outputs, smooth, pos_weight=weights, reduction="none")
        if focal_gamma > 0:
            losses = losses * (focal_gamma * logsigmoid(outputs * (1 - 2 * targets))).exp()  # (1 - p of the truth)
        return losses.sum(-1)

    def divergence(self, outputs_a: "Tensor", outputs_b: "Tensor") -> "Tensor":
        """(B,) the sum over labels of (KL(a || b) + KL(b || a)) / 2 between Bernoulli distributions."""
        a, b = outputs_a.float(), outputs_b.float()
        return ((a.sigmoid() - b.sigmoid()) * (a - b)).sum(-1) / 2

    def check(self, args: Any, training_args: Any) -> None:
        why = "a row has several labels, so that classes cannot be brought to one size; use class_weight_strength"
        self.refuse(args, ("oversample_ratio", "undersample_ratio", "feature_oversample_ratio"), why)

    def measure(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Metrics of logits (N, C) against labels (N, C) of 0 and 1; a label is predicted where its logit is above 0.

        micro_f1      over all N * C decisions
        macro_f1      unweighted mean over the labels that occur in labels or predictions; 0 where none does
        weighted_f1   mean over the labels that occur, weighted by their rows
        exact_match   share of the rows with all labels right, with its binomial `standard_error`
        log_loss      mean binary cross-entropy of a decision, in nats
        auprc         mean average precision over the labels that occur
        n, labels_per_row, predicted_per_row
        """
        from sklearn.metrics import average_precision_score

        from common.targets.registry import f1_of_several

        logits, labels = only_known(logits, labels)
        predictions = (logits > 0).astype(np.int64)
        exact = float((predictions == labels).all(axis=1).mean())
        occur = np.flatnonzero(labels.any(axis=0))
        precisions = [average_precision_score(labels[:, c], logits[:, c]) for c in occur]
        return {
            **{f"{average}_f1": f1_of_several(average, labels, predictions) for average in AVERAGES},
            "exact_match": exact,
            "standard_error": float(np.sqrt(exact * (1 - exact) / len(labels))),
            "log_loss": float(np.mean(np.logaddexp(0, logits) - labels * logits)),
            "auprc": float(np.mean(precisions)) if precisions else 0.0,
            "n": len(labels),
            "labels_per_row": float(labels.sum(axis=1).mean()),
            "predicted_per_row": float(predictions.sum(axis=1).mean()),
        }

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """(N, C) float64, of each label by itself."""
        from scipy.special import expit

        return expit(np.asarray(logits, dtype=np.float64))

    def summary(self, values: dict[str, float]) -> str:
        return (
            f"micro F1 {values['micro_f1']:.4f}, macro F1 {values['macro_f1']:.4f}, "
            f"exact match {values['exact_match']:.4f} ± {values['standard_error']:.4f}, "
            f"log loss {values['log_loss']:.4f}"
        )

    def short(self, values: dict[str, float]) -> str:
        return f"micro F1 {values['micro_f1']:.4f}, exact match {values['exact_match']:.4f}"
