import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from common.console import InputError
from common.logits import Logits
from common.metrics import compute_metrics
from common.report.run_page import (
    find_warnings,
    metrics_table,
    page_of,
    panels_of_metric,
    plot_confusion,
    tick_labels,
    write_report,
)
from common.report.several_page import best_threshold, label_scores
from common.targets import Number, Ordered, SeveralLabels

NAMES = ["joy", "per:a|b <unk>", "sadness"]


def make(n=90, label_names=NAMES, skill=3.0):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % len(label_names)
    logits = rng.normal(size=(n, len(label_names)))
    logits[np.arange(n), labels] += skill
    return Logits([str(i) for i in range(n)], logits, labels, label_names)


def log(epochs=2):
    train = [{"loss": 1 / epoch, "epoch": epoch, "step": epoch} for epoch in range(1, epochs + 1)]
    evaluated = [
        {"eval_loss": 2 / epoch, "eval_accuracy": 0.5, "eval_macro_f1": 0.4, "epoch": epoch}
        for epoch in range(1, epochs + 1)
    ]
    return [*train, *evaluated, {"train_runtime": 1.0, "epoch": epochs}]


def report(run_dir, results, history=(), fold_metrics=(), notes=()):
    options = {
        "title": "t",
        "config": {"seed": 7},
        "history": list(history),
        "fold_metrics": list(fold_metrics),
        "notes": list(notes),
    }
    metrics = {name: metrics_of(result) for name, result in results.items()}
    write_report(run_dir, results=results, metrics=metrics, **options)
    return (run_dir / "report.md").read_text(encoding="utf-8")


def metrics_of(result):
    return compute_metrics(result.logits, result.labels, result.label_names)


def test_every_plot_that_the_page_shows_is_a_png_and_no_other_is_written(tmp_path):
    result = make()
    text = report(tmp_path, {"oof": result, "eval": result}, [log(), log()], [metrics_of(result)] * 2)
    shown = set(re.findall(r"!\[.*?\]\((.*?)\)", text))
    assert shown == {f"plots/{name}.png" for name in ("folds", "learning_curves", "confusion_oof", "confusion_eval")}
    assert shown == {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "plots").iterdir()}
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in shown)


def test_run_without_folds_or_history_has_no_such_sections(tmp_path):
    text = report(tmp_path, {"eval": make()})
    assert "Learning curves" not in text and "## Folds" not in text and "Warning" not in text


def test_tables_hold_the_metrics_and_every_row_has_the_cells_of_its_header(tmp_path):
    result = make()
    other = make(n=60)
    text = report(tmp_path, {"oof": result}, [log(1)], [metrics_of(result), metrics_of(other)])
    accuracies = [metrics_of(result)["accuracy"], metrics_of(other)["accuracy"]]
    error = abs(accuracies[0] - accuracies[1]) / 2
    assert f"| mean | {np.mean(accuracies):.4f} ± {error:.4f} |" in text
    assert "| seed | 7 |" in text and "per:a\\|b &lt;unk&gt;" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_a_named_metric_has_its_error_where_it_is_known(tmp_path):
    both = {"oof": {**metrics_of(make()), "f1": 0.5, "f1_error": 0.125}, "eval": {**metrics_of(make()), "f1": 0.25}}
    header, _, oof, held_out = metrics_table(both)
    assert "f1 error" not in header and "0.5000 ± 0.1250" in oof and "0.2500 |" in held_out


def test_per_class_table_shows_a_dash_where_a_score_is_not_defined(tmp_path):
    result = Logits(["a", "b", "c", "d"], 5 * np.eye(3)[[0, 0, 1, 0]], [0, 0, 1, -1], NAMES)
    text = report(tmp_path, {"eval": result})
    assert "| 0 | joy | 1.000 | 1.000 | 1.000 | 2 |" in text
    assert "| 2 | sadness | – | – | – | 0 |" in text


def test_warnings_stand_before_every_table(tmp_path):
    collapsed = Logits(["a", "b", "c"], np.eye(3)[[1, 1, 1]], [0, 1, 2], NAMES)
    text = report(tmp_path, {"eval": collapsed})
    assert text.index("**Warning: eval: predicts one class only") < text.index("## Results")


def test_collapse_chance_and_missing_classes_are_each_warned_of_and_a_good_model_of_none():
    good = metrics_of(make())
    collapsed = metrics_of(Logits(["a", "b"], np.eye(3)[[1, 1]], [1, 0], NAMES))
    chance = metrics_of(make(skill=0.0))
    warnings = find_warnings({"good": good, "fold 0": collapsed, "fold 1": chance}, num_labels=3)
    assert [warning.split(":")[0] for warning in warnings] == ["fold 0", "fold 0", "fold 1"]
    assert "one class only" in warnings[0] and "2 of 3 classes" in warnings[1] and "most frequent" in warnings[2]


