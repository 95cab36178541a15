"""hand_signal/slowfast.py and model.py: the same network as pytorchvideo's, weights that load without running code,
every kind saved and loaded."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from transformers import VideoMAEConfig, VideoMAEForVideoClassification

from common.console import InputError
from hand_signal.model import ARCHITECTURES, FrameClassifier, VideoClassifier, load_video_model, load_weights
from hand_signal.slowfast import BottleneckBlock, Slow, SlowFast, slow_frames

LABELS = ["a", "b", "c"]
TIMM = "timm/test_efficientnet"  # 0.4 million parameters, a test model of timm's own
R101_16X8_KERNELS = (((1, 1, 1), (1, 1, 1), ((3, 1, 1),) * 6 + ((1, 1, 1),) * 17, (3, 1, 1)),) + (
    ((3, 1, 1), (3, 1, 1), ((3, 1, 1),) * 6 + ((1, 1, 1),) * 17, (3, 1, 1)),
)


def randomized(model):
    """Batch norms that are not the identity, so that a wrong one shows."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.copy_(
                torch.rand(tensor.shape, generator=generator) * 0.5
                + (0.5 if "var" in name or "weight" in name else -0.25)
            )
    return model.eval()


def reference(name):
    """pytorchvideo's model of the same name, as its hub functions build it, pooling the whole of a small clip."""
    slowfast = pytest.importorskip("pytorchvideo.models.slowfast")
    options = ARCHITECTURES[name].options
    more = {}
    if name == "slowfast_r101_16x8":
        more["stage_conv_a_kernel_sizes"] = R101_16X8_KERNELS
    frames, alpha = ARCHITECTURES[name].num_frames, options["alpha"]
    return slowfast.create_slowfast(
        model_depth=50 if "r50" in name else 101,
        model_num_class=3,
        slowfast_fusion_conv_kernel_size=(options["fusion_kernel"], 1, 1),
        slowfast_fusion_conv_stride=(alpha, 1, 1),
        head_pool_kernel_sizes=((frames // alpha, 2, 2), (frames, 2, 2)),
        **more,
    )


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("slowfast_r101_8x8", "slowfast_r101_16x8")]


@pytest.mark.parametrize("name", ["slowfast_r50_4x16", "slowfast_r50_8x8", *SLOW])
def test_slowfast_has_pytorchvideos_keys_and_gives_its_output(name):
    architecture = ARCHITECTURES[name]
    theirs = randomized(reference(name)).double()  # because their logits are in the hundreds
    ours = SlowFast(3, **architecture.options).double().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    clip = torch.rand(
        1, 3, architecture.num_frames, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    slow = clip[:, :, slow_frames(architecture.num_frames, architecture.options["alpha"])]
    with torch.inference_mode():
        expected = theirs([slow, clip])
        assert expected.std() > 1e-3
        assert torch.allclose(ours(clip), expected, atol=1e-5, rtol=1e-5)


def test_slow_has_pytorchvideos_keys_and_gives_its_output():
    resnet = pytest.importorskip("pytorchvideo.models.resnet")
    theirs = randomized(
        resnet.create_resnet(stem_conv_kernel_size=(1, 7, 7), head_pool_kernel_size=(8, 2, 2), model_num_class=3)
    )
    ours = Slow(3, **ARCHITECTURES["slow_r50_8x8"].options).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    clip = torch.rand(1, 3, 8, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.allclose(ours(clip), theirs(clip), atol=1e-5, rtol=1e-5)


def test_the_papers_sizes():
    """Millions of parameters at 400 classes; the Fast pathway has 1/beta of the channels, the Slow one 1/alpha of the
    frames."""
    with torch.device("meta"):
        models = {name: SlowFast(400, **ARCHITECTURES[name].options) for name in ARCHITECTURES if "slowfast_r" in name}
    sizes = {name: sum(p.numel() for p in model.parameters()) / 1e6 for name, model in models.items()}
    assert sizes["slowfast_r50_8x8"] == pytest.approx(34.6, abs=0.1)
    assert sizes["slowfast_r101_8x8"] > 60 > sizes["slowfast_r101_16x8"] > 50
    assert slow_frames(32, 8) == [0, 10, 20, 31]
    stem = SlowFast(3, (1, 1, 1, 1), alpha=2, beta=16, width=32).blocks[0]
    assert [block.conv.out_channels for block in stem.multipathway_blocks] == [32, 2]
    assert stem.multipathway_fusion.conv_fast_to_slow.stride == (2, 1, 1)


def small_videomae(folder):
    config = VideoMAEConfig(
        image_size=32,
        patch_size=16,
        num_frames=4,
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    VideoMAEForVideoClassification(config).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", ["scratch", "slow_small", TIMM, "lstm", "attention", "videomae"])
def test_every_kind_gives_logits_and_is_the_same_after_save_pretrained(name, tmp_path):
    options = {"temporal_head": name} if name in ("lstm", "attention") else {}
    path = small_videomae(tmp_path / "videomae") if name == "videomae" else TIMM if options else name
    model = load_video_model(path, LABELS, num_frames=4, **options).eval()
    clip = torch.rand(2, 3, 4, 32, 32)
    model.save_pretrained(tmp_path / "saved")
    again = VideoClassifier.from_pretrained(tmp_path / "saved").eval()
    with torch.inference_mode():
        logits = model(clip).logits
        assert logits.shape == (2, 3)
        # kernels differ in the last bit with where the weights lie in memory
        assert torch.allclose(again(clip).logits, logits, rtol=1e-5, atol=1e-6)
    assert again.config.id2label == {0: "a", 1: "b", 2: "c"}


@pytest.mark.parametrize(("head", "sees"), [("mean", False), ("lstm", True), ("attention", True)])
def test_only_the_heads_with_memory_see_the_order_of_the_frames(head, sees):
    torch.manual_seed(0)
    model = FrameClassifier(3, "test_efficientnet", head).eval()
    clip = torch.rand(1, 3, 6, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(model(clip), model(clip.flip(2)), atol=1e-6) != sees


def test_slowfast_starts_as_the_identity_of_its_blocks_and_every_weight_gets_a_gradient():
    model = SlowFast(3, **ARCHITECTURES["slowfast_small"].options)
    ends = [module.norm_c.weight for module in model.modules() if isinstance(module, BottleneckBlock)]
    assert len(ends) == 8 and not any(weight.any() for weight in ends)
    model(torch.rand(2, 3, 8, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("kind", ["pyth", "safetensors", "pt"])
def test_weights_of_another_number_of_classes_load_but_for_the_classifier(kind, tmp_path):
    trained = SlowFast(400, **ARCHITECTURES["slowfast_small"].options)
    path = tmp_path / f"weights.{kind}"
    if kind == "safetensors":
        save_file(trained.state_dict(), path)
    else:
        torch.save(
            {"model_state": trained.state_dict(), "cfg": "TRAIN: ..."} if kind == "pyth" else trained.state_dict(), path
        )
    model = load_video_model("slowfast_small", LABELS, pretrained_weights=str(path)).backbone
    for key, value in model.state_dict().items():
        if not key.startswith("blocks.6."):
            assert torch.equal(value, trained.state_dict()[key]), key


def test_a_frame_classifier_takes_the_file_of_its_timm_model_without_the_classifier(tmp_path):
    import timm

    encoder = timm.create_model("test_efficientnet", num_classes=1000)
    state = {key: value for key, value in encoder.state_dict().items() if "num_batches_tracked" not in key}
    torch.save(state, tmp_path / "w.pth")
    model = load_video_model(TIMM, LABELS, pretrained_weights=str(tmp_path / "w.pth")).backbone
    assert torch.equal(model.encoder.conv_stem.weight, encoder.conv_stem.weight)


class Evil:
    def __reduce__(self):
        return print, ("code from the file ran",)


def bad_weights(tmp_path, what):
    path = tmp_path / ("w.safetensors" if what == "safetensors" else "w.pth")
    if what == "pickle":
        path.write_bytes(pickle.dumps({"a": Evil()}))
    elif what == "torch-pickle":
        torch.save({"a": Evil()}, path)
    elif what in ("text", "safetensors"):
        path.write_text("no weights")
    elif what == "list":
        torch.save([torch.zeros(1)], path)
    elif what == "another-depth":
        torch.save(SlowFast(3, (2, 1, 1, 1), width=16, beta=4, alpha=4).state_dict(), path)
    elif what == "another-model":
        torch.save(Slow(3, (1, 1, 1, 1), width=16).state_dict(), path)
    return path


@pytest.mark.parametrize(
    "what", ["missing", "text", "safetensors", "pickle", "torch-pickle", "list", "another-depth", "another-model"]
)
def test_a_file_that_is_not_this_models_weights_is_named_and_runs_no_code(what, tmp_path, capsys):
    path = bad_weights(tmp_path, what)
    model = SlowFast(3, **ARCHITECTURES["slowfast_small"].options)
    with pytest.raises(InputError, match=str(path)):
        load_weights(model, path)
    assert "ran" not in capsys.readouterr().out


OPTIONS = {
    "unknown": ("slowfast_r18", {}, "slowfast_r50_8x8"),
    "unknown-timm": ("timm/efficientnet_b99", {}, "timm has no model"),
    "head-of-another-kind": ("scratch", {"temporal_head": "lstm"}, "temporal_head"),
    "alpha-of-another-kind": ("slow_small", {"alpha": 4}, "alpha"),
    "frames-and-alpha": ("scratch", {"num_frames": 6}, "num_frames: 6"),
    "beta-too-large": ("scratch", {"beta": 5}, "beta: 5"),
    "hub-without-timm": ("scratch", {"pretrained_weights": "hub"}, "hub is for timm"),
}


@pytest.mark.parametrize(("name", "options", "message"), OPTIONS.values(), ids=OPTIONS)
def test_an_option_that_the_model_does_not_have_is_refused(name, options, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=message):
        load_video_model(name, LABELS, **options)
