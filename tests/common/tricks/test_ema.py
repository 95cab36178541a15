import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from common.tricks.ema import Ema


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[0].bias.requires_grad_(False)
    return model


def step(model, seed):
    """Stands for an optimizer step: every trainable weight moves."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator))


def test_average_follows_the_recurrence_with_warm_up(model):
    ema = Ema(model, decay=0.2)
    expected = model[2].weight.detach().clone()
    for t in range(5):
        step(model, t)
        decay = min(0.2, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * model[2].weight.detach()
        ema.update(model)
    with ema.applied(model):
        assert torch.allclose(model[2].weight, expected, atol=1e-6)


def test_live_weights_are_back_bit_equal_even_when_the_block_raises(model):
    ema = Ema(model, decay=0.9)
    step(model, 0)
    ema.update(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ZeroDivisionError), ema.applied(model):
        assert not torch.equal(model[2].weight, before["2.weight"])
        raise ZeroDivisionError
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_only_trainable_parameters_are_averaged(model):
    assert set(Ema(model, decay=0.9).averages) == {"0.weight", "1.weight", "1.bias", "2.weight", "2.bias"}


def test_resume_through_safetensors_is_bit_exact(model, tmp_path):
    ema = Ema(model, decay=0.999)
    for t in range(3):
        step(model, t)
        ema.update(model)
    save_file(ema.state_dict(), tmp_path / "ema.safetensors")
    resumed = Ema(model, decay=0.999)
    resumed.load_state_dict(load_file(tmp_path / "ema.safetensors"))
    step(model, 3)
    ema.update(model)
    resumed.update(model)
    assert resumed.num_updates == 4
    assert all(torch.equal(resumed.averages[name], average) for name, average in ema.averages.items())


def test_averages_of_bfloat16_weights_are_kept_in_float32(model):
    model.bfloat16()
    ema = Ema(model, decay=0.9)
    step(model, 0)
    ema.update(model)
    assert all(average.dtype == torch.float32 for average in ema.averages.values())
    with ema.applied(model):
        assert model[2].weight.dtype == torch.bfloat16
        assert torch.equal(model[2].weight, ema.averages["2.weight"].bfloat16())
