"""reon_face/model.py and stages.py: what a saved model says of itself, where weights come from, stages and their parts."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from transformers import AutoImageProcessor, AutoModelForImageClassification

from common.errors import InputError
from reon_face.faces import FaceCrop
from reon_face.model import load_fold, load_image_model, preprocessing_of

NAMES = ["sad", "happy", "angry"]
CROP = asdict(FaceCrop(padding=0.25))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved model and its folder."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("saved")
    model = load_image_model("scratch", NAMES, CROP, image_size=40)
    model.save_pretrained(folder)
    return model.eval(), folder


def logits(model, pixel_values):
    with torch.inference_mode():
        return model(pixel_values=pixel_values).logits


def test_transformers_and_timm_read_labels_weights_and_preprocessing_of_a_saved_model(saved):
    model, folder = saved
    auto = AutoModelForImageClassification.from_pretrained(folder)
    assert auto.config.id2label == dict(enumerate(NAMES)) and auto.config.face_crop == CROP
    x = torch.rand(2, 3, 40, 40)
    assert torch.equal(logits(auto, x), logits(model, x))
    assert torch.equal(logits(load_fold(folder, torch.device("cpu"), NAMES), x), logits(model, x))
    # the numbers that the page and score.py compute are those of timm's own transforms
    crops = np.random.default_rng(0).integers(0, 255, (2, 40, 40, 3)).astype(np.uint8)
    expected = AutoImageProcessor.from_pretrained(folder)(list(crops))["pixel_values"].numpy()
    assert np.abs(preprocessing_of(folder).pixel_values(crops) - expected).max() < 1e-5


def test_preprocessing_holds_what_a_frame_needs(saved):
    preprocessing = preprocessing_of(saved[1])
    assert preprocessing.image_size == 40 and preprocessing.face_crop == CROP
    assert preprocessing.mean == tuple(timm.get_pretrained_cfg("test_efficientnet").mean)


def test_a_fold_of_the_same_labels_keeps_its_classifier_and_others_get_a_new_one(saved):
    model, folder = saved
    x = torch.rand(2, 3, 40, 40)
    again = load_image_model(str(folder), NAMES, CROP).eval()
    assert torch.equal(logits(again, x), logits(model, x)) and again.config.pretrained_cfg["input_size"][-1] == 40
    start = load_image_model("scratch", NAMES, CROP, start=str(folder)).eval()
    assert torch.equal(logits(start, x), logits(model, x))
    for other in (["x", "y"], NAMES[::-1]):
        new = load_image_model(str(folder), other, CROP).eval()
        assert torch.equal(new.timm_model.conv_stem.weight, model.timm_model.conv_stem.weight)
        assert logits(new, x).shape == (2, len(other)) and not torch.equal(logits(new, x)[:, :2], logits(model, x)[:, :2])
    scratch = load_image_model(str(folder), NAMES, CROP, start="scratch")
    assert not torch.equal(scratch.timm_model.conv_stem.weight, model.timm_model.conv_stem.weight)


def test_timms_own_folders_are_read(tmp_path):
    network = timm.create_model("test_efficientnet", num_classes=1000)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": "test_efficientnet", "num_classes": 1000, "pretrained_cfg": network.pretrained_cfg}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = load_image_model(str(tmp_path), NAMES, CROP)
    assert torch.equal(model.timm_model.conv_stem.weight, network.conv_stem.weight)
    assert model.timm_model.classifier.out_features == 3 and model.config.pretrained_cfg["crop_pct"] == 1.0


def test_random_weights_are_timms_own():
    torch.manual_seed(3)
    model = load_image_model("scratch", NAMES, CROP)
    torch.manual_seed(3)
    network = timm.create_model("test_efficientnet", num_classes=3, drop_rate=0.0, drop_path_rate=0.0)
    assert torch.equal(model.timm_model.conv_stem.weight, network.conv_stem.weight)


@pytest.mark.parametrize(
    ("name", "start", "message"),
    [
        ("efficientnet_b00", "imagenet", "neither a folder nor a model that timm"),
        ("resnet18", "SAVED", "is a test_efficientnet, expected a resnet18"),
        ("EMPTY", "imagenet", "config.json"),
        ("DAMAGED", "imagenet", "the weights cannot be loaded"),
    ],
)
def test_what_cannot_be_loaded_is_refused(name, start, message, saved, tmp_path):
    (tmp_path / "empty").mkdir()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "config.json").write_bytes((saved[1] / "config.json").read_bytes())
    (damaged / "model.safetensors").write_bytes((saved[1] / "model.safetensors").read_bytes()[:5000])
    places = {"EMPTY": str(tmp_path / "empty"), "DAMAGED": str(damaged), "SAVED": str(saved[1])}
    with pytest.raises(InputError, match=message):
        load_image_model(places.get(name, name), NAMES, CROP, start=places.get(start, start))


def test_another_tasks_model_and_other_labels_are_refused(saved, tmp_path):
    with pytest.raises(InputError, match="has the labels sad, happy, angry, expected a, b"):
        load_fold(saved[1], torch.device("cpu"), ["a", "b"])
    (tmp_path / "config.json").write_text('{"pretrained_cfg": {}}')
    with pytest.raises(InputError, match="is it another task's model"):
        preprocessing_of(tmp_path)
