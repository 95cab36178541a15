"""Several processes search for weights without a gradient where there are some, and nowhere else."""

import pytest
import torch

from common.guards.unused import unused
from tests.common.test_training import make_bert
from tests.tools.scripts import ROOT, TORCHRUN, launch

BATCH = {"input_ids": torch.tensor([[1, 2, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
SEARCHES = """
import types, torch
from accelerate import Accelerator, DistributedDataParallelKwargs
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
from common.guards.unused import search_where_needed
from tests.common.guards.test_unused import BATCH
from tests.common.test_training import make_bert

def asked(before=None, spare=False, **config):
    model = make_bert()
    model.config.update(config)
    if spare:
        model.spare = torch.nn.Linear(2, 2)
    args = types.SimpleNamespace(fsdp=[], ddp_find_unused_parameters=before, device=torch.device("cpu"))
    # a collator that draws, as those of images do
    collate = lambda rows: torch.rand(3) is None or {**BATCH, "labels": torch.zeros(1)}
    accelerator = Accelerator(cpu=True, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    rows = {"train_dataset": [0], "data_collator": collate}
    trainer = types.SimpleNamespace(args=args, model=model, accelerator=accelerator, **rows)
    state = torch.random.get_rng_state()
    search_where_needed(trainer)
    assert torch.equal(state, torch.random.get_rng_state()) and model.training
    return accelerator.prepare_model(model).find_unused_parameters

found = [asked(), asked(spare=True), asked(layerdrop=0.1), asked(before=True)]
if torch.distributed.get_rank() == 0:
    print(found)
"""


@pytest.mark.parametrize("name", ["spare", "frozen"])
def test_the_weights_that_no_logit_depends_on_are_named_unless_they_are_frozen(name):
    model = make_bert().train()
    assert unused(model, BATCH) == []
    setattr(model, name, torch.nn.Linear(2, 2).requires_grad_(name != "frozen"))
    assert unused(model, BATCH) == (["spare.weight", "spare.bias"] if name == "spare" else [])
    assert model.training and all(weight.grad is None for weight in model.parameters())


@pytest.mark.slow
def test_a_search_is_left_out_only_where_every_weight_is_reached_and_the_user_has_not_asked(tmp_path):
    (tmp_path / "searches.py").write_text(SEARCHES)
    printed = launch("env", f"PYTHONPATH={ROOT}", *TORCHRUN, tmp_path / "searches.py", cwd=tmp_path)
    assert printed.splitlines()[-1] == "[False, True, True, True]"
