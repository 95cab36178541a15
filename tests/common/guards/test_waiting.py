"""OpenMP is told to sleep before torch loads it, by whatever program is started."""

import ast
import os
import subprocess
import sys

import pytest

from tests.tools.scripts import ROOT

PROGRAMS = sorted(
    path
    for task in ("friends", "nsmc", "klue_re", "hand_signal", "reon_face")
    for path in (ROOT / task).glob("*.py")
    if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize(
    ("given", "wanted"), [({}, "300"), pytest.param({"GOMP_SPINCOUNT": "5"}, "5", marks=pytest.mark.slow)]
)
def test_openmp_reads_it_when_torch_is_imported_after_common(given, wanted):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    shown = subprocess.run(
        [sys.executable, "-c", "import common.console, torch"],
        env={**environment, "OMP_DISPLAY_ENV": "verbose", **given},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"GOMP_SPINCOUNT = '{wanted}'" in shown.stderr + shown.stdout


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_programs_import_common_before_what_loads_torch(path):
    modules = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        modules += [node.module] if isinstance(node, ast.ImportFrom) else []
        modules += [item.name for item in node.names] if isinstance(node, ast.Import) else []
    roots = [name.partition(".")[0] for name in modules]
    loads = {"torch", "torchvision", "timm", "transformers", "accelerate", "datasets", "peft"}
    first = next((number for number, root in enumerate(roots) if root in loads), len(roots))
    assert "common" in roots[:first]
