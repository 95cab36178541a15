"""What a report says of numbers: errors against the labels, and where they are large."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from common.logits import Logits
from common.report.run_page import save_plot, table, values_table
from common.targets.classes import known_rows

NOTE = "RMSE, MAE ± its standard error in the labels' units, MSE in their square; label_std: the RMSE of the mean."
FRACTIONS = {"r2": "R2", "pearson": "Pearson", "spearman": "Spearman"}
PANELS = {
    "training loss (of scaled numbers)": {"loss": "-"},  # eval_loss is in the labels' units, as eval RMSE is
    "eval RMSE": {"eval_rmse": "--"},
    "eval Spearman": {"eval_spearman": "--"},
}


def find_warnings(metrics: dict[str, dict], num_labels: int) -> list[str]:
    """Where a model is no better than a constant, by name of a result or fold."""
    return [
        f"{name}: RMSE {values['rmse']:.4g} is not below that of always the mean, {values['label_std']:.4g}; the model "
        "has learned nothing"
        for name, values in metrics.items()
        if values["r2"] <= 0
    ]


def metrics_table(metrics: dict[str, dict]) -> list[str]:
    """Markdown lines: values_table() of what the target measures, and the task's own metrics."""
    keys = [key for key in next(iter(metrics.values())) if key not in ("n", "standard_error")]
    return values_table(metrics, {key: key for key in keys}, "mae", ".4g", ".2g")


def section(run_dir: Path, name: str, result: Logits) -> list[str]:
    """Markdown lines: the error by tenth of the labels, a scatter and the residuals, the rows that are furthest off."""
    known = known_rows(result.labels)
    ids, labels, found = result.ids[known], result.labels[known], result.logits[known, 0].astype(np.float64)
    errors = found - labels
    rows = []
    for span, inside in tenths(labels):
        of = errors[inside]
        rows.append([span, len(of), f"{np.abs(of).mean():.4g}", f"{of.mean():+.4g}"])
    worst = np.argsort(-np.abs(errors), kind="stable")[:10]
    far = [[ids[i], f"{labels[i]:.4g}", f"{found[i]:.4g}", f"{errors[i]:+.4g}"] for i in worst]
    return [
        f"## Numbers: {name}",
        "",
        *table([result.label_names[0], "rows", "MAE", "mean error"], rows),
        "",
        save_plot(run_dir, f"scatter_{name}", plot_numbers(labels, found)),
        "",
        "The rows that are furthest off:",
        "",
        *table(["id", "label", "prediction", "error"], far),
        "",
    ]


def tenths(labels: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """(span, (N,) bool which rows lie in it) of each tenth of labels (N,), of fewer where many are equal."""
    edges = np.unique(np.quantile(labels, np.linspace(0, 1, 11)))
    part = np.clip(np.searchsorted(edges, labels, side="right") - 1, 0, max(0, len(edges) - 2))
    spans = [f"{edges[k]:.4g} to {edges[min(k + 1, len(edges) - 1)]:.4g}" for k in range(max(1, len(edges) - 1))]
    return [(span, part == k) for k, span in enumerate(spans) if (part == k).any()]


def plot_numbers(labels: np.ndarray, found: np.ndarray) -> Figure:
    """Predictions over labels with the line on which they are equal, and errors over predictions."""
    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    dots = {"s": 10, "alpha": min(0.8, max(0.08, 300 / len(labels))), "linewidths": 0}
    left.scatter(labels, found, **dots)
    ends = [min(labels.min(), found.min()), max(labels.max(), found.max())]
    left.plot(ends, ends, color="black", linewidth=0.9)
    left.set_xlabel("label")
    left.set_ylabel("prediction")
    right.scatter(found, found - labels, **dots)
    right.axhline(0, color="black", linewidth=0.9)
    right.set_xlabel("prediction")
    right.set_ylabel("error (prediction - label)")
    return figure
