"""One page about a run, report.md: warnings, tables and plots, written into the run folder."""

import html
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from common.console import print_once
from common.files import atomic_write, read_json
from common.logits import Logits
from common.targets import Classes

# matplotlib is imported where it draws: train.py imports this module before its first step
if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from common.run import Run

FRACTIONS = {"accuracy": "accuracy", "macro_f1": "macro F1", "weighted_f1": "weighted F1", "auprc": "AUPRC"}
METRICS = FRACTIONS | {"log_loss": "log loss", "majority_share": "majority share", "n": "rows"}
NOTE = (
    "Accuracy ± its binomial standard error. Macro F1 is over classes that occur in labels or predictions. Log loss in "
    "nats."
)
COUNTS = ("standard_error", "classes_in_labels", "classes_predicted")  # of compute_metrics, but no columns of their own
# one panel each: title, and the keys of the log history with their line styles
PANELS = {
    "loss": {"loss": "-", "eval_loss": "--"},
    "eval accuracy": {"eval_accuracy": "--"},
    "eval macro F1": {"eval_macro_f1": "--"},
}
STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
}
LONGEST_TICK = 36  # characters; longer labels are cut beside the plots, not in the tables
FEW_CLASSES = 12  # up to here a confusion cell has room for a count and a percentage


def report_run(run: "Run", results: dict[str, Logits]) -> None:
    """write_report() of a run that common.results.collect() has collected, and print its warnings.

    results: what collect() returns.
    """
    if not run.state.is_main_process:
        return
    metrics = read_json(run.dir / "metrics.json")
    folds = metrics.pop("folds")
    del metrics["train_samples_per_second"]
    notes = list(run.notes)
    if run.config.get("load_best_model_at_end"):
        several = "each fold was chosen on its held-out rows: oof"
        rows = several if "oof" in metrics else "the model was chosen on the rows of eval: eval"
        notes.append(f"the checkpoint of {rows} is optimistic")
    if run.config.get("teacher") and run.config["teacher_logits"] == "out_of_fold" and "oof" in metrics:
        from common.tricks.teacher import OPTIMISTIC

        notes.append(f"soft labels of {', '.join(run.config['teacher'])}: {OPTIMISTIC}")
    if run.config.get("pseudo_file"):
        from common.tricks.pseudo import count_notes

        notes += count_notes(run.dir)
    scored = {name: results[name] for name in metrics}
    with run.phase("report"):
        write_report(
            run.dir,
            title=f"{run.dir.parent.name}/{run.dir.name}",
            config=run.config,
            history=[run.load_fold(fold)[1]["log_history"] for fold in range(len(folds))],
            results=scored,
            metrics=metrics,
            fold_metrics=folds,
            notes=notes,
        )
    target = next(iter(scored.values())).label_names
    for warning in page_of(target).find_warnings(metrics, len(target)):
        print_once(f"warning: {warning}")


