"""Adversarial training in weight space: a second backward pass at slightly worse weights, then the weights come back.

    loss.backward()
    with attack.attacked():
        compute_loss().backward()  # adds to the gradients of the clean loss
    optimizer.step()

Only the direction of `.grad` is used, so a loss scale changes nothing. With gradient accumulation it is the direction
of all that has been accumulated so far. Parameters without a gradient, with a zero one, or with one that overflowed are
left alone.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


def _norms(tensors: list[Tensor]) -> list[float]:
    """Euclidean norms, in float32, with one copy from the device for all of them."""
    return (
        torch.stack([torch.linalg.vector_norm(tensor, dtype=torch.float32) for tensor in tensors]).tolist()
        if tensors
        else []
    )


@contextmanager
def _perturbed(parameters: list[nn.Parameter], norms: list[float], perturb: Callable) -> Iterator[None]:
    """Apply perturb(parameter, norm of its gradient) in place for the length of the block; the old bits are back after
    it."""
    chosen = [(parameter, norm) for parameter, norm in zip(parameters, norms, strict=True) if 0 < norm < math.inf]
    originals = [parameter.detach().clone() for parameter, _ in chosen]
    try:
        with torch.no_grad():
            for parameter, norm in chosen:
                perturb(parameter, norm)
        yield
    finally:
        with torch.no_grad():
            for (parameter, _), original in zip(chosen, originals, strict=True):
                parameter.copy_(original)


class FGM:
    """Fast gradient method: the word-embedding matrix moves by epsilon along its gradient.

    Miyato et al. 2017 "Adversarial Training Methods for Semi-Supervised Text Classification", eq. 5. As is usual for
    Transformers, the matrix (V, H) takes the place of the paper's normalised embedding sequence: one norm for the
    batch, not one for each text. epsilon: Euclidean length of the step, in units of the embedding weights.
    """

    def __init__(self, model: PreTrainedModel, epsilon: float):
        self.weight = model.get_input_embeddings().weight
        self.epsilon = epsilon

    @contextmanager
    def attacked(self) -> Iterator[None]:
        """The embedding weights are perturbed inside the block and bit-equal to before after it."""

        def perturb(weight: nn.Parameter, norm: float) -> None:
            weight.add_((weight.grad / norm).to(weight.dtype), alpha=self.epsilon)

        weights = [self.weight] if self.weight.grad is not None else []
        with _perturbed(weights, _norms([weight.grad for weight in weights]), perturb):
            yield


class AWP:
    """Adversarial weight perturbation: every weight matrix moves along its gradient, relative to its own size.

    w' = clip(w + learning_rate * grad / |grad| * |w|, w - epsilon * abs(w), w + epsilon * abs(w)), |.| the Frobenius
    norm. Wu et al. 2020 "Adversarial Weight Perturbation Helps Robust Generalization", section 4, in the one-step form
    used for text on Kaggle: the gradient is that of the clean loss and the limit holds for each element. Biases and
    norm scales (one axis) do not move. norm_of_other_words: of rows of the word embeddings that the model
    lacks while it is trained (common/tricks/vocabulary.py), which count as its own in |w|.
    """

    def __init__(self, model: nn.Module, epsilon: float, learning_rate: float, norm_of_other_words: float = 0.0):
        self.weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
        self.others = {model.get_input_embeddings().weight: norm_of_other_words} if norm_of_other_words else {}
        self.epsilon = epsilon
        self.learning_rate = learning_rate

    @contextmanager
    def attacked(self) -> Iterator[None]:
        """The weight matrices are perturbed inside the block and bit-equal to before after it."""

        def perturb(weight: nn.Parameter, norm: float) -> None:
            limit = self.epsilon * weight.abs()
            size = torch.linalg.vector_norm(weight)
            if weight in self.others:
                size = torch.hypot(size, size.new_tensor(self.others[weight]))
            step = (weight.grad / norm).to(weight.dtype) * (self.learning_rate * size)
            weight.add_(step.clamp(-limit, limit))

        weights = [weight for weight in self.weights if weight.grad is not None]
        with _perturbed(weights, _norms([weight.grad for weight in weights]), perturb):
            yield
