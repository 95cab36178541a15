"""Folds as adapters: what LoRA has trained, and which weights it stands on.

A fold's folder holds adapter_config.json and adapter_model.safetensors (peft's), config.json, base.json (the base's
name, fingerprint and how it was held) and model.safetensors.index.json, which names the base's own files, so that
from_pretrained() and pipeline() of transformers load the fold as they do a whole model, where peft is installed.
"""

import functools
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import cached_file

from common.console import InputError, first_line, print_once
from common.decoders.loading import loading_options
from common.files import read_json, write_json
from common.guards.foreign_code import refuse_code
from common.guards.inputs import hub_commit, weight_files, weights_sha256
from common.guards.weights import is_pooler, load
from common.options.decoders import check_bitsandbytes
from common.tricks.lora import add_lora, check_targets, keep_head_float32, merge_lora

if TYPE_CHECKING:
    from common.run import Run

ADAPTER = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BASE = "base.json"
INDEX = "model.safetensors.index.json"
LOADED: dict[str, PreTrainedModel] = {}  # what it is -> the one model whose adapters are swapped
PREFIX = "base_model.model."  # peft's
STEP = 10_000  # rows of embeddings that are compared at a time


def finish_lora(model: PeftModel, task: Any) -> torch.nn.Module:
    """The model as a fold is saved: with its adapters, or with --merge_adapters and where the base cannot be had again,
    merged."""
    if not task.merge_adapters:
        reason = why_whole(model, task.model_name_or_path)
        if reason is None:
            return model
        print_once(f"folds are saved as whole models: {reason}")
    return merge_lora(model)


def wrap(model: PreTrainedModel, task: Any) -> PeftModel:
    """The model with LoRA's adapters. Raises InputError for target modules that it does not have, for what peft does
    not do, and where its weights are rounded and could not be saved."""
    check_targets(model.base_model, task.lora_target_modules)
    how = task.lora_target_modules, task.use_dora, task.use_rslora
    try:
        wrapped = add_lora(model, task.lora_r, task.lora_alpha, task.lora_dropout, *how)
    except ValueError as error:  # of dropout over a mixture's experts, say
        raise InputError(f"lora_r: peft cannot adapt a {model.config.model_type} so ({first_line(error)})") from error
    if task.quantization != "none" and (reason := why_whole(wrapped, task.model_name_or_path)):
        raise InputError(f"quantization: adapters cannot be saved ({reason}), and rounded weights not merged")
    return wrapped


def why_whole(model: PeftModel, name: str) -> str | None:
    """Why adapters alone would not do; None where they do."""
    if name == "scratch":
        return "scratch has random weights, which no file holds"
    files = base_files(name)
    base = model.get_base_model()
    if not files:
        return f"{name} has no safetensors"
    if key_mapping(files, base) is None:
        return f"{name} names its weights in its own way"
    if lacks_pooler(files, base):
        return f"{name} has no pooler, and that of the model has random weights"
    if not has_words(files, base):
        return "words were added to the vocabulary, which adapters do not hold"
    return None


def own_names(base: PreTrainedModel) -> set[str]:
    """What the weights of a base's encoder are called without adapters."""
    names = {name.replace(".base_layer.", ".") for name, _ in base.named_parameters() if "lora_" not in name}
    return {name for name in names if name.startswith(f"{base.base_model_prefix}.")}


def key_mapping(keys: Collection[str], base: PreTrainedModel) -> dict[str, str] | None:
    """What from_pretrained is to be told of a file's keys, so that they are the base's; {} where it knows by itself,
    None where they are none of this model's.

    R-BERT's encoder has another name than the one under which the checkpoints of its family have it.
    """
    prefix, family = (f"{part.base_model_prefix}." for part in (base, base.base_model))
    names = own_names(base)
    if any(key in names or prefix + key in names for key in keys):
        return {}
    if any(key.startswith(family) and prefix + key.removeprefix(family) in names for key in keys):
        return {f"^{re.escape(family)}": prefix}
    return None


def lacks_pooler(keys: Collection[str], base: PreTrainedModel) -> bool:
    """Whether the encoder has a pooler that is in no file."""
    poolers = [key.removeprefix(f"{base.base_model_prefix}.") for key in own_names(base) if is_pooler(key)]
    return any(not any(key.endswith(name) for key in keys) for name in poolers)


def has_words(files: dict[str, str], base: PreTrainedModel) -> bool:
    """Whether a file has the base's word embeddings: words may be added in rows that a vocabulary leaves free."""
    weight = base.get_input_embeddings().weight
    for key in [key for key in files if "emb" in key or "wte" in key]:
        with safe_open(files[key], framework="pt") as file:
            part = file.get_slice(key)
            if part.get_shape() == list(weight.shape) and all(
                torch.equal(part[start : start + STEP].to(weight.dtype), weight[start : start + STEP].cpu())
                for start in range(0, len(weight), STEP)
            ):
                return True
    return False


