"""Python and the packages of requirements.txt, by what pip knows of them: none is imported."""

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

from common.doctor.findings import Finding

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"  # a wheel of common has none
PYTHON = (3, 11)
SHOWN = ("torch", "transformers", "accelerate", "datasets", "peft", "numpy")
OF_TESTS = ("pytest", "pytest-xdist", "nbformat", "nbclient", "ipykernel", "ruff")
# without which no train.py starts; the others belong to some recipes and commands
NEEDED = ("torch", "transformers", "accelerate", "datasets", "peft", "safetensors", "scikit-learn", "numpy", "PyYAML")
SAME = {  # packages of the same modules
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "onnxruntime": ("onnxruntime-gpu",),
}
INSTALL = "pip install -r requirements.txt"


def find_packages() -> Iterator[Finding]:
    """Python, a line for each package that is missing or too old, and one for the others."""
    version = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < PYTHON
    yield Finding("python", version, f"install Python {'.'.join(map(str, PYTHON))} or later" if old else "", old)
    wrong = dict(wrong_packages())
    for name, (found, wanted) in wrong.items():
        yield Finding(name, found, f"expected {wanted}: {INSTALL}", name in NEEDED)
    there = [f"{name} {found}" for name in SHOWN if name not in wrong and (found := installed(name))]
    yield Finding("packages", ", ".join(there) or "none", "" if there else INSTALL, not there)


def wrong_packages() -> Iterator[tuple[str, tuple[str, str]]]:
    """(name, (the version that is there, those that are wanted)) of each line of requirements.txt that fails."""
    if not REQUIREMENTS.exists() or installed("packaging") is None:
        return
    from packaging.requirements import Requirement

    for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith(("#", "-")):
            continue
        package = Requirement(line.partition("#")[0].strip())
        if package.name in OF_TESTS or package.marker and not package.marker.evaluate():
            continue
        found = next(filter(None, map(installed, (package.name, *SAME.get(package.name, ())))), None)
        if found is None or not package.specifier.contains(found, prereleases=True):
            yield package.name, (found or "not installed", str(package.specifier))


def installed(name: str) -> str | None:
    """The version of a package; None where it is not there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
