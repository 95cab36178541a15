import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

import common.report.__main__ as report
from common.console import InputError
from common.files import read_json, write_json
from common.metrics import compute_metrics
from common.report.compare import changes_of, class_rows, load_comparison, option_rows, tenth_rows, verdict
from common.report.compare_page import with_error
from common.targets import SeveralLabels
from tests.tools.run_folders import TARGETS, make_logits, make_run

KINDS = list(TARGETS)


def compare(monkeypatch, capsys, *argv):
    """(what is printed, the page)."""
    monkeypatch.setattr(sys, "argv", ["report", "--compare", *map(str, argv)])
    monkeypatch.setitem(sys.modules, "data", None)  # of another test's task
    report.main()
    printed = capsys.readouterr().out
    with open(printed.splitlines()[-1].removeprefix("page "), encoding="utf-8") as file:
        return printed, file.read()


@pytest.fixture(params=KINDS)
def pair(request, tmp_path):
    """(kind, two runs: the second is better; its rows lie in another order)."""
    kind = request.param
    first, second = make_logits(kind, 1.5, 400, seed=5), make_logits(kind, 4.0, 400, seed=6)
    runs = [make_run(tmp_path / "first", {"oof": first}, config={"learning_rate": 1e-3, "only_here": True})]
    runs += [make_run(tmp_path / "second", {"oof": second.reorder(second.ids[::-1])}, config={"learning_rate": 2e-3})]
    return kind, runs


def test_what_is_better_is_said_by_the_targets_own_metric(pair, monkeypatch, capsys):
    kind, (first, second) = pair
    printed, page = compare(monkeypatch, capsys, first, second)
    name = {"classes": "accuracy", "several": "micro F1", "number": "RMSE", "ordered": "quadratic kappa"}[kind]
    values = [
        read_json(run / "metrics.json")["oof"][TARGETS[kind].metric if kind != "classes" else "accuracy"]
        for run in (first, second)
    ]
    found = re.match(
        r"second is better than first by ([\d.]+) ± ([\d.]+) in (.*) \([\d.]+ standard errors\), on 400", printed
    )
    assert found[3] == name and float(found[1]) == pytest.approx(abs(values[1] - values[0]), abs=0.06 * abs(values[0]))
    assert 0 < float(found[2]) < float(found[1])
    for value in values:
        assert f">{value:.4g}<" in page


@pytest.mark.parametrize("pair", ["classes"], indirect=True)
def test_only_options_that_differ_are_shown(pair, monkeypatch, capsys):
    _, page = compare(monkeypatch, capsys, *pair[1][::-1])
    assert "first is worse than second" in page
    assert "learning_rate" in page and "0.002" in page and "model_name_or_path" not in page
    assert dict(option_rows(load_comparison(pair[1]).files)) == {
        "learning_rate": ["0.001", "0.002"],
        "only_here": ["true", "not set"],
    }


def test_the_difference_of_accuracy_and_its_error_are_those_of_the_paired_rows():
    first, second = make_logits("classes", 1.0, 300, seed=5), make_logits("classes", 2.0, 300, seed=6)
    right = [part.logits.argmax(axis=1) == part.labels for part in (first, second)]
    difference = right[1].astype(float) - right[0]
    rows = class_rows([first, second])
    assert [name for name, *_ in rows] == TARGETS["classes"]
    assert sum(count * change[0] for _, count, _, [change] in rows) == pytest.approx(difference.sum())
    members = first.labels == 0
    expected = difference[members].mean(), difference[members].std(ddof=1) / np.sqrt(members.sum())
    assert rows[0][3][0] == pytest.approx(expected)
    assert rows[0][2][0][0] == pytest.approx(right[0][members].mean())


def test_rows_that_changed_sides_are_all_of_them_and_none_twice():
    first, second = make_logits("classes", 1.0, 300, seed=5), make_logits("classes", 2.0, 300, seed=6)
    right = [part.logits.argmax(axis=1) == part.labels for part in (first, second)]
    changes = changes_of(first, second)
    assert {change.id for change in changes if change.better} == set(first.ids[right[1] & ~right[0]])
    assert {change.id for change in changes if not change.better} == set(first.ids[right[0] & ~right[1]])
    less = [min(change.sure) for change in changes]
    assert less == sorted(less, reverse=True) and len(changes) == len({change.id for change in changes})
    one = changes[0]
    row = list(first.ids).index(one.id)
    assert one.label == TARGETS["classes"][first.labels[row]]
    assert one.first == TARGETS["classes"][first.logits[row].argmax()]
    assert one.sure[1] == pytest.approx(second.probabilities()[row].max())


