"""What a report says of several labels: each label's counts, score and threshold, and which stand together."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_fscore_support

from common.logits import Logits
from common.report.run_page import save_plot, table, tick_labels, unnamed, values_table
from common.targets.classes import known_rows

NOTE = (
    "Micro F1 is over all decisions, macro F1 over labels that occur in labels or predictions; exact match ± its "
    "binomial standard error. A label is predicted where its probability is above 0.5."
)
FRACTIONS = {"micro_f1": "micro F1", "macro_f1": "macro F1", "exact_match": "exact match", "auprc": "AUPRC"}
PANELS = {
    "loss": {"loss": "-", "eval_loss": "--"},
    "eval micro F1": {"eval_micro_f1": "--"},
    "eval exact match": {"eval_exact_match": "--"},
}


def find_warnings(metrics: dict[str, dict], num_labels: int) -> list[str]:
    """Where a model predicts no label at all, by name of a result or fold."""
    return [
        f"{name}: predicts no label for any of {values['n']} rows; the model has learned nothing"
        for name, values in metrics.items()
        if values["predicted_per_row"] == 0
    ]


def metrics_table(metrics: dict[str, dict]) -> list[str]:
    """Markdown lines: values_table() of what the target measures, and the task's own metrics."""
    keys = [key for key in next(iter(metrics.values())) if key not in ("n", "standard_error")]
    return values_table(metrics, {key: key.replace("_", " ") for key in keys}, "exact_match")


def section(run_dir: Path, name: str, result: Logits) -> list[str]:
    """Markdown lines: precision, recall, F1, rows and the threshold that would be best of each label; which stand
    together in the labels and in the predictions."""
    known = known_rows(result.labels)
    labels, logits = result.labels[known], result.logits[known]
    predictions = (logits > 0).astype(np.int64)
    scores = label_scores(labels, predictions, np.nan)
    rows = []
    for c, (label, *values, support) in enumerate(zip(result.label_names, *scores, strict=True)):
        cells = ("–" if np.isnan(value) else f"{value:.3f}" for value in values)
        threshold, best = best_threshold(labels[:, c], logits[:, c])
        rows.append([c, label, *cells, support, predictions[:, c].sum(), f"{threshold:.2f}", f"{best:.3f}"])
    ticks, family = tick_labels(result.label_names)
    with matplotlib.rc_context({"font.family": family}):
        plot = save_plot(run_dir, f"together_{name}", plot_together(labels, predictions, ticks))
    header = ["#", "label", "precision", "recall", "F1", "rows", "predicted", "best threshold", "F1 with it"]
    return [
        f"## Labels: {name}",
        "",
        *table(header, rows),
        "",
        "The best threshold, of the probability, is chosen on these rows: the F1 with it is optimistic. `python -m "
        "common.blend` with `--tune_decision` measures thresholds cross-fitted, and submits them.",
        "",
        plot,
        "",
        *unnamed(ticks, result.label_names),
    ]


def label_scores(labels: np.ndarray, predictions: np.ndarray, empty: float) -> tuple[np.ndarray, ...]:
    """Precision, recall, F1 and rows (C,) of each column of zeros and ones (N, C); `empty` for 0 / 0."""
    padded = (np.pad(part, ((0, 0), (0, 1))) for part in (labels, predictions))  # a single one would be two classes
    return precision_recall_fscore_support(*padded, labels=range(labels.shape[1]), average=None, zero_division=empty)


def best_threshold(labels: np.ndarray, logits: np.ndarray) -> tuple[float, float]:
    """(probability above which a label is predicted for the highest F1, that F1) of one label. labels, logits: (N,);
    equal logits are on one side."""
    order = np.argsort(-logits, kind="stable")
    hits = labels[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(labels) + 1) + max(1, labels.sum()))
    f1[:-1][np.diff(logits[order]) == 0] = -1
    best = int(f1.argmax())
    after = logits[order[best + 1]] if best + 1 < len(labels) else logits[order[best]] - 1
    return float(1 / (1 + np.exp(-(logits[order[best]] + after) / 2.0))), float(f1[best])


def plot_together(labels: np.ndarray, predictions: np.ndarray, ticks: list[str]) -> Figure:
    """How many rows have both of two labels (on the diagonal: one), by the labels and by the predictions."""
    c = len(ticks)
    side = max(2.6, c * 0.5)  # inches
    figure = Figure(figsize=(2 * side + 3, side + 1.6), layout="constrained")
    for axes, values, title in zip(
        figure.subplots(1, 2), (labels, predictions), ("labels", "predictions"), strict=True
    ):
        together = values.T @ values
        axes.imshow(together / np.maximum(together.diagonal()[:, None], 1), cmap="Blues", vmin=0, vmax=1)
        for row, column in zip(*np.nonzero(together), strict=True):
            share = together[row, column] / together[row, row]
            color = "white" if share > 0.55 else "black"
            axes.text(column, row, together[row, column], ha="center", va="center", color=color, fontsize=8)
        axes.set_xticks(range(c), ticks, rotation=90)
        axes.set_yticks(range(c), ticks)
        axes.set_title(f"{title}: rows with both")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    return figure
