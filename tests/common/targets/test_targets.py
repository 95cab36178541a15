"""Each target's loss, logits, metrics and folds are what their definitions and the libraries say."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics
from torch.nn import functional

from common.console import InputError
from common.logits import Logits, average, concatenate
from common.metrics import compute_metrics
from common.targets import (
    Classes,
    Metric,
    Number,
    Ordered,
    SeveralLabels,
    as_target,
    label_config,
    labels_of_config,
    registry,
)
from common.targets.errors import standard_error
from common.targets.folds import split_several
from common.targets.registry import METRICS, find_metric

RANDOM = np.random.default_rng(0)
NAMES = ["a", "b", "c", "d"]
NOTHING = SimpleNamespace(label_smoothing_factor=0.0)


def test_the_loss_of_several_labels_is_binary_cross_entropy_summed_over_them():
    outputs, labels = torch.randn(6, 4), torch.randint(0, 2, (6, 4))
    target = SeveralLabels(NAMES)
    found = target.row_losses(outputs, labels, None, 0.0, 0.0)
    expected = functional.binary_cross_entropy_with_logits(outputs, labels.float(), reduction="none").sum(1)
    assert torch.allclose(found, expected)
    smooth = labels * 0.8 + 0.1
    expected = functional.binary_cross_entropy_with_logits(outputs, smooth, reduction="none").sum(1)
    assert torch.allclose(target.row_losses(outputs, labels, None, 0.0, 0.2), expected)


def test_focal_loss_of_several_labels_is_the_papers_fourth_equation():
    outputs, labels = torch.randn(6, 4), torch.randint(0, 2, (6, 4))
    p = torch.where(labels == 1, outputs.sigmoid(), 1 - outputs.sigmoid())
    expected = (-((1 - p) ** 2) * p.log()).sum(1)
    assert torch.allclose(SeveralLabels(NAMES).row_losses(outputs, labels, None, 2.0, 0.0), expected, atol=1e-6)


def test_weights_of_several_labels_are_the_rows_without_over_the_rows_with():
    labels = np.array([[1, 0], [0, 0], [0, 0], [0, 1]])
    assert SeveralLabels(["a", "b"]).weights(labels, 1.0).tolist() == [3.0, 3.0]
    assert SeveralLabels(["a", "b"]).weights(labels, 0) is None


def test_ordered_probabilities_are_products_of_the_questions_and_sum_to_one():
    outputs = torch.randn(5, 4, dtype=torch.float64)
    p = outputs.sigmoid().numpy()
    by_hand = np.stack([1 - p[:, 0], p[:, 0] * (1 - p[:, 1]), p[:, 0] * p[:, 1] * (1 - p[:, 2]), p[:, :3].prod(1)], 1)
    target = Ordered(NAMES)
    assert np.allclose(target.to_logits(outputs).exp().numpy(), by_hand)
    labels = torch.tensor([0, 1, 2, 3, 1])
    expected = -np.log(by_hand[np.arange(5), labels])
    assert np.allclose(target.row_losses(outputs, labels, None, 0.0, 0.0).numpy(), expected, atol=1e-6)
    assert target.to_logits(torch.full((1, 4), 80.0)).isfinite().all()


@pytest.mark.parametrize("loss", ["mse", "l1", "huber"])
def test_numbers_are_scaled_inside_and_written_in_their_units(loss):
    labels = RANDOM.normal(300, 40, 50)
    target = Number("price", loss=loss)
    target.fit(labels)
    outputs = torch.randn(50, 1)
    scaled = torch.from_numpy((labels - labels.mean()) / labels.std()).float()
    of = {"mse": functional.mse_loss, "l1": functional.l1_loss, "huber": functional.huber_loss}[loss]
    found = target.row_losses(outputs, torch.from_numpy(labels), None, 0.0, 0.0)
    assert torch.allclose(found, of(outputs[:, 0], scaled, reduction="none"))
    assert torch.allclose(target.to_logits(scaled[:, None])[:, 0], torch.from_numpy(labels).float(), rtol=1e-5)
    config = SimpleNamespace(id2label={0: "price"}, num_labels=1, target=label_config(target)["target"])
    again = labels_of_config(config)
    assert (again, again.mean, again.scale, again.train_loss) == (["price"], target.mean, target.scale, loss)


def test_constant_numbers_have_a_scale_and_the_number_that_the_trainer_leaves_out_is_refused():
    target = Number("x")
    target.fit(np.full(4, 7.0))
    assert (target.mean, target.scale) == (7.0, 1.0)
    with pytest.raises(InputError, match="a label is -100"):
        target.fit(np.array([-100.0, 3.0]))
    with pytest.raises(InputError, match="loss 'rmsle' is not one of mse, l1, huber"):
        Number("x", loss="rmsle")


@pytest.mark.parametrize(
    "target", [Classes(NAMES), Ordered(NAMES), SeveralLabels(NAMES), Number("x")], ids=lambda t: t.kind
)
def test_two_equal_passes_do_not_diverge_and_others_do(target):
    a, b = torch.randn(2, 5, len(target))
    assert torch.allclose(target.divergence(a, a), torch.zeros(5))
    assert (target.divergence(a, b) > 0).all()


def test_divergence_of_several_labels_is_the_symmetrical_one_of_bernoulli_distributions():
    a, b = torch.randn(2, 3, 4, dtype=torch.float64)
    p, q = (torch.distributions.Bernoulli(logits=x) for x in (a, b))
    kl = torch.distributions.kl_divergence
    assert torch.allclose(SeveralLabels(NAMES).divergence(a, b).double(), ((kl(p, q) + kl(q, p)) / 2).sum(1), atol=1e-6)


def test_metrics_of_several_labels_are_scikit_learns():
    labels, logits = RANDOM.integers(0, 2, (40, 4)), RANDOM.normal(size=(40, 4))
    labels[3] = -1  # unknown
    values = compute_metrics(logits, labels, SeveralLabels(NAMES))
    known, predictions = np.delete(labels, 3, 0), np.delete(logits, 3, 0) > 0
    for average_ in ("micro", "macro", "weighted"):
        assert values[f"{average_}_f1"] == pytest.approx(metrics.f1_score(known, predictions, average=average_))
    assert values["exact_match"] == pytest.approx(metrics.accuracy_score(known, predictions))
    assert values["log_loss"] == pytest.approx(metrics.log_loss(known.ravel(), expit(np.delete(logits, 3, 0)).ravel()))
    assert values["n"] == 39


def test_f1_of_a_single_label_that_rows_may_have_is_that_of_the_label():
    labels, logits = np.array([[0], [0], [1], [1]]), np.array([[-1.0], [-1], [-1], [1]])
    values = compute_metrics(logits, labels, SeveralLabels(["spam"]))
    for average_ in ("micro", "macro", "weighted"):
        assert values[f"{average_}_f1"] == METRICS[f"{average_}_f1"].function(labels, logits) == pytest.approx(2 / 3)


def test_metrics_of_numbers_are_scikit_learns_and_scipys():
    labels, found = RANDOM.normal(5, 2, 30), RANDOM.normal(5, 2, (30, 1))
    labels[0] = np.nan
    values = compute_metrics(found, labels, Number("x"))
    truth, told = labels[1:], found[1:, 0]
    assert values["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, told))
    assert values["mae"] == pytest.approx(metrics.mean_absolute_error(truth, told))
    assert values["r2"] == pytest.approx(metrics.r2_score(truth, told))
    assert values["pearson"] == pytest.approx(pearsonr(truth, told)[0])
    assert values["spearman"] == pytest.approx(spearmanr(truth, told)[0])
    constant = compute_metrics(np.ones((30, 1)), labels, Number("x"))
    assert constant["spearman"] == constant["pearson"] == 0.0


def test_metrics_by_name_are_scikit_learns():
    labels, logits = RANDOM.integers(0, 3, 60), RANDOM.normal(size=(60, 3))
    predictions = logits.argmax(1)
    score = lambda name: METRICS[name].function(labels, logits)  # noqa: E731
    assert score("quadratic_kappa") == pytest.approx(
        metrics.cohen_kappa_score(labels, predictions, weights="quadratic")
    )
    assert score("mcc") == pytest.approx(metrics.matthews_corrcoef(labels, predictions))
    assert score("micro_f1") == pytest.approx(metrics.accuracy_score(labels, predictions)) == score("accuracy")
    probabilities = Classes(["a", "b", "c"]).probabilities(logits)
    aucs = [metrics.roc_auc_score(labels == c, logits[:, c] - np.logaddexp.reduce(logits, 1)) for c in range(3)]
    assert score("auc") == pytest.approx(np.mean(aucs))
    assert score("log_loss") == pytest.approx(metrics.log_loss(labels, probabilities))
    two = labels % 2
    pair = logits[:, :2]
    assert METRICS["f1"].function(two, pair) == pytest.approx(metrics.f1_score(two, pair.argmax(1)))
    assert METRICS["auc"].function(two, pair) == pytest.approx(metrics.roc_auc_score(two, pair[:, 1] - pair[:, 0]))
    for name, metric in METRICS.items():
        assert metric.greater_is_better == (name not in ("log_loss", "mae", "rmse", "mse"))


def test_without_rows_of_a_class_auc_and_average_precision_have_a_value():
    labels, logits = np.zeros(5, dtype=int), RANDOM.normal(size=(5, 2))
    assert METRICS["auc"].function(labels, logits) == 0.5
    assert METRICS["average_precision"].function(labels, logits) == 0.0
    assert METRICS["f1"].function(labels, logits) == 0.0


def test_without_any_label_in_rows_and_predictions_macro_f1_is_0():
    labels, logits = np.zeros((5, 4), dtype=int), np.full((5, 4), -3.0)
    assert METRICS["macro_f1"].function(labels, logits) == 0.0
    values = compute_metrics(logits, labels, SeveralLabels(NAMES))
    assert (values["macro_f1"], values["exact_match"]) == (0.0, 1.0)


@pytest.mark.parametrize("rows", [3, 6, 7, 100])
def test_numbers_that_are_all_the_same_are_so_though_their_mean_is_rounded(rows):
    same, others = np.full(rows, 0.1), RANDOM.normal(size=rows)
    values = compute_metrics(others[:, None], same, Number("x"))
    assert values["r2"] == values["pearson"] == values["spearman"] == 0.0
    assert compute_metrics(same[:, None], others, Number("x"))["pearson"] == 0.0
    target = Number("x")
    target.fit(same)
    assert target.scale == 1.0


def test_a_metric_that_does_not_fit_or_is_unknown_is_one_sentence_and_ones_own_is_found():
    with pytest.raises(InputError, match="metric: 'rmse' is not defined for this target, expected one of accuracy"):
        find_metric("rmse", Classes(NAMES))
    with pytest.raises(InputError, match=r"metric: 'acuracy' is unknown \(nearest: accuracy\)"):
        find_metric("acuracy", Classes(NAMES))
    with pytest.raises(InputError, match="f1 is of the second of two classes, there are 4"):
        find_metric("f1", Classes(NAMES))
    own = Metric("mine", lambda labels, logits: 0.25)
    assert find_metric("mine", Number("x"), own) is own
    values = compute_metrics(np.zeros((2, 1)), np.ones(2), Number("x"), own)
    assert values["mine"] == 0.25
    named = Metric("accuracy", lambda labels, logits: 0.25)  # what steers is what is shown
    assert compute_metrics(np.eye(4), np.arange(4), Classes(NAMES), named)["accuracy"] == 0.25


@pytest.mark.parametrize(
    ("target", "option", "words"),
    [
        (SeveralLabels(NAMES), {"oversample_ratio": 0.5}, "oversample_ratio: a row has several labels"),
        (Number("x"), {"class_weight_strength": 0.5}, "class_weight_strength: the target is a number"),
        (Ordered(NAMES), {"focal_gamma": 2.0}, "focal_gamma: ordered classes"),
    ],
)
def test_options_that_a_target_cannot_have_are_one_sentence(target, option, words):
    with pytest.raises(InputError, match=words):
        target.check(SimpleNamespace(**option), NOTHING)
    target.check(SimpleNamespace(), NOTHING)


def test_label_smoothing_of_numbers_is_refused():
    with pytest.raises(InputError, match="label_smoothing_factor: the target is a number"):
        Number("x").check(SimpleNamespace(), SimpleNamespace(label_smoothing_factor=0.1))


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        (SeveralLabels(["a", "b"]), np.array([[1, 0], [-1, -1], [1, 1]])),
        (Number("x"), np.array([0.5, np.nan, -3.25])),
        (Ordered(["a", "b"]), np.array([0, -1, 1])),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_logits_of_every_target_are_saved_averaged_and_put_together(tmp_path, target, labels):
    logits = RANDOM.normal(size=(3, len(target))).astype(np.float32)
    part = Logits(["x", "y", "z"], logits, labels, target)
    part.save(tmp_path / "a.npz")
    again = Logits.load(tmp_path / "a.npz")
    assert type(again.label_names) is type(target) and again.label_names == target
    assert np.array_equal(again.labels, labels, equal_nan=labels.dtype.kind == "f")
    assert np.allclose(average([part, again]).logits, logits)
    halves = [Logits([i], logits[[k]], labels[[k]], target) for k, i in enumerate("xyz")]
    assert concatenate(halves[::-1], ["x", "y", "z"]).labels.tolist()[2] == labels.tolist()[2]
    other = Logits(["x", "y", "z"], np.zeros((3, 2)), [0, 1, 0], ["a", "b"])
    with pytest.raises(InputError, match="label names of part 2"):
        average([part, other])


def test_the_standard_error_of_a_metric_is_the_bootstraps_or_that_over_folds():
    labels = RANDOM.integers(0, 2, 2000)
    logits = Logits(np.arange(2000).astype(str), RANDOM.normal(size=(2000, 2)), labels, ["a", "b"])
    accuracy = METRICS["accuracy"]
    value = accuracy.function(labels, logits.logits)
    binomial = np.sqrt(value * (1 - value) / 2000)
    assert standard_error(accuracy, logits, [0.5, 0.6], 400) == pytest.approx(binomial, rel=0.15)
    assert standard_error(accuracy, logits, [0.5, 0.6, 0.7], 0) == pytest.approx(0.1 / np.sqrt(3))
    assert standard_error(accuracy, logits, [0.5], 0) is None


def test_labels_of_several_are_encoded_by_name():
    target = SeveralLabels(["a", "b", "c"])
    assert target.encode(["c", "a"], "f, row 2") == (1, 0, 1) and target.encode([], "f") == (0, 0, 0)
    with pytest.raises(InputError, match="f, row 2: 'z' is not one of a, b, c"):
        target.encode(["z"], "f, row 2")
    with pytest.raises(InputError, match="'a' stands there twice"):
        target.encode(["a", "a"], "f")
    with pytest.raises(InputError, match="expected 3 zeros and ones a row"):
        target.array([0, 1])


def test_folds_of_several_labels_share_each_label_and_keep_groups_together():
    labels = (RANDOM.random((400, 5)) < [0.5, 0.3, 0.1, 0.05, 0.02]).astype(int)
    groups = np.arange(400) // 2
    splits = split_several(labels, groups, 4, seed=0)
    assert np.array_equal(np.sort(np.concatenate([held for _, held in splits])), np.arange(400))
    for train, held in splits:
        assert not set(groups[train]) & set(groups[held])
    counts = np.stack([labels[held].sum(0) for _, held in splits])
    assert (np.ptp(counts, axis=0) <= np.maximum(6, 0.25 * labels.sum(0) / 4)).all()
    assert all(
        np.array_equal(a[1], b[1]) for a, b in zip(splits, split_several(labels, groups, 4, seed=0), strict=True)
    )
    with pytest.raises(InputError, match="num_folds: 9 is larger than the 4 groups"):
        split_several(labels[:4], np.arange(4), 9, 0)


def test_strata_of_numbers_are_tenths_and_equal_numbers_share_one():
    target = Number("x")
    assert np.bincount(target.strata(np.arange(100.0))).tolist() == [10] * 10
    assert len(set(target.strata(np.full(20, 3.0)))) == 1


def test_a_plain_list_is_classes():
    assert as_target(["a"]).kind == "classes" and as_target(Number("x")).kind == "number"
    assert label_config(["a"]) == {"id2label": {0: "a"}, "label2id": {"a": 0}, "problem_type": None}


def test_the_order_that_quadratic_kappa_takes_is_said_where_it_may_be_that_of_the_alphabet(capsys):
    registry.say.cache_clear()
    for _ in range(2):
        find_metric("quadratic_kappa", Classes(["high", "low", "mid"]))
    assert capsys.readouterr().out.count("takes high, low, mid for the order of the classes") == 1
    for target in (Classes(["1", "2", "10"]), Ordered(["low", "mid", "high"])):
        find_metric("quadratic_kappa", target)
    find_metric("accuracy", Classes(["b", "a"]))
    assert capsys.readouterr().out == ""
