"""common.blend: weights, cross-fitting, decisions, and what it refuses. Runs are made here; nothing is trained."""

import csv
import json
import sys

import numpy as np
import pytest
import yaml
from scipy.special import log_softmax
from sklearn.metrics import f1_score

import common.blend.__main__ as command
from common.blend.decision import best_offset, best_threshold, cross_fit_offsets, tune_offsets
from common.blend.runs import load_runs
from common.blend.scores import SCORES, find_score, score_of, scores_of
from common.blend.selection import bagged_weights, blend, cross_fit, select
from common.blend.submit import BlendSubmission
from common.blend.submit import test_logits as find_test_logits
from common.console import InputError
from common.logits import Logits
from common.submission import Submission, SubmissionFormat, most_likely_label, probability, score, yes_or_no
from common.tables.long_rows import LongFormat
from common.targets import Classes, Metric, Number, Ordered, SeveralLabels
from tests.tools.scripts import ROOT

LABELS = ["0", "1"]
NAMES = {
    "nsmc": LABELS,
    "friends": ["anger", "disgust", "fear", "joy", "neutral", "non-neutral", "sadness", "surprise"],
}


CLASSES = Classes(["no", "yes"])


def loss_of(name, logits, labels, target=CLASSES):
    """The loss of a metric, of which more is better, as 1 - it."""
    score = find_score(name, target)
    return score.loss(logits, labels) + score.metric.greater_is_better


def noisy_logits(labels, noise, seed, num_labels=2, strength=1.0):
    generator = np.random.default_rng(seed)
    return strength * np.eye(num_labels)[labels] + noise * generator.normal(size=(len(labels), num_labels))


def make_run(folder, task, labels, logits, folds=None, ids=None, test=True, label_names=None):
    """A run's folder as train.py leaves it, but for its models."""
    names = label_names or NAMES[task]
    unknown = getattr(names, "unknown", -1)
    ids = np.array([f"r{i}" for i in range(len(labels))] if ids is None else ids)
    folds = np.arange(len(labels)) % 3 if folds is None else folds
    folder.mkdir(parents=True)
    Logits(ids, logits, labels, names).save(folder / "oof_logits.npz")
    for k in np.unique(folds):
        held = folder / f"fold{k}"
        held.mkdir()
        Logits(ids[folds == k], logits[folds == k], labels[folds == k], names).save(held / "held_out_logits.npz")
        (held / "fold.json").write_text('{"logits": ["held_out"]}')
    if test:
        Logits([f"t{i}" for i in range(9)], logits[:9], np.full_like(labels[:9], unknown), names).save(
            folder / "test_logits.npz"
        )
    (folder / "run.json").write_text(json.dumps({"task": task}))
    (folder / "config.yaml").write_text(yaml.safe_dump({"num_folds": 3}))
    return folder


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(2, size=900)


def run_blend(monkeypatch, *argv):
    monkeypatch.setattr(sys, "argv", ["blend", *map(str, argv)])
    command.main()


def test_calibrated_runs_are_blended_at_their_temperatures_out_of_fold_at_those_of_the_other_folds(tmp_path, labels):
    a, b = (make_run(tmp_path / n, "nsmc", labels, noisy_logits(labels, 0.5, i)) for i, n in enumerate("ab"))
    plain = load_runs([a, b], "nsmc")
    (a / "calibration.json").write_text(json.dumps({"temperature": 0.5, "fold_temperatures": [0.1, 0.2, 0.4]}))
    runs = load_runs([a, b], "nsmc")
    divisor = np.array([0.1, 0.2, 0.4])[runs.folds][:, None]
    assert np.allclose(runs.logits[0].logits, plain.logits[0].logits / divisor, rtol=1e-5)
    assert np.array_equal(runs.logits[1].logits, plain.logits[1].logits)
    stored = [Logits.load(run / "test_logits.npz").logits for run in (a, b)]
    tests = find_test_logits([a, b], runs)
    assert np.allclose(tests[0].logits, stored[0] / 0.5) and np.array_equal(tests[1].logits, stored[1])
    (a / "calibration.json").write_text('{"temperature": 0}')
    with pytest.raises(InputError, match="calibration.json: temperature is 0"):
        load_runs([a, b], "nsmc")


