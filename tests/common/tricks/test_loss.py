import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common.tricks.loss import class_weights, classification_loss


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return 3 * torch.randn(7, 4), torch.tensor([0, 1, 2, 3, 0, 0, 1])


def test_loss_with_everything_off_is_cross_entropy(batch):
    assert torch.equal(classification_loss(*batch), F.cross_entropy(*batch, reduction="none"))


def test_loss_is_float32_for_half_precision_logits(batch):
    loss = classification_loss(batch[0].bfloat16(), batch[1])
    assert loss.dtype == torch.float32 and loss.shape == (7,)
    assert torch.equal(loss, F.cross_entropy(batch[0].bfloat16().float(), batch[1], reduction="none"))


def test_weights_multiply_rows_and_do_not_renormalise_the_batch(batch):
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0])
    assert torch.allclose(classification_loss(*batch, weights=weights), weights[batch[1]] * classification_loss(*batch))


def test_smoothing_is_the_cross_entropy_with_smoothed_targets(batch):
    logits, labels = batch
    target = 0.9 * F.one_hot(labels, 4) + 0.1 / 4
    assert torch.allclose(
        classification_loss(logits, labels, label_smoothing=0.1), -(target * logits.log_softmax(1)).sum(1)
    )


def test_focal_loss_is_equation_4(batch):
    p = batch[0].softmax(1).gather(1, batch[1][:, None])[:, 0]
    assert torch.allclose(classification_loss(*batch, focal_gamma=2.0), -((1 - p) ** 2) * p.log(), atol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_gradient_is_finite_for_rows_that_are_certain(gamma):
    logits = torch.tensor([[60.0, 0.0, 0.0], [0.0, 60.0, 0.0]], requires_grad=True)
    classification_loss(logits, torch.tensor([0, 0]), focal_gamma=gamma).sum().backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_mean_weight_over_rows_is_one(strength):
    labels = np.repeat([0, 1, 3], [100, 10, 2])
    weights = class_weights(labels, 5, strength)
    assert weights.shape == (5,) and weights.dtype == np.float32
    assert weights[labels].mean() == pytest.approx(1, abs=1e-6)
    assert weights[2] == weights[4] == 1


def test_strength_zero_is_ones_and_one_gives_every_class_the_same_total():
    labels = np.repeat([0, 1, 2], [100, 10, 2])
    assert (class_weights(labels, 3, 0.0) == 1).all()
    totals = class_weights(labels, 3, 1.0) * [100, 10, 2]
    assert np.allclose(totals, totals[0])
    half = class_weights(labels, 3, 0.5)
    assert half[2] / half[0] == pytest.approx(50**0.5, rel=1e-5)
