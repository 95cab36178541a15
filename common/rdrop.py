"""R-Drop: two dropout passes over the same row should predict the same distribution."""

from torch import Tensor


def rdrop_loss(logits_a: Tensor, logits_b: Tensor) -> Tensor:
    """Symmetric divergence (KL(a || b) + KL(b || a)) / 2 in nats per row, (B,) float32.

    logits_a, logits_b: (B, C), two forward passes with different dropout masks; gradients flow into both.
    Liang et al. 2021 "R-Drop: Regularized Dropout for Neural Networks", eq. 2.
    """
    log_a = logits_a.float().log_softmax(-1)
    log_b = logits_b.float().log_softmax(-1)
    # the two divergences share their terms: sum (a - b) (log a - log b)
    return ((log_a.exp() - log_b.exp()) * (log_a - log_b)).sum(-1) / 2
