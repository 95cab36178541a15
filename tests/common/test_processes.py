"""Two processes train and predict as one does."""

import json

import pytest
import torch

from tests.tools import learn
from tests.tools.params import first
from tests.tools.scripts import ROOT, TORCHRUN, launch


def read(folder, name):
    return json.loads((folder / name).read_text())


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process learns."""
    torch.set_num_threads(1)
    return learn.learn_texts(tmp_path_factory.mktemp("alone"), 1)


@pytest.mark.parametrize("world_size", first(1, [2, 3]))
def test_several_processes_learn_log_and_measure_what_one_does_with_the_same_effective_batch(
    tmp_path, alone, world_size
):
    """Weights, losses, gradient norms, epochs, learning rates, evaluations and predictions, also where rows are left for
    some of them only; micro-batches of a third, too."""
    command = [*TORCHRUN[:-1], world_size, "-m", "tests.tools.learn", "texts", tmp_path]
    launch("env", f"PYTHONPATH={ROOT}", *command, cwd=tmp_path)
    several = read(tmp_path, f"{world_size}.json")
    assert set(several) == set(learn.TEXTS)
    for name, result in several.items():
        assert learn.farthest(alone[name], result) < 1e-5, name
        assert all(entry["eval_loss"] == entry["eval_log_loss"] for entry in result["logged"] if "eval_loss" in entry)
    assert learn.farthest(alone["plain"], alone["plain"]) == 0
    assert max(entry.get("eval_loss", 0) for entry in alone["plain"]["logged"]) > 0.5


STOPPED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import tests.common.test_training as t
out, stop = Path(sys.argv[1]), int(sys.argv[2])
options = {"ema_decay": 0.9, "feature_oversample_ratio": 1.0}
training = {**t.SAVE, "per_device_train_batch_size": 4, "save_steps": 1}
steps = 0

def fragile():
    model = t.make_bert()
    def count(module, *_):
        global steps
        steps += module.training
        if stop and steps > stop:
            raise t.Killed
    model.register_forward_pre_hook(count)
    return model

try:
    trainer, _ = t.train(out, fragile, options, **training)
except t.Killed:
    raise SystemExit
if trainer.args.process_index == 0:
    torch.save(trainer.accelerator.unwrap_model(trainer.model).state_dict(), out / "weights.pt")
trainer.accelerator.wait_for_everyone()
trainer.accelerator.end_training()
"""


@pytest.mark.slow
def test_two_processes_that_were_stopped_end_with_the_bits_of_two_that_were_not(tmp_path):
    """With averages, which the processes share, and queues of sentence vectors, which they do not."""
    (tmp_path / "script.py").write_text(STOPPED)
    for folder, stop in [("whole", 0), ("stopped", 5), ("stopped", 0)]:
        launch("env", f"PYTHONPATH={ROOT}", *TORCHRUN, "script.py", tmp_path / folder, stop, cwd=tmp_path)
    whole, stopped = (torch.load(tmp_path / name / "weights.pt", weights_only=True) for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
