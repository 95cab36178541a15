"""What only the first forward pass tells of a model and a tokenizer, found before the run folder is made."""

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from common.console import InputError, first_line
from common.decoders.family import choose_pad, fit_decoder, is_decoder
from common.guards.weights import say

# What a forward pass raises: no such row, a shape that does not fit, a missing argument, a padding that is not set.
FAILURES = (RuntimeError, IndexError, ValueError, TypeError, KeyError, AttributeError, AssertionError)
TOLERANCE = 1e-3  # of logits, which padding must not change
COARSE = 0.1  # of those of rounded weights
LOOKS_AT_THE_END = ("xlnet",)  # its classifier takes the last place of a batch


def empty_encoder(config: PretrainedConfig, trust_remote_code: bool) -> PreTrainedModel | None:
    """The encoder of a configuration without memory for its weights, to be looked at; None where it cannot be made."""
    try:
        with torch.device("meta"):
            return AutoModel.from_config(copy.deepcopy(config), trust_remote_code=trust_remote_code)
    except (*FAILURES, ImportError, OSError):
        return None  # load_model() says why


def max_positions(config: PretrainedConfig, encoder: nn.Module | None = None) -> int:
    """The longest row that a model's position embeddings take; a very large number where it has none.

    encoder: its embeddings are looked at, of which some begin with the row behind padding_idx (as fairseq has it), or
    at an offset.
    """
    said = getattr(config, "max_position_embeddings", None)
    limits = [said] if isinstance(said, int) and said > 0 else []
    for name, module in [] if encoder is None else encoder.named_modules():
        last = name.rpartition(".")[2]
        weight = getattr(module, "weight", None)
        if ("position" in last or last == "wpe") and "rel" not in last and isinstance(weight, Tensor):
            padding = getattr(module, "padding_idx", None)
            first = getattr(module, "offset", 0) if padding is None else padding + 1
            if weight.ndim == 2 and isinstance(first, int):
                limits.append(weight.shape[0] - first)
    return min(limits, default=VERY_LARGE_INTEGER)


def fit_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, encoder: nn.Module | None) -> None:
    """Give a tokenizer the model's longest row, a token that pads, the side where the model's classifier does not look,
    and no token types that the model does not read.

    Raises InputError where nothing can pad.
    """
    # because some tokenizers do not know their model's length
    tokenizer.model_max_length = min(tokenizer.model_max_length, max_positions(config, encoder))
    if config.model_type in LOOKS_AT_THE_END:
        tokenizer.padding_side = "left"
    elif is_decoder(config) or not getattr(config, "auto_map", None):  # what a repository's code wants, only it knows
        tokenizer.padding_side = "right"  # a position is the one that the row has alone, and the first token is first
    if tokenizer.pad_token_id is None:
        token = choose_pad(tokenizer, config)
        if token is None:
            raise InputError("model_name_or_path: the tokenizer has neither a pad token nor an eos token, one must pad")
        tokenizer.pad_token = token
        say(f"the tokenizer has no pad token: {token} pads")
    if "token_type_ids" in tokenizer.model_input_names and encoder is not None:
        rows = type_rows(encoder)
        highest = max(tokenizer("a", "b").get("token_type_ids") or [0])
        if rows is not None and highest >= rows:
            say(f"token types are left out: the model has {rows}, the tokenizer {highest + 1}")
            tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]


def type_rows(encoder: nn.Module) -> int | None:
    """How many token types a model tells apart; None where it does so without an embedding of them.

    0 where nothing in it is named after types: such a model ignores them, or, as GPT-2 and XLM do, looks them up among
    its words, so that two of these would be added to all.
    """
    if "token_type_ids" not in inspect.signature(encoder.forward).parameters:
        return 0
    found = 0
    for name, weight in encoder.named_parameters():
        if "token_type" in name and weight.ndim == 2:
            return weight.shape[0]
        if "seg_embed" in name:  # XLNet, Funnel: relative, whether two tokens are of one segment
            found = None
    return found


