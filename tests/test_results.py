"""The numbers of the READMEs are those that their runs have written: docs/results/*.json."""

import json
import statistics

import pytest

from tests.tools.scripts import ROOT

RESULTS = sorted((ROOT / "docs/results").glob("*.json"))


def value(metrics, path):
    """Of metrics.json, by oof.accuracy and the like."""
    for key in path.split("."):
        metrics = metrics[key]
    return metrics


def written(number, runs):
    """As a README has it: the mean over runs and its standard error over them; of one run with the error of its rows."""
    values = [value(run["metrics"], number["value"]) * number["scale"] for run in runs]
    if len(values) > 1:
        error = statistics.stdev(values) / len(values) ** 0.5
    else:
        error = value(runs[0]["metrics"], number["error"]) * number["scale"]
    digits = number["digits"]
    return f"{statistics.mean(values):.{digits}f} ± {error:.{digits}f}"


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_readme_has_the_numbers_of_its_runs(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["runs"] and {"task", "command", "model", "machine", "numbers"} <= result.keys()
    for number in result["numbers"]:
        text = written(number, result["runs"])
        page = (ROOT / number["page"]).read_text(encoding="utf-8")
        rows = [row for row in page.splitlines() if row.startswith("|") and number["row"] in row]
        assert any(f" {text} " in row for row in rows), f"{number['page']}: no row of {number['row']!r} has {text}"


def test_there_are_results():
    assert RESULTS
