"""reon_face/model.py and stages.py: what a saved model says of itself, where weights come from, stages and their
parts."""

from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.data import create_transform
from timm.models._hub import save_config_for_hf
from transformers import AutoImageProcessor, AutoModelForImageClassification, TrainingArguments, set_seed

from common.console import InputError
from common.targets import Number, Ordered
from reon_face.faces import FaceCrop
from reon_face.model import class_names_of, load_fold, load_image_model, preprocessing_of
from tests.tools.faces import task_path, write_images

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
    for read in (auto, load_fold(folder, torch.device("cpu"), NAMES)):
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in read.state_dict().items())
        torch.testing.assert_close(logits(read, x), logits(model, x))  # the last bit depends on where weights lie
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
        assert logits(new, x).shape == (2, len(other)) and not torch.equal(
            logits(new, x)[:, :2], logits(model, x)[:, :2]
        )
    scratch = load_image_model(str(folder), NAMES, CROP, start="scratch")
    assert not torch.equal(scratch.timm_model.conv_stem.weight, model.timm_model.conv_stem.weight)


@pytest.mark.parametrize("target", [Number("age"), Ordered(NAMES)])
def test_a_model_of_another_target_is_loaded_as_such_and_neither_exported_nor_scored(target, tmp_path):
    load_image_model("scratch", target, CROP, image_size=40).save_pretrained(tmp_path)
    assert load_fold(tmp_path, torch.device("cpu"), target).config.target["kind"] == target.kind
    with pytest.raises(InputError, match="has the labels"):
        load_fold(tmp_path, torch.device("cpu"), list(target))
    with pytest.raises(InputError, match=f"predicts {target.kind}; only models of one of several classes"):
        class_names_of(tmp_path)


def test_timms_own_folders_are_read(tmp_path):
    network = timm.create_model("test_efficientnet", num_classes=1000)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    save_config_for_hf(network, tmp_path / "config.json")
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


@pytest.mark.parametrize("classes", [2, 7])
def test_a_new_classifier_begins_at_the_loss_of_guessing(classes):
    torch.manual_seed(0)
    names = [str(k) for k in range(classes)]
    model = load_image_model("scratch", names, CROP, image_size=64).train()
    loss = F.cross_entropy(model(pixel_values=torch.randn(16, 3, 64, 64)).logits, torch.arange(16) % classes)
    assert loss.item() == pytest.approx(np.log(classes), abs=0.1)


@pytest.mark.parametrize("erasing", [None, 0.0, 1.0], ids=["measured", "trained on", "erased"])
def test_a_batch_has_the_bits_of_timms_transform_of_each_image(tmp_path, erasing):
    write_images(tmp_path, range(2))
    with task_path():
        from data import read_examples
        from images import FaceCollator, open_image, to_dataset
    rows = list(to_dataset(read_examples(tmp_path, {"label_names": None, "subject_pattern": None})))
    config = load_image_model("scratch", NAMES, CROP, image_size=32).config
    shared = {key: config.pretrained_cfg[key] for key in ("interpolation", "mean", "std")}
    args = None
    of_timm = create_transform((3, 32, 32), crop_pct=1.0, crop_mode="squash", **shared)
    if erasing is not None:
        options = {"min_crop_scale": 0.5, "horizontal_flip": 0.5, "color_jitter": 0.3, "auto_augment": None}
        args = SimpleNamespace(random_erasing=erasing, **options)
        shared |= {"scale": (0.5, 1.0), "ratio": (0.9, 1.1), "hflip": 0.5, "color_jitter": 0.3, "re_prob": erasing}
        of_timm = create_transform((3, 32, 32), is_training=True, **shared)
    set_seed(0)
    batch = FaceCollator(config, args)(rows)["pixel_values"]
    set_seed(0)
    expected = torch.stack([of_timm(open_image(row["path"], row["row"])) for row in rows])
    assert batch.dtype == torch.float32
    assert torch.equal(batch, expected)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_mixup_mixes_neighbours_and_their_labels_by_the_same_share(tmp_path):
    with task_path():
        from face_trainer import FaceTrainer
    task = SimpleNamespace(class_weight_strength=0.0, ema_decay=0.0, focal_gamma=0.0, mixup_alpha=0.4, cutmix_alpha=0.0)
    training_args = TrainingArguments(output_dir=tmp_path, use_cpu=True, report_to="none", label_smoothing_factor=0.1)
    model = load_image_model("scratch", NAMES, CROP, image_size=32)
    trainer = FaceTrainer(model, task, np.array([0, 1, 2]), NAMES, args=training_args)
    x, labels = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 1])
    model.train()
    with task_path():
        loss = trainer.compute_loss(model, {"pixel_values": x, "labels": labels}, num_items_in_batch=4)
    share = trainer.kept
    targets = share * F.one_hot(labels, 3) + (1 - share) * F.one_hot(labels, 3).roll(1, dims=0)
    mixed = share * x + (1 - share) * x.roll(1, dims=0)
    expected = F.cross_entropy(model(pixel_values=mixed).logits, targets, label_smoothing=0.1)
    assert 0 < share < 1 and loss.item() == pytest.approx(expected.item(), abs=1e-5)
    model.eval()
    _, outputs = trainer.compute_loss(model, {"pixel_values": x, "labels": labels}, return_outputs=True)
    assert trainer.kept == 1 and torch.allclose(outputs.logits, model(pixel_values=x).logits)  # images as they are


def test_parts_of_one_size_are_disjoint_whole_groups_of_all_labels():
    with task_path():
        from stages import part_rows
    labels, groups = np.arange(80) % 2, np.arange(80) // 4
    parts = [part_rows((k, 4), labels, groups, 42) for k in range(4)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(80))
    assert all(np.bincount(labels[part]).min() >= 8 for part in parts)
    assert sum(len(np.unique(groups[part])) for part in parts) == 20
    assert part_rows((0, 1), labels, groups, 42).tolist() == list(range(80))
