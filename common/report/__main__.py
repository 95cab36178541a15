"""All runs under a folder in one table, and one static HTML page with their plots.

python -m common.report runs              # every run of every task: the table here, the page in runs/index.html
python -m common.report runs/friends
"""

import base64  # PYTHON_ARGCOMPLETE_OK
import html
from pathlib import Path
from typing import Any

from common.console import ArgumentParser, InputError, print_once, run_main
from common.files import atomic_write, read_json, read_yaml

COLUMNS = (
    "task",
    "run",
    "preset",
    "model",
    "rows of",
    "accuracy",
    "macro F1",
    "log loss",
    "metric",
    "time",
    "commit",
    "status",
)
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem }
body { color: #1c1c1c; background: #fff }
div { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .7rem; text-align: left; border-bottom: 1px solid #e4e4e4; white-space: nowrap }
img { max-width: 100%; display: block; margin: 1rem 0 }
summary { cursor: pointer; padding: .4rem 0 }
"""


def main() -> None:
    parser = ArgumentParser("python -m common.report", __doc__)
    parser.add_argument(
        "folder", type=Path, help="folder of runs, as runs/ or runs/friends; index.html is written into it"
    )
    folder = parser.parse_args().folder
    runs = find_runs(folder)
    rows = [describe_run(run, folder) for run in runs]
    order = sorted(range(len(runs)), key=lambda i: rows[i][:2])
    runs = [runs[i] for i in order]
    rows = [rows[i] for i in order]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    for row in (COLUMNS, *rows):
        print_once("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    with atomic_write(folder / "index.html") as file:
        file.write(page(folder, runs, rows))
    print_once(f"{folder / 'index.html'}: {len(runs)} runs")


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


def describe_run(run: Path, folder: Path) -> list[str]:
    """The table's cells; "" for what the run does not have (yet). A damaged file is a run's status, not the end of the
    list."""
    name = run.relative_to(folder).as_posix()
    cells: dict[str, Any] = {"run": folder.name if name == "." else name}
    try:
        start = (
            run if (run / "run.json").exists() else min(path.parent for path in run.glob("fold*/run.json"))
        )  # folds trained alone
        record = read_json(start / "run.json")
        config = read_yaml(start / "config.yaml")
        cells |= {
            "task": record.get("task", ""),
            "preset": record.get("preset", ""),
            "commit": (record["commit"] or "")[:7],
        }
        cells |= {"model": Path(config["model_name_or_path"]).name, "time": duration(record["seconds"].get("total", 0))}
        cells["status"] = f"{len(list(run.glob('fold*/fold.json')))} of {config['num_folds']} folds"
        if (run / "metrics.json").exists():
            cells["status"] = "done"
            metrics = read_json(run / "metrics.json")
            cells["rows of"] = "oof" if "oof" in metrics else "eval"
            values = metrics[cells["rows of"]]
            if "accuracy" in values:
                cells["accuracy"] = f"{values['accuracy']:.4f} ± {values['standard_error']:.4f}"
                if values["accuracy"] - values["majority_share"] <= 2 * values["standard_error"]:
                    cells["status"] = "done, not above the majority"
            shown = {"macro F1": "macro_f1", "log loss": "log_loss"}
            cells |= {column: f"{values[key]:.4f}" for column, key in shown.items() if key in values}
            chosen = config.get("metric") or next(iter(values))
            if chosen not in (*shown.values(), "accuracy") and chosen in values:
                cells["metric"] = f"{chosen} {values[chosen]:.4f}"
    except (InputError, KeyError):
        cells["status"] = "unreadable"
    return [str(cells.get(column, "")) for column in COLUMNS]


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def page(folder: Path, runs: list[Path], rows: list[list[str]]) -> str:
    """The HTML page: the table, and each run's plots, which it holds itself, so that it can be sent to others."""
    title = html.escape(f"Runs in {folder.resolve().name}")
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        '<meta charset="utf-8">',
        f"<title>{title}</title>",
        f"<style>{STYLE}</style>",
    ]
    lines += [
        f"<h1>{title}</h1>",
        "<div><table>",
        cells_of("th", COLUMNS),
        *(cells_of("td", row) for row in rows),
        "</table></div>",
    ]
    for run, row in zip(runs, rows, strict=True):
        plots = sorted((run / "plots").glob("*.png"))
        if plots:
            name = html.escape(row[COLUMNS.index("run")])
            lines.append(f"<details><summary>{name}</summary>")
            for plot in plots:
                data = base64.b64encode(plot.read_bytes()).decode()
                lines.append(f'<img alt="{html.escape(plot.stem)} of {name}" src="data:image/png;base64,{data}">')
            lines.append("</details>")
    return "\n".join([*lines, "</html>", ""])


def cells_of(tag: str, cells: tuple | list) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"


if __name__ == "__main__":
    run_main(main)
