"""The numbers of the READMEs are those that their runs have written: docs/results/*.json, by record_result.py."""

import json
import statistics
import sys

import pytest

from tests.benchmarks import record_result
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


def test_a_result_is_that_of_its_run_and_names_no_path(tmp_path, monkeypatch):
    """Metrics are kept as they are, but for digits and parts that say nothing of the score."""
    run = tmp_path / "run"
    run.mkdir()
    data = {
        "train_file": {"path": str(tmp_path), "sha256": "0", "rows": 3},
        "model_name_or_path": {"path": str(tmp_path)},
    }
    about = {
        "task": "nsmc",
        "commit": "0",
        "data": data,
        "packages": {},
        "seconds": {"train": 90.0},
        "command": str(run),
    }
    metrics = {"oof": {"accuracy": 0.71234567, "standard_error": 0.0123, "n": 3}, "train_samples_per_second": 9.0}
    for name, content in (("run.json", about), ("metrics.json", metrics), ("config.yaml", {"seed": 7})):
        (run / name).write_text(json.dumps(content))
    words = ["--name", "tried", "--model", "m", "--machine", "a", "--command", "c"]
    number = 'p.md "| a row |" oof.accuracy oof.standard_error 100 1'
    monkeypatch.setattr(record_result, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["record_result.py", str(run), *words, "--number", number])
    record_result.main()
    result = json.loads((tmp_path / "tried.json").read_text())
    assert str(tmp_path) not in json.dumps(result)
    [kept] = result["runs"]
    assert kept["metrics"] == {"oof": {"accuracy": 0.712346, "standard_error": 0.0123, "n": 3}}
    assert (kept["seed"], kept["minutes"], kept["rows"]) == (7, 1.5, {"train_file": 3})
    assert result["numbers"][0]["row"] == "| a row |"
    assert written(result["numbers"][0], result["runs"]) == "71.2 ± 1.2"
