"""Two processes train and predict as one does."""

import json
import sys

import numpy as np
import pytest
import torch

from common.logits import Logits
from tests.tools.scripts import ROOT, TORCHRUN, launch


def read(folder, name):
    return json.loads((folder / name).read_text())


TWO_PROCESSES = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import tests.common.test_training as t
from common.inference import predict_logits
out, batch, rows = Path(sys.argv[1]), int(sys.argv[2]), t.make_rows(int(sys.argv[3]))
trainer, _ = t.train(out, lambda: t.make_bert(dropout=False), rows=rows, per_device_train_batch_size=batch, **t.SGD)
logits = predict_logits(trainer.model, rows, t.collate, trainer.accelerator, t.LABELS, 40)
metrics = trainer.evaluate()
if trainer.args.process_index == 0:
    (out / f"{trainer.args.world_size}.json").write_text(t.json.dumps(metrics))
    logits.save(out / f"{trainer.args.world_size}.npz")
trainer.accelerator.wait_for_everyone()
trainer.accelerator.end_training()
"""


def test_two_processes_at_batch_4_learn_what_one_learns_at_batch_8(tmp_path):
    rows = 30  # three whole batches and a rest of six rows
    (tmp_path / "script.py").write_text(TWO_PROCESSES)
    launch("env", f"PYTHONPATH={ROOT}", *TORCHRUN, "script.py", tmp_path, 4, rows, cwd=tmp_path)
    launch("env", f"PYTHONPATH={ROOT}", sys.executable, "script.py", tmp_path, 8, rows, cwd=tmp_path)
    two, one = Logits.load(tmp_path / "2.npz"), Logits.load(tmp_path / "1.npz")
    assert two.ids.tolist() == one.ids.tolist() == [str(i) for i in range(rows)]
    assert np.abs(two.logits - one.logits).max() < 1e-4
    assert one.logits.std() > 0.1
    evaluated = [read(tmp_path, f"{n}.json") for n in (2, 1)]
    for key in ("eval_accuracy", "eval_macro_f1", "eval_log_loss"):
        assert evaluated[0][key] == pytest.approx(evaluated[1][key], abs=1e-4)


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
