import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    ElectraConfig,
    ModernBertConfig,
    RobertaConfig,
)

from common.tricks.feature_space import FeatureSpaceOversampler

SIZES = {
    "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "num_labels": 3,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CONFIGS = {
    "bert": BertConfig(**SIZES),
    "roberta": RobertaConfig(**SIZES),
    "electra": ElectraConfig(**SIZES),
    "deberta": DebertaV2Config(**SIZES),
    "modernbert": ModernBertConfig(**SIZES, cls_token_id=1, sep_token_id=2),
}
COUNTS = [400, 100, 40]
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def build(name="bert"):
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(CONFIGS[name]).train()


def cross_entropy(logits, labels):
    return F.cross_entropy(logits, labels, reduction="none")


def step(model, sampler, labels=LABELS, loss_fn=cross_entropy):
    """One forward pass on new random rows, then the synthetic rows' loss."""
    model(input_ids=torch.randint(3, 30, (len(labels), 6)))
    return sampler.loss(labels, loss_fn)


class Recorder:
    """A loss_fn that keeps the synthetic rows' logits and labels."""

    def __call__(self, logits, labels):
        self.logits, self.labels = logits, labels
        return cross_entropy(logits, labels)


@pytest.mark.parametrize("name", CONFIGS)
def test_captured_vectors_are_what_the_last_layer_turns_into_logits(name):
    model = build(name)
    sampler = FeatureSpaceOversampler(model, COUNTS, "smote", 1.0)
    logits = model(input_ids=torch.randint(3, 30, (6, 6))).logits
    assert sampler.vectors.shape == (6, 16)
    assert torch.allclose(F.linear(sampler.vectors, sampler.linear.weight, sampler.linear.bias), logits)


@pytest.mark.parametrize("method", ["smote", "rose"])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_number_of_synthetic_rows_brings_each_class_to_its_target_on_average(method, ratio):
    model, recorder = build(), Recorder()
    sampler = FeatureSpaceOversampler(model, COUNTS, method, ratio)
    step(model, sampler)  # fills the queues
    drawn = torch.zeros(3)
    for _ in range(100):
        total, count = step(model, sampler, loss_fn=recorder)
        assert count == len(recorder.labels)
        assert torch.isclose(total, cross_entropy(recorder.logits, recorder.labels).sum())
        drawn += recorder.labels.bincount(minlength=3)
    expected = torch.tensor([(max(COUNTS) / n) ** ratio - 1 for n in COUNTS])
    assert drawn[0] == 0
    assert torch.allclose(
        drawn / 200, expected, atol=0.12
    )  # 200 rows of each class; 4 standard errors of a coin are 0.14


def test_first_batch_has_no_neighbours_and_draws_nothing():
    model = build()
    total, count = step(model, FeatureSpaceOversampler(model, COUNTS, "smote", 1.0))
    assert count == 0 and total == 0 and total.dtype == torch.float32


def test_smote_rows_lie_between_the_row_and_a_near_vector_of_its_class():
    model, kept = build(), []
    sampler = FeatureSpaceOversampler(model, [40, 4, 40], "smote", 1.0)
    torch.manual_seed(1)
    near, far = 0.1 * torch.randn(5, 16), 50 + torch.randn(20, 16)
    sampler.queues[1] = torch.cat([far, near])
    draw = sampler.draw
    sampler.draw = lambda seeds, queue: kept.append((seeds, draw(seeds, queue))) or kept[-1][1]
    sampler._capture(sampler.linear, (torch.zeros(1, 16),))
    sampler.loss(torch.tensor([1]), cross_entropy)
    ((_, synthetic),) = kept
    assert len(synthetic) == 9
    shares = synthetic @ torch.linalg.pinv(near)  # a seed of 0: synthetic = u * near[k]
    assert torch.allclose(shares @ near, synthetic, atol=1e-5)
    assert ((shares.abs() > 1e-3).sum(1) == 1).all() and shares.min() > -1e-3 and shares.max() < 1
    assert len(shares.argmax(1).unique()) > 1


