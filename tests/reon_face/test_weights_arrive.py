"""Weights of timm arrive whole under whatever prefix, and a configuration reaches timm only by names, sizes and rates."""

import json
from dataclasses import asdict

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from common.console import InputError
from common.guards.foreign_code import check_timm_config
from reon_face.faces import FaceCrop
from reon_face.model import load_fold, load_image_model

CPU = torch.device("cpu")
NAMES = ["a", "b"]
CROP = asdict(FaceCrop())


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def image_fold(tmp_path):
    torch.manual_seed(0)
    load_image_model("scratch", NAMES, CROP, image_size=32).save_pretrained(tmp_path)
    load_fold(tmp_path, CPU, NAMES)
    return tmp_path


BAD_TIMM = {
    "checkpoint": {"model_args": {"checkpoint_path": "x.bin"}},
    "overlay": {"model_args": {"pretrained_cfg_overlay": {"file": "x.bin"}}},
    "pretrained": {"model_args": {"pretrained": True}},
    "cfg-of-arguments": {"model_args": {"pretrained_cfg": {"file": "x.bin"}}},
    "cache": {"model_args": {"cache_dir": "/"}},
    "features": {"model_args": {"features_only": True}},
    "source-hub": {"architecture": "hf-hub:a/b"},
    "source-hub-old": {"architecture": "hf_hub:a/b"},
    "source-folder": {"architecture": "local-dir:/tmp"},
    "unknown": {"architecture": "evil"},
    "no-name": {"architecture": ["test_efficientnet"]},
    "huge": {"model_args": {"img_size": 200_000}},
    "arguments-are-a-list": {"model_args": ["checkpoint_path"]},
}
BAD_SETTINGS = {
    **{key: "x" for key in ("file", "url", "hf_hub_id", "hf_hub_filename", "source", "state_dict", "anything")},
    "input_size": [3, 200_000, 200_000],
    "min_input_size": [3, -1, 8],
    "test_input_size": "3",
}


@pytest.mark.parametrize("values", [*BAD_TIMM.values(), *BAD_SETTINGS.items()], ids=[*BAD_TIMM, *BAD_SETTINGS])
def test_timm_sees_nothing_of_a_configuration_but_names_sizes_and_rates(image_fold, values, monkeypatch):
    if isinstance(values, tuple):
        settings = json.loads((image_fold / "config.json").read_text())["pretrained_cfg"]
        values = {"pretrained_cfg": settings | dict([values])}
    change(image_fold / "config.json", **values)
    seen = []
    monkeypatch.setattr(timm, "create_model", lambda *args, **options: seen.append((args, options)))
    for attempt in (
        lambda: load_fold(image_fold, CPU, NAMES),
        lambda: load_image_model(str(image_fold), NAMES, CROP),
        lambda: check_timm_config(json.loads((image_fold / "config.json").read_text()), "config.json"),
    ):
        with pytest.raises(InputError):
            attempt()
    assert not seen


def resave(path, change):
    state = change(load_file(path / "model.safetensors"))
    save_file(
        {key: value.clone() for key, value in state.items()}, path / "model.safetensors", metadata={"format": "pt"}
    )
    return state


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "base_model.model."])
@pytest.mark.parametrize("names", [NAMES, ["a", "b", "c"]], ids=["same-labels", "other-labels"])
def test_weights_below_a_prefix_start_a_model(image_fold, prefix, names, capsys):
    kept = load_file(image_fold / "model.safetensors")["timm_model.conv_stem.weight"]
    resave(image_fold, lambda state: {prefix + key: value for key, value in state.items()})
    model = load_image_model(str(image_fold), names, CROP, image_size=32)
    assert torch.equal(model.timm_model.conv_stem.weight, kept)
    assert "was removed" in capsys.readouterr().out


FAULTS = {
    "missing": lambda state: {key: value for key, value in state.items() if "conv_stem" not in key},
    "shape": lambda state: state | {"timm_model.conv_stem.weight": state["timm_model.conv_stem.weight"][:-1]},
    "unknown-prefix": lambda state: {f"student.{key}": value for key, value in state.items()},
    "one-too-many": lambda state: state | {"timm_model.conv_stem.extra": torch.zeros(1)},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_weight_that_does_not_arrive_is_named_at_the_start_and_in_a_fold(image_fold, fault):
    resave(image_fold, fault)
    for attempt in (lambda: load_image_model(str(image_fold), NAMES, CROP), lambda: load_fold(image_fold, CPU, NAMES)):
        with pytest.raises(InputError, match=r"conv_stem|bn1|classifier"):
            attempt()
