"""Video classifiers by name: SlowFast and Slow-only (slowfast.py), a classifier of frames over a timm model, VideoMAE.

    model = load_video_model("slowfast_r50_8x8", ["left", "right"])
    logits = model(torch.rand(2, 3, 32, 224, 224)).logits        # (2, 2)

Here are the names, the other backbones, and the loading of weights (--pretrained_weights).
"""

import copy
import pickle
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, VideoMAEConfig, VideoMAEForVideoClassification
from transformers.modeling_outputs import ImageClassifierOutput

from common.console import InputError, first_line
from common.guards.first_pass import check_pixels
from common.guards.foreign_code import is_timm_name, refuse_code
from common.guards.network import prefer_cache
from common.guards.rows import smallest_batch
from common.guards.weights import check_fits, load_pretrained, load_saved, without_prefixes
from common.models import BROKEN_FILES, unavailable
from common.targets import Classes, as_target, label_config, labels_of_config

from slowfast import Head, Slow, SlowFast

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # residual blocks of res2 to res5
KINETICS = {"mean": [0.45] * 3, "std": [0.225] * 3}  # what the published video weights were trained with
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
HUB = "hub"  # --pretrained_weights hub: the weights that timm names for the model


@dataclass(frozen=True)
class Architecture:
    """What a name stands for. num_frames: of a clip, for the Fast pathway; frame_stride: from one to the next,
    tau/alpha in the paper, 0: spread over the whole video; crop_size: pixels."""

    kind: str  # slowfast, slow, frames or videomae
    num_frames: int
    frame_stride: int
    crop_size: int
    options: dict = field(default_factory=dict)  # of the class
    normalization: dict = field(default_factory=lambda: KINETICS)


SMALL = {"depths": (1, 1, 1, 1), "width": 16}
# Names as in the paper: backbone, T x tau of the Slow pathway. fusion_kernel: time steps of the lateral convolutions of
# the published weights.
ARCHITECTURES = {
    "slowfast_r50_4x16": Architecture("slowfast", 32, 2, 224, {"depths": DEPTHS[50], "alpha": 8, "fusion_kernel": 5}),
    "slowfast_r50_8x8": Architecture("slowfast", 32, 2, 224, {"depths": DEPTHS[50], "alpha": 4, "fusion_kernel": 7}),
    "slowfast_r101_8x8": Architecture("slowfast", 32, 2, 224, {"depths": DEPTHS[101], "alpha": 4, "fusion_kernel": 5}),
    "slowfast_r101_16x8": Architecture(
        "slowfast", 64, 2, 224, {"depths": DEPTHS[101], "alpha": 4, "fusion_kernel": 5, "res4_temporal_blocks": 6}
    ),
    "slow_r50_8x8": Architecture("slow", 8, 8, 224, {"depths": DEPTHS[50]}),
    "slowfast_small": Architecture("slowfast", 16, 2, 112, {**SMALL, "alpha": 4, "beta": 2, "fusion_kernel": 5}),
    "slow_small": Architecture("slow", 4, 8, 112, SMALL),
}
SCRATCH = "slowfast_small"  # what model_name_or_path scratch means
AUTO = "auto"  # pose_tcn where clips have key points, else scratch


class VideoConfig(PretrainedConfig):
    """kind: slowfast, slow, frames or videomae. options: of the class in BACKBONES. num_frames: frames of a clip.

    preprocessing: how a clip becomes pixel_values; predict.py reads it.
    """

    # Of saved models, which load by it: so it stays as it is in a copy of this folder, too.
    model_type = "hand_signal_video"

    def __init__(
        self,
        kind: str = "slowfast",
        options: dict | None = None,
        num_frames: int = 32,
        preprocessing: dict | None = None,
        **kwargs,
    ):
        self.kind = kind
        self.options = options or {}
        self.num_frames = num_frames
        self.preprocessing = preprocessing or {}
        super().__init__(**kwargs)