def test_selection_gives_a_useless_run_nothing_and_prefers_the_better_of_two(labels):
    good, worse = noisy_logits(labels, 1.0, 1), noisy_logits(labels, 1.5, 2)
    useless = 3 * np.random.default_rng(3).normal(size=good.shape)
    stack = np.stack([worse, useless, good])
    for metric in ("log_loss", "accuracy"):
        weights = bagged_weights(stack, labels, find_score(metric, CLASSES), bags=5, seed=0)
        assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
        assert weights[2] > weights[0] > 0.05 > weights[1]
    assert select(stack, labels, find_score("log_loss", CLASSES))[2] > 0


def test_weights_are_never_worse_than_the_average_on_the_rows_that_they_come_from(labels):
    for seed in range(5):
        stack = np.stack([noisy_logits(labels, 1.0 + 0.1 * run, 10 * seed + run) for run in range(5)])
        weights = bagged_weights(stack, labels, find_score("accuracy", CLASSES), bags=3, seed=seed)
        losses = [loss_of("accuracy", blend(stack, part), labels) for part in (weights, np.full(5, 0.2))]
        assert losses[0] <= losses[1]


def test_no_row_has_a_part_in_the_weights_that_it_is_blended_with(labels):
    folds = np.arange(len(labels)) % 3
    stack = np.stack([noisy_logits(labels, 1.0, 1), noisy_logits(labels, 1.3, 2)])
    _, before = cross_fit(stack, labels, folds, find_score("log_loss", CLASSES), 3, 0)
    flipped = np.where(folds == 1, 1 - labels, labels)
    _, after = cross_fit(stack, flipped, folds, find_score("log_loss", CLASSES), 3, 0)
    assert np.array_equal(before[1], after[1])
    assert not np.array_equal(before[0], after[0])


def test_a_step_of_one_offset_is_the_best_of_all_offsets():
    generator = np.random.default_rng(0)
    labels = generator.integers(4, size=60)
    target = Classes(list("abcd"))
    scores = generator.normal(size=(60, 4)).round(1)  # with ties
    for metric in ("macro_f1", "accuracy", "micro_f1"):
        for c in range(4):
            offset, value = best_offset(scores, labels, c, metric)
            shifts = [scores + np.eye(4)[c] * shift for shift in np.arange(-8, 8, 0.05) + 0.0125]
            assert value == pytest.approx(1 - min(loss_of(metric, shifted, labels, target) for shifted in shifts))
            assert 1 - loss_of(metric, scores + np.eye(4)[c] * offset, labels, target) == pytest.approx(value)


def test_offsets_help_a_rare_class_and_are_chosen_without_the_rows_that_they_are_added_to():
    generator = np.random.default_rng(1)
    labels = generator.choice(3, size=1200, p=[0.85, 0.1, 0.05])
    logits = noisy_logits(labels, 1.0, 2, 3) + np.log([0.85, 0.1, 0.05])
    folds = np.arange(len(labels)) % 4
    score = find_score("macro_f1", Classes(list("abc")))
    shifted = cross_fit_offsets(logits, labels, folds, score)
    assert score.value(shifted, labels) > score.value(logits, labels) + 0.05
    other = np.where(folds == 2, 0, labels)
    again = cross_fit_offsets(logits, other, folds, score)
    assert np.array_equal(shifted[folds == 2], again[folds == 2])
    offsets = tune_offsets(logits, labels, score)
    assert offsets[0] == 0 and offsets[2] > 0


