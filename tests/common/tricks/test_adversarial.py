import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from common.tricks.adversarial import AWP, FGM

ATTACKS = {
    "fgm": lambda model: FGM(model, epsilon=0.5),
    "awp": lambda model: AWP(model, epsilon=0.05, learning_rate=0.1),
}
IDS, LABELS = torch.tensor([[2, 5, 6, 3], [2, 7, 8, 3]]), torch.tensor([0, 2])


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, num_labels=3,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return BertForSequenceClassification(config).train()


def loss_of(model):
    return model(input_ids=IDS, labels=LABELS).loss


def snapshot(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def changed(model, before):
    return {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_raises_the_loss_and_restores_the_bits(model, name):
    before, loss = snapshot(model), loss_of(model)
    loss.backward()
    with ATTACKS[name](model).attacked():
        worse = loss_of(model)
        worse.backward()
        assert changed(model, before)
    assert worse > loss + 1e-3
    assert not changed(model, before)


@pytest.mark.parametrize("name", ATTACKS)
def test_weights_come_back_when_the_block_raises(model, name):
    before = snapshot(model)
    loss_of(model).backward()
    with pytest.raises(ZeroDivisionError), ATTACKS[name](model).attacked():
        raise ZeroDivisionError
    assert not changed(model, before)


@pytest.mark.parametrize("name", ATTACKS)
def test_gradients_of_the_attacked_pass_add_to_the_clean_ones(model, name):
    loss_of(model).backward()
    clean = model.classifier.weight.grad.clone()
    with ATTACKS[name](model).attacked():
        (attacked,) = torch.autograd.grad(loss_of(model), model.classifier.weight)
        loss_of(model).backward()
    assert torch.allclose(model.classifier.weight.grad, clean + attacked, atol=1e-6)
    assert not torch.allclose(attacked, clean, atol=1e-4)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_does_not_depend_on_the_loss_scale(model, name):
    attacked = []
    for scale in (1, 65536):
        model.zero_grad()
        (scale * loss_of(model)).backward()
        with ATTACKS[name](model).attacked():
            attacked.append(snapshot(model))
    assert all(torch.allclose(attacked[0][key], attacked[1][key], rtol=1e-4, atol=1e-7) for key in attacked[0])


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("gradient", [None, 0.0, torch.inf, torch.nan])
def test_parameters_without_a_usable_gradient_do_not_move(model, name, gradient):
    before = snapshot(model)
    for parameter in model.parameters():
        parameter.grad = None if gradient is None else torch.full_like(parameter, gradient)
    with ATTACKS[name](model).attacked():
        assert not changed(model, before)


def test_fgm_moves_only_the_rows_in_the_batch_by_epsilon_in_all(model):
    before = snapshot(model)
    loss_of(model).backward()
    with FGM(model, epsilon=0.5).attacked():
        assert changed(model, before) == {"bert.embeddings.word_embeddings.weight"}
        step = model.get_input_embeddings().weight - before["bert.embeddings.word_embeddings.weight"]
    assert step.norm().item() == pytest.approx(0.5, rel=1e-4)
    assert set(step.abs().sum(1).nonzero()[:, 0].tolist()) == set(IDS.unique().tolist())


def test_awp_moves_all_matrices_and_no_vector_within_epsilon_of_each_weight(model):
    before = snapshot(model)
    loss_of(model).backward()
    with AWP(model, epsilon=0.05, learning_rate=0.1).attacked():
        assert changed(model, before) == {name for name, parameter in model.named_parameters() if parameter.ndim > 1}
        for name, parameter in model.named_parameters():
            assert ((parameter - before[name]).abs() <= 0.05 * before[name].abs() + 1e-8).all()


def test_awp_step_is_relative_to_the_size_of_the_matrix_where_nothing_is_clipped(model):
    before = snapshot(model)
    loss_of(model).backward()
    with AWP(model, epsilon=1e9, learning_rate=0.01).attacked():
        weight = model.classifier.weight
        expected = 0.01 * weight.grad / weight.grad.norm() * before["classifier.weight"].norm()
        assert torch.allclose(weight - before["classifier.weight"], expected, atol=1e-7)


def test_awp_leaves_frozen_weights_alone(model):
    model.bert.requires_grad_(False)
    before = snapshot(model)
    loss_of(model).backward()
    with AWP(model, epsilon=0.05, learning_rate=0.1).attacked():
        assert changed(model, before) == {"classifier.weight"}
