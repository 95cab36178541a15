"""Learning rates by layer: the lower a layer, the less it moves; the new head, which is random at first, can have a
rate of its own."""

import re
from collections.abc import Collection

from torch import nn

LAYER = re.compile(r"\.layers?\.(\d+)\.")


def parameter_groups(
    model: nn.Module,
    learning_rate: float,
    decay: float,
    weight_decay: float,
    decay_names: Collection[str],
    head_learning_rate: float | None = None,
) -> list[dict]:
    """Optimizer groups {"params", "lr", "weight_decay"}, from the head down; each trainable parameter is in exactly
    one.

    With L encoder layers: head learning_rate, layer L-1 learning_rate * decay, ..., layer 0 learning_rate * decay ** L,
    embeddings learning_rate * decay ** (L + 1). What follows the layers (BERT's pooler, ModernBERT's final norm) goes
    with the head; what belongs to none of them inside the encoder (DeBERTa's relative positions, their norm and its
    convolution) with the embeddings. head_learning_rate: of the head's group in place of learning_rate, which the
    layers' rates still come from. decay_names: full names of the parameters that get weight_decay, from
    Trainer.get_decay_parameter_names(model); the others get 0.

    Layers are read from parameter names (`layer.N.` or `layers.N.`: BERT, RoBERTa, ELECTRA, DeBERTa, ModernBERT).
    Source: Howard & Ruder 2018 (ULMFiT) section 3.2; Clark et al. 2020 (ELECTRA) appendix B, whose code has one more
    factor of decay below the head.
    """
    names = [name for name, _ in model.named_parameters()]
    num_layers = 1 + max(int(match[1]) for match in map(LAYER.search, names) if match)
    decays = set(decay_names)
    groups: dict[tuple[int, bool], dict] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            steps = _steps_below_head(name, num_layers)
            rate = head_learning_rate if steps == 0 and head_learning_rate is not None else learning_rate * decay**steps
            group = {"params": [], "lr": rate, "weight_decay": weight_decay if name in decays else 0.0}
            groups.setdefault((steps, name in decays), group)["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def _steps_below_head(name: str, num_layers: int) -> int:
    """How many times decay applies to a parameter: 0 for the head, 1 for the top layer, num_layers + 1 for the
    embeddings."""
    name = name.removeprefix("base_model.model.")  # peft's
    if match := LAYER.search(name):
        return num_layers - int(match[1])
    return num_layers + 1 if "embeddings" in name or ".encoder." in name else 0