def test_the_threshold_for_f1_of_the_second_class_is_the_best_of_all_and_two_classes_alone_have_it():
    generator = np.random.default_rng(3)
    labels = (generator.random(400) < 0.1).astype(np.int64)
    logits = noisy_logits(labels, 1.0, 4) + [2.0, 0.0]
    score = find_score("f1", CLASSES)
    offsets = tune_offsets(logits, labels, score)
    best = max(score.value(logits + [0, shift], labels) for shift in np.arange(-6, 6, 0.01))
    assert score.value(logits + offsets, labels) == pytest.approx(best)
    assert score.value(logits, labels) == pytest.approx(f1_score(labels, logits.argmax(axis=1)))
    gain, error = score.gain(logits + offsets, logits, labels)
    assert gain == pytest.approx(best - score.value(logits, labels)) and 0 < error < 0.2
    three = Classes(["a", "b", "c"])
    names = [[score.name for score in scores_of(t, find_score("accuracy", t))] for t in (CLASSES, three)]
    assert names == [["log_loss", "macro_f1", "f1", "accuracy"], ["log_loss", "macro_f1", "accuracy"]]


def test_for_two_classes_there_is_one_threshold(labels):
    logits = noisy_logits(labels, 1.0, 1) + [2.0, 0.0]
    offsets = tune_offsets(logits, labels, find_score("accuracy", CLASSES))
    assert offsets[0] == 0 and offsets[1] == pytest.approx(2, abs=0.5)


def test_a_blend_of_a_good_and_a_bad_run_is_taken_and_submitted_in_the_tasks_format(
    tmp_path, monkeypatch, labels, capsys
):
    runs = [
        make_run(tmp_path / f"run{i}", "nsmc", labels, noisy_logits(labels, noise, i))
        for i, noise in ((0, 0.7), (1, 3.0))
    ]
    sample = tmp_path / "sample.csv"
    sample.write_text("Id,Predicted\n" + "".join(f"t{i},0\n" for i in reversed(range(9))))
    out = tmp_path / "out"
    run_blend(monkeypatch, ROOT / "nsmc", *runs, "--output_dir", out, "--sample_submission_file", sample, "--bags", 5)
    printed = capsys.readouterr().out
    record = json.loads((out / "blend.json").read_text())
    assert "take the blend" in printed and record["takes"] == "blend"
    weights = record["weights"]
    assert weights[0] > 0.8
    tests = [Logits.load(run / "test_logits.npz") for run in runs]
    expected = weights[0] * tests[0].logits + weights[1] * tests[1].logits
    lines = (out / "submission.csv").read_text().splitlines()
    assert lines == ["Id,Predicted", *(f"t{i},{expected[i].argmax()}" for i in reversed(range(9)))]
    report = (out / "report.md").read_text()
    assert "run0" in report and (out / "plots" / "error_correlation.png").stat().st_size > 1000
    assert f"--weights {weights[0]:.4f} {weights[1]:.4f}" in report


def test_equal_runs_end_in_take_the_average_and_equal_weights(tmp_path, monkeypatch, labels, capsys):
    runs = [make_run(tmp_path / f"run{i}", "nsmc", labels, noisy_logits(labels, 1.0, i)) for i in range(2)]
    (runs[1] / "config.yaml").write_text("teacher: [x]\nteacher_logits: out_of_fold\n")
    run_blend(monkeypatch, ROOT / "nsmc", *runs, "--output_dir", tmp_path / "out", "--bags", 3, "--tune_decision")
    record = json.loads((tmp_path / "out" / "blend.json").read_text())
    printed = capsys.readouterr().out
    assert f"{runs[1]}: had out-of-fold soft labels" in printed and f"{runs[0]}: had" not in printed
    assert "take the average" in printed and record["weights"] == [0.5, 0.5]
    assert "leave the decision as it is" in printed and record["offsets"] == [0, 0]