class FrameClassifier(nn.Module):
    """A timm model looks at each frame, a temporal head at the sequence of their features: (B, 3, T, H, W) -> logits
    (B, C).

    timm_model: a name of timm.list_models(). temporal_head: mean (blind to order), lstm (bidirectional, averaged over
    time) or attention (a transformer layer over the frames with sinusoidal positions, Vaswani et al. 2017, averaged
    over time).
    """

    HEAD = "head."

    def __init__(
        self,
        num_labels: int,
        timm_model: str,
        temporal_head: str = "mean",
        dropout: float = 0.5,
    ):
        super().__init__()
        import timm

        if not is_timm_name(timm_model):
            raise ValueError(f"timm has no model {timm_model!r:.80}")
        self.encoder = timm.create_model(timm_model, num_classes=0)
        width = self.encoder.num_features
        self.temporal = None
        if temporal_head == "lstm":
            self.temporal = nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)
            width = width // 2 * 2
        elif temporal_head == "attention":
            heads = next(n for n in (8, 4, 2, 1) if width % n == 0)
            self.temporal = nn.TransformerEncoderLayer(
                width, heads, 2 * width, dropout=0.1, batch_first=True, norm_first=True
            )
        self.head = Head(width, num_labels, dropout)

    def forward(self, x: Tensor) -> Tensor:
        features = self.encoder(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (x.shape[0], x.shape[2]))  # (B, T, D)
        if isinstance(self.temporal, nn.LSTM):
            features = self.temporal(features)[0]
        elif self.temporal is not None:
            features = self.temporal(features + positions(*features.shape[1:]).to(features))
        return self.head(features.mean(1))


def positions(length: int, width: int) -> Tensor:
    """Sinusoidal positions (length, width); Vaswani et al. 2017, section 3.5."""
    angles = torch.arange(length)[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


class VideoMAE(nn.Module):
    """VideoMAE from transformers (Tong et al. 2022): (B, 3, T, H, W) -> logits (B, C). config: of VideoMAEConfig, as a
    dict."""

    def __init__(self, num_labels: int, config: dict, dropout: float = 0.0):
        super().__init__()
        config = VideoMAEConfig(**config)
        config.num_labels = num_labels
        config.hidden_dropout_prob = dropout
        self.model = VideoMAEForVideoClassification(config)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.transpose(1, 2)).logits


BACKBONES = {"slowfast": SlowFast, "slow": Slow, "frames": FrameClassifier, "videomae": VideoMAE}


@dataclass
class StreamOutput(ImageClassifierOutput):
    """logits: the mean of stream_logits (S, B, C), which learn each by itself."""

    stream_logits: Tensor | None = None


class VideoClassifier(PreTrainedModel):
    """One of BACKBONES, or PoseStreams, with save_pretrained and from_pretrained: pixel_values (B, 3, T, H, W) ->
    ImageClassifierOutput, logits (B, C)."""

    config_class = VideoConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"

    def __init__(self, config: VideoConfig):
        super().__init__(config)
        if config.kind.startswith("pose_"):
            from pose_streams import PoseStreams

            self.backbone = PoseStreams(config.num_labels, config.kind, **config.options)
        else:
            self.backbone = BACKBONES[config.kind](config.num_labels, **config.options)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """The backbones have initialized themselves."""

    def forward(self, pixel_values: Tensor) -> ImageClassifierOutput:
        """pixel_values: of a pose model (B, 3, T, K), see pose_input.py; it gives stream_logits (S, B, C), too."""
        logits = self.backbone(pixel_values)
        if logits.ndim == 3:
            return StreamOutput(logits=logits.mean(0), stream_logits=logits)
        return ImageClassifierOutput(logits=logits)


def find_architecture(name: str) -> Architecture:
    """A name of ARCHITECTURES, `scratch`, timm/<model>, or a folder or hub id of a VideoMAE. Raises InputError."""
    if name in ("scratch", AUTO):
        name = SCRATCH
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if name.startswith("pose_"):
        from pose_streams import POSE_MODELS

        if name not in POSE_MODELS:
            raise InputError(f"model_name_or_path: {name!r} is none of the pose models {', '.join(POSE_MODELS)}")
        num_frames, options = POSE_MODELS[name]
        return Architecture(name, num_frames, 0, 0, options)
    if name.startswith("timm/"):
        return timm_architecture(name.removeprefix("timm/"))
    try:
        refuse_code(name, False)
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except BROKEN_FILES as error:
        known = f"{', '.join(['scratch', *ARCHITECTURES])}, timm/<model>, or the folder or hub id of a VideoMAE"
        raise InputError(
            f"model_name_or_path: {name!r} cannot be loaded ({first_line(error)}), expected one of {known}"
        ) from error
    if not isinstance(config, VideoMAEConfig):
        raise InputError(
            f"model_name_or_path: {name!r} is a {config.model_type}, of transformers' models only a videomae was "
            "expected"
        )
    return Architecture("videomae", config.num_frames, 4, config.image_size, {"config": config.to_dict()}, IMAGENET)