def test_a_row_of_several_labels_is_right_only_where_all_of_them_are():
    first, second = make_logits("several", 1.0, 200, seed=5), make_logits("several", 3.0, 200, seed=6)
    right = [((part.logits > 0) == first.labels).all(axis=1) for part in (first, second)]
    assert len(changes_of(first, second)) == (right[0] != right[1]).sum()
    assert {change.label for change in changes_of(first, second)} <= {
        "none",
        *(", ".join(n for n, x in zip(first.label_names, y, strict=True) if x) for y in first.labels if y.any()),
    }


def test_a_single_label_that_rows_may_have_is_a_piece_of_its_own():
    target = SeveralLabels(["spam"])
    runs = [make_logits("several", skill, 200, seed=5, label_names=target) for skill in (1.0, 3.0)]
    (piece,) = class_rows(runs)
    f1 = [compute_metrics(run.logits, run.labels, target)["macro_f1"] for run in runs]
    assert piece.rows == runs[0].labels.sum() and [score[1] for score in piece.scores] == pytest.approx(f1)


def test_of_a_number_the_rows_come_by_how_much_their_error_changed():
    first, second = make_logits("number", 1.0, 200, seed=5), make_logits("number", 3.0, 200, seed=6)
    changes = changes_of(first, second)
    moved = [abs(change.sure[0] - change.sure[1]) for change in changes]
    assert len(changes) == 200 and moved == sorted(moved, reverse=True)
    rows = tenth_rows([first, second])
    assert sum(count for _, count, _, _ in rows) == 200 and len(rows) == 10
    mae = compute_metrics(first.logits, first.labels, first.label_names)["mae"]
    assert np.average(
        [scores[0][0] for _, _, scores, _ in rows], weights=[count for _, count, _, _ in rows]
    ) == pytest.approx(mae)


@pytest.mark.parametrize("pair", ["classes", "number"], indirect=True)
def test_a_run_against_its_copy_is_undecided_and_no_row_changed_sides(pair, monkeypatch, capsys):
    _, (first, _) = pair
    shutil.copytree(first, first.with_name("copy"))
    printed, page = compare(monkeypatch, capsys, first, first.with_name("copy"))
    assert "cannot be told apart" in printed and "All options are the same" in page
    assert "0 of 400 rows" in page or "nearer in 0" in page
    assert "better</td>" not in page and "worse</td>" not in page


def test_the_number_of_rows_is_limited_and_said(tmp_path, monkeypatch, capsys):
    runs = [make_run(tmp_path / str(k), {"eval": make_logits("classes", 1.0, 500, seed=k + 5)}) for k in (0, 1)]
    _, page = compare(monkeypatch, capsys, *runs, "--rows", 7)
    assert len(re.findall(r'scope="row">row-', page)) == 14
    assert re.search(r"1 is better: 7 of \d\d+ rows of eval", page)
    _, page = compare(monkeypatch, capsys, *runs, "--rows", 0)
    assert "row-" not in page


def test_a_tasks_own_metrics_are_shown_without_a_difference(tmp_path, monkeypatch, capsys):
    runs = [make_run(tmp_path / str(k), {"eval": make_logits("classes", seed=k + 5)}) for k in (0, 1)]
    for run, value in zip(runs, (0.125, 0.375), strict=True):
        metrics = read_json(run / "metrics.json")
        metrics["eval"]["klue_micro_f1"] = value
        write_json(run / "metrics.json", metrics)
    _, page = compare(monkeypatch, capsys, *runs)
    assert re.search(r"klue micro F1</th><td[^>]*>0.125</td><td[^>]*>0.375</td><td></td>", page)


def test_a_metric_that_was_named_is_compared_first_and_an_unknown_one_is_noted(tmp_path, monkeypatch, capsys):
    config = {"metric": "mcc"}
    runs = [
        make_run(tmp_path / str(k), {"eval": make_logits("classes", k + 1.0, seed=k + 5)}, config=config)
        for k in (0, 1)
    ]
    printed, _ = compare(monkeypatch, capsys, *runs)
    assert " in MCC (" in printed
    config = {"metric": "of_my_own"}
    runs = [make_run(tmp_path / f"own{k}", {"eval": make_logits("classes", seed=k + 5)}, config=config) for k in (0, 1)]
    printed, page = compare(monkeypatch, capsys, *runs)
    assert " in accuracy (" in printed and "of_my_own: is the folder&#x27;s own metric" in page


