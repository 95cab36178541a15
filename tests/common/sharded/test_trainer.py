"""Two processes that share out the weights (FSDP2, over gloo on a CPU) learn and predict what one process does."""

import json

import pytest
import torch

from tests.tools import learn
from tests.tools.scripts import ROOT, TORCHRUN, launch


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """What one process learns, and what two do."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("sharded")
    launch("env", f"PYTHONPATH={ROOT}", *TORCHRUN, "-m", "tests.tools.learn", "sharded", folder, cwd=folder)
    return learn.learn_sharded(folder / "alone", 1), json.loads((folder / "2.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", learn.SHARDED)
def test_weights_logits_losses_and_gradient_norms_are_those_of_one_process(learned, name):
    alone, shared = (results[name] for results in learned)
    assert learn.farthest(alone, shared) < (2e-2 if name == "bf16" else 1e-4)
    logits = torch.tensor(alone["weights"]["logits"])
    assert (logits - logits.mean(0)).abs().max() > 0.05


STOPPED_EARLY = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import tests.common.test_training as t
from common.inference import predict_logits
options = {"full_vocabulary": True, "early_stopping_patience": 1}
# the loss falls, so that the first evaluation is the best
training = {"adam_epsilon": 1e-2, "num_train_epochs": 4, "eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True,
            "metric_for_best_model": "loss", "greater_is_better": True, "fsdp": True, "fsdp_config": {"version": 2}}
found = []
for _ in range(2):
    trainer, _ = t.train(Path(sys.argv[1]), lambda: t.make_bert(dropout=False), options, **training)
    assert trainer.state.epoch == 2 and trainer.state.best_model_checkpoint.endswith("checkpoint-2")
    found.append(predict_logits(trainer.model, t.make_rows(), t.collate, trainer.accelerator, t.LABELS).logits)
    trainer.gather()
assert (found[0] == found[1]).all() and abs(found[0]).max() > 0.1
trainer.accelerator.end_training()
"""


@pytest.mark.slow
def test_a_fold_that_stopped_early_and_was_killed_then_predicts_with_its_best_weights(tmp_path):
    (tmp_path / "script.py").write_text(STOPPED_EARLY)
    launch("env", f"PYTHONPATH={ROOT}", *TORCHRUN, "script.py", tmp_path / "fold", cwd=tmp_path)
