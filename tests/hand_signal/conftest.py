"""Modules of hand_signal/ import their siblings by plain names, as in a script: here, too, and each is one module."""

import importlib
import sys
from types import SimpleNamespace

import pytest

from tests.tools.scripts import ROOT

TASK = ROOT / "hand_signal"
for name in ("decode", "slowfast"):  # what clips.py and model.py import
    sys.modules[name] = importlib.import_module(f"hand_signal.{name}")


@pytest.fixture(scope="module")
def scripts():
    """train.py and predict.py as modules. Their siblings are forgotten afterwards, because other folders have a data and
    a model, too."""
    sys.path.insert(0, str(TASK))
    before = set(sys.modules)
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in ("train", "predict")})
    sys.path.remove(str(TASK))
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if "." not in name and file.startswith(str(TASK)):
            del sys.modules[name]