def choose_model(name: str, examples: Sequence) -> str:
    """What AUTO stands for with these clips; any other name as it is."""
    if name != AUTO:
        return name
    return "scratch" if examples[0].pose is None else "pose_tcn"


def model_maker(args: Any, name: str, label_names: Sequence[str], preprocessing: Any) -> Callable[[], VideoClassifier]:
    """What makes the model of a fold from train.py's args; what predict.py must do to a clip travels with it. Raises
    InputError for options that the target cannot have."""
    target = as_target(label_names)
    if target.kind != Classes.kind:
        why = f"is for clips of one of several classes, the target is of kind {target.kind}"
        target.refuse(args, ("mixup_alpha", "flip_pairs", "calibrate"), why)
    keys = ("num_frames", "alpha", "beta", "temporal_head", "dropout", "pretrained_weights")
    options = {key: getattr(args, key) for key in keys}
    if name.startswith("pose_"):
        from pose_streams import check_streams

        streams = check_streams(name, args.pose_streams)
        graph = {"num_points": preprocessing.num_points, "parents": preprocessing.parents}
        size = {} if args.crop_size is None else {"heatmap_size": args.crop_size}
        options["pose"] = {**graph, "streams": streams, **size}

    def make_model() -> VideoClassifier:
        model = load_video_model(name, label_names, **options)
        model.config.preprocessing = asdict(preprocessing)
        return model

    return make_model


def timm_architecture(name: str) -> Architecture:
    """Frames as timm's own weights want them. Raises InputError for a model that timm does not have."""
    import timm

    config = timm.get_pretrained_cfg(name.split(".")[0]) if is_timm_name(name) else None
    if config is None:
        raise InputError(f"model_name_or_path: timm has no model {name!r}; timm.list_models() lists them")
    return Architecture(
        "frames", 8, 0, config.input_size[1], {"timm_model": name}, {"mean": list(config.mean), "std": list(config.std)}
    )


def load_video_model(
    model_name_or_path: str,
    label_names: Sequence[str],
    *,
    num_frames: int | None = None,
    alpha: int | None = None,
    beta: int | None = None,
    temporal_head: str | None = None,
    dropout: float | None = None,
    pretrained_weights: str | None = None,
    pose: dict | None = None,
) -> VideoClassifier:
    """A classifier in float32. None: as the architecture has it. Raises InputError where an option does not belong to
    the model.

    pretrained_weights: a file of weights (safetensors, or torch's without pickled code) of the same architecture; all
    but the classifier must fit. `hub`: what timm has for this model. A VideoMAE brings its own. pose: num_points,
    parents and streams of a pose model, heatmap_size of pose_c3d.
    """
    architecture = find_architecture(model_name_or_path)
    options = {**copy.deepcopy(architecture.options), **(pose or {})}
    belongs = {"alpha": "slowfast", "beta": "slowfast", "temporal_head": "frames"}
    for key, value in {"alpha": alpha, "beta": beta, "temporal_head": temporal_head, "dropout": dropout}.items():
        if value is not None and architecture.kind != belongs.get(key, architecture.kind):
            raise InputError(f"{key}: {model_name_or_path} has none, it belongs to the models of kind {belongs[key]}")
        if value is not None:
            options[key] = value
    num_frames = num_frames or architecture.num_frames
    if architecture.kind == "slowfast":
        if num_frames % options["alpha"]:
            raise InputError(f"num_frames: {num_frames} is not a multiple of alpha, {options['alpha']}")
        if options.get("width", 64) % options.get("beta", 8):
            raise InputError(
                f"beta: {options['beta']} does not divide the {options.get('width', 64)} channels of the Slow pathway"
            )
    if architecture.kind == "videomae":
        options["config"]["num_frames"] = num_frames
        if num_frames % options["config"]["tubelet_size"]:
            raise InputError(
                f"num_frames: {num_frames} is not a multiple of the model's tubelet_size, "
                f"{options['config']['tubelet_size']}"
            )
        if pretrained_weights:
            raise InputError(f"pretrained_weights: {model_name_or_path} brings its own weights")
    if pretrained_weights == HUB and architecture.kind != "frames":
        raise InputError("pretrained_weights: hub is for timm models; name a file")
    config = VideoConfig(
        kind=architecture.kind,
        options=options,
        num_frames=num_frames,
        **label_config(label_names),
    )
    model = VideoClassifier(config)
    if architecture.kind == "videomae":
        head_size = {"num_labels": len(label_names), "num_frames": num_frames}
        try:
            loaded, _ = load_pretrained(VideoMAEForVideoClassification, model_name_or_path, False, **head_size)
        except BROKEN_FILES as error:
            raise unavailable(model_name_or_path, error) from error
        model.backbone.model = loaded
    elif pretrained_weights == HUB:
        load_from_hub(model, model_name_or_path)
    elif pretrained_weights and architecture.kind.startswith("pose_"):
        from pose_streams import load_pose_weights

        load_pose_weights(model.backbone, read_weights(pretrained_weights), pretrained_weights)
    elif pretrained_weights:
        load_weights(model.backbone, pretrained_weights)
    return model


