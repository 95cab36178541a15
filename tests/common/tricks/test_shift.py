import numpy as np
import pytest

from common.console import InputError
from common.logits import Logits
from common.tricks.loss import class_weights
from common.tricks.shift import (
    adversarial_validation,
    auc_standard_error,
    correct_logits,
    correct_priors,
    estimate_priors,
    learned_shares,
)

WORDS = ["river", "bridge", "winter", "paper", "garden", "window", "silver", "market"]


def sentences(rng, count, extra=""):
    return [" ".join(rng.choice(WORDS, 6)) + extra for _ in range(count)]


def test_auc_is_near_one_half_without_shift():
    rng = np.random.default_rng(0)
    result = adversarial_validation(sentences(rng, 120), sentences(rng, 80), range(120), range(120, 200), seed=0)
    assert abs(result["auc"] - 0.5) < 3 * result["standard_error"]
    assert len(result["features"]) == 15


def test_auc_is_near_one_and_the_shifted_word_is_named_with_its_side():
    rng = np.random.default_rng(0)
    result = adversarial_validation(sentences(rng, 60, " zebra"), sentences(rng, 40), range(60), range(60, 100), seed=0)
    assert result["auc"] > 0.99
    zebra = next(row for row in result["features"] if row["feature"] == "word:zebra")
    assert zebra["coefficient"] < 0


def test_a_word_that_names_the_group_does_not_tell_the_sides_apart():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 8)
    names = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 6)) for _ in range(20)]
    texts = [f"{text} {names[group]}" for text, group in zip(sentences(rng, 160), groups, strict=True)]
    grouped = adversarial_validation(texts[:80], texts[80:], groups[:80], groups[80:], seed=0)
    ungrouped = adversarial_validation(texts[:80], texts[80:], range(80), range(80, 160), seed=0)
    assert ungrouped["auc"] > 0.95
    assert grouped["auc"] < 0.75


def test_same_seed_same_result():
    rng = np.random.default_rng(1)
    arguments = sentences(rng, 30), sentences(rng, 30), range(30), range(30, 60)
    assert adversarial_validation(*arguments, seed=3) == adversarial_validation(*arguments, seed=3)


def test_fewer_than_five_groups_is_an_input_error():
    with pytest.raises(InputError, match="test rows have 2 groups"):
        adversarial_validation(["a b"] * 10, ["c d"] * 10, range(10), [0, 1] * 5, seed=0)


def test_standard_error_is_the_spread_of_the_auc_over_samples():
    rng = np.random.default_rng(0)
    positive, negative = rng.exponential(3.0, (4000, 40)), rng.exponential(1.0, (4000, 60))
    aucs = (positive[:, :, None] > negative[:, None, :]).mean((1, 2))
    assert auc_standard_error(aucs.mean(), 40, 60) == pytest.approx(aucs.std(), rel=0.05)


def calibrated(rng, shares, priors, rows):
    """Exact posteriors at `priors` of 3 Gaussian classes, for rows whose classes have `shares`; and the classes."""
    means = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    labels = rng.choice(3, rows, p=shares)
    x = means[labels] + rng.normal(size=(rows, 2))
    density = np.exp(-((x[:, None] - means) ** 2).sum(-1) / 2) * priors
    return density / density.sum(1, keepdims=True), labels


def test_em_recovers_shifted_priors_and_correction_is_bayes_rule():
    train_priors, shares = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.7])
    probs, _ = calibrated(np.random.default_rng(0), shares, train_priors, 20000)
    priors, num_iterations = estimate_priors(probs, train_priors)
    assert np.allclose(priors, shares, atol=0.02) and priors.sum() == pytest.approx(1)
    assert 1 < num_iterations < 1000
    exact, _ = calibrated(np.random.default_rng(0), shares, shares, 20000)
    assert np.allclose(correct_priors(probs, train_priors, shares), exact)


def test_em_stays_at_the_training_priors_when_they_hold():
    train_priors = np.array([0.5, 0.3, 0.2])
    probs, _ = calibrated(np.random.default_rng(0), train_priors, train_priors, 20000)
    assert np.allclose(estimate_priors(probs, train_priors)[0], train_priors, atol=0.02)


def test_correction_with_estimated_priors_raises_accuracy_under_shift():
    train_priors, shares = np.array([0.6, 0.3, 0.1]), np.array([0.05, 0.15, 0.8])
    probs, labels = calibrated(np.random.default_rng(0), shares, train_priors, 5000)
    corrected = correct_priors(probs, train_priors, estimate_priors(probs, train_priors)[0])
    assert (corrected.argmax(1) == labels).mean() > (probs.argmax(1) == labels).mean() + 0.05


def test_correction_knows_what_class_weights_and_other_shares_of_rows_have_done_to_the_model():
    shares = np.array([0.8, 0.15, 0.05])
    exact, labels = calibrated(np.random.default_rng(0), shares, shares, 20000)
    counts = np.bincount(labels)
    balanced = np.log(exact * class_weights(labels, 3, 1.0))  # as a model learns that was trained with them
    weighted, sampled = ({name: 1.0} for name in ("class_weight_strength", "feature_oversample_ratio"))
    for config in (weighted, sampled):
        assert np.allclose(learned_shares(counts, config), 1 / 3, atol=1e-3)
    runs = [learned_shares(counts, weighted), learned_shares(counts, {})]
    for logits, share in (
        (balanced, [1, 0]),
        (np.log(exact), [0, 1]),
        (0.75 * balanced + 0.25 * np.log(exact), [3, 1]),
    ):
        part = Logits(np.arange(len(labels)), logits, labels, ["a", "b", "c"])
        corrected, found = correct_logits(part, runs, share)
        assert np.allclose(found, shares, atol=0.02)
        assert (corrected.logits.argmax(1) == labels).mean() > 0.8
    part = Logits(np.arange(len(labels)), balanced, labels, ["a", "b", "c"])
    assert (correct_logits(part, [runs[1]])[0].logits.argmax(1) == labels).mean() < 0.5  # what it was taken for before
