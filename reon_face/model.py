"""Any timm classifier as a model of transformers, with its labels, preprocessing and face crop in config.json.

model = load_image_model("efficientnet_b0", label_names, asdict(FaceCrop()), image_size=112)
model.save_pretrained("fold0")
AutoModelForImageClassification.from_pretrained("fold0")
AutoImageProcessor.from_pretrained("fold0")
preprocessing_of("fold0")
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from huggingface_hub.errors import HfHubHTTPError
from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

from common.console import InputError, first_line
from common.files import read_json
from common.guards.foreign_code import MOST_PIXELS, check_timm_config, is_timm_name
from common.guards.network import prefer_cache
from common.guards.weights import check_fits, load_saved, read_state, without_prefixes
from common.models import BROKEN_FILES
from common.options.paths import is_folder
from common.run import finished_folds
from common.targets import Classes, as_target, labels_of_config, target_of

SCRATCH = "test_efficientnet"  # timm's smallest EfficientNet, 0.4 M weights
SCRATCH_SIZE = 64
CLASSIFIER_STD = 0.01
FACE_CROP = {"detector", "choose", "padding", "align"}  # the fields of FaceCrop in faces.py
MOST_PADDING = 2  # as crop.py allows


@dataclass(frozen=True)
class Preprocessing:
    """What turns a frame into pixel_values: crop the face to image_size x image_size pixels, divide by 255, subtract
    mean, divide by std.

    interpolation: timm's name, for crops of another size. mean, std: three numbers each, of RGB from 0 to 1. face_crop:
    how the face is found and cut out, the fields of FaceCrop in faces.py.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    face_crop: dict[str, Any]

    def pixel_values(self, crops: np.ndarray) -> np.ndarray:
        """(N, 3, S, S) float32 from (N, S, S, 3) uint8 RGB, S = image_size."""
        scaled = (crops.astype(np.float32) / 255 - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))

    def checked(self, path: str | Path) -> "Preprocessing":
        """Itself. Raises InputError where the file `path`, which says so, asks for more than 4096 pixels a side, or for
        what no training writes."""
        crop = self.face_crop if isinstance(self.face_crop, dict) else {}
        padding = crop.get("padding", 0)
        right = {
            "image size": type(self.image_size) is int and 1 <= self.image_size <= MOST_PIXELS,
            "mean": three_numbers(self.mean),
            "std": three_numbers(self.std) and min(self.std) > 0,
            "face_crop": crop == self.face_crop and set(crop) == FACE_CROP,
            "padding of face_crop": isinstance(padding, (int, float)) and 0 <= padding <= MOST_PADDING,
        }
        for what, is_right in right.items():
            if not is_right:
                raise InputError(f"{path}: its {what} is none that training writes; was the file changed?")
        return self


def three_numbers(values: Any) -> bool:
    numbers = isinstance(values, (list, tuple)) and all(isinstance(value, (int, float)) for value in values)
    return numbers and len(values) == 3 and all(abs(value) < 1e6 for value in values)


def load_image_model(
    name_or_path: str,
    label_names: Sequence[str],
    face_crop: dict[str, Any],
    *,
    start: str = "imagenet",
    fold: int = 0,
    image_size: int | None = None,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    test_time_flip: bool = False,
) -> TimmWrapperForImageClassification:
    """A classifier in float32 of timm's architecture, ready to train.

    name_or_path: a timm name; a folder that holds config.json and model.safetensors, timm's (what `local-dir:` reads)
    or a trained fold's; or `scratch`, a small EfficientNet. start: "imagenet", the weights that come with it (from the
    hub for a name; `scratch` has none), "scratch", random ones, or a folder of weights of the same architecture: a
    model's, or a run's, whose fold number `fold` is taken. The classifier is kept where the weights have the same
    labels, else new. face_crop: the fields of FaceCrop. image_size: None, the model's own. test_time_flip: in
    evaluation the mean of an image's and its mirror image's logits. Raises InputError where weights or architecture
    cannot be had.
    """
    labels = list(label_names)
    architecture, config = find_architecture(name_or_path)
    size = image_size or (SCRATCH_SIZE if name_or_path == "scratch" else config["input_size"][-1])
    options = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
    options |= {"img_size": size} if config.get("fixed_input_size") else {}
    try:
        # made by timm itself: transformers' wrapper would draw the convolutions from another distribution
        network = timm.create_model(architecture, num_classes=len(labels), **options)
        new_classifier(network)
        if start == "imagenet" and name_or_path != "scratch" and not is_folder(name_or_path):
            prefer_cache(name_or_path)
            network.load_state_dict(
                timm.create_model(architecture, pretrained=True, num_classes=len(labels), **options).state_dict()
            )
            new_classifier(network)
    except (OSError, RuntimeError, ValueError, TypeError, HfHubHTTPError) as error:
        hint = "name a folder of weights, or --start scratch"
        raise InputError(
            f"model_name_or_path: {name_or_path} cannot be had from timm ({first_line(error)}); {hint}"
        ) from error
    if start == "imagenet" and is_folder(name_or_path):
        load_weights(network, Path(name_or_path), architecture, labels)
    elif start not in ("imagenet", "scratch"):
        load_weights(network, fold_of(start, fold), architecture, labels)
    model = TimmWrapperForImageClassification(
        TimmWrapperConfig(
            architecture=architecture,
            # a crop is a face already: timm's usual crop of the middle would cut its chin and forehead
            pretrained_cfg={**config, "input_size": [3, size, size], "crop_pct": 1.0},
            model_args=options,
            id2label=dict(enumerate(labels)),
            label2id={name: i for i, name in enumerate(labels)},
        )
    )
    model.timm_model.load_state_dict(network.state_dict())
    model.config.face_crop = dict(face_crop)
    if settings := as_target(label_names).settings():
        model.config.target = settings
    model.config.test_time_flip = test_time_flip
    return as_configured(model)