def check_last_batch(model: VideoClassifier, num_rows: Sequence[int], batch_size: int, *shared: int) -> None:
    """Raise InputError where a clip does not fit the model, or where a last batch of one clip, which becomes 1 x 1 x 1,
    leaves batch norm a single value.

    num_rows: training clips of each fold. shared: accumulation and number of processes. model.config.preprocessing: the
    size of a clip.
    """
    frames = model.config.preprocessing["num_frames"]
    if "num_points" in model.config.preprocessing:
        pixels = model.config.preprocessing["num_points"]
        shape = 1, 3, frames, pixels
    else:
        pixels = model.config.preprocessing["crop_size"]
        shape = 1, 3, frames, pixels, pixels
    check_pixels(model, *shape)
    if all(smallest_batch(rows, batch_size, *shared) > 1 for rows in num_rows):
        return
    try:
        model.train()(pixel_values=torch.zeros(shape))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        reason = f"batches of one clip of {frames} frames of {pixels} pixels leave batch norm a single value"
        what = f"per_device_train_batch_size: {batch_size} for {num_rows[0]} clips"
        raise InputError(f"{what}: {reason}; give another size") from error


def load_from_hub(model: VideoClassifier, name: str) -> None:
    """Put the weights that timm has for its model into the encoder. Raises InputError where they cannot be had."""
    import timm

    prefer_cache(name)
    try:
        encoder = timm.create_model(name.removeprefix("timm/"), num_classes=0, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = f"the weights of {name} cannot be had ({first_line(error)})"
        raise InputError(f"pretrained_weights: {reason}; download them and name the file") from error
    model.backbone.encoder.load_state_dict(encoder.state_dict())


def load_weights(backbone: nn.Module, path: str | Path) -> None:
    """Load a file of weights into a backbone; its classifier stays as it is. Runs no code from the file.

    A frame classifier takes the weights of its timm model. Raises InputError for a file that is none, or of another
    model.
    """
    known = set(backbone.state_dict())
    names = []
    if isinstance(backbone, FrameClassifier):
        classifier = backbone.encoder.pretrained_cfg["classifier"] or ()
        names = [classifier] if isinstance(classifier, str) else classifier
        known |= {*backbone.encoder.state_dict(), *(f"{name}.{kind}" for name in names for kind in ("weight", "bias"))}
    state = without_prefixes(read_weights(path), known, path)
    target = backbone
    head = backbone.HEAD
    if isinstance(backbone, FrameClassifier) and not any(key.startswith("encoder.") for key in state):
        target = backbone.encoder
        state = {key: value for key, value in state.items() if not key.startswith(tuple(f"{name}." for name in names))}
        head = "no classifier"
    state = {key: value for key, value in state.items() if not key.startswith(head)}
    check_fits(state, {key: value for key, value in target.state_dict().items() if not key.startswith(head)}, path)
    target.load_state_dict(state, strict=False)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or torch file, also where they lie under model_state (pytorchvideo) or state_dict.
    Raises InputError."""
    try:
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: cannot be read as weights ({first_line(error)})") from error
    for key in ("model_state", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path}: holds no weights, a mapping of names to tensors was expected")
    return content


def load_fold(folder: str | Path, device: torch.device, label_names: Sequence[str]) -> VideoClassifier:
    """A fold's model as save_pretrained wrote it, ready to predict. Raises InputError where it is damaged or has other
    labels."""
    try:
        model = load_saved(VideoClassifier, folder)
    except BROKEN_FILES as error:
        raise InputError(f"{folder}: the model cannot be loaded ({first_line(error)})") from error
    names = labels_of_config(model.config)
    if names != list(label_names) or names.kind != as_target(label_names).kind:
        raise InputError(f"{folder}: has the labels {', '.join(names)}, expected {', '.join(label_names)}")
    if not model.config.preprocessing:
        raise InputError(f"{folder}: config.json has no preprocessing; was it trained by this task's train.py?")
    return model.to(device).eval()


AutoConfig.register(VideoConfig.model_type, VideoConfig, exist_ok=True)
