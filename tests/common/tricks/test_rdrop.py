import torch
import torch.nn.functional as F

from common.tricks.loss import rdrop_loss


def test_rdrop_is_half_the_sum_of_both_divergences_for_each_row():
    torch.manual_seed(0)
    a, b = 2 * torch.randn(2, 6, 5)
    log_a, log_b = a.log_softmax(1), b.log_softmax(1)
    forward = F.kl_div(log_b, log_a, reduction="none", log_target=True).sum(1)
    backward = F.kl_div(log_a, log_b, reduction="none", log_target=True).sum(1)
    assert torch.allclose(rdrop_loss(a, b), (forward + backward) / 2, atol=1e-6)


def test_rdrop_is_zero_only_for_equal_distributions():
    logits = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    shifted = logits + torch.tensor([[5.0], [-3.0]])  # the same softmax
    assert torch.allclose(rdrop_loss(logits, shifted), torch.zeros(2), atol=1e-6)
    assert (rdrop_loss(logits, logits.flip(1)) > 0).tolist() == [True, False]


def test_rdrop_gradient_flows_into_both_passes():
    a, b = torch.tensor([[1.0, 0.0]], requires_grad=True), torch.tensor([[0.0, 1.0]], requires_grad=True)
    rdrop_loss(a, b).sum().backward()
    assert torch.allclose(a.grad, -b.grad) and a.grad.abs().min() > 0


def test_rdrop_is_finite_and_float32_for_certain_half_precision_logits():
    loss = rdrop_loss(torch.tensor([[300.0, 0.0]]).half(), torch.tensor([[0.0, 300.0]]).half())
    assert loss.dtype == torch.float32 and torch.equal(loss, torch.tensor([300.0]))
