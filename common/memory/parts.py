"""Bytes that a training step needs, by part, for a model's configuration: nothing is allocated.

weights      the frozen and the trained ones as they are held (float32: 4 bytes, bfloat16: 2; 8 bit: 1; 4 bit: NF4 with
             its constants rounded, 0.516, Dettmers et al. 2023 (QLoRA), section 3); embeddings and norms stay
adapters     LoRA's A and B and the head, float32
gradients    of what is trained, float32
moments      the optimizer's
activations  what autograd keeps of one and of two layers, counted while these run without memory (FakeTensorMode), and
             extrapolated; with gradient checkpointing each layer's input, and one layer made again
temporary    4 and 8 bit: the largest weight as it is multiplied
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForSequenceClassification, PretrainedConfig

from common.console import InputError
from common.tricks.lora import add_lora, check_targets

BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
ROUNDED = {"8bit": 1.0, "4bit": 0.5 + (8 + 32 / 256) / 64 / 8}  # per weight, with a block's constants
# optimizer -> bytes per trained weight; others are counted as AdamW
MOMENTS = {"sgd": 0.0, "adamw_8bit": 2.0, "adamw_bnb_8bit": 2.0, "paged_adamw_8bit": 0.0, "paged_adamw_32bit": 0.0}
ADAMW = 8.0
# Fused attention keeps no mask of dropout on a GPU; its form for CPUs, on which is counted, would.
DROPOUTS = ("attention_dropout", "attention_probs_dropout_prob", "attn_pdrop")


@dataclass
class Step:
    """What a training step is, by the names of the options."""

    batch_size: int
    max_length: int
    num_labels: int = 2
    lora_r: int = 0
    lora_target_modules: list[str] | None = None
    use_dora: bool = False
    model_dtype: str = "float32"
    quantization: str = "none"
    half: bool = False  # bf16 or fp16: mixed precision
    gradient_checkpointing: bool = False
    freeze_word_embeddings: bool = False
    optim: str = "adamw_torch_fused"


def memory_of(config: PretrainedConfig, step: Step) -> dict[str, int]:
    """Bytes by part, and `total`: the most at one time, which is in the backward pass, or, where activations are small,
    when all gradients are there."""
    model = build(config, step)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = [(name, p) for name, p in model.named_parameters() if not p.requires_grad]
    inside = [p for name, p in frozen if is_rounded(name, p, step)]
    rounded = sum(p.numel() for p in inside)
    rest = sum(p.numel() for _, p in frozen) - rounded
    of_whole = 0 if step.lora_r else trained
    largest = max((p.numel() for p in inside), default=0)
    layers = config.num_hidden_layers
    one, two = (kept(config, step, count) for count in (1, 2))
    if step.gradient_checkpointing:
        size = 4 if step.model_dtype == "float32" else 2  # also in mixed precision, which adds in float32
        activations = one + layers * step.batch_size * step.max_length * config.hidden_size * size
    else:
        activations = one + (layers - 1) * (two - one)
    parts = {
        "weights": round(rest * BYTES[step.model_dtype] + rounded * ROUNDED.get(step.quantization, 0) + 4 * of_whole),
        "adapters": 4 * (trained - of_whole),
        "gradients": 4 * trained,
        "moments": round(MOMENTS.get(step.optim, ADAMW) * trained),
        "activations": activations,
        "temporary": 2 * largest,
    }
    stays = parts["weights"] + parts["adapters"] + parts["moments"] + parts["temporary"]
    return {**parts, "total": stays + max(parts["activations"], parts["gradients"])}


def build(config: PretrainedConfig, step: Step, layers: int | None = None) -> nn.Module:
    """The classifier as it is trained, of so many layers. Raises InputError for target modules that it does not
    have."""
    config = copy.deepcopy(config)
    if layers is not None:
        config.num_hidden_layers = layers
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[:layers]
    for name in DROPOUTS:
        if getattr(config, name, None):
            setattr(config, name, 0.0)
    config.num_labels = step.num_labels
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = 0
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config, dtype=getattr(torch, step.model_dtype))
        if step.freeze_word_embeddings:
            model.get_input_embeddings().weight.requires_grad_(False)
        if step.lora_r:
            check_targets(model.base_model, step.lora_target_modules)
            model = add_lora(model, step.lora_r, 16, 0.1, step.lora_target_modules, step.use_dora)
    return model.train()


def pretend(model: nn.Module) -> None:
    """Inside of FakeTensorMode: weights that say they lie on the CPU, whose attention is fused as a GPU's is."""
    for module in model.modules():
        for name, own in list(module._parameters.items()):
            if own is not None:
                new = torch.empty(own.shape, dtype=own.dtype)
                module._parameters[name] = nn.Parameter(new, requires_grad=own.requires_grad)
        for name, own in list(module._buffers.items()):
            if own is not None:
                module._buffers[name] = torch.empty(own.shape, dtype=own.dtype)


def is_rounded(name: str, parameter: nn.Parameter, step: Step) -> bool:
    """Whether bitsandbytes rounds a weight: those of linear layers but the head's."""
    embedding = any(part in name for part in ("embed", "wte", "wpe"))
    head = ".original_module." in name or ".modules_to_save." in name
    return step.quantization != "none" and parameter.ndim == 2 and not embedding and not head


def kept(config: PretrainedConfig, step: Step, layers: int) -> int:
    """Bytes that autograd keeps for the backward pass of so many layers, parameters left out. Raises InputError for a
    model that cannot run without memory."""
    storages: dict[int, int] = {}
    keep: list[torch.Tensor] = []  # because a freed storage's address is used again

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            storages[storage._cdata] = storage.nbytes()
            keep.append(tensor)
        return tensor

    model = build(config, step, layers)
    with FakeTensorMode():
        pretend(model)
        own = {p.untyped_storage()._cdata for p in model.parameters()}
        ones = torch.ones(step.batch_size, step.max_length, dtype=torch.long)
        inputs = {"input_ids": 5 * ones, "attention_mask": ones, "labels": torch.zeros(step.batch_size).long()}
        if config.model_type == "bert":
            inputs["token_type_ids"] = 0 * ones
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=step.half, cache_enabled=False):
                run(lambda: model(**inputs).loss, config)
    return sum(storages.values())


def run(forward: Callable[[], Any], config: PretrainedConfig) -> None:
    try:
        forward()
    except (RuntimeError, NotImplementedError, TypeError) as error:
        what = f"a {config.model_type} cannot be run without memory ({type(error).__name__})"
        raise InputError(f"model_name_or_path: {what}, so its activations cannot be counted") from error
