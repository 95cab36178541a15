"""A tokenizer and a classifier: by name, from scratch, or of a finished fold."""

import pickle
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
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from common.console import InputError, first_line
from common.decoders.family import fit_decoder
from common.decoders.loading import options_of
from common.guards.first_pass import empty_encoder, fit_model, fit_tokenizer
from common.guards.foreign_code import refuse_code
from common.guards.weights import load_pretrained, load_saved
from common.targets import as_target, label_config, labels_of_config

LATER = {"prompt_template"}  # keys of preprocessing that folds of before do not have
# What from_pretrained raises for a folder or a hub id that holds no model, or damaged files; or a package is missing.
BROKEN_FILES = (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError)
BROKEN_FILES += (RuntimeError, ImportError, EOFError, pickle.UnpicklingError)


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
            refuse_code(name, args.trust_remote_code)
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=args.trust_remote_code)
            config = AutoConfig.from_pretrained(name, trust_remote_code=args.trust_remote_code)
        except BROKEN_FILES as error:
            raise unavailable(name, error) from error
        fit_tokenizer(tokenizer, config, encoder := empty_encoder(config, args.trust_remote_code))
        if args.lora_target_modules:
            from common.tricks.lora import check_targets

            check_targets(encoder, args.lora_target_modules)
    tokenizer.add_tokens(list(special_tokens), special_tokens=True)
    return tokenizer


def load_model(args: Any, label_names: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A sequence classifier in float32: an output per label, embeddings for every token (frozen where args say so).

    `scratch` is a BERT of 2 layers, hidden size 128. Raises InputError as load_tokenizer does, and for weights that
    are missing.
    """
    name = args.model_name_or_path
    labels = label_config(label_names)
    if name == "scratch":
        from common.tricks.scratch import scratch_config

        model = BertForSequenceClassification(scratch_config(tokenizer, **labels))
    else:
        try:
            how = {**labels, **options_of(args)}
            # a field that transformers does not know would be given to the model; {} in place of an earlier run's
            settings = how.pop("target", {})
            model, _ = load_pretrained(AutoModelForSequenceClassification, name, args.trust_remote_code, **how)
            if settings or hasattr(model.config, "target"):
                model.config.target = settings
        except BROKEN_FILES as error:
            raise unavailable(name, error) from error
        fit_model(model, tokenizer)
    if args.freeze_word_embeddings:
        model.get_input_embeddings().weight.requires_grad_(False)
    return model


def load_fold(
    folder: str | Path, device: torch.device, label_names: Sequence[str], preprocessing: Sequence[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model (float32, on the device) and tokenizer of a finished fold.

    Raises InputError where the folder is not whole, or is another task's: its labels or the keys of
    config.preprocessing are others.
    """
    try:
        if (Path(folder) / "adapter_config.json").exists():
            from common.decoders.adapters import load_adapters

            model = load_adapters(folder, device)
        else:
            model = load_saved(AutoModelForSequenceClassification, folder).to(device)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        fit_tokenizer(tokenizer, model.base_model.config, model.base_model)
        fit_decoder(model, tokenizer)
    except BROKEN_FILES as error:
        raise InputError(f"{folder}: the model cannot be loaded ({first_line(error)})") from error
    found = model.config.to_dict().get("preprocessing", {})
    if set(found) | LATER != set(preprocessing) | LATER:
        keys = ", ".join(found) or "none"
        what = f"has preprocessing for {keys}, expected {', '.join(preprocessing)}"
        raise InputError(f"{folder}: config.json {what}; is it another task's run?")
    names = labels_of_config(model.config)
    if names != label_names or names.kind != as_target(label_names).kind:
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
        f"bring it from a machine with a network (python -m common.offline) or name its folder{sample}"
    )
