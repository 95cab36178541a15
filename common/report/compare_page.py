"""The page of a comparison: what is better, what differs, curves, classes, and the rows that changed sides."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from common.console import InputError, print_once
from common.files import atomic_write
from common.report import compare as measured
from common.report.compare import Change, Comparison, load_comparison
from common.report.curves import legend, panel
from common.report.run_files import score_of, words
from common.report.run_page import page_of
from common.report.texts import load_task, read_texts
from common.report.web_page import Cell, check_output, document, escape, number, table
from common.targets.registry import Metric

MARKS = {"better": "good", "worse": "bad", "undecided": ""}
PARTS = {"oof": "out-of-fold rows", "eval": "rows of eval"}
PIECES = {
    "classes": "Classes",
    "ordered": "Classes",
    "several": "Labels",
    "number": "Tenths",
}  # what is looked at singly
LONGEST_NAME = 60  # characters of the page's file name that come from the runs


def write_comparison(paths: Sequence[Path], output: Path | None, task: Path | None, most_rows: int) -> None:
    """Print what is better, and write the page. Raises InputError before anything is written."""
    if most_rows < 0:
        raise InputError(f"rows: {most_rows} is not 0 or more")
    comparison = load_comparison(paths)
    output = output or default_output(paths)
    check_output(output)
    load_task(task, comparison.files[0].task)
    metrics, notes = measured.metrics_of(comparison)
    comparison.notes += notes
    results = {part: part_result(comparison, part, metrics) for part in comparison.parts}
    for sentence in verdicts(comparison, metrics[0], results):
        print_once(sentence)
    with atomic_write(output) as file:
        file.write(comparison_page(comparison, metrics, results, output.parent, most_rows))
    print_once(f"page {output}")


def default_output(paths: Sequence[Path]) -> Path:
    """Beside the first run, named by the first two and how many more there are."""
    names = "_vs_".join(path.resolve().name for path in paths[:2])[:LONGEST_NAME]
    more = f"_and_{len(paths) - 2}_more" if len(paths) > 2 else ""
    return paths[0].parent / f"{names}{more}.html"


def part_result(comparison: Comparison, part: str, metrics: Sequence[Metric]) -> dict[str, tuple[list, list]]:
    """Metric -> (its value in each run, by how much each but the first is better, with the standard error)."""
    first, *others = comparison.parts[part]
    values = {}
    for metric in metrics:
        scores = [float(metric.function(first.labels, one.logits.astype(float))) for one in (first, *others)]
        values[metric.name] = scores, [measured.better_by(metric, first, one) for one in others]
    return values


def verdicts(comparison: Comparison, metric: Metric, results: dict) -> list[str]:
    """A sentence for each run but the first and each part, on the metric that is to be good."""
    sentences = []
    what = words(metric.name)
    for part, values in results.items():
        rows = len(comparison.parts[part][0].ids)
        _, gains = values[metric.name]
        for name, (gain, error) in zip(comparison.names[1:], gains, strict=True):
            found = measured.verdict((gain, error))
            first = comparison.names[0]
            sentence = f"{name} is {found} than {first} by {with_error(abs(gain), error)[1:]}"
            if found == "undecided":
                sentence = f"{name} and {first} cannot be told apart: {with_error(gain, error)}"
            sure = f" ({abs(gain) / error:.1f} standard errors)" if error else ""
            sentences.append(f"{sentence} in {what}{sure}, on {rows:,} {PARTS[part]}.")
    return sentences


def comparison_page(
    comparison: Comparison, metrics: Sequence[Metric], results: dict, folder: Path, most_rows: int
) -> str:
    """The whole page. folder: where it will lie, from where links lead to the runs' reports."""
    sections = [("Result", [*result_section(comparison, metrics, results), *runs_section(comparison, folder)])]
    sections += [("Options", options_section(comparison)), ("Learning curves", curves_section(comparison))]
    sections.append((PIECES[comparison.target.kind], pieces_section(comparison)))
    sections.append(("Rows", rows_section(comparison, most_rows)))
    sections = [(title, lines) for title, lines in sections if lines]
    anchors = [(title.lower().replace(" ", "-"), title) for title, _ in sections]
    links = "".join(f'<li><a href="#{anchor}">{title}</a></li>' for anchor, title in anchors)
    body = [f'<nav aria-label="Sections"><ul>{links}</ul></nav>']
    body.append(listed(verdicts(comparison, metrics[0], results), "verdict"))
    for (anchor, title), (_, lines) in zip(anchors, sections, strict=True):
        body += [f'<h2 id="{anchor}">{title}</h2>', *lines]
    names = " and ".join(comparison.names[1:])
    return document(f"{comparison.files[0].task}: {names} against {comparison.names[0]}", body)


