"""The three models of key points: shapes and parameter counts of the papers, pyskl's names, streams, what learns."""

import numpy as np
import pytest
import torch

from common.console import InputError
from hand_signal.model import VideoClassifier, find_architecture, load_fold, load_video_model
from hand_signal.pose_c3d import PoseC3D, heat_maps
from hand_signal.pose_gcn import PoseGCN, adjacency
from hand_signal.pose_layouts import read_layout
from hand_signal.pose_streams import POSE_MODELS, PoseStreams, check_streams
from hand_signal.pose_tcn import PoseTCN
from tests.tools.poses import PARENTS

NAMES = ["a", "b", "c"]
SMALL = {
    "pose_tcn": {"width": 16},
    "pose_gcn": {"base_channels": 8, "num_stages": 4, "inflate_stages": (3,)},
    "pose_c3d": {"base_channels": 4, "depths": (1, 1, 1), "heatmap_size": 16},
}


def small(name, streams=("joint",), parents=None, num_labels=3, dropout=0.0):
    return PoseStreams(num_labels, name, 9, streams, parents, dropout=dropout, **SMALL[name])


def points(batch=2, time=8, count=9, seed=0):
    values = torch.randn(batch, 3, time, count, generator=torch.Generator().manual_seed(seed))
    values[:, 2] = values[:, 2].abs().clamp(0.3, 1)
    return values


def millions(module):
    return sum(p.numel() for p in module.parameters()) / 1e6


def test_parameter_counts_are_those_of_the_papers_tables():
    # PYSKL (arXiv 2205.09443), table 4: ST-GCN++ 1.39 M; PoseC3D (arXiv 2104.13586), table 2: SlowOnly 2.0 M
    assert millions(PoseGCN(60, 17, read_layout("coco17").parents)) == pytest.approx(1.39, abs=0.005)
    assert millions(PoseC3D(60, 17)) == pytest.approx(2.0, abs=0.05)
    assert millions(PoseTCN(6, 33)) < 0.25


def test_shapes_inside_are_the_papers():
    gcn = PoseGCN(60, 17, read_layout("coco17").parents).eval()
    x = torch.zeros(1, 3, 20, 17)
    shapes = []
    for block in gcn.gcn:
        x = block(x)
        shapes.append(tuple(x.shape[1:3]))
    assert shapes == [(64, 20)] * 4 + [(128, 10)] * 3 + [(256, 5)] * 3
    c3d = PoseC3D(60, 17).eval()
    x = c3d.conv1(torch.zeros(1, 17, 4, 56, 56))
    for layer, shape in {"layer1": (128, 4, 28, 28), "layer2": (256, 4, 14, 14), "layer3": (512, 2, 7, 7)}.items():
        x = getattr(c3d, layer)(x)
        assert x.shape[1:] == shape


def pyskl_keys(module, head):
    """The state dict under the names of pyskl's checkpoints."""
    return {
        (f"cls_head.fc_cls.{key[5:]}" if key.startswith("head.") else f"backbone.{key}"): torch.randn(value.shape)
        if value.is_floating_point()
        else value
        for key, value in module(head).state_dict().items()
    }


@pytest.mark.parametrize("name", ["pose_gcn", "pose_c3d"])
def test_pyskls_checkpoints_load_but_for_their_classifier(tmp_path, name):
    parents = read_layout("coco17").parents
    make = {"pose_gcn": lambda n: PoseGCN(n, 17, parents), "pose_c3d": lambda n: PoseC3D(n, 17)}[name]
    state = pyskl_keys(make, 60)
    some = {
        "pose_gcn": "backbone.gcn.4.tcn.branches.1.3.conv.weight",
        "pose_c3d": "backbone.layer3.0.conv1.conv.weight",
    }
    others = {"pose_gcn": "backbone.gcn.4.residual.bn.weight", "pose_c3d": "backbone.layer1.0.downsample.bn.weight"}
    assert some[name] in state and others[name] in state
    torch.save({"meta": {"epoch": 1}, "state_dict": state}, tmp_path / "pyskl.pth")
    options = {"num_points": 17, "parents": parents, "streams": ["joint"]}
    model = load_video_model(name, NAMES, pose=options, pretrained_weights=str(tmp_path / "pyskl.pth"))
    network = model.backbone.networks["joint"]
    key = some[name].removeprefix("backbone.")
    assert torch.equal(network.state_dict()[key], state[some[name]]) and len(network.head.weight) == 3
    with pytest.raises(InputError):  # of another layout
        load_video_model(
            name,
            NAMES,
            pose={**options, "num_points": 9, "parents": None},
            pretrained_weights=str(tmp_path / "pyskl.pth"),
        )
    with pytest.raises(InputError, match="one stream"):
        streams = {**options, "streams": ["joint", "bone"]}
        load_video_model("pose_gcn", NAMES, pose=streams, pretrained_weights=str(tmp_path / "pyskl.pth"))