def fit_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give a model a row of embeddings for each token that was added to the vocabulary, outputs by name, and an
    attention that is the same for every batch.

    Raises InputError where the vocabulary itself is larger than the embedding, because the tokenizer is another
    model's, and where there is no such embedding.
    """
    try:
        rows = len(model.get_input_embeddings().weight)
    except (NotImplementedError, AttributeError) as error:  # CANINE reads characters, by hashes
        kind = f"the model ({model.config.model_type}) has no embedding with a row per token"
        raise InputError(f"model_name_or_path: {kind}, expected one that reads a tokenizer's tokens") from error
    beyond = {token: number for token, number in tokenizer.get_vocab().items() if number >= rows}
    if strange := beyond.keys() - tokenizer.get_added_vocab().keys():
        first = min(strange, key=beyond.get)
        what = f"the tokenizer numbers {first!r:.40} {beyond[first]}, the model has {rows} rows of embeddings"
        raise InputError(f"model_name_or_path: {what}; they are not of one model")
    if beyond:
        model.resize_token_embeddings(max(beyond.values()) + 1)
    if getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    fit_decoder(model, tokenizer)
    if getattr(model.config, "attention_type", None) == "block_sparse":
        # BigBird leaves its sparse attention for good at the first short batch: what it says of a long row would depend
        # on whether a short one came before, and a loaded fold would say something else than the trained one
        model.config.attention_type = "original_full"
        for module in [each for each in model.modules() if hasattr(each, "set_attention_type")]:
            module.set_attention_type("original_full")
        say("block_sparse attention is left for original_full: the first short batch would end it")
    if not model.config.return_dict:
        model.config.return_dict = True


def check_forward(
    make_model: Callable[[], PreTrainedModel], examples: Sequence, encode: Callable, collate: Callable
) -> PreTrainedModel:
    """Put two rows through a model, in evaluation mode: the longest, made as long as max_length permits (for the rows
    that come later), and the shortest. Returns the model.

    examples: a text task's, or rows with tokens. encode: some of them -> rows of input_ids and so on, as trained on.
    collate: with a tokenizer. Raises InputError where the model cannot read them, or its logits are not (2, labels).
    """
    model = make_model()
    sizes = [len(row.tokens) if hasattr(row, "tokens") else sum(map(len, row.segments)) for row in examples]
    ends = [sizes.index(max(sizes)), sizes.index(min(sizes))]
    rows = list(encode([examples[i] for i in ends]))
    rows[0] = stretch(rows[0], model.config.preprocessing["max_length"], collate.tokenizer.all_special_ids)
    try:
        logits = evaluate(model, collate(rows))
        alone = evaluate(model, collate(rows[1:]))
    except FAILURES as error:
        kind = f"the model ({model.config.model_type}) cannot read the training rows"
        raise InputError(f"model_name_or_path: {kind} ({type(error).__name__}: {first_line(error)})") from error
    near = TOLERANCE if model.dtype == torch.float32 and not getattr(model, "is_quantized", False) else COARSE
    if not torch.allclose(alone[0].float(), logits[1].float(), rtol=near, atol=near):
        ids = [collate.tokenizer.pad_token_id, getattr(model.base_model.config, "pad_token_id", None)]
        if ids[1] not in (None, ids[0]):
            what = f"the tokenizer pads with {ids[0]}, config.json says {ids[1]}, and the padding changes the logits"
            raise InputError(f"model_name_or_path: {what}; take the model's own tokenizer")
        say(f"warning: this model ({model.config.model_type}) reads the padding: a row's logits depend on its batch")
    return model


def check_pixels(model: PreTrainedModel, *shape: int) -> PreTrainedModel:
    """Put one batch of zeros of that shape through the model, in evaluation mode. Returns the model. Raises InputError
    where it cannot take them, or its logits are not (B, labels)."""
    try:
        evaluate(model, {"pixel_values": torch.zeros(shape)})
    except FAILURES as error:
        size = " x ".join(map(str, shape[1:]))
        raise InputError(f"model_name_or_path: the model cannot take {size} ({first_line(error)})") from error
    return model


@torch.no_grad()
def evaluate(model: PreTrainedModel, batch: dict[str, Any]) -> Tensor:
    """The logits of a batch, in evaluation mode; the generator of random numbers stays where it was. Raises InputError
    where they are not (B, labels) or no numbers."""
    was_training = model.training
    batch = {key: value for key, value in batch.items() if key != "labels"}
    with torch.random.fork_rng(devices=[]):
        output = model.eval()(**batch)
    model.train(was_training)
    logits = getattr(output, "logits", None)
    wanted = (len(next(iter(batch.values()))), model.config.num_labels)
    found = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits if logits else output).__name__}"
    if found != wanted:
        raise InputError(f"model_name_or_path: the model's logits are {found}, expected {wanted} (rows, labels)")
    if not logits.isfinite().all():
        raise InputError("model_name_or_path: the model's logits are no finite numbers; its weights are damaged")
    return logits


def stretch(row: dict[str, Any], length: int, special: Sequence[int]) -> dict[str, Any]:
    """A row of `length` tokens: one from its middle is repeated, with all that belongs to it."""
    ids = row["input_ids"]
    places = [i for i, token in enumerate(ids) if token not in special]
    if not places or len(ids) >= length:
        return row
    at = places[len(places) // 2]
    extra = length - len(ids)
    return {
        key: [*values[:at], *[values[at]] * extra, *values[at:]] if isinstance(values, list) else values
        for key, values in row.items()
    }