def result_section(comparison: Comparison, metrics: Sequence[Metric], results: dict) -> list[str]:
    """A table for each part: each metric in each run, and the paired differences."""
    first, *others = comparison.names
    header = ["metric", *comparison.names, *(f"{name} is better by" for name in others)]
    lines = []
    for part, values in results.items():
        rows = []
        for metric in metrics:
            scores, gains = values[metric.name]
            name = words(metric.name) + ("" if metric.greater_is_better else " ↓")
            rows.append([name, *(number(score, ".4g") for score in scores), *(gain_cell(gain) for gain in gains)])
        for name, scores in measured.other_values(comparison, part, list(values)):
            blank = [Cell("")] * len(others)
            rows.append([words(name), *(number(score, ".4g") for score in scores), *blank])
        lines.append(table(f"{len(comparison.parts[part][0].ids):,} {PARTS[part]}", header, rows))
    told = (
        f"↓: lower is better. Differences are to {first}, on the same rows, and positive where a run is better. ± is "
        "a standard error over rows, as if these were independent; better and worse: by more than two of them. Another "
        "--seed of the same options moves a score, too, which only runs of several seeds show. Without a difference: "
        "from metrics.json."
    )
    return [*lines, f'<p class="quiet">{escape(told)}</p>', listed(comparison.notes)]


def gain_cell(gain: tuple[float, float]) -> Cell:
    found = measured.verdict(gain)
    return Cell(f"{with_error(*gain)} {found}", gain[0], MARKS[found])


def with_error(value: float, error: float) -> str:
    """A difference and its standard error, both to the second figure of the error."""
    digits = max(0, 1 - math.floor(math.log10(error))) if math.isfinite(error) and error > 0 else 4
    return f"{value:+.{digits}f} ± {error:.{digits}f}"


def runs_section(comparison: Comparison, folder: Path) -> list[str]:
    """The runs, with links to their reports."""
    rows = []
    for name, run in zip(comparison.names, comparison.files, strict=True):
        report = run.path / "report.md"
        link = quote(Path(os.path.relpath(report, folder)).as_posix()) if report.is_file() else ""
        metric, value, error = score_of(run.metric, next(iter(run.metrics.values())))
        score = f"{words(metric)} {value:.4g}" + ("" if error is None else f" ± {error:.2g}")
        preset, commit = (str(run.record.get(key) or "") for key in ("preset", "commit"))
        cells = [Cell(name, link=link), preset, Cell(run.model, mark="value"), Cell(score, value)]
        rows.append([*cells, number(run.minutes, ".1f"), run.changed, commit[:7]])
    header = ["run", "preset", "model", "its own score", "minutes", "changed", "commit"]
    return [table("The runs; their names lead to their reports", header, rows)]


def options_section(comparison: Comparison) -> list[str]:
    """What differs of the resolved options, and of what the runs were started with."""
    rows = {
        "Options that differ": measured.option_rows(comparison.files),
        "What else differs": measured.setting_rows(comparison.files),
    }
    lines = []
    for caption, found in rows.items():
        if found:
            cells = [[name, *(Cell(value, mark="value") for value in values)] for name, values in found]
            lines.append(table(caption, ["option", *comparison.names], cells))
    return lines or ["<p>All options are the same.</p>"]


def curves_section(comparison: Comparison) -> list[str]:
    """A panel for each kind of value that the logs have."""
    panels = page_of(comparison.target).PANELS
    drawn = [panel(title, keys, comparison.names, comparison.histories) for title, keys in panels.items()]
    if not any(drawn):
        return []
    return [legend(comparison.names), f'<div class="charts">{"".join(drawn)}</div>']


