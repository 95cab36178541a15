"""How from_pretrained holds the weights: their type, rounded to 8 or 4 bits, and which attention."""

from typing import Any

import torch

from common.guards.precision import has_bf16


def loading_options(model_dtype: str, quantization: str, attn_implementation: str | None) -> dict[str, Any]:
    """Options of from_pretrained. Rounded weights go to the process's device at once.

    4bit: NF4 with its constants rounded, too, as of Dettmers et al. 2023 (QLoRA), section 3; multiplied in bfloat16
    where the GPU has it, else (T4) in float16, on a CPU in float32.
    """
    options: dict[str, Any] = {"dtype": getattr(torch, model_dtype)}
    if attn_implementation:
        options["attn_implementation"] = attn_implementation
    if quantization == "none":
        return options
    from transformers import BitsAndBytesConfig

    on_gpu = torch.cuda.is_available()
    multiply = (torch.bfloat16 if has_bf16("cuda") else torch.float16) if on_gpu else torch.float32
    if quantization == "8bit":
        how = BitsAndBytesConfig(load_in_8bit=True)
    else:
        how = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=multiply,
        )
    return {**options, "quantization_config": how, "device_map": {"": torch.cuda.current_device() if on_gpu else "cpu"}}


def options_of(args: Any) -> dict[str, Any]:
    """loading_options() of the fields of DecoderArguments."""
    return loading_options(args.model_dtype, args.quantization, args.attn_implementation)
