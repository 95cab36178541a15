"""Whether each weight that is trained takes part in every forward pass, so that several processes need not search.

torch's DistributedDataParallel can search the graph of each step for weights without a gradient. transformers' Trainer
asks for it; where none is found, the search costs time, and torch says so at length in every process.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from common.guards.batch_norm import is_shared

# In a model's configuration: what leaves weights out of some steps, layers by chance, experts by the router.
CHOOSES = ("layerdrop", "encoder_layerdrop", "decoder_layerdrop", "num_experts", "num_local_experts", "moe_num_experts")
NOT_READ = ("labels", "soft")  # of a batch, by the model


def search_where_needed(trainer: Any) -> None:
    """Turn the search of a transformers.Trainer off with several processes, where the user has not decided, a forward
    pass of the first row reaches all weights, and nothing in the model chooses among them. All processes look at the
    same row, without dropout, and draw no random number of the training's."""
    args, model = trainer.args, trainer.model
    if not is_shared() or args.fsdp or args.ddp_find_unused_parameters is not None:
        return
    settings = [model.config, getattr(model.config, "text_config", None)]
    if any(getattr(config, name, None) for config in settings for name in CHOOSES):
        return
    devices = [args.device] if args.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        batch = trainer.data_collator([trainer.train_dataset[0]])
    shown = {name: value.to(args.device) for name, value in batch.items() if name not in NOT_READ}
    if not unused(model, shown):
        args.ddp_find_unused_parameters = False  # of a next try, after an out-of-memory error
        trainer.accelerator.ddp_handler.find_unused_parameters = False


def unused(model: nn.Module, batch: Mapping[str, Tensor]) -> list[str]:
    """Names of the trained weights that the logits of a batch do not depend on, as DistributedDataParallel finds them:
    by the graph, without a backward pass."""
    training = model.training
    model.eval()
    with torch.enable_grad():
        logits = model(**batch)["logits"]
    model.train(training)
    waiting, seen, reached = [logits.grad_fn], {None}, set()
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            if type(node).__name__ == "AccumulateGrad":  # where the graph ends at a weight
                reached.add(id(node.variable))
            waiting += [before for before, _ in node.next_functions]
    return [name for name, weight in model.named_parameters() if weight.requires_grad and id(weight) not in reached]
