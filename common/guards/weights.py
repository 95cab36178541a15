"""Weights that do not arrive: from_pretrained fills what a file lacks with random numbers, and goes on.

Keys get prefixes from what a model was wrapped in when it was saved (DistributedDataParallel, torch.compile, PEFT,
Lightning); these are removed. Then every weight of the encoder must be there, in its shape; of a fold every weight.
"""

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import cached_file
from transformers.utils.logging import disable_progress_bar

from common.console import InputError, print_once
from common.guards.foreign_code import refuse_code

PREFIXES = {"module", "model", "base_model", "backbone", "timm_model", "network", "net", "_forward_module"}
WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}  # anywhere in a key
ADAPTERS = (".lora_", ".base_layer.", ".modules_to_save.", ".ia3_", ".original_module.")  # PEFT's, not merged
FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
# What a user can do nothing about: the table of what a head is made of, and plans for tensor parallelism.
SILENCED = ("transformers.modeling_utils", "transformers.distributed.tensor_parallel")
SILENCED += ("transformers.integrations.tensor_parallel",)  # where it is in transformers 5.17
NESTED = ("state_dict", "model_state_dict", "model_state", "model")  # where a training's checkpoint keeps its weights

say = cache(print_once)  # once, not for every fold
disable_progress_bar()  # of loading and saving; the Trainer's own stays


def load_pretrained(auto_class: Any, name: str, trust_remote_code: bool, **options: Any) -> tuple[PreTrainedModel, set]:
    """(auto_class.from_pretrained(name, **options) in float32 where no dtype is given, the keys of what is new in it).

    New may be a classifier (missing, or of another number of labels) and a pooler, which is said. Raises InputError
    where another weight is missing or has another shape, and what from_pretrained raises.
    """
    refuse_code(name, trust_remote_code)
    model, info = load(auto_class, name, trust_remote_code=trust_remote_code, **options)
    if has_prefix(info["unexpected_keys"]) and (state := read_state(name)):
        state = without_prefixes(state, own_names(model), name)
        how = {key: options[key] for key in ("dtype", "attn_implementation") if key in options}
        model, info = load(type(model), None, config=model.config, state_dict=state, **how)
    refuse_adapters(name, model, info)
    new, wrong = judge(model, info)
    if wrong:
        others = f" and {len(wrong) - 1} other weights are" if len(wrong) > 1 else " is"
        what = f"{wrong[0]}{others} missing or of another shape than config.json says"
        raise InputError(f"model_name_or_path: {name}: {what}; expected all weights of the encoder")
    if new:
        say(f"{name}: new, with random weights: {', '.join(sorted(new))}")
    if unused := sorted(key for key in info["unexpected_keys"] if is_inside(key, model)):
        others = f" and {len(unused) - 1} others" if len(unused) > 1 else ""
        say(f"warning: {name}: {unused[0]}{others} are left out: config.json describes an encoder without them")
    return model, new


def load_saved(model_class: Any, folder: str | Path) -> PreTrainedModel:
    """The model of a finished fold in float32. Raises InputError where a weight is missing, of another shape or one too
    many, or the fold brings code; and what from_pretrained raises."""
    refuse_code(str(folder), False)
    model, info = load(model_class, folder, trust_remote_code=False)
    refuse_adapters(str(folder), model, info)
    for what, keys in (
        ("missing", info["missing_keys"]),
        ("of another shape than config.json says", [key for key, *_ in info["mismatched_keys"]]),
        ("none of this model", info["unexpected_keys"]),
    ):
        if keys:
            others = f" and {len(keys) - 1} others are" if len(keys) > 1 else " is"
            raise InputError(f"{folder}: {min(keys)}{others} {what}; the fold's weights are damaged")
    return model


