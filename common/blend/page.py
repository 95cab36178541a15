"""The page of a blend, report.md: scores, weights, and how alike the runs' errors are."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from common.blend.runs import Runs
from common.blend.scores import residuals, row_errors, row_losses
from common.files import atomic_write
from common.report.run_page import STYLE, escape, save_plot, table


def write_page(
    folder: Path,
    task: str,
    runs: Runs,
    scores: Sequence[str],
    notes: Sequence[str],
    weights: np.ndarray,
    of_folds: np.ndarray,
) -> None:
    """Write folder/report.md and its plot.

    scores: lines of a Markdown table. weights: (R,) those of the submission. of_folds: (K, R) those that each fold's
    rows were blended with.
    """
    mean = of_folds.mean(axis=0)
    deviation = of_folds.std(axis=0)
    rows = [
        [name, f"{weight:.3f}", f"{m:.3f}", f"{d:.3f}"]
        for name, weight, m, d in zip(runs.names, weights, mean, deviation, strict=True)
    ]
    lines = [f"# Blend of {len(runs.names)} runs of {escape(task)}", "", *(f"> {escape(note)}\n" for note in notes)]
    lines += ["## Scores", "", *scores, ""]
    lines += [
        f"Out of fold, {len(runs.labels)} rows; the blend's weights for a fold come from the other folds. Errors are "
        "standard errors of paired differences that take the rows as independent.",
        "",
        "## Weights",
        "",
        *table(["run", "weight", "mean over folds", "standard deviation over folds"], rows),
        "",
    ]
    if len(runs.names) > 1:
        lines += likeness(folder, runs)
    with atomic_write(folder / "report.md") as file:
        file.write("\n".join(lines))


def likeness(folder: Path, runs: Runs) -> list[str]:
    """Markdown lines: how alike the errors of the runs are; their plot is written."""
    correlations = error_correlations(runs)
    is_number = runs.target.kind == "number"
    what = "residuals" if is_number else "log losses"
    below = (
        "root mean square of the difference between two runs (below it; on it, of one run's own residuals)"
        if is_number
        else "share of the rows that both runs have wrong (below it; on it, one run's own)"
    )
    lines = [
        "## How alike the errors are",
        "",
        f"Correlation of the rows' {what} (the plot, and the table above its diagonal) and {below}. Runs that err on "
        "other rows gain more by a blend.",
        "",
        *table(["", *runs.names], matrix_rows(runs.names, correlations, (differences if is_number else shares)(runs))),
        "",
    ]
    with matplotlib.rc_context(STYLE):
        return [*lines, save_plot(folder, "error_correlation", plot_correlations(runs.names, correlations, what)), ""]


def error_correlations(runs: Runs) -> np.ndarray:
    """(R, R) Pearson correlation of the rows' log losses, of a number of the residuals; 0 for a run where these are the
    same in all rows."""
    of_rows = residuals if runs.target.kind == "number" else row_losses
    losses = np.array([of_rows(part.logits, runs.labels) for part in runs.logits])
    centred = losses - losses.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1)
    products = np.outer(norms, norms)
    return np.divide(centred @ centred.T, products, out=np.zeros_like(products), where=products > 0)


def shares(runs: Runs) -> list[list[str]]:
    """R x R shares of the rows that both runs have wrong."""
    wrong = np.array([row_errors(part.logits, runs.labels) for part in runs.logits], dtype=np.float64)
    return [[f"{share:.1%}" for share in row] for row in wrong @ wrong.T / len(runs.labels)]


def differences(runs: Runs) -> list[list[str]]:
    """R x R root mean square differences of two runs' numbers; on the diagonal, of one run's from the labels."""
    found = runs.stack[:, :, 0].astype(np.float64)  # (R, N)
    squares = ((found[:, None] - found) ** 2).mean(axis=2)
    np.fill_diagonal(squares, ((found - runs.labels) ** 2).mean(axis=1))
    return [[f"{root:.4g}" for root in row] for row in np.sqrt(squares)]


def matrix_rows(names: Sequence[str], correlations: np.ndarray, below: list[list[str]]) -> list[list[str]]:
    """Cells of the table: correlations above the diagonal, `below` from it downwards."""
    size = range(len(names))
    return [[names[i], *(f"{correlations[i, j]:.3f}" if j > i else below[i][j] for j in size)] for i in size]


def plot_correlations(names: Sequence[str], correlations: np.ndarray, what: str) -> Figure:
    """A square per pair of runs, its number in it. what: is correlated."""
    side = 0.8 * len(names) + 2.5  # inches
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(correlations, cmap="Blues", vmin=0, vmax=1)
    for row, values in enumerate(correlations):
        for column, value in enumerate(values):
            color = "white" if value > 0.55 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, shrink=0.7, label=f"correlation of the rows' {what}")
    return figure