def as_configured(model: TimmWrapperForImageClassification) -> TimmWrapperForImageClassification:
    """The model with what its config asks for beside timm's own: test_time_flip."""
    if getattr(model.config, "test_time_flip", False):
        from mirrored import average_mirrored

        return average_mirrored(model)
    return model


def new_classifier(network: torch.nn.Module) -> None:
    """Small random weights. timm's EfficientNets draw them from +- 1 / sqrt(classes), meant for a thousand: with seven
    the first losses are near 6 in place of ln 7 = 1.9, and the first steps spoil pretrained weights."""
    classifier = network.get_classifier()
    if isinstance(classifier, torch.nn.Linear):
        torch.nn.init.normal_(classifier.weight, std=CLASSIFIER_STD)
        torch.nn.init.zeros_(classifier.bias)


def find_architecture(name_or_path: str) -> tuple[str, dict]:
    """timm's name and pretrained_cfg of a model. Raises InputError where there is none."""
    if is_folder(name_or_path):
        config = read_json(Path(name_or_path) / "config.json")
        check_timm_config(config, f"{name_or_path}/config.json")
        return config["architecture"], config["pretrained_cfg"]
    architecture = SCRATCH if name_or_path == "scratch" else name_or_path
    if not is_timm_name(architecture):
        raise InputError(
            f"model_name_or_path: {name_or_path} is neither a folder nor a model that timm {timm.__version__} knows"
        )
    settings = timm.get_pretrained_cfg(architecture).to_dict()
    wanted = (
        "input_size",
        "interpolation",
        "mean",
        "std",
        "crop_mode",
        "fixed_input_size",
        "first_conv",
        "classifier",
        "pool_size",
    )
    return architecture, {key: settings[key] for key in wanted if key in settings}


def fold_of(start: str, fold: int) -> Path:
    """A model's folder itself, or this fold of a run. Raises InputError where the run has none."""
    if (Path(start) / "config.json").exists():
        return Path(start)
    folds = {path.name: path for path in finished_folds(start)}
    if f"fold{fold}" not in folds:
        raise InputError(f"start: {start} has no finished fold{fold}, expected one for each fold here (num_folds)")
    return folds[f"fold{fold}"]


def load_weights(network: torch.nn.Module, folder: Path, architecture: str, labels: list[str]) -> None:
    """Put a folder's weights into the network; those of another set of labels' classifier stay as they are. Raises
    InputError."""
    found, _ = find_architecture(str(folder))
    if found != architecture:
        raise InputError(f"{folder}: is a {found}, expected a {architecture} (model_name_or_path)")
    own = network.state_dict()
    try:
        weights = without_prefixes(read_state(folder), own, folder)
    except BROKEN_FILES as error:
        raise InputError(f"{folder}: the weights cannot be loaded ({first_line(error)})") from error
    if read_json(folder / "config.json").get("label_names") != labels:
        names = network.default_cfg["classifier"] or ()
        new = tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))
        weights |= {key: value for key, value in own.items() if key.startswith(new)}
    check_fits(weights, own, folder)
    network.load_state_dict(weights, strict=False)


def preprocessing_of(model_dir: str | Path) -> Preprocessing:
    """What a saved model expects, from its config.json. Raises InputError where it was not trained by this task's
    train.py."""
    config = read_json(Path(model_dir) / "config.json")
    try:
        timm_config = config["pretrained_cfg"]
        crop = config["face_crop"]
        size = timm_config["input_size"][-1]
        mean = tuple(timm_config["mean"])
        std = tuple(timm_config["std"])
        preprocessing = Preprocessing(size, mean, std, timm_config["interpolation"], crop)
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{model_dir}/config.json: has no face_crop or no pretrained_cfg; is it another task's model?"
        ) from error
    return preprocessing.checked(f"{model_dir}/config.json")


def label_names_of(model_dir: str | Path) -> Classes:
    """The labels of a saved model, in the order of its outputs. Raises InputError where there are none."""
    config = read_json(Path(model_dir) / "config.json")
    label_names = config.get("label_names")
    if not isinstance(label_names, list) or not label_names:
        raise InputError(f"{model_dir}/config.json: has no label_names; was it trained by this task's train.py?")
    return target_of(label_names, **config.get("target", {}))


def class_names_of(model_dir: str | Path) -> Classes:
    """label_names_of() of a model that says which of several classes an image is. Raises InputError for another target,
    whose outputs are no logits of classes."""
    label_names = label_names_of(model_dir)
    if label_names.kind != Classes.kind:
        what = f"predicts {label_names.kind}; only models of one of several classes are exported and scored"
        raise InputError(f"{model_dir}: {what}")
    return label_names


def load_fold(
    folder: str | Path, device: torch.device, label_names: Sequence[str]
) -> TimmWrapperForImageClassification:
    """A fold's model as save_pretrained wrote it, ready to predict. Raises InputError where it is damaged or has other
    labels."""
    check_timm_config(read_json(Path(folder) / "config.json"), f"{folder}/config.json")
    preprocessing_of(folder)
    try:
        model = load_saved(TimmWrapperForImageClassification, folder)
    except BROKEN_FILES as error:
        raise InputError(f"{folder}: the model cannot be loaded ({first_line(error)})") from error
    names = labels_of_config(model.config)
    if names != list(label_names) or names.kind != as_target(label_names).kind:
        raise InputError(f"{folder}: has the labels {', '.join(names)}, expected {', '.join(label_names)}")
    return as_configured(model).to(device).eval()
