"""What decoders want: a token that pads, padding behind the row, and a classifier that looks at the row's last token.

transformers' classifiers over decoders take the last token whose id is not pad_token_id (GenericForSequence-
Classification). Where the end of a text pads, as in families without a pad token, a row that ends with it would be read
a token too early; and padding in front of a row shifts GPT-2's positions.

Those over an encoder with a decoder (BART, T5) take the last eos, and stop where rows of a batch have not as many of
them: pairs and single texts, or a text with a literal `</s>`. T5Gemma's takes the last place of the longest row of a
batch, and in others one later than the row's last token.
"""

from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from common.decoders.segments import PairFormat

# In the causal mapping, but each token sees all others, and the padding stands in front by design.
NOT_CAUSAL = ("xlnet",)
# Tokens that the families' own recipes pad with where the tokenizer does not say so (Llama 3, Mistral, Phi).
PADS = ("<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<|pad|>", "<|padding|>", "<|reserved_special_token_0|>")


def is_decoder(config: PretrainedConfig) -> bool:
    """Whether each token of a model sees only those before it."""
    kinds = {config.model_type, config.get_text_config().model_type}  # two where a model reads images, too
    of_repository = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    causal = of_repository or any(kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES for kind in kinds)
    return causal and not any(kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES or kind in NOT_CAUSAL for kind in kinds)


def choose_pad(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> str | None:
    """A token of the vocabulary that pads: config.json's, else one that is called so, else eos; None: there is none."""
    vocabulary = tokenizer.get_vocab()
    number = getattr(config.get_text_config(), "pad_token_id", None)
    named = [token for token, own in vocabulary.items() if own == number and number is not None]
    return next((token for token in [*named, *PADS] if token in vocabulary), tokenizer.eos_token)


def fit_decoder(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write the tokenizer's pad token into the configuration, and let a classifier look at each row's last token, in
    whatever way rows are padded. A language model goes on reading every place; an encoder stays as it is."""
    if getattr(model.config, "is_encoder_decoder", False):
        fit_pair(model, tokenizer)
    if not is_decoder(model.config):
        return
    for config in (model.config, model.config.get_text_config()):
        config.pad_token_id = tokenizer.pad_token_id
    encoder = model.base_model
    if any(name.endswith("wpe") for name, _ in encoder.named_modules()):  # learned positions, counted from the padding
        encoder.register_forward_pre_hook(count_positions, with_kwargs=True)
    if encoder is not model and model.get_output_embeddings() is None:
        encoder.register_forward_hook(repeat_last, with_kwargs=True)


def fit_pair(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let a classifier over an encoder and a decoder look at each row's last token, or the eos of the tokenizer that
    stands before it (mBART ends a row with `</s> ko_KR`)."""
    encoder = model.base_model
    if encoder is model or model.get_output_embeddings() is not None:
        return
    end = PairFormat.of(tokenizer).suffix[::-1]
    behind = end.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in end else 0
    encoder.register_forward_hook(partial(repeat_last, behind=behind), with_kwargs=True)
    if hasattr(model, "classification_head"):  # T5Gemma's has another name, and looks for what pads
        if not isinstance(model.config.eos_token_id, int):  # which one does not matter
            model.config.eos_token_id = tokenizer.pad_token_id
        model.register_forward_pre_hook(show_one_eos, with_kwargs=True)
        encoder.register_forward_pre_hook(take_row, with_kwargs=True)


def show_one_eos(model: PreTrainedModel, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Before a forward pass of a classifier that looks for eos: it is shown one, at the end of each row, and the rows
    (B, T) go on as decoder_input_ids, which it hands to take_row() as they are."""
    ids = kwargs.get("input_ids")
    if ids is None:
        return args, kwargs
    eos = model.config.eos_token_id
    shown = torch.full_like(ids, eos + 1)
    shown[:, -1] = eos
    mask = kwargs.get("attention_mask")
    mask = torch.ones_like(ids) if mask is None else mask
    return args, {**kwargs, "input_ids": shown, "decoder_input_ids": ids, "attention_mask": mask}


def take_row(encoder: PreTrainedModel, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Before the pass within: rows and, of T5, which does so outside of it, what its decoder reads; the others shift
    the row themselves."""
    ids = kwargs.get("decoder_input_ids")
    if ids is None:
        return args, kwargs
    shifted = encoder._shift_right(ids) if hasattr(encoder, "_shift_right") else None
    return (ids, *args[1:]), {**kwargs, "decoder_input_ids": shifted}


def count_positions(encoder: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Before a forward pass: position_ids (B, T) from the row's first token on."""
    mask = kwargs.get("attention_mask")
    if mask is not None and mask.ndim == 2 and kwargs.get("position_ids") is None:
        kwargs = {**kwargs, "position_ids": (mask.long().cumsum(-1) - 1).clamp(min=0)}
    return args, kwargs


def repeat_last(encoder: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any, behind: int = 0) -> Any:
    """After a forward pass: at every place the state (B, H) of the row's last token, or the one that many before it, so
    that a classifier that looks for it by its id finds the same one."""
    mask = kwargs.get("attention_mask")
    if mask is None or mask.ndim != 2:
        return output
    states = output[0]  # (B, T, H)
    last = last_state(states, mask, behind)
    repeated = last.unsqueeze(1).expand_as(states)
    if isinstance(output, tuple):
        return (repeated, *output[1:])
    output["last_hidden_state"] = repeated
    return output


def last_state(states: torch.Tensor, mask: torch.Tensor, behind: int = 0) -> torch.Tensor:
    """(B, H) of states (B, T, H) at the last place where mask (B, T) is 1, or that many places before it."""
    places = torch.arange(mask.shape[1], device=mask.device)
    last = ((places * (mask != 0)).argmax(-1) - behind).clamp(min=0)
    return states[torch.arange(len(states), device=states.device), last.to(states.device)]