@pytest.mark.parametrize("name", SMALL)
def test_a_saved_model_gives_the_same_logits(tmp_path, name):
    options = {"num_points": 9, "parents": PARENTS, "streams": ["joint"], **SMALL[name]}
    model = load_video_model(name, NAMES, pose=options)
    model.config.preprocessing = {"num_points": 9}
    model.eval().save_pretrained(tmp_path)
    loaded = load_fold(tmp_path, torch.device("cpu"), NAMES)
    assert isinstance(loaded, VideoClassifier)
    assert torch.equal(loaded(points()).logits, model(points()).logits)
    again = load_video_model(name, NAMES, pose=options, pretrained_weights=str(tmp_path / "model.safetensors"))
    key = "networks.joint." + next(k for k in model.backbone.networks["joint"].state_dict() if "head" not in k)
    assert torch.equal(again.backbone.state_dict()[key], model.backbone.state_dict()[key])


def test_streams_are_points_bones_and_motion():
    model = small("pose_tcn", ["joint", "bone", "motion"], PARENTS)
    x = points()
    bone, motion = model.stream(x, "bone"), model.stream(x, "motion")
    assert torch.equal(bone[:, :2, :, 5], x[:, :2, :, 5] - x[:, :2, :, 3]) and (bone[:, :2, :, 0] == 0).all()
    assert torch.equal(motion[:, :2, 0], x[:, :2, 1] - x[:, :2, 0]) and (motion[:, :2, -1] == 0).all()
    assert torch.equal(bone[:, 2, :, 5], torch.minimum(x[:, 2, :, 5], x[:, 2, :, 3]))
    assert model(x).shape == (3, 2, 3)
    free = small("pose_tcn", ["bone"]).stream(x, "bone")
    assert torch.allclose(free[:, :2].mean(3), torch.zeros(2, 2, 8), atol=1e-6) and torch.equal(free[:, 2], x[:, 2])


def test_each_stream_learns_by_itself_and_the_logits_are_their_mean():
    model = load_video_model("pose_tcn", NAMES, pose={"num_points": 9, "parents": None, "streams": ["joint", "motion"]})
    output = model.eval()(points())
    assert torch.equal(output.logits, output.stream_logits.mean(0))
    output.stream_logits[0].sum().backward()
    assert all((p.grad == 0).all() for p in model.backbone.networks["motion"].parameters())


@pytest.mark.parametrize("name", SMALL)
def test_a_clip_without_anybody_says_nothing_and_teaches_nothing(name):
    model = small(name).eval()
    x = points()
    x[1] = 0
    logits = model(x)[0]
    assert (logits[1] == 0).all() and not (logits[0] == 0).all()
    logits[1].sum().backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in model.parameters())


def test_bad_streams_are_one_sentence():
    for streams, fragment in [
        (["bones"], "'bones' is none of joint, bone, motion"),
        (["joint", "joint"], "names one twice"),
    ]:
        with pytest.raises(InputError, match=fragment):
            check_streams("pose_gcn", streams)
    with pytest.raises(InputError, match="joint is its only stream"):
        check_streams("pose_c3d", ["joint", "motion"])
    with pytest.raises(InputError, match="none of the pose models pose_tcn, pose_gcn, pose_c3d"):
        find_architecture("pose_tnc")
    assert set(POSE_MODELS) == set(SMALL)


def test_the_adjacency_is_the_point_its_parent_and_its_children_and_without_a_graph_everybody():
    graph = adjacency(9, PARENTS)
    assert torch.equal(graph[0], torch.eye(9))
    assert graph[1][:, 5].nonzero().ravel().tolist() == [3] and graph[2][:, 1].nonzero().ravel().tolist() == [3, 7]
    assert torch.allclose(graph[2].sum(0)[[0, 1, 8]], torch.tensor([1.0, 1.0, 0.0]))
    free = adjacency(9, None)
    assert torch.allclose(free.sum(1), torch.ones(3, 9)) and (free[1].diagonal() == 0).all()
    assert PoseGCN(3, 9, None).gcn[0].gcn.A.requires_grad


def test_heat_maps_peak_at_the_points_with_their_confidence():
    x = torch.zeros(1, 3, 1, 3)
    x[0, :, 0] = torch.tensor([[-1.0, 1.0, 0.0], [-1.0, 1.0, 9.0], [1.0, 0.5, 0.0]])
    maps = heat_maps(x, 40)
    assert maps.shape == (1, 3, 1, 40, 40)
    peaks = [np.unravel_index(maps[0, k, 0].argmax(), (40, 40)) for k in range(2)]
    # y first; a box of side 2 with a margin of an eighth on each side: 1/10 and 9/10 of the map
    assert peaks == [(3, 3), (35, 35)] or peaks == [(4, 4), (35, 35)] or peaks == [(3, 3), (36, 36)]
    assert (
        maps[0, 1, 0].max().item() == pytest.approx(0.5 * maps[0, 0, 0].max().item(), rel=0.05)
        and (maps[0, 2] == 0).all()
    )
    larger = x.clone()
    larger[:, :2] = 3 * x[:, :2] + 5
    assert torch.allclose(heat_maps(larger, 40), maps, atol=1e-4)
