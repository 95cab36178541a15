"""index.html and a comparison in headless Chromium: from the file, on a screen and on a telephone, light and dark."""

import json
import os
import subprocess
import sys

import pytest

import common.report.__main__ as report
from tests.tools.browser import CHROMIUM, WEB, missing
from tests.tools.run_folders import make_logits, make_run
from tests.tools.scripts import ROOT

MISSING = missing("node")
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")
TWO = ("first", "second")
RUNS = {"classes": (*TWO, "third"), "several": TWO, "number": TWO, "ordered": TWO}
VIEWS = {
    "index": {"page": "index.html", "column": 4},
    "index_dark": {"page": "index.html", "column": 0, "width": 360, "dark": True},
    "classes": {"page": "classes.html", "caption": "second is better:", "column": 4},
    "classes_dark": {"page": "classes.html", "column": 1, "width": 360, "dark": True},
    "several": {"page": "several.html", "column": 2},
    "number": {"page": "number.html", "column": 2},
    "ordered": {"page": "ordered.html", "column": 2, "width": 360},
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """View -> what report_page.mjs has seen."""
    folder = tmp_path_factory.mktemp("pages")
    hostile = "<script>document.title = 'taken'</script>"
    with pytest.MonkeyPatch.context() as patch:
        for kind in RUNS:
            runs = [folder / kind / name for name in RUNS[kind]]
            for run, (skill, seed) in zip(runs, ((2.0, 5), (2.6, 6), (2.0, 7)), strict=False):
                parts = {"oof": make_logits(kind, skill, seed=seed)}
                parts |= {"eval": make_logits(kind, skill, 40, seed + 9)} if kind == "classes" else {}
                config = {"learning_rate": skill * 1e-3, "prompt_template": hostile}
                make_run(run, parts, task=kind, config=config, record={"preset": f"{hostile} {seed}"})
            patch.setattr(
                sys, "argv", ["report", "--compare", *map(str, runs), "--output", str(folder / f"{kind}.html")]
            )
            report.main()
        patch.setattr(sys, "argv", ["report", str(folder)])
        report.main()
    shots = os.environ.get("SCREENSHOTS")  # a folder, for people who want to look
    pages = {}
    for name, view in VIEWS.items():
        shot = {"screenshot": os.path.join(shots, f"{name}.png")} if shots else {}
        pages[name] = {**view, **shot, "file": str(folder / view["page"])}
    task = json.dumps({"modules": str(WEB), "chromium": CHROMIUM, "pages": pages})
    command = ["node", str(ROOT / "tests" / "tools" / "report_page.mjs")]
    result = subprocess.run(command, input=task, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr[-4000:]
    return json.loads(result.stdout)


@pytest.mark.parametrize("view", VIEWS)
def test_a_page_is_one_file_without_errors_that_fits_its_screen_and_can_be_read(seen, view):
    page = seen[view]
    assert page["errors"] == page["refused"] == page["pale"] == []
    assert len(page["requests"]) == 1 and page["requests"][0].startswith("file:")
    assert page["overflow"] == page["unnamed"] == page["broken"] == 0
    assert page["title"] == page["headings"][0] != "taken"


def test_the_page_follows_the_readers_scheme(seen):
    assert seen["index"]["paper"] == "rgb(255, 255, 255)"
    assert seen["index_dark"]["paper"] == seen["classes_dark"]["paper"] == "rgb(23, 24, 26)"


def test_a_heading_sorts_by_value_and_the_other_way_round_by_keyboard(seen):
    before, up, down = seen["index"]["states"]
    values = [float(cell.split("±")[0].split()[-1]) for cell in up["cells"]]
    assert values == sorted(values) and sorted(before["cells"]) == sorted(up["cells"])
    assert down["cells"] == up["cells"][::-1]
    assert [state["sort"] for state in (before, up, down)] == [None, "ascending", "descending"]


def test_rows_that_changed_sides_are_sorted_by_the_less_sure_run(seen):
    before, up, _ = seen["classes"]["states"]
    less = [min(map(int, cell.replace("%", "").split(" → "))) for cell in before["cells"]]
    assert len(less) > 3 and less == sorted(less, reverse=True)
    assert [min(map(int, cell.replace("%", "").split(" → "))) for cell in up["cells"]] == sorted(less)


@pytest.mark.parametrize("kind", RUNS)
def test_a_comparison_has_curves_of_each_run_and_leads_to_their_reports(seen, kind):
    page = seen[kind]
    assert page["lines"] >= len(RUNS[kind]) * 2
    assert page["links"] == [f"{kind}/{name}/report.md" for name in RUNS[kind]]
    assert len(page["captions"]) == len(set(page["captions"]))
    assert "second" in page["text"] and "learning_rate" in page["text"] and "prompt_template" not in page["text"]
