"""Losses: inverse-frequency weights, focal loss and label smoothing for classes of unequal size; R-Drop."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def class_weights(labels: np.ndarray, num_labels: int, strength: float) -> np.ndarray:
    """Inverse-frequency weights (K,), float32: (n / (K * n_c)) ** strength, scaled so that their mean over the given
    rows is 1.

    labels: (n,) integers in [0, K). strength: 0 gives ones, 1 gives every present class the same total weight; in
    between, a power of it. The scale of the loss, and so the learning rate, does not depend on strength. A class
    without rows gets weight 1.
    """
    counts = np.bincount(labels, minlength=num_labels)
    present = counts > 0
    weights = np.ones(num_labels)
    weights[present] = (len(labels) / (num_labels * counts[present])) ** strength
    weights[present] /= weights[labels].mean()
    return weights.astype(np.float32)


def classification_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    weights: Tensor | None = None,
    focal_gamma: float = 0.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy per row, (B,) float32, not reduced.

    logits: (B, C) of any floating type. labels: (B,) integers. weights: (C,) float32 on the same device; the mean over
    the batch is a plain mean, rows are not divided by the sum of their weights. focal_gamma: each row is multiplied by
    (1 - p_label) ** gamma, Lin et al. 2017 "Focal Loss for Dense Object Detection", eq. 4 with softmax in place of the
    sigmoid. label_smoothing: as in torch.nn.functional.cross_entropy (Szegedy et al. 2016, section 7).
    """
    logits = logits.float()
    loss = F.cross_entropy(logits, labels, weight=weights, reduction="none", label_smoothing=label_smoothing)
    if focal_gamma > 0:
        # log(1 - p) from the other classes' logits: the gradient stays finite where p rounds to 1 and gamma < 1
        others = logits.scatter(1, labels[:, None], -torch.inf)
        loss = loss * torch.exp(focal_gamma * (others.logsumexp(1) - logits.logsumexp(1)))
    return loss


def rdrop_loss(logits_a: Tensor, logits_b: Tensor) -> Tensor:
    """Symmetric divergence (KL(a || b) + KL(b || a)) / 2 in nats per row, (B,) float32.

    logits_a, logits_b: (B, C), two forward passes with different dropout masks; gradients flow into both.
    Liang et al. 2021 "R-Drop: Regularized Dropout for Neural Networks", eq. 2.
    """
    log_a = logits_a.float().log_softmax(-1)
    log_b = logits_b.float().log_softmax(-1)
    # the two divergences share their terms: sum (a - b) (log a - log b)
    return ((log_a.exp() - log_b.exp()) * (log_a - log_b)).sum(-1) / 2
