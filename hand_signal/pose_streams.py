"""Models of key points by name, and their streams: each is a network of its own, whose logits are averaged.

backbone = PoseStreams(6, "pose_tcn", num_points=33, streams=["joint", "motion"])
backbone(torch.rand(2, 3, 32, 33))         # (2 streams, 2, 6)

As in two-stream networks of skeletons (Shi et al. 2019, arXiv 1805.07694): joint (the points), bone (each point from
its parent; without a graph from the middle of all points of that moment), motion (each point to where it is a moment
later).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from common.console import InputError
from common.guards.weights import check_fits, without_prefixes

STREAMS = ("joint", "bone", "motion")
# name -> moments of a clip and options of the network; pyskl samples 100 moments for graphs, 48 for heat maps
POSE_MODELS = {"pose_tcn": (32, {}), "pose_gcn": (32, {}), "pose_c3d": (32, {})}


class PoseStreams(nn.Module):
    """x (B, 3, T, K) of x, y and confidence -> logits of each stream (S, B, C).

    Where no point of a clip was found, the logits are 0: nothing is known, so all labels are alike, and nothing is
    learned from such a clip. parents: (K,) as of pose_layouts.Layout. options: of the network.
    """

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
        self.parents = parents

    def forward(self, x: Tensor) -> Tensor:
        seen = (x[:, 2] > 0).flatten(1).any(dim=1).to(x.dtype)  # (B,)
        logits = [self.networks[stream](self.stream(x, stream)) for stream in self.streams]
        return torch.stack(logits) * seen[:, None]

    def stream(self, x: Tensor, name: str) -> Tensor:
        """(B, 3, T, K): x and y of the stream, and the confidence of the less certain end."""
        if name == "joint":
            return x
        if name == "bone" and self.parents is None:
            seen = (x[:, 2:] > 0).to(x.dtype)
            middle = (x[:, :2] * seen).sum(3, keepdim=True) / seen.sum(3, keepdim=True).clamp(min=1)
            return torch.cat([x[:, :2] - middle, x[:, 2:]], dim=1)
        if name == "bone":
            ends = x[..., self.parents]
            return torch.cat([x[:, :2] - ends[:, :2], torch.minimum(x[:, 2:], ends[:, 2:])], dim=1)
        later = torch.cat([x[:, :, 1:], x[:, :, -1:]], dim=2)
        return torch.cat([later[:, :2] - x[:, :2], torch.minimum(x[:, 2:], later[:, 2:])], dim=1)


def network_class(name: str) -> type[nn.Module]:
    """The network of a model, from its own file."""
    if name == "pose_gcn":
        from pose_gcn import PoseGCN

        return PoseGCN
    if name == "pose_c3d":
        from pose_c3d import PoseC3D

        return PoseC3D
    from pose_tcn import PoseTCN

    return PoseTCN


def check_streams(name: str, streams: Sequence[str] | None) -> list[str]:
    """The streams that an option names, joint alone by default. Raises InputError for one that is none, twice the same,
    and heat maps of what are no places."""
    streams = list(streams or ["joint"])
    if unknown := [stream for stream in streams if stream not in STREAMS]:
        raise InputError(f"pose_streams: {unknown[0]!r:.40} is none of {', '.join(STREAMS)}")
    if len(set(streams)) < len(streams):
        raise InputError(f"pose_streams: {' '.join(streams)} names one twice")
    if name == "pose_c3d" and streams != ["joint"]:
        raise InputError(f"pose_streams: {name} draws points as heat maps, so joint is its only stream")
    return streams


def load_pose_weights(backbone: PoseStreams, state: dict[str, Tensor], path: str | Path) -> None:
    """Put the weights of a file (state) into the only stream's network, all but its classifier: of a fold of this
    folder, or of pyskl (ST-GCN++, PoseC3D). Raises InputError where they do not fit, or there are several streams."""
    if len(backbone.streams) > 1:
        raise InputError("pretrained_weights: a file has the weights of one stream, name one with --pose_streams")
    (network,) = backbone.networks.values()
    state = {pyskl_name(key): value for key, value in state.items()}
    wanted = {key: value for key, value in network.state_dict().items() if not key.startswith(network.HEAD)}
    state = without_prefixes(state, {*wanted, "head.weight", "head.bias"}, path)
    state = {key: value for key, value in state.items() if not key.startswith(network.HEAD)}
    check_fits(state, wanted, path)
    network.load_state_dict(state, strict=False)


def pyskl_name(key: str) -> str:
    """A key of pyskl's checkpoints as the networks here have it; others as they are."""
    if key.startswith("cls_head.fc_cls."):
        return key.replace("cls_head.fc_cls.", "head.")
    return key.removeprefix("backbone.") if not key.startswith("backbone.networks.") else key.split(".", 3)[3]
