"""PoseC3D: heat maps of key points through a 3D network, (B, 3, T, K) -> logits (B, num_labels).

Duan et al. 2022, "Revisiting Skeleton-based Action Recognition", arXiv 2104.13586: each point becomes a small Gaussian
in a picture of its own (section 3.2), the pictures are the channels of a SlowOnly that keeps its resolution (section
3.3, table 1). Names of modules as in pyskl, whose published weights (17 points) load after their prefixes are taken
off (pose_streams.py). The weights themselves were not at hand.
"""

import torch
from torch import Tensor, nn

SIGMA = 0.6  # of a Gaussian, in pixels of the heat map (the paper's)
MARGIN = 0.125  # of the box around all points of a clip, on each side (pyskl's PoseCompact: 0.25 in both together)
SMALLEST = 0.1  # side of that box, in sizes of the person


def heat_maps(points: Tensor, size: int) -> Tensor:
    """(B, 3, T, K) of x, y, confidence -> (B, K, T, size, size): confidence * exp(-d^2 / 2 sigma^2) around each point
    (equation 1), in the square around all points of the clip that were found."""
    xy = points[:, :2].permute(0, 2, 3, 1)  # (B, T, K, 2)
    score = points[:, 2]
    there = (score > 0)[..., None]
    low = xy.masked_fill(~there, torch.inf).amin((1, 2))
    high = xy.masked_fill(~there, -torch.inf).amax((1, 2))
    found = there.flatten(1).any(1)[:, None]
    low = torch.where(found, low, torch.zeros_like(low))
    high = torch.where(found, high, torch.ones_like(high))
    side = (high - low).amax(1).clamp(min=SMALLEST) * (1 + 2 * MARGIN)  # (B,)
    corner = (low + high) / 2 - side[:, None] / 2
    places = (xy - corner[:, None, None]) / side[:, None, None, None] * size - 0.5  # in pixels
    pixels = torch.arange(size, device=points.device, dtype=points.dtype)
    rows_columns = torch.exp(-(((places[..., None] - pixels) / SIGMA) ** 2) / 2)  # (B, T, K, 2, size)
    maps = torch.einsum("btkx,btky->bktyx", rows_columns[..., 0, :], rows_columns[..., 1, :])
    return maps * score.transpose(1, 2)[..., None, None]


class ConvModule(nn.Module):
    """Convolution and batch norm, with or without ReLU."""

    def __init__(self, channels: tuple[int, int], kernel: tuple, stride: tuple = (1, 1, 1), relu: bool = True):
        super().__init__()
        padding = tuple(k // 2 for k in kernel)
        self.conv = nn.Conv3d(*channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm3d(channels[1])
        self.act = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class Bottleneck3d(nn.Module):
    """1 (3 along time where inflated) x 1 x 1, 1 x 3 x 3, 1 x 1 x 1 beside a shortcut. stride: of time, of space."""

    def __init__(self, in_channels: int, width: int, stride: tuple[int, int], inflate: bool):
        super().__init__()
        self.conv1 = ConvModule((in_channels, width), (3 if inflate else 1, 1, 1))
        strides = stride[0], stride[1], stride[1]
        self.conv2 = ConvModule((width, width), (1, 3, 3), strides)
        self.conv3 = ConvModule((width, 4 * width), (1, 1, 1), relu=False)
        self.downsample = nn.Identity()
        if in_channels != 4 * width or strides != (1, 1, 1):
            self.downsample = ConvModule((in_channels, 4 * width), (1, 1, 1), strides, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv3(self.conv2(self.conv1(x))) + self.downsample(x))


class PoseC3D(nn.Module):
    """num_points: K. heatmap_size: pixels, 56 in the paper. base_channels: of the stem; depths: blocks of the three
    stages, of which the last two look along time and the last halves it (table 1: 32 and 4, 6, 3)."""

    HEAD = "head."

    def __init__(
        self,
        num_labels: int,
        num_points: int,
        heatmap_size: int = 56,
        base_channels: int = 32,
        depths: tuple[int, int, int] = (4, 6, 3),
        dropout: float = 0.5,
    ):
        super().__init__()
        self.heatmap_size = heatmap_size
        self.conv1 = ConvModule((num_points, base_channels), (1, 7, 7))
        channels = base_channels
        for stage, (depth, time_stride) in enumerate(zip(depths, (1, 1, 2), strict=True), start=1):
            width = base_channels * 2 ** (stage - 1)
            blocks = []
            for block in range(depth):
                stride = (time_stride, 2) if block == 0 else (1, 1)
                blocks.append(Bottleneck3d(channels, width, stride, inflate=stage > 1))
                channels = 4 * width
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, num_labels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(heat_maps(x, self.heatmap_size))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.head(self.dropout(x.mean((2, 3, 4))))