@pytest.mark.parametrize("task", ["friends", "klue_re", "reon_face", "hand_signal"])
def test_the_submission_has_the_format_of_each_task(task, tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    names = NAMES.get(task, ["a", "b", "c"])
    labels = generator.choice(len(names), size=300)
    runs = []
    for i in range(2):
        logits = noisy_logits(labels, 1.0, i, len(names)) + 4 * (np.arange(len(names)) == 1)
        runs.append(make_run(tmp_path / f"run{i}", task, labels, logits, label_names=names))
        (runs[-1] / "config.yaml").write_text("submission_format: klue\n")
    out = tmp_path / "out"
    run_blend(monkeypatch, ROOT / task, *runs, "--output_dir", out, "--bags", 2, "--tune_decision", "accuracy")
    header, *rows = (out / "submission.csv").read_text().splitlines()
    assert len(rows) == 9
    assert header == {"friends": "Id,Expected", "klue_re": "id,pred_label,probs"}.get(task, "Id,Predicted,a,b,c")
    offsets = np.array(json.loads((out / "blend.json").read_text())["offsets"])
    assert offsets.any()  # the tuned labels are submitted, beside the probabilities as they are
    logits = Logits.load(out / "test_logits.npz")
    tuned = [names[c] for c in (logits.logits + offsets).argmax(axis=1)]
    assert [row.split(",")[1] for row in rows] == tuned
    if "probs" not in header and task != "friends":
        written = np.array([row.split(",")[2:] for row in rows], dtype=float)
        assert np.allclose(written, logits.probabilities(), atol=1e-6)


def several_run(folder, labels, seed, noise=0.7):
    """A run's folder with logits that are a little too low for rare labels."""
    names = SeveralLabels([f"l{c}" for c in range(labels.shape[1])])
    logits = 2.0 * labels - 1.5 + noise * np.random.default_rng(seed).normal(size=labels.shape)
    return make_run(folder, "my_contest", labels, logits.astype(np.float32), label_names=names)


@pytest.fixture
def several():
    """(900, 4) zeros and ones, the last label in one row of fifty."""
    return (np.random.default_rng(5).random((900, 4)) < [0.5, 0.3, 0.1, 0.02]).astype(np.int64)


@pytest.mark.parametrize("metric", ["exact_match", "micro_f1", "macro_f1"])
def test_the_threshold_of_one_label_is_the_best_of_all(metric, several):
    generator = np.random.default_rng(0)
    labels = several[:80]
    target = SeveralLabels(list("abcd"))
    scores = (labels - 0.6 + 0.6 * generator.normal(size=labels.shape)).round(1)  # with ties
    for c in range(4):
        offset, value = best_threshold(scores, labels, c, metric)
        shifts = [scores + np.eye(4)[c] * shift for shift in np.arange(-5, 5, 0.05) + 0.0125]
        assert value == pytest.approx(1 - min(loss_of(metric, shifted, labels, target) for shifted in shifts))
        assert 1 - loss_of(metric, scores + np.eye(4)[c] * offset, labels, target) == pytest.approx(value)


def test_scores_of_several_labels_are_those_of_a_run(several):
    names = SeveralLabels(["a", "b", "c", "d"])
    logits = 1.5 * several - 1.2 + 0.8 * np.random.default_rng(1).normal(size=several.shape)
    measured = names.measure(logits, several)
    for metric in SCORES["several"]:
        score = find_score(metric, names)
        assert score.value(logits, several) == pytest.approx(measured[metric]), metric
        gain, error = score.gain(several - 0.5, logits, several)
        assert gain == pytest.approx(score.loss(logits, several) - score.loss(several - 0.5, several))
        assert 0 < error < 0.1


def test_thresholds_of_one_run_of_several_labels_are_tuned_and_submitted(tmp_path, monkeypatch, several, capsys):
    run = several_run(tmp_path / "run", several, 1)
    (tmp_path / "my_contest").mkdir()
    (tmp_path / "my_contest" / "data.py").write_text(
        "from common.options import TextTaskArguments as TaskArguments\n"
        "from common.submission import SubmissionFormat, label_json, score\n"
        'SUBMISSION = SubmissionFormat("id", {"labels": label_json, "p_{label}": score})\n'
    )
    out = tmp_path / "out"
    run_blend(monkeypatch, tmp_path / "my_contest", run, "--output_dir", out, "--tune_decision", "micro_f1")
    record = json.loads((out / "blend.json").read_text())
    offsets = np.array(record["offsets"])
    assert (offsets[:2] > 0.2).all() and record["weights"] == [1.0]
    printed = capsys.readouterr().out
    assert "take the tuned decision" in printed and "probabilities above which labels are given: l0 0." in printed
    assert "take the average" not in printed and not (out / "plots").exists()
    logits = Logits.load(run / "test_logits.npz").logits
    with open(out / "submission.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "labels", "p_l0", "p_l1", "p_l2", "p_l3"]
    for row, own in zip(rows, logits, strict=True):
        assert json.loads(row[1]) == [f"l{c}" for c in np.flatnonzero(own + offsets > 0)]
        assert [float(cell) for cell in row[2:]] == pytest.approx((1 / (1 + np.exp(-own))).tolist(), abs=1e-6)
    assert any((own > 0).tolist() != (own + offsets > 0).tolist() for own in logits)


def test_two_runs_of_several_labels_are_blended(tmp_path, monkeypatch, several, capsys):
    runs = [several_run(tmp_path / f"run{i}", several, i, noise) for i, noise in ((1, 0.7), (2, 1.0))]
    (tmp_path / "my_contest").mkdir()
    (tmp_path / "my_contest" / "data.py").write_text(
        "from common.options import TextTaskArguments as TaskArguments\n"
        "from common.submission import SubmissionFormat, label_list\n"
        'SUBMISSION = SubmissionFormat("id", {"labels": label_list})\n'
    )
    options = ["--bags", 3, "--output_dir", tmp_path / "out", "--metric", "micro_f1"]
    run_blend(monkeypatch, tmp_path / "my_contest", *runs, *options)
    record = json.loads((tmp_path / "out" / "blend.json").read_text())
    assert record["weights"][0] > 0.7 and "take the blend" in capsys.readouterr().out
    assert set(record["scores"]["blend"]) == {f"{key}{end}" for key in SCORES["several"] for end in ("", "_gain")}
    assert "accuracy" in refused(monkeypatch, tmp_path / "my_contest", *runs, "--metric", "accuracy")


def test_a_tuned_decision_that_no_column_of_the_submission_takes_is_said(tmp_path, capsys):
    logits = Logits(["a", "b"], np.array([[0.0, 1.0], [1.0, 0.0]], np.float32), [-1, -1], ["no", "yes"])
    forms = {
        "shares": SubmissionFormat("Id", {"{label}": probability}),
        "labels": SubmissionFormat("Id", {"Predicted": most_likely_label}),
    }
    for name, form in forms.items():
        BlendSubmission(Submission(form)).write(tmp_path / f"{name}.csv", logits, np.array([0.0, -2.0]))
        assert ("changes nothing in it" in capsys.readouterr().out) == (name == "shares")
    assert (tmp_path / "labels.csv").read_text() == "Id,Predicted\na,no\nb,no\n"


def test_a_tuned_decision_goes_into_a_submission_of_a_row_for_each_label(tmp_path, capsys):
    target = SeveralLabels(["x", "y"])
    logits = Logits(["a", "b"], np.array([[1.0, -1.0], [-1.0, 1.0]], np.float32), [(-1, -1)] * 2, target)
    (tmp_path / "sample.csv").write_text("id,label,set,p\nb,y,0,0.5\nb,x,0,0.5\na,x,0,0.5\na,y,0,0.5\n")
    form = LongFormat("id", {"set": yes_or_no, "p": score}, label_column="label")
    submission = form.fit(str(tmp_path / "sample.csv"), ["a", "b"], target)
    BlendSubmission(submission).write(tmp_path / "out.csv", logits, np.array([2.0, -2.0]))
    cells = [line.split(",") for line in (tmp_path / "out.csv").read_text().split()[1:]]
    assert [row[:3] for row in cells] == [["b", "y", "0"], ["b", "x", "1"], ["a", "x", "1"], ["a", "y", "0"]]
    assert [float(row[3]) for row in cells] == pytest.approx([0.731, 0.269, 0.731, 0.269], abs=1e-3)  # as they were
    assert "changes nothing" not in capsys.readouterr().out


def contest(folder, *lines):
    """A task folder with nothing but a data.py."""
    folder.mkdir()
    imports = ["from common.options import TextTaskArguments as TaskArguments", "from common.submission import *"]
    (folder / "data.py").write_text("\n".join([*imports, *lines, ""]))
    return folder


def test_numbers_are_blended_for_rmse_or_what_is_asked_and_have_no_decision(tmp_path, monkeypatch, capsys):
    generator = np.random.default_rng(0)
    labels = generator.normal(50, 10, size=600)
    target = Number("score")
    values = [labels + noise * generator.normal(size=600) for noise in (3.0, 12.0)]
    runs = [
        make_run(tmp_path / f"run{i}", "stars", labels, part[:, None].astype(np.float32), label_names=target)
        for i, part in enumerate(values)
    ]
    task = contest(tmp_path / "stars", 'SUBMISSION = SubmissionFormat("id", {"score": number})')
    run_blend(monkeypatch, task, *runs, "--bags", 3, "--output_dir", tmp_path / "out")
    record = json.loads((tmp_path / "out" / "blend.json").read_text())
    assert record["metric"] == "rmse" and record["takes"] == "blend" and record["weights"][0] > 0.85
    of_folds = np.array(record["weights_of_folds"])[np.arange(600) % 3]  # cross-fitted
    expected = np.sqrt(np.mean(((of_folds * np.array(values).T).sum(axis=1) - labels) ** 2))
    assert record["scores"]["blend"]["rmse"] == pytest.approx(expected, rel=1e-5)
    gain, error = record["scores"]["blend"]["rmse_gain"]
    assert gain == pytest.approx(record["scores"]["average"]["rmse"] - expected, rel=1e-4) and 0 < error < gain / 2
    header, *rows = (tmp_path / "out" / "submission.csv").read_text().splitlines()
    blended = record["weights"] @ np.array(values)[:, :9]
    assert header == "id,score" and [float(row.split(",")[1]) for row in rows] == pytest.approx(blended, rel=1e-5)
    report = (tmp_path / "out" / "report.md").read_text()
    assert "residuals" in report and f"| {np.sqrt(np.mean((values[0] - labels) ** 2)):.4g} |" in report
    run_blend(monkeypatch, task, *runs, "--bags", 2, "--output_dir", tmp_path / "two", "--metric", "spearman")
    assert json.loads((tmp_path / "two" / "blend.json").read_text())["metric"] == "spearman"
    capsys.readouterr()
    assert "about which nothing is decided" in refused(monkeypatch, task, *runs, "--tune_decision")
    assert "is not defined for this target" in refused(monkeypatch, task, *runs, "--metric", "accuracy")


def test_ordered_classes_are_blended_and_their_cut_points_tuned_for_kappa(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    labels = generator.choice(4, size=900, p=[0.1, 0.2, 0.3, 0.4])
    target = Ordered(["bad", "fair", "good", "best"])
    distance = np.abs(np.arange(4) - labels[:, None])
    runs = []
    for i, noise in enumerate((0.8, 1.0)):
        logits = -1.5 * distance + noise * generator.normal(size=distance.shape) + [0, 0, 0, 2.5]
        runs.append(make_run(tmp_path / f"run{i}", "stars", labels, logits.astype(np.float32), label_names=target))
    task = contest(
        tmp_path / "stars",
        'METRIC = "quadratic_kappa"',
        'SUBMISSION = SubmissionFormat("id", {"stars": most_likely_label})',
    )
    run_blend(monkeypatch, task, *runs, "--bags", 2, "--output_dir", tmp_path / "out", "--tune_decision")
    record = json.loads((tmp_path / "out" / "blend.json").read_text())
    assert record["metric"] == "quadratic_kappa" and record["offsets"][3] < -1
    assert record["scores"]["tuned decision"]["quadratic_kappa_gain"][0] > 0.02
    rows = (tmp_path / "out" / "submission.csv").read_text().splitlines()[1:]
    logits = Logits.load(tmp_path / "out" / "test_logits.npz").logits
    tuned = (log_softmax(logits, axis=1) + record["offsets"]).argmax(axis=1)
    assert [row.split(",")[1] for row in rows] == [target[c] for c in tuned]


@pytest.mark.parametrize(
    "options, tuned", [([], "macro_f1"), (["--metric", "accuracy"], "accuracy"), (["--metric", "mcc"], "mcc")]
)
def test_a_decision_is_tuned_for_the_metric_of_the_weights_where_that_is_of_decisions(
    tmp_path, monkeypatch, capsys, labels, options, tuned
):
    labels = labels[:120]
    run = make_run(tmp_path / "run", "nsmc", labels, noisy_logits(labels, 1.0, 1))
    run_blend(monkeypatch, ROOT / "nsmc", run, *options, "--tune_decision", "--output_dir", tmp_path / "out")
    assert f" in {tuned.replace('_', ' ')}, cross-fitted" in capsys.readouterr().out


@pytest.mark.parametrize("raises", [True, False])
def test_a_metric_without_a_value_for_some_rows_is_worth_nothing_there(raises):
    def function(labels, logits):
        if len(set(labels.tolist())) < 2:
            return float("only one class" if raises else "nan")
        return float((logits.argmax(axis=1) == labels).mean())

    labels = (np.arange(40) == 0).astype(np.int64)  # a third of the bags have no row of the second class
    stack = np.stack([noisy_logits(labels, 1.0, seed) for seed in (1, 2)])
    score = score_of(Metric("mine", function))
    weights = bagged_weights(stack, labels, score, bags=10, seed=0)
    assert weights.sum() == pytest.approx(1) and np.isfinite(tune_offsets(stack[0], labels, score)).all()
    assert np.isfinite(score.gain(stack[0], stack[1], labels)).all()
    one = np.zeros(40, dtype=np.int64)
    assert bagged_weights(stack, one, score, bags=2, seed=0).tolist() == [0.5, 0.5]


def test_the_folders_own_metric_steers_weights_and_decision(tmp_path, monkeypatch, labels):
    rare = (np.arange(len(labels)) % 10 == 0).astype(np.int64)
    runs = [
        make_run(
            tmp_path / f"run{i}", "mine", rare, noisy_logits(rare, noise, i, 2, 2.0) + [2.5, 0.0], label_names=LABELS
        )
        for i, noise in ((1, 0.7), (2, 1.0))
    ]
    task = contest(
        tmp_path / "mine",
        "from common.targets import Metric",
        "def missed(labels, logits):",
        "    return float(((logits.argmax(axis=1) == 0) & (labels == 1)).mean() + 0.2 * logits.argmax(axis=1).mean())",
        'METRIC = Metric("missed", missed, greater_is_better=False)',
        'SUBMISSION = SubmissionFormat("id", {"answer": most_likely_label})',
    )
    run_blend(monkeypatch, task, *runs, "--bags", 2, "--output_dir", tmp_path / "out", "--tune_decision")
    record = json.loads((tmp_path / "out" / "blend.json").read_text())
    assert record["metric"] == "missed" and record["offsets"][1] > 1
    assert record["scores"]["tuned decision"]["missed"] < record["scores"]["average"]["missed"] - 0.03
    message = refused(monkeypatch, task, *runs, "--metric", "mised")
    assert "unknown" in message and "missed" in message
    assert "is of probabilities" in refused(monkeypatch, task, *runs, "--tune_decision", "auc")


@pytest.mark.parametrize("metric", ["mcc", "quadratic_kappa", "weighted_f1"])
def test_a_decision_tuned_by_tries_is_nearly_the_best(metric):
    generator = np.random.default_rng(2)
    labels = (generator.random(400) < 0.15).astype(np.int64)
    logits = noisy_logits(labels, 0.9, 4) + [2.0, 0.0]
    score = find_score(metric, CLASSES)
    best = max(score.value(logits + [0, shift], labels) for shift in np.arange(-4, 6, 0.02))
    found = score.value(logits + tune_offsets(logits, labels, score), labels)
    assert score.value(logits, labels) + 0.02 < found and found == pytest.approx(best, abs=0.02)


def refused(monkeypatch, *argv):
    with pytest.raises(InputError) as caught:
        run_blend(monkeypatch, *argv)
    return str(caught.value)


def test_runs_of_other_rows_labels_folds_or_tasks_are_refused_by_name_before_anything_is_written(
    tmp_path, monkeypatch, labels
):
    logits = noisy_logits(labels, 1.0, 1)
    first = make_run(tmp_path / "first", "nsmc", labels, logits)
    n = len(labels)
    cases = {
        "rows": ({"ids": [f"x{i}" for i in range(n)]}, "has other rows"),
        "folds": ({"folds": np.arange(n) % 4}, "other folds"),
        "labels": ({"labels": np.where(np.arange(n) == 7, 1 - labels, labels)}, "1 rows have another label"),
        "names": ({"label_names": ["no", "yes"]}, "its labels are no, yes"),
        "task": ({"task": "friends", "label_names": LABELS}, "is a run of friends"),
        "test": ({"test": False}, "has no test_logits.npz"),
    }
    for name, (change, sentence) in cases.items():
        other = make_run(tmp_path / name, **{"task": "nsmc", "labels": labels, "logits": logits, **change})
        message = refused(monkeypatch, ROOT / "nsmc", first, other, "--output_dir", tmp_path / "out")
        assert sentence in message and name in message, message
    assert "given twice" in refused(monkeypatch, ROOT / "nsmc", first, first, "--output_dir", tmp_path / "out")
    assert "is one run" in refused(monkeypatch, ROOT / "nsmc", first)
    (first / "oof_logits.npz").unlink()
    assert "num_folds" in refused(
        monkeypatch, ROOT / "nsmc", first, tmp_path / "rows", "--output_dir", tmp_path / "out"
    )
    assert not (tmp_path / "out").exists()


def test_folds_may_be_numbered_otherwise_and_rows_stand_in_another_order(tmp_path, monkeypatch, labels):
    n = len(labels)
    logits = noisy_logits(labels, 1.0, 1)
    first = make_run(tmp_path / "first", "nsmc", labels, logits)
    turned = np.arange(n)[::-1]
    ids = np.array([f"r{i}" for i in range(n)])
    other = make_run(
        tmp_path / "other", "nsmc", labels[turned], logits[turned], ids=ids[turned], folds=(turned + 1) % 3
    )
    out = tmp_path / "out"
    run_blend(monkeypatch, ROOT / "nsmc", first, other, "--output_dir", out, "--bags", 2)
    saved = Logits.load(out / "oof_logits.npz")
    assert np.allclose(saved.logits, logits, atol=1e-5) and np.array_equal(saved.labels, labels)


def test_a_run_of_another_test_file_is_said_since_its_rows_are_told_by_their_ids_alone(
    tmp_path, monkeypatch, labels, capsys
):
    runs = []
    for number, name in enumerate(("first", "same", "other")):
        runs.append(make_run(tmp_path / name, "nsmc", labels, noisy_logits(labels, 1.0, number)))
        data = {"train_file": {"sha256": "t"}, "test_file": {"sha256": "b" if name == "other" else "a"}}
        (tmp_path / name / "run.json").write_text(json.dumps({"task": "nsmc", "data": data}))
    run_blend(monkeypatch, ROOT / "nsmc", *runs, "--output_dir", tmp_path / "out", "--bags", 2)
    said = [line for line in capsys.readouterr().out.splitlines() if "other content" in line]
    what = f"its test_file has other content than that of {runs[0]}; rows are matched by id alone"
    assert said == [f"warning: {runs[2]}: {what}"]
