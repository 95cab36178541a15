"""What a search leaves for people: grid.csv, grid.png, report.md, and final.yaml once the finalists are trained."""

import csv
from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from optuna.trial import TrialState

from common.files import atomic_write
from common.options.presets import read_preset
from common.report.run_page import mean_and_error, table
from common.search.space import EPOCHS
from common.search.trials import Search, describe


def write_search_report(search: Search, setting: dict[str, Any]) -> None:
    """Write the files anew from the studies. setting: the independent parameters as they are fixed."""
    with search.workers.locked():
        curves = {tuple(arm.values()): ([], []) for arm in search.space.arms}
        for trial in search.scored():
            arm = tuple(trial.params[name] for name in search.space.axes)
            curves[arm] = list(trial.intermediate_values.values()), trial.user_attrs["times"]
        curves = dict(sorted(curves.items()))
        grid = np.full((len(curves), search.space.max_epochs), np.nan)
        for row, (scores, _) in enumerate(curves.values()):
            grid[row, : len(scores)] = scores
        header = [*search.space.axes, *map(str, range(1, grid.shape[1] + 1))]
        rows = [
            [f"{value:g}" for value in arm] + ["" if np.isnan(score) else f"{score:.4f}" for score in scores]
            for arm, scores in zip(curves, grid, strict=True)
        ]
        with atomic_write(search.dir / "grid.csv") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])
        with atomic_write(search.dir / "grid.png", "wb") as file:
            plot_grid(search, curves, grid).savefig(file, format="png", dpi=110, bbox_inches="tight")
        lines = [
            f"# Search of {search.task}",
            "",
            f"Metric: {search.space.metric}, on rows that no trial trained on.",
            "",
        ]
        lines += recommendation(search, setting) + sweeps(search, setting)
        lines += [
            "## Coupled parameters",
            "",
            "A row is one run at a constant rate, scored after every epoch; empty cells were not trained.",
            "",
        ]
        lines += [*table(header, rows), "", "![grid](grid.png)", "", *importance(search), *cost(search)]
        with atomic_write(search.dir / "report.md") as file:
            file.write("\n".join(lines))