def test_result_without_labels_is_an_input_error_and_writes_nothing(tmp_path):
    with pytest.raises(InputError):
        report(tmp_path, {"test": Logits(["a"], [[1.0, 0.0, 0.0]], [-1], NAMES)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("c", [2, 8, 42])
def test_tick_labels_of_the_confusion_matrix_do_not_overlap(c):
    names = [f"organisation:number_of_employees_{i}" for i in range(c)]
    result = make(n=4 * c, label_names=names)
    figure = plot_confusion(result.labels, result.logits.argmax(axis=1), tick_labels(names)[0])
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [tick.get_window_extent() for tick in axes.get_yticklabels()]  # from the top down
    assert all(lower.y1 <= upper.y0 for upper, lower in zip(boxes, boxes[1:], strict=False))
    step = axes.transData.transform((1, 0))[0] - axes.transData.transform((0, 0))[0]
    assert axes.get_xticklabels()[0].get_fontsize() * figure.dpi / 72 < step


def test_labels_that_no_font_can_write_become_indices_and_the_page_says_so(tmp_path):
    names = ["\U0010fffd", "b"]  # the last character of a private plane
    assert tick_labels(names)[0] == ["0", "1"]
    assert "by their #" in report(tmp_path, {"eval": make(label_names=names)})
    assert "by their #" not in report(tmp_path, {"eval": make(label_names=["0", "1"])})


def test_a_tasks_own_metrics_have_columns_of_their_own(tmp_path):
    result = make()
    metrics = {**metrics_of(result), "klue_auprc": 0.125}
    options = {"title": "t", "config": {}, "history": [], "notes": []}
    write_report(
        tmp_path, results={"oof": result}, metrics={"oof": metrics}, fold_metrics=[metrics, metrics], **options
    )
    tables = [
        line
        for line in (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
        if "klue auprc" in line or "0.1250" in line
    ]
    assert len(tables) == 6  # two headers, oof, two folds, their mean
    assert all(line.count("|") == tables[0].count("|") for line in tables)


def test_the_metric_that_was_named_has_a_curve_and_an_ordered_target_shows_its_kappa_of_each_fold(tmp_path):
    ordered = make(label_names=Ordered(["low", "medium", "high"]))
    values = metrics_of(ordered) | {"auc": 0.9}
    history = [[{**entry, "eval_auc": 0.8} if "eval_loss" in entry else entry for entry in log()]] * 2
    assert panels_of_metric(history, [values] * 2, ordered.label_names) == {"eval auc": {"eval_auc": "--"}}
    assert panels_of_metric([log()], [values], ordered.label_names) == {}
    assert "quadratic_kappa" in page_of(ordered.label_names).FRACTIONS
    text = report(tmp_path, {"oof": ordered}, history, [values] * 2)
    distances = re.findall(r"^\| (\S+) \| (\d+) \| [\d.]+% \|$", text, re.MULTILINE)
    assert ("0", "88") in distances and sum(int(count) for _, count in distances) == 90


def test_the_losses_of_a_number_are_not_drawn_over_each_other():
    panels = page_of(Number("y")).PANELS
    assert not any({"loss", "eval_loss"} <= set(keys) for keys in panels.values())


@pytest.mark.parametrize("values", [1, 2, 5, 60])
def test_the_best_threshold_of_a_label_puts_equal_logits_on_one_side(values):
    random = np.random.default_rng(0)
    labels = np.arange(60) < 20  # in this order a cut between equal logits would look best
    for logits in (random.integers(values, size=(20, 60)) / 8).astype(np.float32):
        threshold, found = best_threshold(labels.astype(int), logits)
        chances = 1 / (1 + np.exp(-logits))
        scores = [
            2 * (labels & (chances > cut)).sum() / (labels.sum() + (chances > cut).sum())
            for cut in (threshold, 0, *np.unique(chances)[:-1])
        ]
        assert found == pytest.approx(scores[0]) == pytest.approx(max(scores))


def test_a_single_label_that_rows_may_have_is_scored_by_itself(tmp_path):
    labels, logits = np.array([[0], [0], [1], [1]]), np.array([[-1.0], [-1], [-1], [1]])
    scores = label_scores(labels, (logits > 0).astype(int), np.nan)
    assert [score.tolist() for score in scores] == [[1.0], [0.5], [pytest.approx(2 / 3)], [2]]
    text = report(tmp_path, {"oof": Logits(list("abcd"), logits, labels, SeveralLabels(["spam"]))})
    assert "| 0 | spam | 1.000 | 0.500 | 0.667 | 2 | 1 |" in text
