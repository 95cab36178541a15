"""Code that a configuration names: transformers asks on the terminal whether to run it, and `yes |` answers; timm loads
a file that its arguments name with pickle. Nothing asks here, and nothing is loaded that was not named."""

from collections.abc import Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from common.console import InputError
from common.guards.network import prefer_cache

# What timm's own config.json files say of a model, and nothing that is loaded or that changes the network.
TIMM_SETTINGS = {
    *("architecture", "tag", "custom_load", "num_classes", "label_offset", "pool_size", "test_pool_size"),
    *("input_size", "min_input_size", "test_input_size", "fixed_input_size"),
    *("interpolation", "crop_pct", "crop_mode", "test_crop_pct", "test_crop_mode", "mean", "std"),
    *("first_conv", "classifier", "license", "origin_url", "paper_name", "paper_ids", "notes", "description"),
    *("label_names", "label_descriptions"),
}
MOST_PIXELS = 4096  # a side of an image
# Arguments of create_model(), and the largest number of each; global_pool is a name.
TIMM_ARGUMENTS = {
    **{"drop_rate": 1, "drop_path_rate": 1, "img_size": MOST_PIXELS},
    **{"num_classes": 100_000, "in_chans": 16, "global_pool": None},
}


def refuse_code(name: str, trust_remote_code: bool) -> None:
    """Raise InputError where a model's folder, or hub id, names code of its own, in config.json or for its tokenizer.

    Also where transformers has a model of that type: it is another one, which may have weights of the same names.
    Raises OSError, ValueError where there is no config.json.
    """
    prefer_cache(name)  # what follows is the first question about a model
    if trust_remote_code:
        return
    config, _ = PretrainedConfig.get_config_dict(name)
    for file, content in (("config.json", config), ("tokenizer_config.json", get_tokenizer_config(name))):
        if "auto_map" in keys_of(content):
            what = "names code of its own (auto_map), which is not run"
            how = "expected a model of transformers, or for training --trust_remote_code true, if you trust it"
            raise InputError(f"{name}: {file} {what}; {how}")


def keys_of(content: Any) -> Iterator[str]:
    """The keys of a JSON value with all below it, of what is not empty."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if value:
                yield key
            yield from keys_of(value)
    elif isinstance(content, list):
        for value in content:
            yield from keys_of(value)


def check_timm_config(config: Mapping[str, Any], path: str | Path) -> None:
    """Raise InputError where a config.json of timm wants more of create_model() than a name, sizes and rates.

    checkpoint_path and pretrained_cfg_overlay, file, url, hf_hub_id would load other weights, and (before timm 1.0.26)
    run their pickle.
    """
    import timm

    architecture = config.get("architecture")
    settings = config.get("pretrained_cfg")
    arguments = config.get("model_args") or {}
    if not isinstance(architecture, str) or not isinstance(settings, dict) or not isinstance(arguments, dict):
        raise InputError(f"{path}: names no architecture and pretrained_cfg, expected a model of timm")
    if not is_timm_name(architecture):
        raise InputError(f"{path}: architecture {architecture!r:.80} is none that timm {timm.__version__} knows")
    for where, found, known in (
        ("pretrained_cfg", settings, TIMM_SETTINGS),
        ("model_args", arguments, TIMM_ARGUMENTS),
    ):
        for key in sorted(key for key, value in found.items() if key not in known and value not in (None, "")):
            raise InputError(f"{path}: {where} holds {key!r:.80}, expected none but {', '.join(sorted(known))}")
    for key, most in TIMM_ARGUMENTS.items():
        sizes = arguments[key] if isinstance(arguments.get(key), list) else [arguments.get(key, 0)]
        if most is not None and not all(isinstance(size, Real) and 0 <= size <= most for size in sizes):
            raise InputError(f"{path}: model_args says {key} {sizes!r:.80}, expected a number of at most {most}")
    for key in ("input_size", "min_input_size", "test_input_size"):
        size = settings.get(key)
        whole = isinstance(size, (list, tuple)) and len(size) == 3 and all(type(part) is int for part in size)
        if size is not None and not (whole and all(0 < part <= MOST_PIXELS for part in size)):
            limit = f"expected [channels, height, width] of at most {MOST_PIXELS} pixels"
            raise InputError(f"{path}: pretrained_cfg says {key} {size!r:.80}, {limit}")


def is_timm_name(name: str) -> bool:
    """Whether timm itself has a model of that name; a name with a source in front (hf-hub:, local-dir:) is none."""
    import timm

    try:
        return not set(name) & set(":/\\") and timm.is_model(name)
    except (RuntimeError, ValueError):
        return False
