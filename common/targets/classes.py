"""One of several classes: softmax and cross-entropy. What every other target is told apart from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from common.console import DIVERGED, InputError

if TYPE_CHECKING:
    from torch import Tensor


def known_rows(labels: np.ndarray) -> np.ndarray:
    """(N,) bool: the rows that have a label. labels: (N,) int, -1 unknown; (N,) float, NaN; or (N, C) int, -1."""
    if labels.dtype.kind == "f":
        return ~np.isnan(labels)
    return (labels if labels.ndim == 1 else labels[:, 0]) >= 0


class Classes(list):
    """The names of C classes, of which a row has one. A row's label is its number, -1 where unknown.

    kind: as files write it. unknown: the label of a row without one. metric: what is to be good where nothing else is
    said. watched: what the evaluations of a fold measure; eval_loss is the one that loss names.
    """

    kind = "classes"
    problem_type = "single_label_classification"  # as transformers has it in config.json
    unknown: Any = -1
    metric = "accuracy"
    loss = "log_loss"
    watched = ("accuracy", "macro_f1", "log_loss", "classes_predicted")
    card = {"accuracy": "accuracy", "macro_f1": "f1_macro", "log_loss": "log_loss"}  # metric -> its name on the hub

    def settings(self) -> dict[str, Any]:
        """What config.json says of it beside the names: nothing of classes."""
        return {} if self.kind == "classes" else {"kind": self.kind}

    def array(self, labels: Any) -> np.ndarray:
        """(N,) int64. Raises InputError for a number that is no class."""
        array = np.asarray(labels, dtype=np.int64)
        bad = (array < -1) | (array >= len(self))
        if array.ndim == 1 and bad.any():
            raise InputError(f"{bad.sum()} of {len(array)} rows have a label outside -1..{len(self) - 1}")
        return array

    def in_words(self, label: Any) -> str:
        """A row's label, or what a model says of it, as people read it."""
        return self[int(label)] if label >= 0 else "unknown"

    def strata(self, labels: np.ndarray) -> np.ndarray:
        """(N,) int64 from 0: what folds are to have equal shares of."""
        return labels

    def counts(self, labels: np.ndarray) -> list[int]:
        """Rows of each class."""
        return np.bincount(labels, minlength=len(self)).tolist()

    def fit(self, labels: np.ndarray) -> None:
        """Look at the labels of a fold's training rows before it is trained."""

    def weights(self, labels: np.ndarray, strength: float) -> np.ndarray | None:
        """(C,) float32 for row_losses(); None: none."""
        if strength == 0:
            return None
        from common.tricks.loss import class_weights

        return class_weights(labels, len(self), strength)

    def to_logits(self, outputs: "Tensor") -> "Tensor":
        """(B, C) as Logits has them, from a model's outputs (B, outputs) in float32."""
        return outputs

    def row_losses(
        self, outputs: "Tensor", labels: "Tensor", weights: "Tensor | None", focal_gamma: float, label_smoothing: float
    ) -> "Tensor":
        """(B,) float32: cross-entropy with label smoothing, class weights and focal loss, as far as they are on."""
        if weights is None and focal_gamma == 0:
            from torch.nn.functional import cross_entropy

            return cross_entropy(outputs.float(), labels, reduction="none", label_smoothing=label_smoothing)
        from common.tricks.loss import classification_loss

        options = {"weights": weights, "focal_gamma": focal_gamma, "label_smoothing": label_smoothing}
        return classification_loss(outputs, labels, **options)

    def divergence(self, outputs_a: "Tensor", outputs_b: "Tensor") -> "Tensor":
        """(B,) R-Drop's term of two passes."""
        from common.tricks.loss import rdrop_loss

        return rdrop_loss(self.to_logits(outputs_a.float()), self.to_logits(outputs_b.float()))

    def check(self, args: Any, training_args: Any) -> None:
        """Raise InputError for options that this target cannot have. args: a train.py's."""

    def refuse(self, args: Any, names: Sequence[str], why: str) -> None:
        """Raise InputError where one of these options is on, which a task need not have."""
        for name in names:
            if getattr(args, name, 0):
                raise InputError(f"{name}: {why}")

    def measure(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Metrics of logits (N, C) against labels (N,) in 0..C-1; rows with label -1 (unknown) are left out.

        Fractions between 0 and 1, but for log_loss, in nats:
        accuracy           with its binomial `standard_error`
        macro_f1           unweighted mean over the classes that occur in labels or predictions (F1 is 0 for a class in
                           one of them only)
        weighted_f1        mean over the classes that occur in the labels, weighted by their rows
        log_loss           over all C columns, not clipped
        auprc              average precision (step-wise, not trapezoidal), unweighted mean over the classes that occur
                           in the labels
        majority_share     share of the most frequent label: the accuracy of a model that has learned nothing
        n, classes_in_labels, classes_predicted    counts: rows with a label, and different classes among their labels
                           and predictions

        Raises InputError where no row has a label or a logit is not finite.
        """
        from scipy.special import log_softmax
        from sklearn.metrics import average_precision_score, f1_score

        logits, labels = only_known(logits, labels)
        n = len(labels)
        log_probabilities = log_softmax(logits, axis=1)
        predictions = log_probabilities.argmax(axis=1)
        accuracy = float(np.mean(predictions == labels))
        support = np.bincount(labels, minlength=len(self))
        precisions = [average_precision_score(labels == c, log_probabilities[:, c]) for c in np.flatnonzero(support)]
        return {
            "accuracy": accuracy,
            "standard_error": float(np.sqrt(accuracy * (1 - accuracy) / n)),
            "macro_f1": float(f1_score(labels, predictions, average="macro", zero_division=0)),
            "weighted_f1": float(f1_score(labels, predictions, average="weighted", zero_division=0)),
            "log_loss": float(-log_probabilities[np.arange(n), labels].mean()),
            "auprc": float(np.mean(precisions)),
            "majority_share": float(support.max() / n),
            "n": n,
            "classes_in_labels": int(np.count_nonzero(support)),
            "classes_predicted": len(np.unique(predictions)),
        }

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Softmax of logits (N, C), float64."""
        from scipy.special import softmax

        return softmax(np.asarray(logits, dtype=np.float64), axis=1)

    def summary(self, values: dict[str, float]) -> str:
        """measure() in a line."""
        return (
            f"accuracy {values['accuracy']:.4f} ± {values['standard_error']:.4f} "
            f"(majority {values['majority_share']:.4f}), macro F1 {values['macro_f1']:.4f}, "
            f"log loss {values['log_loss']:.4f}"
        )

    def short(self, values: dict[str, float]) -> str:
        """The same of a fold."""
        return f"accuracy {values['accuracy']:.4f}, macro F1 {values['macro_f1']:.4f}"


def only_known(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows with a label, logits as float64. Raises InputError where there is none or a logit is not finite."""
    labels = np.asarray(labels)
    known = known_rows(labels)
    if not known.any():
        raise InputError("no row has a known label, expected at least one to compute metrics")
    logits = np.asarray(logits, dtype=np.float64)[known]
    if not np.isfinite(logits).all():
        raise InputError(f"the model's logits are not finite: {DIVERGED}, expected a lower learning_rate to train")
    return logits, labels[known]
