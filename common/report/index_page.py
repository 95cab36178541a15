"""index.html of a folder of runs: all of them in one table, links to their reports, and their plots."""

import base64
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from common.console import InputError
from common.report.run_files import loss_of, read_run, score_of, words
from common.report.web_page import Cell, document, escape, number, table

COLUMNS = ("task", "run", "preset", "model", "metric", "macro F1", "loss", "rows", "minutes", "changed", "commit")
COLUMNS += ("status",)


def find_runs(folder: Path) -> list[Path]:
    """The run folders under a folder, without the trials of searches. Raises InputError where there are none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder, one with runs was expected")
    found = {
        path.parent.parent if path.parent.name.startswith("fold") else path.parent for path in folder.rglob("run.json")
    }
    runs = [run for run in found if not (run.parent.parent / "search.json").exists()]
    if not runs:
        raise InputError(f"{folder}: holds no run (a folder with a run.json), train.py writes them")
    return runs


def describe_run(path: Path, folder: Path) -> list[Cell]:
    """COLUMNS of a run; empty where it does not have it (yet). A damaged file is a run's status, not the end of the
    list."""
    name = path.relative_to(folder).as_posix()
    name = folder.resolve().name if name == "." else name
    report = path / "report.md"
    link = quote(report.relative_to(folder).as_posix()) if report.is_file() else ""
    cells = {"run": Cell(name, link=link)}
    try:
        run = read_run(path)
        preset, commit = (str(run.record.get(key) or "") for key in ("preset", "commit"))
        cells |= {"task": Cell(run.task), "preset": Cell(preset), "commit": Cell(commit[:7]), "model": Cell(run.model)}
        cells |= {"minutes": number(run.minutes, ".1f"), "changed": Cell(run.changed)}
        done = len(list(path.glob("fold*/fold.json")))
        cells["status"] = Cell(f"{done} of {run.config.get('num_folds', '?')} folds")
        if run.metrics:
            rows, values = next(iter(run.metrics.items()))
            cells |= result_cells(rows, values, run.metric)
    except InputError:
        cells["status"] = Cell("unreadable", mark="bad")
    return [cells.get(column, Cell("")) for column in COLUMNS]


def result_cells(rows: str, values: dict[str, float], metric: str | None) -> dict[str, Cell]:
    """What a run has once it has ended. rows: what was measured on. metric: that the options name."""
    name, value, error = score_of(metric, values)
    shown = f"{words(name)} {value:.4f}"
    cells = {"metric": Cell(shown if error is None else f"{shown} ± {error:.4f}", value), "status": Cell("done")}
    if {"accuracy", "majority_share", "standard_error"} <= values.keys():
        if values["accuracy"] - values["majority_share"] <= 2 * values["standard_error"]:
            cells["status"] = Cell("done, not above the majority", mark="bad")
    if "macro_f1" in values:
        cells["macro F1"] = number(values["macro_f1"])
    if (loss := loss_of(values)) is not None:
        cells["loss"] = number(loss, ".4g")
    if "n" in values:
        cells["rows"] = Cell(f"{values['n']} {rows}", values["n"])
    return cells


def index_page(folder: Path, runs: Sequence[Path], rows: Sequence[Sequence[Cell]]) -> str:
    """The page: the table, and each run's plots, which it holds itself, so that it can be sent to others."""
    title = f"Runs in {folder.resolve().name}"
    told = (
        "A heading sorts; a run's name leads to its report. Rows: oof, held out by the folds; eval, of eval_file or "
        "held back. Two runs against each other: python -m common.report --compare RUN RUN"
    )
    name = COLUMNS.index("run")
    order = [name, *(column for column in range(len(COLUMNS)) if column != name)]
    cells = [[row[column] for column in order] for row in rows]
    lines = [f'<p class="quiet">{told}</p>', table(f"{len(runs)} runs", [COLUMNS[column] for column in order], cells)]
    shown = [(row[name].text, plots) for run, row in zip(runs, rows, strict=True) if (plots := plots_of(run))]
    if shown:
        lines.append("<h2>Plots</h2>")
    for run, plots in shown:
        lines.append(f"<details><summary>{escape(run)}</summary>")
        for plot in plots:
            data = base64.b64encode(plot.read_bytes()).decode()
            words = escape(f"{plot.stem.replace('_', ' ')} of {run}")
            lines.append(f'<img alt="{words}" src="data:image/png;base64,{data}">')
        lines.append("</details>")
    return document(title, lines)


def plots_of(run: Path) -> list[Path]:
    return sorted((run / "plots").glob("*.png"))