def base_files(name: str) -> dict[str, str]:
    """Key -> the file that holds it, of a folder's or a cached repository's safetensors; {} where there are none."""
    how = {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors")}
    if path := cached_file(name, "model.safetensors", local_files_only=True, **how):
        with safe_open(path, framework="pt") as file:
            return dict.fromkeys(file.keys(), str(Path(path).absolute()))
    if path := cached_file(name, INDEX, local_files_only=True, **how):
        folder = Path(path).absolute().parent
        return {key: str(folder / Path(part).name) for key, part in read_json(path)["weight_map"].items()}
    return {}


def complete(model: torch.nn.Module, folder: Path, run: "Run") -> None:
    """What a fold's folder needs beside peft's files; nothing where the model is whole."""
    if not isinstance(model, PeftModel):
        return
    config = run.config
    name = config["model_name_or_path"]
    own = model.get_base_model().config.to_dict()
    own.pop("quantization_config", None)  # because the base's files are not rounded
    write_json(folder / "config.json", own | {"architectures": [type(model.get_base_model()).__name__]})
    write_json(folder / ADAPTER, read_json(folder / ADAPTER) | {"base_model_name_or_path": name})
    files = base_files(name)
    write_json(folder / INDEX, {"metadata": {}, "weight_map": files})
    how = {key: config.get(key) for key in ("model_dtype", "quantization", "attn_implementation")}
    how["key_mapping"] = key_mapping(files, model.get_base_model())
    write_json(
        folder / BASE,
        {"model_name_or_path": name, "sha256": run.record["data"].get("model_name_or_path", {}).get("sha256"), **how},
    )


def fingerprint(name: str) -> str | None:
    """As run.json has it: of a folder its SHA-256, of a hub's repository its commit."""
    if not Path(name).is_dir():
        return hub_commit(name)
    times = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in weight_files(Path(name))]
    return folder_fingerprint(name, tuple(times))


@functools.cache
def folder_fingerprint(name: str, times: tuple) -> str:
    """Read once for all folds, as long as no file is written anew."""
    return weights_sha256(name)


def check_base(folder: Path, base: dict[str, Any]) -> None:
    """Raise InputError where the weights below a fold's adapters are gone or are others."""
    name = base["model_name_or_path"]
    missing = [path for path in set(read_json(folder / INDEX)["weight_map"].values()) if not Path(path).exists()]
    if missing:
        how = "bring it back, or train with --merge_adapters, whose folds are whole"
        raise InputError(f"{folder}: the base of its adapters, {name}, is not here ({sorted(missing)[0]}); {how}")
    if fingerprint(name) != base["sha256"]:
        raise InputError(
            f"{folder}: the base of its adapters, {name}, has changed since they were trained; bring back the old"
        )


def load_adapters(folder: str | Path, device: torch.device) -> PreTrainedModel:
    """The model of a fold that is saved as adapters, on the device. Of folds that share base and shape the base is
    loaded once: the next call changes the model of the last.

    Raises InputError where the base has changed, or the adapters are not all there.
    """
    folder = Path(folder)
    refuse_code(str(folder), False)
    base = read_json(folder / BASE)
    check_base(folder, base)
    config = read_json(folder / "config.json")
    preprocessing = config.pop("preprocessing", {})
    key = json.dumps([base, config, read_json(folder / ADAPTER), str(device)], sort_keys=True)
    if key not in LOADED:
        LOADED.clear()
        LOADED[key] = load_base(folder, base, device)
    model = LOADED[key]
    put_adapters(model, folder)
    model.config.preprocessing = preprocessing
    return model


def load_base(folder: Path, base: dict[str, Any], device: torch.device) -> PreTrainedModel:
    """The base with a fold's adapters, these in float32. Raises InputError where the base lacks weights."""
    if base["quantization"] != "none":
        check_bitsandbytes(base["quantization"], device.type)
    how = loading_options(base["model_dtype"], base["quantization"], base["attn_implementation"])
    mapping = base.get("key_mapping") or {}
    how |= {"trust_remote_code": False, "key_mapping": mapping or None}
    model, _ = load(AutoModelForSequenceClassification, folder, **how)
    files = read_json(folder / INDEX)["weight_map"]
    if key_mapping(files, model) != mapping or lacks_pooler(files, model):  # a fold that did not know better
        what = f"{base['model_name_or_path']}, has not all of the weights that they were trained over"
        raise InputError(f"{folder}: the base of its adapters, {what}; train again")
    for name, parameter in model.named_parameters():
        if "lora_" in name or ".modules_to_save." in name:
            parameter.data = parameter.data.float()
    keep_head_float32(model)
    return model if base["quantization"] != "none" else model.to(device)


def put_adapters(model: PreTrainedModel, folder: Path) -> None:
    """A fold's adapters in place of those that a model of the same shape has. Raises InputError for a key too many or
    too few."""
    state = {key.removeprefix(PREFIX): tensor for key, tensor in load_file(folder / WEIGHTS).items()}
    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    if wrong := sorted(own.keys() ^ state.keys()):
        raise InputError(f"{folder / WEIGHTS}: {wrong[0]} is missing or none of this model's; the fold is damaged")
    set_peft_model_state_dict(model, state)