def write_report(
    run_dir: str | Path,
    *,
    title: str,
    config: dict,
    history: list[list[dict]],
    results: dict[str, Logits],
    metrics: dict[str, dict],
    fold_metrics: list[dict],
    notes: list[str],
) -> None:
    """Write run_dir/report.md and the plots it shows, run_dir/plots/*.png.

    history: per fold the Trainer's `state.log_history`: entries with "epoch" and any of loss, eval_loss, eval_accuracy,
    eval_macro_f1; or with "stage_end" where training goes on with other rows or settings. results: what was evaluated,
    by a name that can stand in a file name ("oof", "eval"); one at least. metrics: `compute_metrics` of each result
    and, where the task has some, metrics of its own. fold_metrics: the same of each fold's held-out rows. notes: one
    line each.
    """
    import matplotlib

    run_dir = Path(run_dir)
    folds = {f"fold {k}": values for k, values in enumerate(fold_metrics)}
    target = next(iter(results.values())).label_names
    page = page_of(target)

    lines = [f"# {escape(title)}", ""]
    for warning in page.find_warnings(metrics | folds, len(target)):
        lines += [f"> **Warning: {warning}**", ""]
    lines += ["## Results", "", *page.metrics_table(metrics), "", page.NOTE, ""]
    if folds:
        lines += ["## Folds", "", *page.metrics_table(folds), ""]
    with matplotlib.rc_context(STYLE):
        if len(folds) > 1:
            lines += [
                "Mean ± standard error over the folds; their training rows overlap, so that the true error is larger.",
                "",
            ]
            lines += [save_plot(run_dir, "folds", plot_folds(fold_metrics, page.FRACTIONS)), ""]
        panels = {
            panel: keys
            for panel, keys in (page.PANELS | panels_of_metric(history, fold_metrics, target)).items()
            if any(key in entry for log in history for entry in log for key in keys)
        }
        if panels:
            lines += [
                "## Learning curves",
                "",
                save_plot(run_dir, "learning_curves", plot_learning_curves(history, panels)),
                "",
            ]
        for name, result in results.items():
            lines += page.section(run_dir, name, result)
    if notes:
        lines += ["## Notes", "", *(f"* {escape(note)}" for note in notes), ""]
    lines += ["## Config", "", *table(["field", "value"], config.items())]
    with atomic_write(run_dir / "report.md") as file:
        file.write("\n".join(lines) + "\n")


def panels_of_metric(history: list[list[dict]], fold_metrics: list[dict], target: Classes) -> dict[str, dict[str, str]]:
    """A panel of what was measured after each epoch and is none of the target's own metrics: what --metric names."""
    measured = {key.removeprefix("eval_") for log in history for entry in log for key in entry if key[:5] == "eval_"}
    names = [name for name in (fold_metrics or [{}])[0] if name in measured and name not in target.watched]
    return {f"eval {name.replace('_', ' ')}": {f"eval_{name}": "--"} for name in names}


def page_of(target: Classes) -> Any:
    """The module that knows what a report says of a target: NOTE, FRACTIONS, PANELS, find_warnings(), metrics_table()
    and section()."""
    if target.kind == "number":
        from common.report import number_page as page
    elif target.kind == "several":
        from common.report import several_page as page
    elif target.kind == "ordered":
        from common.report import ordered_page as page
    else:
        page = sys.modules[__name__]
    return page


def section(run_dir: Path, name: str, result: Logits) -> list[str]:
    """Markdown lines on the classes of a result: their scores, and which are taken for which."""
    import matplotlib

    known = result.labels >= 0
    labels = result.labels[known]
    predictions = result.logits[known].argmax(axis=1)
    ticks, family = tick_labels(result.label_names)
    with matplotlib.rc_context({"font.family": family}):
        plot = save_plot(run_dir, f"confusion_{name}", plot_confusion(labels, predictions, ticks))
    lines = [f"## Classes: {name}", "", *class_table(labels, predictions, result.label_names), "", plot, ""]
    return lines + unnamed(ticks, result.label_names)


def unnamed(ticks: Sequence[str], label_names: Sequence[str]) -> list[str]:
    """Markdown lines where a plot has numbers for names."""
    if ticks != indices(label_names) or ticks == label_names:
        return []
    return ["The plot names the labels by their # in the table: no installed font has all their characters.", ""]


def find_warnings(metrics: dict[str, dict], num_labels: int) -> list[str]:
    """What makes the `compute_metrics` of a result or a fold, by name, worth less than it looks."""
    warnings = []
    for name, values in metrics.items():
        if values["classes_predicted"] == 1:
            warnings.append(
                f"{name}: predicts one class only, for all {values['n']} rows; the model has learned nothing"
            )
        elif values["accuracy"] - values["majority_share"] <= 2 * values["standard_error"]:
            warnings.append(
                f"{name}: accuracy {values['accuracy']:.4f} is not above the share of the most frequent label, "
                f"{values['majority_share']:.4f}, by two standard errors ({2 * values['standard_error']:.4f})"
            )
        if values["classes_in_labels"] < num_labels:
            warnings.append(
                f"{name}: the labels hold {values['classes_in_labels']} of {num_labels} classes, the others are not "
                "measured"
            )
    return warnings


