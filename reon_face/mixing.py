"""Mixup and CutMix: images of a batch mixed with the image before them, and how much of each is left."""

import math

import torch
from torch import Tensor


def mix(pixel_values: Tensor, mixup_alpha: float, cutmix_alpha: float) -> tuple[Tensor, float]:
    """(mixed images, the share of each image in itself) of pixel_values (B, 3, H, W); the rest is its neighbour's.

    Mixup (Zhang et al. 2018) adds both, CutMix (Yun et al. 2019) puts a rectangle of the neighbour into the image;
    where both alphas are above 0, a coin says which a batch gets. The share is drawn from Beta(alpha, alpha). All
    random numbers are of torch's generator, whose state a checkpoint holds.
    """
    cuts = cutmix_alpha > 0 and (mixup_alpha == 0 or bool(torch.rand(()) < 0.5))
    alpha = torch.tensor(cutmix_alpha if cuts else mixup_alpha)
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    neighbours = pixel_values.roll(1, dims=0)
    if cuts:
        return cut(pixel_values, neighbours, share)
    return share * pixel_values + (1 - share) * neighbours, share


def cut(pixel_values: Tensor, neighbours: Tensor, share: float) -> tuple[Tensor, float]:
    """CutMix: a rectangle of the image's shape and of 1 - share of its area around a random point, as far as it lies in
    the image; the share that is returned is that of the pixels."""
    height, width = pixel_values.shape[-2:]
    side = math.sqrt(1 - share)
    y, x = torch.rand(2).tolist()
    top, bottom = edges(y, side, height)
    left, right = edges(x, side, width)
    mixed = pixel_values.clone()
    mixed[..., top:bottom, left:right] = neighbours[..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def edges(middle: float, side: float, size: int) -> tuple[int, int]:
    """First pixel, and the one after the last, of a stretch of side * size pixels around middle * size."""
    return max(0, round((middle - side / 2) * size)), min(size, round((middle + side / 2) * size))
