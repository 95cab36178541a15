"""Exponential moving average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """average <- d * average + (1 - d) * weight after each optimizer step, d = min(decay, (1 + t) / (10 + t)), t =
    updates so far.

    Polyak & Juditsky 1992; the warm-up is that of TensorFlow's ExponentialMovingAverage. Averages are float32 whatever
    the type of the weights, on their device. Only parameters that are trainable when the object is made are averaged;
    buffers are not. Pass the same model everywhere, unwrapped (no DistributedDataParallel around it).
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.num_updates = 0
        self.averages = {name: parameter.detach().float().clone() for name, parameter in _trainable(model)}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the live weights in; call once after each optimizer step."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        parameters = dict(model.named_parameters())
        for name, average in self.averages.items():
            average.lerp_(parameters[name].float(), 1 - decay)
        self.num_updates += 1

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model holds the averaged weights inside the block; the live ones are back, bit-equal, after it."""
        parameters = dict(model.named_parameters())
        live = {name: parameters[name].detach().clone() for name in self.averages}
        _copy(self.averages, parameters)
        try:
            yield
        finally:
            _copy(live, parameters)

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors only, ready for safetensors: "num_updates" () int64 and "average.<parameter name>"."""
        averages = {f"average.{name}": average for name, average in self.averages.items()}
        return {"num_updates": torch.tensor(self.num_updates), **averages}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a state_dict() of the same model; the next update gives the same bits as without the stop. Raises
        KeyError."""
        self.num_updates = int(state["num_updates"])
        for name, average in self.averages.items():
            average.copy_(state[f"average.{name}"])


def _trainable(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad and p.is_floating_point())


@torch.no_grad()
def _copy(source: dict[str, Tensor], parameters: dict[str, nn.Parameter]) -> None:
    for name, tensor in source.items():
        parameters[name].copy_(tensor)
