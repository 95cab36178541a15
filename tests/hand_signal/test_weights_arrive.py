"""Weights of videos arrive whole under whatever prefix, and a configuration reaches timm only by a name."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEForVideoClassification

from common.console import InputError
from hand_signal.model import (
    FrameClassifier,
    VideoClassifier,
    check_last_batch,
    find_architecture,
    load_fold,
    load_video_model,
)

CPU = torch.device("cpu")
NAMES = ["a", "b"]
MAE = {"image_size": 32, "num_frames": 4, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
MAE |= {
    "intermediate_size": 24,
    "decoder_num_hidden_layers": 1,
    "decoder_hidden_size": 16,
    "decoder_intermediate_size": 24,
}
MAE |= {"decoder_num_attention_heads": 2}


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    "name", ["hf-hub:a/b", "hf_hub:a/b", "local-dir:/tmp", "local-dir:.", "../x", "", "evil", "a\\b"]
)
def test_a_source_in_front_of_a_name_is_not_a_model_of_timm(name):
    with pytest.raises(InputError):
        find_architecture(f"timm/{name}")
    with pytest.raises(ValueError, match="timm has no model"):
        FrameClassifier(2, name)


@pytest.mark.parametrize(
    "options",
    [
        {"timm_model": "local-dir:/tmp"},
        {"timm_model": "test_vit", "pretrained": True},
        {"timm_model": "test_vit", "checkpoint_path": "x"},
    ],
)
def test_options_of_a_video_fold_reach_timm_only_by_a_name(tmp_path, options):
    model = load_video_model("timm/test_efficientnet", NAMES)
    model.config.preprocessing = {"num_frames": 2}
    model.save_pretrained(tmp_path)
    assert isinstance(load_fold(tmp_path, CPU, NAMES), VideoClassifier)
    change(tmp_path / "config.json", options=options)
    with pytest.raises(InputError, match="cannot be loaded"):
        load_fold(tmp_path, CPU, NAMES)


@pytest.mark.parametrize("name", ["slowfast_small", "slow_small", "timm/test_efficientnet"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.backbone.", "model.", "backbone."])
def test_weights_below_a_prefix_start_a_model(tmp_path, name, prefix):
    state = load_video_model(name, NAMES).backbone.state_dict()
    save_file({prefix + key: value.clone() for key, value in state.items()}, tmp_path / "w.safetensors")
    model = load_video_model(name, ["a", "b", "c"], pretrained_weights=str(tmp_path / "w.safetensors"))
    own = model.backbone.state_dict()
    assert all(torch.equal(own[key], value) for key, value in state.items() if not key.startswith(model.backbone.HEAD))


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_a_timm_models_file_below_a_prefix_starts_a_frame_classifier(tmp_path, prefix):
    import timm

    encoder = timm.create_model("test_efficientnet", num_classes=10)
    torch.save({"state_dict": {prefix + key: value for key, value in encoder.state_dict().items()}}, tmp_path / "w.pth")
    model = load_video_model("timm/test_efficientnet", NAMES, pretrained_weights=str(tmp_path / "w.pth"))
    assert torch.equal(model.backbone.encoder.conv_stem.weight, encoder.conv_stem.weight)


@pytest.mark.parametrize(
    "kind", [VideoMAEForPreTraining, VideoMAEForVideoClassification], ids=lambda kind: kind.__name__
)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_a_videomae_arrives_or_is_refused(tmp_path, kind, prefix):
    kind(VideoMAEConfig(**MAE)).save_pretrained(tmp_path)
    state = {prefix + key: value for key, value in load_file(tmp_path / "model.safetensors").items()}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    key = "videomae.encoder.layer.1.intermediate.dense.weight"
    assert torch.equal(load_video_model(str(tmp_path), NAMES).backbone.model.state_dict()[key], state[prefix + key])
    del state[prefix + key]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=key):
        load_video_model(str(tmp_path), NAMES)


def test_in_a_fold_nothing_is_missing_and_nothing_too_much(tmp_path):
    model = load_video_model("slowfast_small", NAMES)
    model.config.preprocessing = {"num_frames": 2}
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    key = sorted(state)[0]
    less = {name: value for name, value in state.items() if name != key}
    for wrong in (less, state | {key: state[key][:-1].clone()}, less | {f"{key}.x": state[key]}):
        save_file(wrong, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(InputError, match=key):
            load_fold(tmp_path, CPU, NAMES)


@pytest.mark.parametrize(("frames", "pixels", "fits"), [(4, 32, True), (4, 48, False), (6, 32, False)])
def test_a_clip_that_does_not_fit_the_model_is_refused_before_the_first_batch(tmp_path, frames, pixels, fits):
    VideoMAEForVideoClassification(VideoMAEConfig(**MAE)).save_pretrained(tmp_path)
    model = load_video_model(str(tmp_path), NAMES)
    model.config.preprocessing = {"num_frames": frames, "crop_size": pixels}
    if fits:
        check_last_batch(model, [8], 2, 1, 1)
    else:
        with pytest.raises(InputError, match=f"cannot take 3 x {frames} x {pixels} x {pixels}"):
            check_last_batch(model, [8], 2, 1, 1)


def test_code_that_a_folder_brings_is_refused_without_a_question(tmp_path):
    VideoMAEForVideoClassification(VideoMAEConfig(**MAE)).save_pretrained(tmp_path)
    change(tmp_path / "config.json", auto_map={"AutoConfig": "evil.Config"})
    for attempt in (lambda: find_architecture(str(tmp_path)), lambda: load_fold(tmp_path, CPU, NAMES)):
        with pytest.raises(InputError, match="auto_map"):
            attempt()