def task_metrics_of(values: dict) -> list[str]:
    """The names of the metrics that the task itself measures, beside compute_metrics'."""
    return [key for key in values if key not in (*METRICS, *COUNTS)]


def metrics_table(metrics: dict[str, dict]) -> list[str]:
    """Markdown lines: values_table() of compute_metrics and the task's own metrics."""
    own = task_metrics_of(next(iter(metrics.values())))
    names = {key: name for key, name in METRICS.items() if key != "n"} | {key: key.replace("_", " ") for key in own}
    return values_table(metrics, names, "accuracy")


def values_table(
    metrics: dict[str, dict], names: dict[str, str], uncertain: str, digits: str = ".4f", error_digits: str = ".4f"
) -> list[str]:
    """Markdown lines: a row per name, and for several folds their mean and its standard error.

    names: key of a metric -> heading of its column. uncertain: the metric that `standard_error` belongs to; that of
    --metric has `<key>_error` in the results where it is known, out of fold only as a rule.
    """
    names = {key: heading for key, heading in names.items() if key.removesuffix("_error") not in names.keys() - {key}}
    rows = []
    for name, values in metrics.items():
        errors = {uncertain: values["standard_error"]}
        errors |= {key: values[f"{key}_error"] for key in names if f"{key}_error" in values}
        cells = [
            f"{values[key]:{digits}}" + (f" ± {errors[key]:{error_digits}}" if key in errors else "") for key in names
        ]
        rows.append([name, *cells, values["n"]])
    if len(metrics) > 1 and "fold 0" in metrics:
        columns = [mean_and_error([values[key] for values in metrics.values()]) for key in names]
        rows.append(["mean", *(f"{mean:{digits}} ± {error:{error_digits}}" for mean, error in columns), ""])
    return table(["", *names.values(), METRICS["n"]], rows)


def class_table(labels: np.ndarray, predictions: np.ndarray, label_names: Sequence[str]) -> list[str]:
    """Markdown lines: precision, recall, F1 and support (rows) of every class; a dash where the value is 0 / 0."""
    scores = precision_recall_fscore_support(labels, predictions, labels=range(len(label_names)), zero_division=np.nan)
    rows = []
    for c, (name, *values, support) in enumerate(zip(label_names, *scores, strict=True)):
        rows.append([c, name, *("–" if np.isnan(value) else f"{value:.3f}" for value in values), support])
    return table(["#", "class", "precision", "recall", "F1", "support"], rows)


