"""docs/notebooks: as they are committed, and run on the bundled samples. Their commands and links: tests/test_readme.py."""

import re
import shutil

import nbformat
import pytest
from nbclient import NotebookClient

from tests.test_readme import PROGRAMS, SHELL, TASKS
from tests.tools.scripts import ENVIRONMENT, ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


def tags(cell):
    return {*cell.metadata.get("tags", [])}


def test_there_is_a_quickstart_and_a_notebook_a_folder():
    assert {path.stem for path in NOTEBOOKS} == {"quickstart", *TASKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_has_no_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
            assert len(cell.source.splitlines()) <= 12


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_names_itself_in_its_badges_and_starts_known_programs_only(path):
    notebook = read(path)
    badges = re.findall(r"\]\((https://[^)]+\.ipynb)\)", notebook.cells[0].source)
    assert [url.partition("//")[2].partition("/")[0] for url in badges] == ["colab.research.google.com", "kaggle.com"]
    repository = re.search(r"REPOSITORY = \"https://github\.com/(\S+)\"", notebook.cells[1].source)[1]
    assert all(url.endswith(f"/{repository}/blob/main/docs/notebooks/{path.name}") for url in badges)
    commands = [words.split()[0] for cell in notebook.cells[1:] for words in SHELL.findall(cell.source)]
    assert {*commands} <= {*PROGRAMS, "git"} and "accelerate" in commands


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_on_the_bundled_sample_to_pictures_and_a_checked_submission(path, tmp_path, monkeypatch):
    """In a copy of the repository, without its cells that install, or want a network or the competition's data."""
    for entry in (*TASKS, "docs"):
        shutil.copytree(ROOT / entry, tmp_path / entry, ignore=shutil.ignore_patterns("data", "file_*", "node_modules"))
    for entry in ("common", "requirements.txt"):
        (tmp_path / entry).symlink_to(ROOT / entry)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    notebook = read(path)
    notebook.cells = [cell for cell in notebook.cells if not tags(cell) & {"install", "data"}]
    for cell in notebook.cells:
        if cell.source.startswith("!accelerate launch "):
            cell.source += " --torch_num_threads 1"  # two on a busy machine wait for each other
    folder = {"metadata": {"path": str(tmp_path / "docs" / "notebooks")}}

    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=folder).execute()

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    task = "friends" if path.stem == "quickstart" else path.stem
    assert f"done: runs/{task}/demo" in printed
    assert f"runs/{task}/demo/submission.csv: fits" in printed
    assert "error:" not in printed
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
