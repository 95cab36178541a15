"""A number a row: scaled inside, written in its own units."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from common.console import InputError
from common.targets.classes import Classes, only_known

if TYPE_CHECKING:
    from torch import Tensor

Loss = Literal["mse", "l1", "huber"]
IGNORED = -100.0  # the Trainer does not count rows with this label


class Number(Classes):
    """The name of a number that a row has. A row's label is a float, NaN where unknown.

    loss: of the scaled number; huber: quadratic up to one standard deviation. mean, scale: of the training rows of a
    fold, which fit() finds; the model's output is (number - mean) / scale, and Logits has the number.
    """

    kind = "number"
    problem_type = "regression"
    unknown = float("nan")
    metric = "rmse"
    loss = "mse"
    watched = ("rmse", "mae", "r2", "pearson", "spearman", "mse")
    card = {"rmse": "rmse", "mae": "mae", "r2": "r_squared", "pearson": "pearsonr", "spearman": "spearmanr"}

    def __init__(self, name: str | Sequence[str], loss: Loss = "mse", mean: float = 0.0, scale: float = 1.0):
        super().__init__([name] if isinstance(name, str) else name)
        if loss not in get_args(Loss):
            raise InputError(f"LABEL_NAMES: loss {loss!r} is not one of {', '.join(get_args(Loss))}")
        self.train_loss = loss
        self.mean = mean
        self.scale = scale

    def settings(self) -> dict[str, Any]:
        return {"kind": self.kind, "loss": self.train_loss, "mean": self.mean, "scale": self.scale}

    def array(self, labels: Any) -> np.ndarray:
        """(N,) float64."""
        array = np.asarray(labels, dtype=np.float64)
        if array.ndim != 1 or np.isinf(array).any():
            raise InputError(f"labels are {array.shape} or not finite, expected a number a row")
        return array

    def in_words(self, label: Any) -> str:
        return "unknown" if np.isnan(label) else f"{label:.6g}"

    def strata(self, labels: np.ndarray) -> np.ndarray:
        """(N,) int64: the tenth of the rows in which a row's number lies; equal numbers lie in one."""
        edges = np.unique(np.quantile(labels, np.linspace(0.1, 0.9, 9)))
        return np.searchsorted(edges, labels, side="left")

    def counts(self, labels: np.ndarray) -> list[int]:
        """All rows."""
        return [len(labels)]

    def fit(self, labels: np.ndarray) -> None:
        if (labels == IGNORED).any():
            raise InputError(f"train_file: a label is {IGNORED:g}, which the Trainer leaves out; add a constant to all")
        self.mean = float(labels.mean())
        self.scale = 1.0 if is_constant(labels) else float(labels.std())

    def weights(self, labels: np.ndarray, strength: float) -> None:
        return None

    def to_logits(self, outputs: "Tensor") -> "Tensor":
        return outputs * self.scale + self.mean

    def row_losses(
        self, outputs: "Tensor", labels: "Tensor", weights: None, focal_gamma: float, label_smoothing: float
    ) -> "Tensor":
        """(B,) float32 in units of the scale (mse: its square)."""
        from torch.nn import functional

        losses = {"mse": functional.mse_loss, "l1": functional.l1_loss, "huber": functional.huber_loss}
        scaled = (labels.double() - self.mean) / self.scale
        return losses[self.train_loss](outputs.float()[:, 0], scaled.float(), reduction="none")

    def divergence(self, outputs_a: "Tensor", outputs_b: "Tensor") -> "Tensor":
        """(B,) squared difference of the two passes: the KL divergence of unit normal distributions around them, twice
        halved."""
        return (outputs_a.float() - outputs_b.float())[:, 0].square() / 2

    def check(self, args: Any, training_args: Any) -> None:
        names = ("oversample_ratio", "undersample_ratio", "class_weight_strength", "focal_gamma")
        self.refuse(args, (*names, "feature_oversample_ratio"), "the target is a number, not classes")
        self.refuse(training_args, ("label_smoothing_factor",), "the target is a number, not classes")

    def measure(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Metrics of numbers (N, 1) against labels (N,), in their units; rows with label NaN are left out.

        rmse, mae, mse; r2 (1 - mse / variance of the labels; 0 where they are all the same); pearson and spearman (0
        where one side is constant); `standard_error` of mae; label_mean, label_std; n.
        """
        logits, labels = only_known(logits, labels)
        found = logits[:, 0]
        return {
            **{name: function(labels, found) for name, function in MEASURES.items()},
            "standard_error": float(np.abs(found - labels).std() / np.sqrt(len(labels))),
            "label_mean": float(labels.mean()),
            "label_std": variance(labels) ** 0.5,
            "n": len(labels),
        }

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        raise InputError("a number has no probabilities, expected its value in the submission")

    def summary(self, values: dict[str, float]) -> str:
        return (
            f"RMSE {values['rmse']:.4g} (always the mean {values['label_std']:.4g}), MAE {values['mae']:.4g} ± "
            f"{values['standard_error']:.2g}, R2 {values['r2']:.4f}, Pearson {values['pearson']:.4f}, "
            f"Spearman {values['spearman']:.4f}"
        )

    def short(self, values: dict[str, float]) -> str:
        return f"RMSE {values['rmse']:.4g}, Spearman {values['spearman']:.4f}"


def is_constant(values: np.ndarray) -> bool:
    """Whether (N,) are all the same. The deviation of 0.1, 0.1, 0.1 is not 0: their mean is rounded."""
    return bool((values == values[:1]).all())


def variance(values: np.ndarray) -> float:
    """Of (N,), exactly 0 where they are all the same."""
    return 0.0 if is_constant(values) else float(values.var())


def mse(labels: np.ndarray, found: np.ndarray) -> float:
    return float(np.mean((found - labels) ** 2))


def r2(labels: np.ndarray, found: np.ndarray) -> float:
    """0 where the labels are all the same."""
    spread = variance(labels)
    return 1 - mse(labels, found) / spread if spread else 0.0


def ranks(values: np.ndarray) -> np.ndarray:
    """(N,) ranks from 1, the mean of equal ones."""
    from scipy.stats import rankdata

    return rankdata(values)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of two (N,); 0 where one is constant."""
    if is_constant(a) or is_constant(b):
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


# labels (N,), numbers (N,)
MEASURES = {
    "rmse": lambda labels, found: mse(labels, found) ** 0.5,
    "mae": lambda labels, found: float(np.abs(found - labels).mean()),
    "mse": mse,
    "r2": r2,
    "pearson": correlation,
    "spearman": lambda labels, found: correlation(ranks(labels), ranks(found)),
}
