"""Modules of hand_signal/ import their siblings by plain names, as in a script: here, too, and each is one module."""

import importlib
import sys
from types import SimpleNamespace

import pytest

from common.options import parse_predict_args, parse_train_args
from tests.tools.refusals import assert_refused_here
from tests.tools.scripts import ROOT, siblings_of

TASK = ROOT / "hand_signal"
SIBLINGS = [
    "clip_folders",
    "decode",
    "slowfast",
    "poses",
    "pose_layouts",
    "pose_input",
    "pose_tcn",
    "pose_gcn",
    "pose_c3d",
]
SIBLINGS += ["pose_streams", "person_crop", "pose_estimator", "upscaling", "frames"]
# what data.py, clips.py and model.py import, each before who imports it
for name in SIBLINGS:
    sys.modules[name] = importlib.import_module(f"hand_signal.{name}")


@pytest.fixture(scope="module")
def scripts():
    """train.py and predict.py as modules."""
    with siblings_of(TASK):
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in ("train", "predict")})


@pytest.fixture
def refuse(scripts, monkeypatch):
    """refuse(folder, script, argv, fragments): train.py or predict.py there ends with a sentence that holds them."""

    def run(script, argv):
        module = getattr(scripts, script)
        argv = list(map(str, argv))
        if script == "predict":
            module.main(parse_predict_args(module.TaskPredictArguments, TASK, "", argv))
        else:
            task = module.TaskArguments, TASK, module.COMPETITION_FILES, ""
            module.main(*parse_train_args(*task, argv, best_metric="loss"))

    return lambda folder, script, argv, fragments: assert_refused_here(
        lambda: run(script, argv), folder, monkeypatch, fragments
    )
