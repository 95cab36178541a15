"""SlowFast and Slow networks for video, Feichtenhofer et al. 2019 (arXiv 1812.03982), table 1: the networks alone.

    model = SlowFast(num_labels=400, depths=(3, 4, 6, 3), alpha=4, fusion_kernel=7)     # R50, 8x8
    logits = model(torch.rand(2, 3, 32, 224, 224))                                      # (2, 400)

Parameters have the names of pytorchvideo's create_slowfast and create_resnet, so that their published Kinetics weights
load.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
