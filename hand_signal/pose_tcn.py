"""A small temporal convolution over key points: (B, C, T, K) -> logits (B, num_labels).

All points of a frame are one vector, so that nothing depends on their order or names, and residual blocks of
convolutions look along time (Bai et al. 2018, arXiv 1803.01271, not causal and without dilation: a clip is short). Made
for a hundred clips: some 100 thousand parameters, dropout over whole channels (Tompson et al. 2015).
"""

from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions along time beside a shortcut: (B, D, T) -> (B, D, T)."""

    def __init__(self, width: int, kernel: int, dropout: float):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout1d(dropout),
            nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(width),
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.body(x))


class PoseTCN(nn.Module):
    """num_points: K; in_channels: C of a point; width: D; dropout: of channels in the blocks, half as much, and of
    features before the classifier."""

    HEAD = "head."

    def __init__(
        self,
        num_labels: int,
        num_points: int,
        in_channels: int = 3,
        width: int = 96,
        depth: int = 2,
        kernel: int = 5,
        dropout: float = 0.4,
    ):
        super().__init__()
        self.norm = nn.BatchNorm1d(in_channels * num_points)
        self.stem = nn.Sequential(
            nn.Conv1d(in_channels * num_points, width, 1, bias=False), nn.BatchNorm1d(width), nn.ReLU()
        )
        self.blocks = nn.Sequential(*(Block(width, kernel, dropout / 2) for _ in range(depth)))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_labels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x.transpose(2, 3).flatten(1, 2))  # (B, C * K, T)
        x = self.blocks(self.stem(x)).mean(2)
        return self.head(self.dropout(x))
