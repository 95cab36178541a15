"""LoRA: train low-rank updates of the encoder's linear layers and the whole classification head."""

from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType
from peft.utils import ModulesToSaveWrapper
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from common.console import InputError


def add_lora(
    model: PreTrainedModel,
    r: int,
    alpha: float,
    dropout: float,
    target_modules: Sequence[str] | None = None,
    use_dora: bool = False,
    use_rslora: bool = False,
) -> PeftModel:
    """Wrap a sequence classifier so that only W + alpha / r * B A in each encoder linear layer, and its head, are
    trained, both in float32 whatever the frozen weights are.

    r: rank of B (out, r) and A (r, in). alpha: scale. dropout: probability on the input of A. B starts at zero, so the
    logits do not change. target_modules: ends of the layers' names; None: all linear ones. The head is all that stands
    beside the encoder: `score`, `classifier`, DeBERTa's `pooler`, ModernBERT's `head`. Hu et al. 2021 "LoRA: Low-Rank
    Adaptation of Large Language Models", eq. 3; all linear layers as in Dettmers et al. 2023 (QLoRA). use_rslora:
    alpha / sqrt(r), Kalajdzievski 2023 (rsLoRA). use_dora: Liu et al. 2024 (DoRA), eq. 5.
    """
    head = [
        name for name, child in model.named_children() if name != model.base_model_prefix and list(child.parameters())
    ]
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(target_modules) if target_modules else "all-linear",
        modules_to_save=head,
        use_dora=use_dora,
        use_rslora=use_rslora,
    )
    # not PeftModelForSequenceClassification, which would wrap a `classifier` inside of R-BERT's head once more
    model = PeftModel(model, config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    keep_head_float32(model)
    return model


def keep_head_float32(model: nn.Module) -> None:
    """Give the head, which is float32, the encoder's states in float32."""
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            for head in module.modules_to_save.values():
                head.register_forward_pre_hook(to_float32, with_kwargs=True)


def to_float32(head: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    def cast(value: Any) -> Any:
        return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    return tuple(map(cast, args)), {key: cast(value) for key, value in kwargs.items()}


def check_targets(encoder: nn.Module | None, target_modules: Sequence[str] | None) -> None:
    """Raise InputError for a name that no linear layer of the encoder ends with."""
    if encoder is None or not target_modules:
        return
    names = [name for name, module in encoder.named_modules() if isinstance(module, (nn.Linear, Conv1D))]
    ends = sorted({name.rpartition(".")[2] for name in names})
    for target in target_modules:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            known = ", ".join(ends)
            raise InputError(f"lora_target_modules: no linear layer is called {target!r:.80}, expected some of {known}")


def merge_lora(model: PeftModel) -> PreTrainedModel:
    """The plain classifier with the updates added to its weights: what it saves loads with
    AutoModelForSequenceClassification.

    The wrapped model is used up. Logits agree with the wrapped model's up to rounding.
    """
    return model.merge_and_unload()
