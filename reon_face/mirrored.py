"""Test-time flip: what a model says of an image is the mean of its logits for the image and for its mirror image."""

from typing import Any

import torch
from transformers import TimmWrapperForImageClassification
from transformers.utils import ModelOutput


def average_mirrored(model: TimmWrapperForImageClassification) -> TimmWrapperForImageClassification:
    """The same model; in evaluation, not in training, its logits are averaged with those of the mirrored images.

    Wherever it is called: in the evaluation of an epoch, predict.py, score.py and in what export.py writes. Costs
    twice the time of a prediction.
    """
    model.register_forward_hook(add_mirrored, with_kwargs=True)
    return model


def add_mirrored(
    model: TimmWrapperForImageClassification, args: tuple, inputs: dict[str, Any], outputs: ModelOutput
) -> ModelOutput:
    """A forward hook of a model that is called with pixel_values (B, 3, S, S) by name."""
    if not model.training:
        mirrored = model.forward(pixel_values=torch.flip(inputs["pixel_values"], dims=(-1,)))  # without this hook
        outputs.logits = (outputs.logits + mirrored.logits) / 2
    return outputs
