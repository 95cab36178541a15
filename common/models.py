"""A tokenizer and a classifier: by name, from scratch, or of a finished fold."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from common.console import InputError, first_line

# What from_pretrained raises for a folder or a hub id that holds no model, or damaged files.
BROKEN_FILES = (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError)
# Families whose first position is pad_token_id + 1.
POSITIONS_AFTER_PAD = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer"}


def load_tokenizer(args: Any, texts: Sequence[str], special_tokens: Sequence[str] = ()) -> PreTrainedTokenizerBase:
    """The tokenizer of args.model_name_or_path, or for `scratch` a WordPiece one trained on `texts`.

    special_tokens become tokens of its vocabulary. Raises InputError where there is no such model, here or on the hub.
    """
    name = args.model_name_or_path
    if name == "scratch":
        from common.tricks.scratch import train_tokenizer

        tokenizer = train_tokenizer(texts)
    else:
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=args.trust_remote_code)
            config = AutoConfig.from_pretrained(name, trust_remote_code=args.trust_remote_code)
        except BROKEN_FILES as error:
            raise unavailable(name, error) from error
        # because some tokenizers do not know their model's length
        tokenizer.model_max_length = min(tokenizer.model_max_length, max_positions(config))
    tokenizer.add_tokens(list(special_tokens), special_tokens=True)
    return tokenizer


def max_positions(config: PretrainedConfig) -> int:
    """The longest row that the model's position embeddings take; a very large number where it has none."""
    positions = config.to_dict().get("max_position_embeddings") or VERY_LARGE_INTEGER
    return positions - config.pad_token_id - 1 if config.model_type in POSITIONS_AFTER_PAD else positions


def load_model(args: Any, label_names: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A sequence classifier in float32: an output per label, embeddings for every token (frozen where args say so).

    `scratch` is a BERT of 2 layers, hidden size 128. Raises InputError as load_tokenizer does.
    """
    name = args.model_name_or_path
    labels = label_config(label_names)
    if name == "scratch":
        from common.tricks.scratch import scratch_config

        model = BertForSequenceClassification(scratch_config(tokenizer, **labels))
    else:
        options = {"dtype": torch.float32, "trust_remote_code": args.trust_remote_code, **labels}
        try:
            model = AutoModelForSequenceClassification.from_pretrained(name, ignore_mismatched_sizes=True, **options)
        except BROKEN_FILES as error:
            raise unavailable(name, error) from error
        # because which weights are new is said once, not for every fold
        logging.getLogger("transformers.modeling_utils").setLevel(logging.ERROR)
        if len(tokenizer) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(tokenizer))
    if args.freeze_word_embeddings:
        model.get_input_embeddings().weight.requires_grad_(False)
    return model


def label_config(label_names: Sequence[str]) -> dict[str, dict]:
    """What a config.json says of the labels."""
    return {"id2label": dict(enumerate(label_names)), "label2id": {name: i for i, name in enumerate(label_names)}}


def labels_of_config(config: PretrainedConfig) -> list[str]:
    """The label names that label_config() put there, in the order of the outputs."""
    return [config.id2label[i] for i in range(config.num_labels)]


def load_fold(
    folder: str | Path, device: torch.device, label_names: Sequence[str], preprocessing: Sequence[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model (float32, on the device) and tokenizer of a finished fold.

    Raises InputError where the folder is not whole, or is another task's: its labels or the keys of
    config.preprocessing are others.
    """
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).to(device)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except BROKEN_FILES as error:
        raise InputError(f"{folder}: the model cannot be loaded ({first_line(error)})") from error
    found = model.config.to_dict().get("preprocessing", {})
    if set(found) != set(preprocessing):
        keys = ", ".join(found) or "none"
        what = f"has preprocessing for {keys}, expected {', '.join(preprocessing)}"
        raise InputError(f"{folder}: config.json {what}; is it another task's run?")
    names = labels_of_config(model.config)
    if names != list(label_names):
        raise InputError(f"{folder}: the model's labels are {', '.join(names)}, expected {', '.join(label_names)}")
    return model, tokenizer


def unavailable(name_or_path: str, error: Exception) -> InputError:
    reason = first_line(error)
    if Path(name_or_path).is_dir():
        return InputError(f"model_name_or_path: the folder {name_or_path} holds no model that can be loaded ({reason})")
    demo = Path(sys.argv[0]).with_name("configs") / "demo.yaml"
    sample = f", or run the bundled sample: python {sys.argv[0]} --config {demo}" if demo.exists() else ""
    return InputError(
        f"model_name_or_path: {name_or_path} is no folder with a model and could not be had from the hub ({reason}); "
        "bring it "
        f"from a machine with a network (python -m common.offline) or name its folder{sample}"
    )
