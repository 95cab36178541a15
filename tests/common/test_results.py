"""What is measured when the folds are trained."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from common.examples import TextExample
from common.logits import Logits
from common.results import collect


@pytest.mark.parametrize("part", ["held_out", "eval"])
def test_folds_that_were_measured_by_another_metric_are_measured_by_the_one_of_now(tmp_path, part):
    labels = np.arange(12) % 2
    logits = np.random.default_rng(0).normal(size=(12, 2))
    shared = np.arange(12)
    rows = [shared[::2], shared[1::2]] if part == "held_out" else [shared, shared]
    folds = [Logits(kept.astype(str), logits[kept], labels[kept], ["no", "yes"]) for kept in rows]
    before = {"metrics": {"accuracy": 0.0, "n": 1}, "train_samples_per_second": 1.0}  # METRIC of data.py was accuracy
    args = SimpleNamespace(metric="auc", metric_bootstrap=0)
    state = SimpleNamespace(is_main_process=True)
    run = SimpleNamespace(dir=tmp_path, args=args, state=state, config={"num_folds": 2 if part == "held_out" else 1})
    run.load_fold = lambda fold: ({part: folds[fold]}, before)
    collect(run, [TextExample(str(i), [""]) for i in shared])
    found = json.loads((tmp_path / "metrics.json").read_text())
    for values, own in zip(found["folds"], folds, strict=False):
        assert values["n"] == len(own.ids) and 0 <= values["auc"] <= 1
        assert values["accuracy"] == np.mean(own.logits.argmax(1) == own.labels)