def table(header: Sequence[str], rows: Iterable[Sequence]) -> list[str]:
    """Markdown lines of a table."""
    lines = [header, ["---"] * len(header), *([escape(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def escape(value: object) -> str:
    """A value as one line of Markdown text that cannot end a table cell or open a tag."""
    return html.escape(" ".join(str(value).split()), quote=False).replace("|", "\\|")


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean of n >= 2 values and its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def save_plot(run_dir: Path, name: str, figure: "Figure") -> str:
    """Write plots/<name>.png and return the Markdown line that shows it."""
    with atomic_write(run_dir / "plots" / f"{name}.png", "wb") as file:
        figure.savefig(file, format="png", dpi=110, bbox_inches="tight")
    return f"![{name}](plots/{name}.png)"


def plot_folds(fold_metrics: list[dict], fractions: dict[str, str]) -> "Figure":
    """A row of dots per metric, one a fold, over their mean with its standard error."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    offsets = np.linspace(-0.2, 0.2, len(fold_metrics))  # so that equal folds do not hide each other
    for row, key in enumerate(fractions):
        mean, error = mean_and_error([values[key] for values in fold_metrics])
        label = "mean ± standard error" if row == 0 else None
        axes.errorbar(mean, row, xerr=error, fmt="|", color="black", markersize=22, capsize=4, label=label, zorder=3)
    for k, (values, offset) in enumerate(zip(fold_metrics, offsets, strict=True)):
        axes.plot(
            [values[key] for key in fractions],
            np.arange(len(fractions)) + offset,
            "o",
            markersize=7,
            alpha=0.85,
            label=f"fold {k}",
        )
    axes.set_yticks(range(len(fractions)), fractions.values())
    axes.set_ylim(len(fractions) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("held-out rows of each fold")
    figure.legend(loc="outside right upper")
    return figure


def plot_learning_curves(history: list[list[dict]], panels: dict[str, dict[str, str]]) -> "Figure":
    """Values over epochs, one colour a fold; what is measured on the training rows solid, on the evaluated rows dashed
    with dots."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(4.2 * len(panels) + 1.2, 3.8), layout="constrained")
    for axes, (panel, keys) in zip(
        figure.subplots(1, len(panels), sharex=True, squeeze=False)[0], panels.items(), strict=True
    ):
        for k, log in enumerate(history):
            for key, style in keys.items():
                points = [(entry["epoch"], entry[key]) for entry in log if key in entry]
                marker = "o" if key.startswith("eval_") else None
                axes.plot(
                    *zip(*points, strict=True) if points else ([], []),
                    style,
                    color=f"C{k}",
                    marker=marker,
                    markersize=4,
                )
        for entry in history[0]:
            if "stage_end" in entry:
                axes.axvline(entry["epoch"], color="gray", linewidth=0.8)
        axes.set_title(panel)
        axes.set_xlabel("epoch")
    handles = [Line2D([], [], color=f"C{k}", label=f"fold {k}") for k in range(len(history))]
    handles.append(Line2D([], [], color="gray", label="train"))
    handles.append(Line2D([], [], color="gray", linestyle="--", marker="o", markersize=4, label="eval"))
    figure.legend(handles=handles, loc="outside right upper")
    return figure


def plot_confusion(labels: np.ndarray, predictions: np.ndarray, ticks: Sequence[str]) -> "Figure":
    """Rows are labels, columns predictions; colour is the share of the row, numbers are counts (with few classes
    percentages too)."""
    from matplotlib.figure import Figure

    c = len(ticks)
    counts = confusion_matrix(labels, predictions, labels=range(c))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    few = c <= FEW_CLASSES
    side = c * (0.68 if few else 0.36)  # inches
    figure = Figure(figsize=(side + 3.4, side + 2.2), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        count = counts[row, column]
        share = shares[row, column]
        color = "white" if share > 0.55 else "black"
        text = f"{count}\n{share:.0%}" if few else str(count)
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9 if few else 7)
    size, rotation = (11, 45) if few else (9, 90)
    axes.set_xticks(range(c), ticks, fontsize=size, rotation=rotation, ha="right", va="center", rotation_mode="anchor")
    axes.set_yticks(range(c), ticks, fontsize=size)
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, label="share of the label's rows")
    return figure


def tick_labels(label_names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Labels to write beside a plot, and the font families that have their characters (Hangul, ...).

    Where no installed font has all of them, the labels are their indices 0..C-1.
    """
    from matplotlib import rcParamsDefault
    from matplotlib.font_manager import findfont, fontManager, get_font

    ticks = [name if len(name) <= LONGEST_TICK else name[: LONGEST_TICK - 1] + "…" for name in label_names]
    default = rcParamsDefault["font.sans-serif"][0]
    foreign = {ord(character) for tick in ticks for character in tick} - get_font(
        findfont(default)
    ).get_charmap().keys()
    if not foreign:
        return ticks, [default]
    for font in fontManager.ttflist:
        # matplotlib ships a font of boxes that claims every character
        if foreign <= get_font(font.fname).get_charmap().keys() and not font.name.startswith("Last Resort"):
            return ticks, [default, font.name]
    return indices(label_names), [default]


def indices(label_names: Sequence[str]) -> list[str]:
    """What stands for the labels where they cannot be written: "0".."C-1"."""
    return [str(c) for c in range(len(label_names))]
