"""Modules of hand_signal/ import their siblings by plain names, as in a script: here, too, and each is one module."""

import importlib
import sys
from types import SimpleNamespace

import pytest

from tests.tools.scripts import ROOT, siblings_of

TASK = ROOT / "hand_signal"
SIBLINGS = ["decode", "slowfast", "poses", "pose_layouts", "pose_input", "pose_tcn", "pose_gcn", "pose_c3d"]
SIBLINGS += [
    "pose_streams",
    "person_crop",
    "pose_estimator",
]  # what data.py, clips.py and model.py import, each before who imports it
for name in SIBLINGS:
    sys.modules[name] = importlib.import_module(f"hand_signal.{name}")


@pytest.fixture(scope="module")
def scripts():
    """train.py and predict.py as modules."""
    with siblings_of(TASK):
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in ("train", "predict")})
