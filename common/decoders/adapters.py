"""Folds as adapters: what LoRA has trained, and which weights it stands on.

A fold's folder holds adapter_config.json and adapter_model.safetensors (peft's), config.json, base.json (the base's
name, fingerprint and how it was held) and model.safetensors.index.json, which names the base's own files, so that
from_pretrained() and pipeline() of transformers load the fold as they do a whole model, where peft is installed.
"""

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import cached_file

from common.console import InputError, print_once
from common.decoders.loading import loading_options
from common.files import read_json, write_json
from common.guards.foreign_code import refuse_code
from common.guards.inputs import hub_commit, weight_files, weights_sha256
from common.guards.weights import has_prefix, load
from common.options.decoders import check_bitsandbytes
from common.tricks.lora import keep_head_float32, merge_lora

if TYPE_CHECKING:
    from common.run import Run

ADAPTER = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BASE = "base.json"
INDEX = "model.safetensors.index.json"
LOADED: dict[str, PreTrainedModel] = {}  # what it is -> the one model whose adapters are swapped
PREFIX = "base_model.model."  # peft's


def finish_lora(model: PeftModel, task: Any) -> torch.nn.Module:
    """The model as a fold is saved: with its adapters, or with --merge_adapters and where the base cannot be had again,
    merged."""
    if not task.merge_adapters:
        reason = why_whole(model, task.model_name_or_path)
        if reason is None:
            return model
        if task.quantization != "none":
            raise InputError(f"quantization: adapters cannot be saved ({reason}), and rounded weights not merged")
        print_once(f"folds are saved as whole models: {reason}")
    return merge_lora(model)


def why_whole(model: PeftModel, name: str) -> str | None:
    """Why adapters alone would not do; None where they do."""
    if name == "scratch":
        return "scratch has random weights, which no file holds"
    shapes = base_shapes(name)
    if not shapes:
        return f"{name} has no safetensors"
    if has_prefix(shapes) and not has_own(shapes, model):
        return f"{name} names its weights in its own way"
    rows = len(model.get_input_embeddings().weight)
    if rows not in {shape[0] for key, shape in shapes.items() if "emb" in key or "wte" in key}:
        return "words were added to the vocabulary, which adapters do not hold"
    return None


def has_own(keys: dict[str, Any], model: PeftModel) -> bool:
    """Whether a file's keys are those of the model's encoder, with its prefix or without."""
    prefix = f"{model.get_base_model().base_model_prefix}."
    own = {
        name.replace(".base_layer.", ".")
        for name, _ in model.get_base_model().named_parameters()
        if "lora_" not in name
    }
    return any(key in own or prefix + key in own for key in keys)


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


def base_shapes(name: str) -> dict[str, list[int]]:
    """Key -> shape of what base_files() finds."""
    files = base_files(name)
    shapes = {}
    for path in sorted(set(files.values())):
        with safe_open(path, framework="pt") as file:
            shapes |= {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    return shapes


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
    write_json(folder / INDEX, {"metadata": {}, "weight_map": base_files(name)})
    how = {key: config.get(key) for key in ("model_dtype", "quantization", "attn_implementation")}
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
    """The base with a fold's adapters, these in float32."""
    if base["quantization"] != "none":
        check_bitsandbytes(base["quantization"], device.type)
    how = loading_options(base["model_dtype"], base["quantization"], base["attn_implementation"])
    model, _ = load(AutoModelForSequenceClassification, folder, trust_remote_code=False, **how)
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