DATA = """from dataclasses import dataclass
from common.examples import TextExample
from common.options import TextTaskArguments
from common.targets import Metric

LABEL_NAMES = ["joy", "per:a|b <unk>", "sadness"]
METRIC = Metric("near", lambda labels, logits: float(abs(logits.argmax(1) - labels).mean()), greater_is_better=False)


@dataclass
class TaskArguments(TextTaskArguments):
    mark: str = ""


def make_preprocessing(args):
    return {"mark": args.mark}


def read_examples(path, preprocessing):
    with open(path) as file:
        return [TextExample(line.split()[0], [preprocessing["mark"] + line.strip()]) for line in file]
"""


@pytest.fixture
def with_texts(tmp_path, monkeypatch):
    """Two runs and the folder of their task, contest/, in the current folder."""
    from common.guards.inputs import data_sha256

    monkeypatch.chdir(tmp_path)
    (tmp_path / "contest").mkdir()
    (tmp_path / "contest" / "data.py").write_text(DATA)
    results = [make_logits("classes", skill, seed=k + 5) for k, skill in ((0, 1.0), (1, 3.0))]
    train = tmp_path / "train.txt"
    train.write_text("".join(f"{row_id} <i>text</i> of {row_id}\n" for row_id in results[0].ids))
    shared = {"task": "contest", "config": {"train_file": str(train), "mark": "read as: "}}
    shared["record"] = {"data": {"train_file": {"sha256": data_sha256(train)}}}
    return [make_run(tmp_path / "runs" / str(k), {"oof": part}, **shared) for k, part in enumerate(results)], train


def test_texts_are_those_that_train_py_read_and_the_folders_metric_is_known(with_texts, monkeypatch, capsys):
    runs, train = with_texts
    printed, page = compare(monkeypatch, capsys, *runs)
    assert "1 is better than 0" in printed and " in near (" in printed
    assert "read as: row-" in page and "&lt;i&gt;text&lt;/i&gt;" in page and "<i>" not in page
    train.write_text("something else\n")
    assert "train.txt has changed since the run" in compare(monkeypatch, capsys, *runs)[1]
    train.unlink()
    assert "train.txt is not on this machine" in compare(monkeypatch, capsys, *runs)[1]


def test_a_task_folder_elsewhere_is_named(with_texts, monkeypatch, capsys, tmp_path):
    (tmp_path / "contest").rename(tmp_path / "elsewhere")
    assert "no folder contest/ with a data.py here" in compare(monkeypatch, capsys, *with_texts[0])[1]
    assert "read as: row-" in compare(monkeypatch, capsys, *with_texts[0], "--task", "elsewhere")[1]
    with pytest.raises(InputError, match="nowhere: is not a task folder"):
        compare(monkeypatch, capsys, *with_texts[0], "--task", "nowhere")


def damage(run, name, content):
    (run / name).write_bytes(content)


BAD = {
    "another task": (lambda run: write_json(run / "run.json", {"task": "nsmc"}), "is a run of nsmc"),
    "not finished": (lambda run: (run / "metrics.json").unlink(), "has no results in metrics.json yet"),
    "no run": (lambda run: (run / "run.json").unlink(), "holds no run.json"),
    "no logits": (lambda run: (run / "eval_logits.npz").unlink(), "eval_logits.npz"),
    "damaged logits": (lambda run: damage(run, "eval_logits.npz", b"PK\x03\x04"), "eval_logits.npz"),
    "damaged record": (lambda run: damage(run, "run.json", b"{"), "run.json: is damaged"),
    "damaged fold": (lambda run: damage(run / "fold1", "fold.json", b'{"log_history": 3}'), "fold.json: is damaged"),
    "damaged options": (lambda run: damage(run, "config.yaml", b"a: [\n"), "config.yaml"),
    "other rows": (lambda run: make_logits("classes", n=119).save(run / "eval_logits.npz"), "has other rows"),
    "other labels": (lambda run: relabelled().save(run / "eval_logits.npz"), "3 rows have another label"),
    "unknown labels": (
        lambda run: relabelled(-1).save(run / "eval_logits.npz"),
        "(first: id row-0, unknown instead of",
    ),
    "other names": (lambda run: make_logits("ordered").save(run / "eval_logits.npz"), "its labels are bad, fair, good"),
}


def relabelled(label=None):
    part = make_logits("classes")
    others = (part.labels + 1) % 3 if label is None else label
    return replace(part, labels=np.where(np.arange(120) < 3, others, part.labels))


@pytest.mark.parametrize("name", BAD)
def test_a_run_that_cannot_be_compared_is_one_sentence_and_nothing_is_written(tmp_path, monkeypatch, capsys, name):
    spoil, words = BAD[name]
    runs = [make_run(tmp_path / str(k), {"eval": make_logits("classes", seed=k + 5)}) for k in (0, 1)]
    spoil(runs[1])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        compare(monkeypatch, capsys, *runs)
    assert str(runs[1]) in str(caught.value) and sorted(tmp_path.iterdir()) == before


