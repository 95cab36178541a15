import re
import shutil
import sys

import pytest
import yaml

import common.report.__main__ as report
from common.console import InputError
from common.files import write_json
from common.report.index_page import COLUMNS
from common.report.run_files import score_of
from tests.tools.run_folders import make_logits, make_run


def call(monkeypatch, capsys, *argv):
    monkeypatch.setattr(sys, "argv", ["report", *map(str, argv)])
    report.main()
    return capsys.readouterr().out.splitlines()


def unfinished(folder, done, folds, task="contest_of_tests"):
    """A run that has written no metrics yet."""
    make_run(folder, {"oof": make_logits("classes")}, task=task, folds=folds)
    (folder / "metrics.json").unlink()
    for k in range(done, folds):
        (folder / f"fold{k}" / "fold.json").unlink()
    return folder


def test_each_run_is_a_row_with_its_metric_and_the_page_holds_its_plots(tmp_path, monkeypatch, capsys):
    tune = make_run(tmp_path / "friends" / "tune", {"oof": make_logits("classes"), "eval": make_logits("classes", n=9)})
    unfinished(tmp_path / "friends" / "half", 2, 5)
    make_run(tmp_path / "friends" / "search" / "trials" / "coupled-0", {"eval": make_logits("classes")})
    write_json(tmp_path / "friends" / "search" / "search.json", {})
    alone = unfinished(tmp_path / "nsmc" / "one_fold", 0, 3, task="nsmc")
    for name in ("run.json", "config.yaml"):  # where --fold 1 leaves them
        (alone / name).rename(alone / "fold1" / name)
    broken = make_run(tmp_path / "nsmc" / "broken", {"eval": make_logits("classes")}, task="nsmc")
    (broken / "run.json").write_text("{")
    for run in (tune, broken):
        (run / "plots").mkdir()
        (run / "plots" / "folds.png").write_bytes(b"\x89PNG")

    header, *lines, last = call(monkeypatch, capsys, tmp_path)
    rows = {row[1]: row for row in (re.split(r"  +", line.strip()) for line in lines)}
    assert re.split(r"  +", header) == list(COLUMNS)
    found = dict(zip(COLUMNS, rows["friends/tune"], strict=True))
    assert re.fullmatch(r"accuracy 0\.\d{4} ± 0\.\d{4}", found["metric"])
    assert (found["rows"], found["minutes"], found["model"], found["status"]) == ("120 oof", "62.1", "mini<lm>", "done")
    assert rows["friends/half"][-1] == "2 of 5 folds" and rows["nsmc/one_fold"][-1] == "0 of 3 folds"
    assert rows["unreadable"] == ["nsmc/broken", "unreadable"] and last.endswith("4 runs")
    page = (tmp_path / "index.html").read_text()
    assert page.count("data:image/png;base64,iVBORw==") == 2  # of tune and of the run whose run.json is damaged
    assert "mini&lt;lm&gt;" in page and "mini<lm>" not in page and 'href="friends/tune/report.md"' in page


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_without_runs_is_refused(tmp_path, monkeypatch, capsys, name):
    with pytest.raises(InputError, match="is not a folder|holds no run"):
        call(monkeypatch, capsys, tmp_path / name)


def test_a_model_that_has_learned_nothing_is_marked(tmp_path, monkeypatch, capsys):
    make_run(tmp_path / "chance", {"oof": make_logits("classes", skill=0.0)})
    assert call(monkeypatch, capsys, tmp_path)[1].endswith("done, not above the majority")


@pytest.mark.parametrize(
    "kind, metric",
    [("number", "rmse"), ("several", "micro_f1"), ("ordered", "quadratic_kappa"), ("classes", "accuracy")],
)
def test_every_target_is_listed_with_its_own_metric(tmp_path, monkeypatch, capsys, kind, metric):
    run = make_run(tmp_path / kind, {"oof": make_logits(kind)})
    values = report_values(run)
    assert score_of(None, values)[:2] == (metric, values[metric])
    assert f"{values[metric]:.4f}" in call(monkeypatch, capsys, tmp_path)[1]


def report_values(run):
    from common.report.run_files import read_run

    return read_run(run).metrics["oof"]


def test_the_metric_that_was_named_stands_first_with_its_error():
    values = {"accuracy": 0.5, "standard_error": 0.1, "macro_f1": 0.4, "macro_f1_error": 0.05}
    assert score_of("accuracy", values) == ("accuracy", 0.5, 0.1)
    assert score_of(None, values) == ("macro_f1", 0.4, 0.05)  # data.py has named it


def test_the_metric_that_data_py_names_stands_first_where_no_error_of_it_is_known(tmp_path, monkeypatch, capsys):
    make_run(tmp_path / "run", {"eval": make_logits("classes")}, folds=1, record={"metric": "log_loss"})
    assert "log loss 0." in call(monkeypatch, capsys, tmp_path)[1]


@pytest.mark.parametrize(
    "name, content",
    [
        ("run.json", '{"seconds": [], "task": "friends"}'),
        ("run.json", '{"seconds": {"total": "long"}}'),
        ("run.json", "[]"),
        ("config.yaml", "- 1\n"),
        ("metrics.json", '{"oof": 3}'),
        ("metrics.json", '{"oof": {}}'),
        ("metrics.json", '{"oof": {"accuracy": "high"}}'),
    ],
)
def test_a_damaged_file_is_a_runs_status_and_not_the_end_of_the_list(tmp_path, monkeypatch, capsys, name, content):
    run = make_run(tmp_path / "run", {"oof": make_logits("classes")})
    (run / name).write_text(content)
    lines = call(monkeypatch, capsys, tmp_path)
    assert lines[1].endswith("unreadable") and lines[-1].endswith("1 runs")


def test_a_value_that_is_no_number_is_left_out_of_the_table(tmp_path, monkeypatch, capsys):
    run = make_run(tmp_path / "run", {"oof": make_logits("classes")})
    (run / "metrics.json").write_text('{"oof": {"accuracy": NaN, "macro_f1": 0.5, "n": "many"}}')
    assert "macro F1 0.5000" in call(monkeypatch, capsys, tmp_path)[1]


def test_runs_of_folders_with_odd_names_are_linked(tmp_path, monkeypatch, capsys):
    make_run(tmp_path / "50% #1 <b>", {"oof": make_logits("classes")})
    call(monkeypatch, capsys, tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert 'href="50%25%20%231%20%3Cb%3E/report.md"' in page and "<b>" not in page


def test_a_run_that_is_the_folder_itself_is_listed(tmp_path, monkeypatch, capsys):
    run = make_run(tmp_path / "run", {"oof": make_logits("classes")})
    shutil.rmtree(run / "fold1")
    (run / "config.yaml").write_text(yaml.safe_dump({"num_folds": 2}))
    assert " run " in call(monkeypatch, capsys, run)[1]


def test_what_belongs_to_a_comparison_is_refused_for_a_list(tmp_path, monkeypatch, capsys):
    with pytest.raises(InputError, match="belong to --compare"):
        call(monkeypatch, capsys, tmp_path, "--output", "x.html")
    with pytest.raises(InputError, match="command line"):
        call(monkeypatch, capsys)
