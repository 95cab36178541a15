"""Models of key points by name, and their streams: each is a network of its own, whose logits are averaged.

backbone = PoseStreams(6, "pose_tcn", num_points=33, streams=["joint", "motion"])
backbone(torch.rand(2, 3, 32, 33))         # (2 streams, 2, 6)

As in two-stream networks of skeletons (Shi et al. 2019, arXiv 1805.07694): joint (the points), bone (each point from
its parent), motion (each point from where it was a moment before).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from common.console import InputError

STREAMS = ("joint", "bone", "motion")
# name -> moments of a clip, and the defaults of its options
POSE_MODELS = {
    "pose_tcn": (32, {}),
}


class PoseStreams(nn.Module):
    """x (B, 3, T, K) of x, y and confidence -> logits of each stream (S, B, C).

    Where no point of a clip was found, the logits are 0: nothing is known, so all labels are alike, and nothing is
    learned from such a clip. parents: (K,) as of pose_layouts.Layout. options: of the network.
    """

    HEAD = "networks.joint.head."

    def __init__(
        self,
        num_labels: int,
        network: str,
        num_points: int,
        streams: Sequence[str] = ("joint",),
        parents: Sequence[int] | None = None,
        **options,
    ):
        super().__init__()
        self.streams = list(streams)
        graph = {"parents": parents} if network == "pose_gcn" else {}
        make = network_class(network)
        self.networks = nn.ModuleDict(
            {stream: make(num_labels, num_points=num_points, **graph, **options) for stream in streams}
        )
        if "bone" in self.streams:
            self.register_buffer("parents", torch.tensor(parents), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        seen = (x[:, 2] > 0).flatten(1).any(dim=1).to(x.dtype)  # (B,)
        logits = [self.networks[stream](self.stream(x, stream)) for stream in self.streams]
        return torch.stack(logits) * seen[:, None]

    def stream(self, x: Tensor, name: str) -> Tensor:
        """(B, 3, T, K): x and y of the stream, and the confidence of the less certain end."""
        if name == "joint":
            return x
        if name == "bone":
            ends = x[..., self.parents]
            return torch.cat([x[:, :2] - ends[:, :2], torch.minimum(x[:, 2:], ends[:, 2:])], dim=1)
        later = torch.cat([x[:, :, 1:], x[:, :, -1:]], dim=2)
        return torch.cat([later[:, :2] - x[:, :2], torch.minimum(x[:, 2:], later[:, 2:])], dim=1)


def network_class(name: str) -> type[nn.Module]:
    """The network of a model, from its own file."""
    from pose_tcn import PoseTCN

    return PoseTCN


def check_streams(streams: Sequence[str] | None, parents: Sequence[int] | None) -> list[str]:
    """The streams that an option names, joint alone by default. Raises InputError for one that is none, twice the same,
    or bones without a graph."""
    streams = list(streams or ["joint"])
    if unknown := [stream for stream in streams if stream not in STREAMS]:
        raise InputError(f"pose_streams: {unknown[0]!r:.40} is none of {', '.join(STREAMS)}")
    if len(set(streams)) < len(streams):
        raise InputError(f"pose_streams: {' '.join(streams)} names one twice")
    if "bone" in streams and parents is None:
        raise InputError("pose_streams: bone needs a graph, give --pose_names with parents")
    return streams
