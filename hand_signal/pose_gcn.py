"""ST-GCN++ over key points: (B, C, T, K) -> logits (B, num_labels).

Graph convolutions over the skeleton and convolutions along time in turn (ST-GCN, Yan et al. 2018, arXiv 1801.07455),
with a learned adjacency that starts at the skeleton's, a residual around the graph convolution, and several branches
along time (ST-GCN++, Duan et al. 2022, arXiv 2205.09443, section 4.1). Names of modules as in pyskl, whose published
weights load after their prefixes are taken off (pose_streams.py). The weights themselves were not at hand.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# of the branches along time: dilation of a convolution over 3 moments, a maximum over 3, a single moment
BRANCHES = (1, 2, 3, 4, "max", "1x1")
NUM_SUBSETS = 3  # of neighbours: the point itself, towards the root, away from it


def adjacency(num_points: int, parents: Sequence[int] | None) -> Tensor:
    """(3, K, K): [s, v, w] is what point w takes of point v in subset s, columns summing to 1 or 0 (the paper's spatial
    configuration, equation 10, in pyskl's form: itself, its parent, its children). Without a graph the last two begin
    at the mean of all others, to be learned."""
    eye = torch.eye(num_points)
    if parents is None:
        others = (1 - eye) / max(1, num_points - 1)
        return torch.stack([eye, others, others])
    inward = torch.zeros(num_points, num_points)
    for child, parent in enumerate(parents):
        if child != parent:
            inward[parent, child] = 1
    both = [inward, inward.T]
    return torch.stack([eye, *(part / part.sum(0, keepdim=True).clamp(min=1) for part in both)])


class UnitGCN(nn.Module):
    """Graph convolution, (B, C, T, K) -> (B, D, T, K). A: (3, K, K), learned from its first value on."""

    def __init__(self, in_channels: int, out_channels: int, A: Tensor):  # noqa: N803  (the paper's name)
        super().__init__()
        self.A = nn.Parameter(A.clone())
        self.conv = nn.Conv2d(in_channels, out_channels * len(A), 1)
        self.bn = nn.BatchNorm2d(out_channels)
        self.down = nn.Identity()
        if in_channels != out_channels:
            self.down = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.conv(x).unflatten(1, (len(self.A), -1))  # (B, 3, D, T, K)
        return torch.relu(self.bn(torch.einsum("nkctv,kvw->nctw", parts, self.A)) + self.down(x))


class UnitTCN(nn.Module):
    """Convolution along time, with or without batch norm."""

    def __init__(self, channels: tuple[int, int], kernel: int, stride: int, dilation: int = 1, norm: bool = True):
        super().__init__()
        padding = (kernel - 1) * dilation // 2
        self.conv = nn.Conv2d(*channels, (kernel, 1), (stride, 1), (padding, 0), (dilation, 1))
        self.bn = nn.BatchNorm2d(channels[1]) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class MSTCN(nn.Module):
    """BRANCHES along time beside each other, (B, D, T, K) -> (B, D, T / stride, K)."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        width = channels // len(BRANCHES)
        widths = [channels - width * (len(BRANCHES) - 1), *[width] * (len(BRANCHES) - 1)]
        self.branches = nn.ModuleList(
            self.branch(channels, out, stride, kind) for out, kind in zip(widths, BRANCHES, strict=True)
        )
        self.transform = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 1))
        self.bn = nn.BatchNorm2d(channels)

    @staticmethod
    def branch(channels: int, out: int, stride: int, kind: int | str) -> nn.Module:
        if kind == "1x1":
            return nn.Conv2d(channels, out, 1, (stride, 1))
        if kind == "max":
            last: nn.Module = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        else:
            last = UnitTCN((out, out), 3, stride, kind, norm=False)
        return nn.Sequential(nn.Conv2d(channels, out, 1), nn.BatchNorm2d(out), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.transform(torch.cat([branch(x) for branch in self.branches], dim=1)))


class STGCNBlock(nn.Module):
    """(B, C, T, K) -> (B, D, T / stride, K)."""

    def __init__(self, in_channels: int, out_channels: int, A: Tensor, stride: int, residual: bool):  # noqa: N803
        super().__init__()
        self.gcn = UnitGCN(in_channels, out_channels, A)
        self.tcn = MSTCN(out_channels, stride)
        self.has_residual = residual
        self.residual = nn.Identity()
        if residual and (in_channels != out_channels or stride != 1):
            self.residual = UnitTCN((in_channels, out_channels), 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.residual(x) if self.has_residual else 0
        return torch.relu(self.tcn(self.gcn(x)) + shortcut)


class PoseGCN(nn.Module):
    """num_points: K. parents: (K,), None: the adjacency is learned from all points alike. base_channels: D of the first
    blocks, doubled at inflate_stages, where time is halved (10 blocks, 64 channels, at 5 and 8 in the paper)."""

    HEAD = "head."

    def __init__(
        self,
        num_labels: int,
        num_points: int,
        parents: Sequence[int] | None = None,
        in_channels: int = 3,
        base_channels: int = 64,
        num_stages: int = 10,
        inflate_stages: Sequence[int] = (5, 8),
        dropout: float = 0.0,
    ):
        super().__init__()
        A = adjacency(num_points, parents)  # noqa: N806
        self.data_bn = nn.BatchNorm1d(in_channels * num_points)
        channels = base_channels
        blocks = [STGCNBlock(in_channels, channels, A, 1, residual=False)]
        for stage in range(2, num_stages + 1):
            grows = stage in inflate_stages
            blocks.append(STGCNBlock(channels, channels * (1 + grows), A, 1 + grows, residual=True))
            channels *= 1 + grows
        self.gcn = nn.ModuleList(blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, num_labels)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, time, points = x.shape
        x = self.data_bn(x.permute(0, 3, 1, 2).reshape(batch, points * channels, time))
        x = x.view(batch, points, channels, time).permute(0, 2, 3, 1)
        for block in self.gcn:
            x = block(x)
        return self.head(self.dropout(x.mean((2, 3))))
