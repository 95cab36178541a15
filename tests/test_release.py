"""A release wheel of common, installed where nothing else of the repository is."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import PathDistribution
from pathlib import Path
from zipfile import Path as ZipPath
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from tests.tools.scripts import ROOT, launch


def requirements():
    """Name -> line of requirements.txt."""
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("-")]
    return {Requirement(line).name: Requirement(line) for line in lines}


def test_every_requirement_has_a_lower_bound():
    for name, requirement in requirements().items():
        assert ">=" in [part.operator for part in requirement.specifier], name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """`pip wheel . --no-deps` in a copy of what it reads: setuptools leaves a build folder there."""
    pytest.importorskip("setuptools", minversion="77")  # pyproject.toml's; without a network pip cannot fetch it
    folder = tmp_path_factory.mktemp("release")
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "common", folder / "common", ignore=shutil.ignore_patterns("__pycache__"))
    launch(sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-w", "dist", cwd=folder)
    (path,) = (folder / "dist").glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_has_every_file_of_common_and_nothing_else(wheel):
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "common").rglob("*") if path.is_file()}
    files = {path for path in files if "__pycache__" not in path}
    with ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    assert {path for path in packed if ".dist-info/" not in path} == files
    assert any(path.endswith("licenses/LICENSE") for path in packed)


@pytest.mark.slow
def test_what_the_wheel_requires_stands_in_requirements_txt(wheel):
    (info,) = [path for path in ZipPath(wheel).iterdir() if path.name.endswith(".dist-info")]
    needed = [Requirement(line) for line in PathDistribution(info).requires if "extra ==" not in line]
    assert {line.name for line in needed} == {"numpy", "PyYAML"}
    for line in needed:
        assert line.specifier == requirements()[line.name].specifier


@pytest.mark.slow
def test_an_installed_wheel_checks_a_submission_elsewhere(wheel, tmp_path):
    """In a fresh venv, whose other packages are those of this environment."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    (tmp_path / "sample.csv").write_text("Id,Expected\n0,joy\n1,joy\n")
    (tmp_path / "good.csv").write_text("Id,Expected\n0,joy\n1,anger\n")
    (tmp_path / "bad.csv").write_text("Id,Expected\n0,joy\n2,anger\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command):
        return subprocess.run(
            [python, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    installed = run("-m", "pip", "install", "--no-deps", "--no-index", wheel)
    assert installed.returncode == 0, installed.stderr
    packages = Path(run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    assert Path(run("-c", "import common; print(*common.__path__)").stdout.strip()) == packages / "common"
    good, bad = (run("-m", "common.submission", name, "sample.csv") for name in ("good.csv", "bad.csv"))
    assert (good.returncode, good.stdout) == (0, "good.csv: fits sample.csv\n"), good.stderr
    assert bad.returncode == 2 and bad.stderr.startswith("error: bad.csv, row 3, column Id: id '2'")
