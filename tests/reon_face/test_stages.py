"""What the report says of stages."""

import importlib
from types import SimpleNamespace

import pytest

from common.logits import Logits
from common.targets import Number
from tests.tools.scripts import ROOT, siblings_of


@pytest.mark.parametrize(("target", "name"), [(["a", "b"], "accuracy"), (Number("age"), "RMSE")])
def test_what_a_stage_is_measured_by_has_its_own_name(target, name):
    logits = Logits(["1"], [[0.0] * len(target)], [0], target)
    speed = {"images_per_second": None, "wait_share": None}
    stages = [{"name": part, "accuracy": {"eval": 3.5}, **speed} for part in ("part 1/2", "part 2/2")]
    run = SimpleNamespace(args=SimpleNamespace(num_folds=1), notes=[])
    run.load_fold = lambda fold: ({"eval": logits}, {"stages": stages})
    with siblings_of(ROOT / "reon_face"):
        importlib.import_module("stages").note_stages(run)
    assert run.notes[0] == f"fold 0, stage 1 (part 1/2); {name} after it: eval 3.5000"