def test_runs_that_share_no_kind_of_rows_are_refused_and_a_part_with_other_rows_is_noted(tmp_path, monkeypatch, capsys):
    oof = make_run(tmp_path / "a", {"oof": make_logits("classes")})
    with pytest.raises(InputError, match="measured on other rows"):
        compare(monkeypatch, capsys, oof, make_run(tmp_path / "b", {"eval": make_logits("classes")}))
    both = [
        make_run(tmp_path / name, {"oof": make_logits("classes"), "eval": make_logits("classes", n=n)})
        for name, n in (("c", 30), ("d", 31))
    ]
    _, page = compare(monkeypatch, capsys, *both)
    assert "these rows are not compared" in page and "rows of eval" not in page


def test_other_folds_and_chosen_checkpoints_are_noted(tmp_path, monkeypatch, capsys):
    configs = {"fold_seed": 1}, {"load_best_model_at_end": True, "fold_seed": 2}
    runs = [
        make_run(tmp_path / str(k), {"oof": make_logits("classes", seed=k + 5)}, config=config)
        for k, config in enumerate(configs)
    ]
    _, page = compare(monkeypatch, capsys, *runs)
    assert "split the rows into other folds" in page and "1: its checkpoints were chosen on these rows" in page


def test_a_mean_of_more_folds_against_one_of_fewer_is_noted(tmp_path, monkeypatch, capsys):
    results = {"eval": make_logits("classes")}
    runs = [make_run(tmp_path / str(folds), results, folds=folds, config={"num_folds": folds}) for folds in (1, 5)]
    runs.append(make_run(tmp_path / "other", results, folds=5, config={"num_folds": 5}))
    assert "one run has more of them than another" in compare(monkeypatch, capsys, *runs)[1]
    assert "one run has more of them" not in compare(monkeypatch, capsys, *runs[1:])[1]


@pytest.mark.parametrize(
    "argv, words",
    [
        (["A"], "1 runs were given"),
        (["A", "A"], "is given twice"),
        (["A", "B", "--output", "page.txt"], "is not the name of a page"),
        (["A", "B", "--output", "folder.html"], "is a folder"),
        (["A", "B", "--output", "mine.html"], "was not written by common.report"),
        (["A", "B", "--output", "mine.html/x.html"], "is a file, a folder was expected"),
        (["A", "B", "--rows", "-1"], "is not 0 or more"),
        (["A", "nowhere"], "holds no run.json"),
    ],
)
def test_a_command_line_that_cannot_be_is_one_sentence(tmp_path, monkeypatch, capsys, argv, words):
    monkeypatch.chdir(tmp_path)
    for k, name in enumerate("AB"):
        make_run(tmp_path / name, {"eval": make_logits("classes", seed=k + 5)})
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "mine.html").write_text("<p>mine</p>")
    with pytest.raises(InputError, match=re.escape(words)):
        compare(monkeypatch, capsys, *argv)
    assert (tmp_path / "mine.html").read_text() == "<p>mine</p>"


def test_a_comparison_is_written_over_the_same_comparison(tmp_path, monkeypatch, capsys):
    runs = [make_run(tmp_path / str(k), {"eval": make_logits("classes", seed=k + 5)}) for k in (0, 1)]
    assert compare(monkeypatch, capsys, *runs) == compare(monkeypatch, capsys, *runs)
    assert (tmp_path / "0_vs_1.html").is_file()


def test_runs_whose_folds_were_deleted_have_no_curves(tmp_path, monkeypatch, capsys):
    runs = [make_run(tmp_path / str(k), {"eval": make_logits("classes", seed=k + 5)}) for k in (0, 1)]
    for run in runs:
        shutil.rmtree(run / "fold0")
        shutil.rmtree(run / "fold1")
    assert "Learning curves" not in compare(monkeypatch, capsys, *runs)[1]


def test_a_verdict_needs_two_standard_errors_and_an_error_has_two_figures():
    assert [verdict(pair) for pair in ((0.3, 0.1), (-0.3, 0.1), (0.2, 0.1), (0.0, 0.0), (0.1, 0.0))] == [
        "better", "worse", "undecided", "undecided", "better",
    ]  # fmt: skip
    nan = float("nan")  # a metric that some samples of the rows do not have
    assert [verdict(pair) for pair in ((0.1, nan), (-0.1, nan), (nan, 0.1), (nan, nan))] == ["undecided"] * 4
    assert with_error(0.12345, 0.0123) == "+0.123 ± 0.012" and with_error(-1234.5, 321.0) == "-1234 ± 321"
    assert with_error(0.25, 0.0) == "+0.2500 ± 0.0000"
