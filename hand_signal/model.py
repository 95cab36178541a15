"""Video classifiers: SlowFast and Slow-only (arXiv 1812.03982), a classifier of frames over a timm model, VideoMAE.

    model = load_video_model("slowfast_r50_8x8", ["left", "right"])
    logits = model(torch.rand(2, 3, 32, 224, 224)).logits        # (2, 2)

SlowFast's and Slow's parameters have the names of pytorchvideo's create_slowfast and create_resnet, so that their
published Kinetics weights load (--pretrained_weights).
"""

import copy
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, VideoMAEConfig, VideoMAEForVideoClassification
from transformers.modeling_outputs import ImageClassifierOutput

from common.console import InputError, first_line

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


class VideoConfig(PretrainedConfig):
    """kind: slowfast, slow, frames or videomae. options: of the class in BACKBONES. num_frames: frames of a clip.

    preprocessing: how a clip becomes pixel_values; predict.py reads it.
    """

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


class BottleneckBlock(nn.Module):
    """1x1 (or T x 1 x 1), 1 x 3 x 3, 1x1, each with batch norm; He et al. 2016, table 1 of the SlowFast paper."""

    def __init__(self, dim_in: int, dim_inner: int, dim_out: int, temporal_kernel: int, stride: int):
        super().__init__()
        self.conv_a = nn.Conv3d(
            dim_in, dim_inner, (temporal_kernel, 1, 1), padding=(temporal_kernel // 2, 0, 0), bias=False
        )
        self.norm_a = nn.BatchNorm3d(dim_inner)
        self.conv_b = nn.Conv3d(
            dim_inner, dim_inner, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1), bias=False
        )
        self.norm_b = nn.BatchNorm3d(dim_inner)
        self.conv_c = nn.Conv3d(dim_inner, dim_out, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(dim_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm_a(self.conv_a(x)))
        x = F.relu(self.norm_b(self.conv_b(x)))
        return self.norm_c(self.conv_c(x))


class ResBlock(nn.Module):
    """A bottleneck and its shortcut, a convolution where the shape changes."""

    def __init__(self, dim_in: int, dim_inner: int, dim_out: int, temporal_kernel: int, stride: int):
        super().__init__()
        self.branch1_conv = self.branch1_norm = None
        if dim_in != dim_out or stride != 1:
            self.branch1_conv = nn.Conv3d(dim_in, dim_out, 1, stride=(1, stride, stride), bias=False)
            self.branch1_norm = nn.BatchNorm3d(dim_out)
        self.branch2 = BottleneckBlock(dim_in, dim_inner, dim_out, temporal_kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.branch1_conv is None else self.branch1_norm(self.branch1_conv(x))
        return F.relu(shortcut + self.branch2(x))


class ResStage(nn.Module):
    """res2 to res5. temporal_kernels: time steps of the first convolution of each block; time is never strided (section
    3.2)."""

    def __init__(self, dim_in: int, dim_inner: int, dim_out: int, temporal_kernels: Sequence[int], stride: int):
        super().__init__()
        self.res_blocks = nn.ModuleList(
            ResBlock(dim_in if i == 0 else dim_out, dim_inner, dim_out, kernel, stride if i == 0 else 1)
            for i, kernel in enumerate(temporal_kernels)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.res_blocks:
            x = block(x)
        return x


class Stem(nn.Module):
    """conv1 and pool1: space is halved twice, time stays."""

    def __init__(self, dim_out: int, temporal_kernel: int):
        super().__init__()
        self.conv = nn.Conv3d(
            3, dim_out, (temporal_kernel, 7, 7), stride=(1, 2, 2), padding=(temporal_kernel // 2, 3, 3), bias=False
        )
        self.norm = nn.BatchNorm3d(dim_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(F.relu(self.norm(self.conv(x))), (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))


class FuseFastToSlow(nn.Module):
    """Lateral connection, the "time-strided convolution" of section 3.4: k x 1 x 1, stride alpha, twice the channels of
    the Fast pathway."""

    def __init__(self, dim_fast: int, alpha: int, kernel: int):
        super().__init__()
        self.conv_fast_to_slow = nn.Conv3d(
            dim_fast, 2 * dim_fast, (kernel, 1, 1), stride=(alpha, 1, 1), padding=(kernel // 2, 0, 0), bias=False
        )
        self.norm = nn.BatchNorm3d(2 * dim_fast)

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        return torch.cat([slow, F.relu(self.norm(self.conv_fast_to_slow(fast)))], dim=1)


class TwoPathways(nn.Module):
    """The same stage of both pathways and, but after the last, the connection between them."""

    def __init__(self, slow: nn.Module, fast: nn.Module, fusion: nn.Module | None):
        super().__init__()
        self.multipathway_blocks = nn.ModuleList([slow, fast])
        self.multipathway_fusion = fusion

    def forward(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        slow = self.multipathway_blocks[0](slow)
        fast = self.multipathway_blocks[1](fast)
        return slow if self.multipathway_fusion is None else self.multipathway_fusion(slow, fast), fast


class Head(nn.Module):
    """Dropout and a linear layer over the averaged features."""

    def __init__(self, dim_in: int, num_labels: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.proj = nn.Linear(dim_in, num_labels)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.dropout(x))


class SlowFast(nn.Module):
    """SlowFast networks, Feichtenhofer et al. 2019, table 1: (B, 3, T, H, W) -> logits (B, C). T must be a multiple of
    alpha.

    depths: blocks of res2 to res5. alpha: frames of the Fast pathway for one of the Slow. beta: how many times fewer
    channels it has (1/beta in the paper). width: channels of the Slow stem. res4_temporal_blocks: so many blocks of
    res4 look at time, None: all.
    """

    HEAD = "blocks.6.proj."

    def __init__(
        self,
        num_labels: int,
        depths: Sequence[int],
        alpha: int = 8,
        beta: int = 8,
        fusion_kernel: int = 5,
        width: int = 64,
        res4_temporal_blocks: int | None = None,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.alpha = alpha
        blocks: list[nn.Module] = [
            TwoPathways(Stem(width, 1), Stem(width // beta, 5), FuseFastToSlow(width // beta, alpha, fusion_kernel))
        ]
        dim_in = width
        dim_out = 4 * width
        for stage, depth in enumerate(depths):
            slow_kernels, fast_kernels = temporal_kernels(stage, depth, res4_temporal_blocks)
            stride = 1 if stage == 0 else 2
            slow = ResStage(dim_in + 2 * (dim_in // beta), dim_out // 4, dim_out, slow_kernels, stride)
            fast = ResStage(dim_in // beta, dim_out // 4 // beta, dim_out // beta, fast_kernels, stride)
            fusion = FuseFastToSlow(dim_out // beta, alpha, fusion_kernel) if stage < 3 else None
            blocks.append(TwoPathways(slow, fast, fusion))
            dim_in = dim_out
            dim_out = 2 * dim_out
        # pytorchvideo pools in its block 5, so that the head is block 6
        self.blocks = nn.ModuleList([*blocks, nn.Identity(), Head(dim_in + dim_in // beta, num_labels, dropout)])
        initialize(self)

    def forward(self, fast: Tensor) -> Tensor:
        slow = fast[:, :, slow_frames(fast.shape[2], self.alpha)]
        for block in self.blocks[:5]:
            slow, fast = block(slow, fast)
        return self.blocks[6](torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], dim=1))


class Slow(nn.Module):
    """The Slow pathway alone (table 5 of the paper, "Slow-only"): (B, 3, T, H, W) -> logits (B, C)."""

    HEAD = "blocks.5.proj."

    def __init__(self, num_labels: int, depths: Sequence[int], width: int = 64, dropout: float = 0.5):
        super().__init__()
        blocks: list[nn.Module] = [Stem(width, 1)]
        dim_in = width
        dim_out = 4 * width
        for stage, depth in enumerate(depths):
            blocks.append(
                ResStage(dim_in, dim_out // 4, dim_out, temporal_kernels(stage, depth)[0], 1 if stage == 0 else 2)
            )
            dim_in = dim_out
            dim_out = 2 * dim_out
        self.blocks = nn.ModuleList([*blocks, Head(dim_in, num_labels, dropout)])
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks[:5]:
            x = block(x)
        return self.blocks[5](x.mean((2, 3, 4)))


def temporal_kernels(stage: int, depth: int, res4_temporal_blocks: int | None = None) -> tuple[list[int], list[int]]:
    """Time steps of the first convolutions of a stage's blocks, Slow and Fast: Slow looks at time in res4 and res5 only
    (table 1)."""
    seeing = depth if stage != 2 or res4_temporal_blocks is None else res4_temporal_blocks
    fast = [3] * seeing + [1] * (depth - seeing)
    return (fast if stage >= 2 else [1] * depth), fast


def slow_frames(num_frames: int, alpha: int) -> list[int]:
    """The T / alpha frames of the Slow pathway: the first, the last and evenly between, as the published weights were
    trained."""
    return torch.linspace(0, num_frames - 1, num_frames // alpha).long().tolist()


def initialize(model: nn.Module) -> None:
    """He et al. 2015 for convolutions; the last batch norm of each block starts at 0 (Goyal et al. 2017), as in section
    4 of the paper."""
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, BottleneckBlock):
            nn.init.zeros_(module.norm_c.weight)


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
        pretrained: bool = False,
    ):
        super().__init__()
        import timm

        self.encoder = timm.create_model(timm_model, num_classes=0, pretrained=pretrained)
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


class VideoClassifier(PreTrainedModel):
    """One of BACKBONES with save_pretrained and from_pretrained: pixel_values (B, 3, T, H, W) -> ImageClassifierOutput,
    logits (B, C)."""

    config_class = VideoConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"

    def __init__(self, config: VideoConfig):
        super().__init__(config)
        self.backbone = BACKBONES[config.kind](config.num_labels, **config.options)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """The backbones have initialized themselves."""

    def forward(self, pixel_values: Tensor) -> ImageClassifierOutput:
        return ImageClassifierOutput(logits=self.backbone(pixel_values))


def find_architecture(name: str) -> Architecture:
    """A name of ARCHITECTURES, `scratch`, timm/<model>, or a folder or hub id of a VideoMAE. Raises InputError."""
    if name == "scratch":
        name = SCRATCH
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if name.startswith("timm/"):
        return timm_architecture(name.removeprefix("timm/"))
    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
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


def timm_architecture(name: str) -> Architecture:
    """Frames as timm's own weights want them. Raises InputError for a model that timm does not have."""
    import timm

    try:
        config = timm.get_pretrained_cfg(name.split(".")[0])
        known = timm.is_model(name)
    except RuntimeError:
        known = False
    if not known or config is None:
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
) -> VideoClassifier:
    """A classifier in float32. None: as the architecture has it. Raises InputError where an option does not belong to
    the model.

    pretrained_weights: a file of weights (safetensors, or torch's without pickled code) of the same architecture; all
    but the classifier must fit. `hub`: what timm has for this model. A VideoMAE brings its own.
    """
    architecture = find_architecture(model_name_or_path)
    options = copy.deepcopy(architecture.options)
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
        id2label=dict(enumerate(label_names)),
        label2id={name: i for i, name in enumerate(label_names)},
    )
    model = VideoClassifier(config)
    if architecture.kind == "videomae":
        head_size = {"num_labels": len(label_names), "num_frames": num_frames, "ignore_mismatched_sizes": True}
        model.backbone.model = VideoMAEForVideoClassification.from_pretrained(model_name_or_path, **head_size)
    elif pretrained_weights == HUB:
        load_from_hub(model, model_name_or_path)
    elif pretrained_weights:
        load_weights(model.backbone, pretrained_weights)
    return model


def load_from_hub(model: VideoClassifier, name: str) -> None:
    """Put the weights that timm has for its model into the encoder. Raises InputError where they cannot be had."""
    import timm

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
    state = read_weights(path)
    target = backbone
    head = backbone.HEAD
    if isinstance(backbone, FrameClassifier) and not any(key.startswith("encoder.") for key in state):
        target = backbone.encoder
        classifier = backbone.encoder.pretrained_cfg["classifier"]
        names = [classifier] if isinstance(classifier, str) else classifier
        state = {key: value for key, value in state.items() if not key.startswith(tuple(f"{name}." for name in names))}
        head = "no classifier"
    own = target.state_dict()
    wanted = {key: value.shape for key, value in own.items() if not key.startswith(head)}
    state = {key: value for key, value in state.items() if not key.startswith(head)}
    # timm's older files lack the counters of batch norm, which a fixed momentum does not read
    counters = {key: own[key] for key in wanted if key.endswith("num_batches_tracked") and key not in state}
    wrong = [
        key
        for key in sorted(wanted.keys() | state.keys())
        if key not in counters and wanted.get(key) != shape_of(state.get(key))
    ]
    if wrong:
        first = f"{wrong[0]} is {shape_of(state.get(wrong[0]))}, expected {wanted.get(wrong[0])}"
        raise InputError(
            f"{path}: does not fit the model, {len(wrong)} of {len(wanted)} weights differ (first: {first})"
        )
    target.load_state_dict({**state, **counters}, strict=False)


def shape_of(tensor: Tensor | None) -> torch.Size | None:
    return None if tensor is None else tensor.shape


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
        model = VideoClassifier.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder}: the model cannot be loaded ({first_line(error)})") from error
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    if names != list(label_names):
        raise InputError(f"{folder}: has the labels {', '.join(names)}, expected {', '.join(label_names)}")
    if not model.config.preprocessing:
        raise InputError(f"{folder}: config.json has no preprocessing; was it trained by this task's train.py?")
    return model.to(device).eval()


AutoConfig.register(VideoConfig.model_type, VideoConfig, exist_ok=True)