def test_rose_noise_has_the_silverman_bandwidth_of_the_queue():
    sampler = FeatureSpaceOversampler(build(), [4000, 1, 1], "rose", 1.0)
    torch.manual_seed(1)
    queue = torch.randn(30, 16) * torch.linspace(0.1, 3, 16)
    noise = sampler.draw(torch.ones(20000, 16), queue) - 1
    expected = (4 / (18 * 30)) ** (1 / 20) * queue.std(0)
    assert torch.allclose(noise.std(0), expected, rtol=0.03)
    assert noise.mean(0).abs().max() < 0.1


@pytest.mark.parametrize("method", ["smote", "rose"])
def test_gradient_reaches_the_encoder_through_the_batch_and_not_the_queue(method):
    model = build()
    sampler = FeatureSpaceOversampler(model, COUNTS, method, 1.0)
    step(model, sampler)
    total, count = step(model, sampler)
    total.backward()
    assert count > 0
    assert model.classifier.weight.grad.abs().sum() > 0
    assert model.get_input_embeddings().weight.grad.abs().sum() > 0
    assert not any(queue.requires_grad for queue in sampler.queues)


def test_queue_holds_the_latest_vectors_up_to_its_size_and_one_epoch():
    model = build()
    sampler = FeatureSpaceOversampler(model, [400, 100, 5], "smote", 1.0, queue_size=7)
    for _ in range(6):
        model(input_ids=torch.randint(3, 30, (6, 6)))
        vectors = sampler.vectors.detach()
        sampler.loss(LABELS, cross_entropy)
    assert [len(queue) for queue in sampler.queues] == [7, 7, 5]
    assert all(torch.equal(sampler.queues[label][-2:], vectors[LABELS == label]) for label in range(3))


def test_evaluation_mode_captures_nothing_and_draws_nothing():
    model = build()
    sampler = FeatureSpaceOversampler(model, COUNTS, "smote", 1.0)
    step(model, sampler)
    before = [queue.clone() for queue in sampler.queues]
    model.eval()
    assert step(model, sampler) == (0, 0)
    assert sampler.vectors is None
    assert all(torch.equal(queue, old) for queue, old in zip(sampler.queues, before, strict=True))


@pytest.mark.parametrize("method", ["smote", "rose"])
def test_resume_from_saved_queues_and_generator_is_bit_exact(method, tmp_path):
    model = build()
    sampler = FeatureSpaceOversampler(model, COUNTS, method, 0.5)
    step(model, sampler)
    step(model, sampler)
    save_file(sampler.state_dict(), tmp_path / "queues.safetensors")
    generator = torch.get_rng_state()
    expected, count = step(model, sampler)
    sampler.remove()

    resumed = FeatureSpaceOversampler(model, COUNTS, method, 0.5)
    resumed.load_state_dict(load_file(tmp_path / "queues.safetensors"))
    torch.set_rng_state(generator)
    again, count_again = step(model, resumed)
    assert count > 0 and count == count_again and torch.equal(expected, again)


def test_removed_hook_sees_no_more_vectors():
    model = build()
    sampler = FeatureSpaceOversampler(model, COUNTS, "smote", 1.0)
    sampler.remove()
    model(input_ids=torch.randint(3, 30, (2, 6)))
    assert sampler.vectors is None


def test_works_under_autocast_with_half_precision_vectors():
    model = build("roberta")
    sampler = FeatureSpaceOversampler(model, COUNTS, "smote", 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        step(model, sampler)
        total, count = step(model, sampler, loss_fn=lambda logits, labels: cross_entropy(logits.float(), labels))
    assert count > 0 and total.dtype == torch.float32 and total.isfinite()
    assert all(queue.dtype == torch.float32 for queue in sampler.queues)
