"""What may import what: a core, packages around it, and nothing in a circle."""

import ast
import importlib
import subprocess
import sys

import pytest

from tests.tools.scripts import ROOT

COMMON = ROOT / "common"
CORE = sorted(COMMON.glob("*.py"))
MODULES = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted(COMMON.rglob("*.py"))}


def imports(path, everywhere):
    """Modules of common that a file imports: when it is imported itself, or also inside of its functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if everywhere else tree.body
    found = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {module for module in found if module.split(".")[0] == "common"}


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_the_core_imports_search_and_report_nowhere_and_tricks_only_where_they_are_on(path):
    assert not [name for name in imports(path, True) if name.startswith(("common.search", "common.report"))]
    assert not [name for name in imports(path, False) if name.startswith("common.tricks")]


def test_no_module_of_common_imports_itself_through_others():
    arrows = {name: imports(path, False) for path, name in MODULES.items()}
    done = set()

    def visit(name, above):
        assert name not in above, " -> ".join([*above, name])
        if name not in done:
            for other in arrows.get(name, ()):
                visit(other, [*above, name])
            done.add(name)

    for name in arrows:
        visit(name, [])


@pytest.mark.parametrize("path", sorted((ROOT / "tests/benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_what_a_benchmark_imports_of_common_is_there(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "common":
            module = importlib.import_module(node.module)
            assert not [alias.name for alias in node.names if not hasattr(module, alias.name)], node.module


def test_common_knows_no_task_folder():
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not modules & {"data", "model", "friends.data", "nsmc.data"}, path


@pytest.mark.parametrize(
    "module", ["options", "metrics", "logits", "submission", "files", "examples", "report.__main__"]
)
def test_what_data_py_and_help_need_imports_neither_torch_nor_evaluate(module):
    code = f"import sys, common.{module}; sys.exit(bool({{'torch', 'evaluate', 'datasets'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.slow
def test_a_training_imports_matplotlib_only_when_it_draws():
    code = "import sys, common.report.run_page, common.results; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