def pieces_section(comparison: Comparison) -> list[str]:
    """A table for each part: each class, label or tenth in each run, and by how much it is better."""
    of_number = comparison.target.kind == "number"
    one, two = ("MAE", "mean error") if of_number else ("recall", "F1")
    others = comparison.names[1:]
    header = [comparison.target[0] if of_number else "class", "rows"]
    header += [f"{one} {name}" for name in comparison.names] + [f"{one} {name} better by" for name in others]
    header += [f"{two} {name}" for name in comparison.names]
    header += [] if of_number else [f"{two} {name} change" for name in others]
    lines = []
    for part, logits in comparison.parts.items():
        pieces = measured.tenth_rows(logits) if of_number else measured.class_rows(logits)
        rows = []
        for piece in pieces:
            cells = [Cell(piece.name), Cell(f"{piece.rows:,}", piece.rows)]
            cells += [number(score[0], ".3g" if of_number else ".3f") for score in piece.scores] + [
                change_cell(change) for change in piece.changes
            ]
            cells += [number(score[1], "+.3g" if of_number else ".3f") for score in piece.scores]
            if not of_number:
                cells += [number(score[1] - piece.scores[0][1], "+.3f") for score in piece.scores[1:]]
            rows.append(cells)
        lines.append(table(f"{PIECES[comparison.target.kind]}, {PARTS[part]}", header, rows))
    return lines


def change_cell(change: tuple[float, float]) -> Cell:
    """A difference and its standard error; empty where there are too few rows to tell."""
    if change[0] != change[0]:
        return Cell("")
    mark = MARKS[measured.verdict(change)]
    return Cell(with_error(*change), change[0], mark)


def rows_section(comparison: Comparison, most_rows: int) -> list[str]:
    """For each part and each run but the first: the rows that changed sides."""
    of_number = comparison.target.kind == "number"
    lines = []
    for part, (first, *others) in comparison.parts.items():
        texts, why = read_texts(comparison.files[0], part)
        if why:
            lines.append(f'<p class="quiet">{escape(f"Without the texts of the {PARTS[part]}: {why}.")}</p>')
        for name, other in zip(comparison.names[1:], others, strict=True):
            changes = measured.changes_of(first, other)
            better = [change for change in changes if change.better]
            worse = [change for change in changes if not change.better]
            if of_number:
                told = f"{name} is nearer in {len(better):,}, farther off in {len(worse):,} of {len(first.ids):,} rows."
            else:
                sides = f"right in {name} and wrong in {comparison.names[0]}"
                told = f"{len(better):,} of {len(first.ids):,} rows are {sides}, {len(worse):,} the other way round."
            lines += [f"<h3>{escape(f'{name}, {PARTS[part]}')}</h3>", f"<p>{escape(told)}</p>"]
            for word, found in (("better", better), ("worse", worse)):
                if shown := found[:most_rows]:
                    order = "most changed first" if of_number else "first those of which both runs are surest"
                    caption = f"{name} is {word}: {len(shown):,} of {len(found):,} {PARTS[part]}, {order}"
                    lines.append(changes_table(caption, (comparison.names[0], name), shown, texts, of_number))
    return lines


def changes_table(
    caption: str, names: tuple[str, str], changes: Sequence[Change], texts: dict[str, str], of_number: bool
) -> str:
    """names: of the first run and of the other."""
    header = ["id", "label", *names, "error" if of_number else "sure", *(["text"] if texts else [])]
    rows = []
    for change in changes:
        cells = [Cell(change.id), *(Cell(said, mark="label") for said in (change.label, change.first, change.other))]
        if of_number:
            cells.append(Cell("{:.3g} → {:.3g}".format(*change.sure), change.sure[1] - change.sure[0]))
        else:
            cells.append(Cell("{:.0%} → {:.0%}".format(*change.sure), min(change.sure)))
        rows.append([*cells, *([Cell(texts.get(change.id, ""), mark="text")] if texts else [])])
    return table(caption, header, rows)


def listed(sentences: Sequence[str], mark: str = "notes") -> str:
    """A list of sentences; nothing for none."""
    if not sentences:
        return ""
    return f'<ul class="{mark}">{"".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)}</ul>'