def load(model_class: Any, name: str | Path | None, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    """(from_pretrained(name, **options), float32 by default; what it says of the keys), with its table not shown."""
    loggers = [logging.getLogger(name) for name in SILENCED]
    for logger in loggers:
        logger.addFilter(is_error)  # because a higher level makes it say other things
    how = {"dtype": torch.float32, "ignore_mismatched_sizes": True, "output_loading_info": True}
    try:
        return model_class.from_pretrained(name, **{**how, **options})
    finally:
        for logger in loggers:
            logger.removeFilter(is_error)


def is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def check_fits(state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise InputError where weights are not those of a model (own), each in its shape. Counters of batch norm may be
    missing: timm's older files lack them, and a fixed momentum does not read them."""
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    wanted = {key: tuple(tensor.shape) for key, tensor in own.items()}
    wrong = [key for key in sorted(shapes.keys() | wanted.keys()) if shapes.get(key) != wanted.get(key)]
    wrong = [key for key in wrong if key in shapes or not key.endswith("num_batches_tracked")]
    if wrong:
        mismatch = f"{wrong[0]} is {shapes.get(wrong[0])}, expected {wanted.get(wrong[0])}"
        what = f"does not fit the model, {len(wrong)} of {len(wanted)} weights differ (first: {mismatch})"
        raise InputError(f"{path}: {what}")


def judge(model: PreTrainedModel, info: Mapping[str, Any]) -> tuple[set[str], list[str]]:
    """(keys that may be new, sorted keys that may not) of from_pretrained's loading info.

    A module of the classifier, or a pooler, is new as a whole or not at all; a classifier's last layer also where it
    has another number of labels.
    """
    shapes = {key: (tuple(found), tuple(own)) for key, found, own in info["mismatched_keys"]}
    absent = set(info["missing_keys"])
    others = {key: own[1:] == found[1:] and own[0] == model.config.num_labels for key, (found, own) in shapes.items()}
    parts: dict[str, set[str]] = {}
    for key in model.state_dict():
        parts.setdefault(key.rpartition(".")[0], set()).add(key)
    new, wrong = set(), []
    for key in sorted(absent | shapes.keys()):
        whole = parts.get(key.rpartition(".")[0], {key}) <= absent | shapes.keys()
        may = is_head(key, model) and others.get(key, True) or is_pooler(key) and key in absent
        if may and whole:
            new.add(key)
        else:
            wrong.append(key)
    return new, wrong


def is_head(key: str, model: PreTrainedModel) -> bool:
    """Whether a key of a classifier stands beside its encoder; a bare encoder has none."""
    encoder = model.base_model
    inside = [name for name, module in model.named_children() if module is encoder]
    # the code that a repository brings may not say which is its encoder
    inside = inside or [name for name, module in model.named_children() if isinstance(module, PreTrainedModel)]
    return bool(inside) and not key.startswith(f"{inside[0]}.")


def is_inside(key: str, model: PreTrainedModel) -> bool:
    """Whether a key that a model does not have looks like one of its encoder's: a layer too many, say."""
    inner = key.removeprefix(f"{model.base_model_prefix}.")
    parts = {name for name, _ in model.base_model.named_children()}
    return inner.split(".")[0] in parts and not is_pooler(key) and not key.endswith("position_ids")


def is_pooler(key: str) -> bool:
    return "pooler" in key.split(".")[:-1]


def refuse_adapters(name: str, model: PreTrainedModel, info: Mapping[str, Any]) -> None:
    """Raise InputError for adapters that are not merged: without them the model is another one."""
    keys = sorted(key for key in info["unexpected_keys"] if any(part in key for part in ADAPTERS))
    if keys or getattr(model, "_hf_peft_config_loaded", False):
        what = f"holds PEFT's adapters ({keys[0]})" if keys else "is an adapter of PEFT"
        raise InputError(f"{name}: {what}, expected a whole model; merge them first (merge_and_unload)")


def own_names(model: torch.nn.Module) -> set[str]:
    """The keys of a model's weights, also as its encoder alone has them, and under the encoder's prefix."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    names = set(model.state_dict())
    return names | {key.removeprefix(prefix) for key in names} | {prefix + key for key in names if prefix != "."}


def has_prefix(keys: Iterable[str]) -> bool:
    """Whether one of a file's keys may be a model's under a prefix."""
    return any(key.split(".")[0] in PREFIXES or WRAPPERS & set(key.split(".")) for key in keys)


def without_prefixes(state: Mapping[str, Tensor], known: Collection[str], path: str | Path) -> dict[str, Tensor]:
    """A state dict whose keys are the model's (known) after PREFIXES are removed, as far as they can be; it is said.

    Raises InputError where two keys become the same one.
    """
    names = {key: find_name(key, lambda name: is_known(name, known)) for key in state}
    removed = {key.removesuffix(name) for key, name in names.items() if name != key and key.endswith(name)}
    inside = {part for key, name in names.items() if not key.endswith(name) for part in WRAPPERS & set(key.split("."))}
    renamed: dict[str, str] = {}  # new -> old
    for key, name in names.items():
        if name == key and not is_known(key, known):  # what from_pretrained itself renames, or another head
            name = key.removeprefix(max((prefix for prefix in removed if key.startswith(prefix)), key=len, default=""))
        if name != key and name in state:
            continue  # beside the model's own weights an average of them, say
        if name in renamed:
            raise InputError(f"{path}: holds {name} twice, as {renamed[name]} and as {key}; keep one of them")
        renamed[name] = key
    if removed or inside:
        prefixes = ", ".join(sorted(removed) + sorted(inside))
        say(f"{path}: {prefixes} was removed from the names of its weights")
    return {name: state[key] for name, key in renamed.items()}


def find_name(key: str, is_known: Callable[[str], bool]) -> str:
    """The key without prefixes where the model has one of that name; else the key."""
    if is_known(key):
        return key
    inner = [part for part in key.split(".") if part not in WRAPPERS]
    for parts in (inner, [part for part in inner if part != "module"]):
        for start in range(len(parts)):
            name = ".".join(parts[start:])
            if is_known(name):
                return name
            if parts[start] not in PREFIXES:
                break
    return key


def is_known(name: str, known: Collection[str]) -> bool:
    """Whether a model has a weight of that name, or of what old files call gamma and beta."""
    head, _, last = name.rpartition(".")
    last = {"gamma": "weight", "beta": "bias"}.get(last, last)
    return name in known or f"{head}.{last}" in known


def read_state(name: str | Path) -> dict[str, Tensor]:
    """The tensors of a folder or of a hub id that was brought here, whole or in shards; {} where there are none.

    No code of a file runs. Raises OSError, SafetensorError, UnpicklingError and others for damaged files.
    """
    how = {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors")}
    for file in FILES:
        path = cached_file(str(name), file, **how)
        if path is None:
            continue
        if not file.endswith(".json"):
            return read_tensors(path)
        shards = set(json.loads(Path(path).read_text(encoding="utf-8"))["weight_map"].values())
        if strange := sorted(shard for shard in shards if Path(shard).name != shard):
            raise InputError(f"{path}: names {strange[0]!r:.80}, expected files beside it")
        return {
            key: tensor
            for shard in sorted(shards)
            for key, tensor in read_tensors(cached_file(str(name), shard)).items()
        }
    return {}


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of one file, also where a training has put them below a name."""
    if str(path).endswith(".safetensors"):
        return load_file(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    for key in NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}