def plot_grid(search: Search, curves: dict[tuple, tuple[list[float], list[float]]], grid: np.ndarray) -> Figure:
    """Scores of the trained cells, grey where there are none, the best by the smoothed score framed.

    curves: arm -> scores and times of its epochs, in the order of grid's rows.
    """
    figure = Figure(figsize=(2.5 + 0.75 * grid.shape[1], 1.6 + 0.5 * len(grid)), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("0.85")
    bad = np.nanquantile(search.space.sign * grid, 0.2)  # one run that learns nothing would hide all other differences
    image = axes.imshow(np.maximum(search.space.sign * grid, bad), cmap="viridis", aspect="auto")
    moments = sorted(
        (time, row, column) for row, (_, times) in enumerate(curves.values()) for column, time in enumerate(times)
    )
    for order, (_, row, column) in enumerate(moments, start=1):
        color = "black" if image.norm(search.space.sign * grid[row, column]) > 0.6 else "white"
        axes.text(column, row, f"{grid[row, column]:.3f}", ha="center", va="center", color=color, fontsize=9)
        axes.text(column + 0.46, row + 0.44, order, ha="right", va="bottom", color=color, fontsize=6)
    best = search.best_cells()[0]
    row = list(curves).index(tuple(best[name] for name in search.space.axes))
    axes.add_patch(Rectangle((best[EPOCHS] - 1.5, row - 0.5), 1, 1, fill=False, edgecolor="red", linewidth=2))
    axes.set_xticks(range(grid.shape[1]), range(1, grid.shape[1] + 1))
    axes.set_yticks(range(len(curves)), [", ".join(f"{value:g}" for value in arm) for arm in curves])
    axes.set_xlabel("epochs")
    axes.set_ylabel(", ".join(search.space.axes))
    axes.set_title(f"{search.space.metric}; small numbers: order of training; red: best after smoothing", fontsize=10)
    return figure


def recommendation(search: Search, setting: dict[str, Any]) -> list[str]:
    """The finalists' scores, and final.yaml of the best, as far as all of its seeds are trained."""
    scores: dict[tuple, list[float]] = {}
    for trial in search.trials("finalists"):
        if trial.state == TrialState.COMPLETE:
            cell = {name: trial.params[name] for name in (*search.space.axes, EPOCHS)}
            scores.setdefault(tuple(cell.items()), []).append(trial.value)
    done = {cell: values for cell, values in scores.items() if len(values) == len(search.space.seeds)}
    if not done:
        return ["No finalist is trained yet.", ""]
    best = max(done, key=lambda cell: search.space.sign * np.mean(done[cell]))
    winner = {**setting, **dict(best)}
    winner["learning_rate"] = winner["learning_rate"] * search.space.learning_rate_scale
    winner = {name: value for name, value in winner.items() if name not in search.space.keep}
    preset = {**read_preset(search.space.final_preset), **winner}
    with atomic_write(search.dir / "final.yaml") as file:
        file.write(f"# {search.space.final_preset.name} with the winner of a search: {describe(dict(best))}.\n")
        yaml.safe_dump(preset, file, sort_keys=False, allow_unicode=True)
    rows = []
    for cell, values in sorted(done.items(), key=lambda item: -search.space.sign * float(np.mean(item[1]))):
        mean, error = mean_and_error(values) if len(values) > 1 else (values[0], float("nan"))
        rows.append([describe(dict(cell)), f"{mean:.4f}", "" if np.isnan(error) else f"{error:.4f}", len(values)])
    return [
        "## Recommended",
        "",
        f"**{describe({**setting, **dict(best)})}**, carried to final.yaml. The finalists, trained again with the "
        "preset's own decay:",
        "",
        *table(["setting", search.space.metric, "standard error", "seeds"], rows),
        "",
    ]


def sweeps(search: Search, setting: dict[str, Any]) -> list[str]:
    """A table per independent parameter: scores, and the paired difference to the first value."""
    lines: list[str] = []
    fixed = {name: values[0] for name, values in search.space.independent.items()}
    for name, values in search.space.independent.items():
        trials = [search.find("independent", {**fixed, name: value}) for value in values]
        rows = []
        for value, trial in zip(values, trials, strict=True):
            difference = "" if trial is trials[0] else "{:+.4f} ± {:.4f}".format(*search.difference(trial, trials[0]))
            rows.append([f"**{value}**" if value == setting[name] else value, f"{trial.value:.4f}", difference])
        lines += [f"## {name}", "", *table(["value", search.space.metric, "better than the first by"], rows), ""]
        fixed[name] = setting[name]
    return lines


def importance(search: Search) -> list[str]:
    """Shares of the smoothed score's variance over the grid: each coupled parameter alone, and the rest (functional
    ANOVA)."""
    mean = search.smoothed_grid()
    total = max(mean.var(), 1e-12)
    names = [*search.space.axes, EPOCHS]
    shares = [mean.mean(axis=tuple(set(range(mean.ndim)) - {axis})).var() / total for axis in range(mean.ndim)]
    rows = [[name, f"{share:.0%}"] for name, share in zip(names, shares, strict=True)] + [
        ["together", f"{1 - sum(shares):.0%}"]
    ]
    return ["Share of the variance of the smoothed score over the grid:", "", *table(["parameter", "share"], rows), ""]


def cost(search: Search) -> list[str]:
    """Trained epochs and seconds by stage."""
    rows = []
    for stage in search.studies:
        trials = search.trials(stage)
        epochs = (
            sum(len(trial.intermediate_values) for trial in trials)
            if stage == "coupled"
            else sum(search.epochs_of(t) for t in trials)
        )
        rows.append(
            [stage, len(trials), f"{epochs:g}", f"{sum(trial.user_attrs.get('seconds', 0.0) for trial in trials):.0f}"]
        )
    size = len(search.space.arms) * search.space.max_epochs
    return [
        "## Cost",
        "",
        f"The whole grid has {size} epochs.",
        "",
        *table(["stage", "trials", "epochs", "seconds"], rows),
        "",
    ]
