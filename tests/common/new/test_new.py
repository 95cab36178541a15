"""From a contest's files to a folder: what is found, what is written, and bad input in a sentence."""

import csv
import importlib
import subprocess
import sys

import numpy as np
import pytest
import yaml

from common.console import InputError
from common.new.__main__ import main, parse
from common.new.build import build
from common.new.kinds import find_target
from common.new.looks import columns_of
from common.options.task_module import load_data_module
from common.search.space import check_options, read_space
from common.tables import read_table
from tests.tools.scripts import ROOT

WORDS = "wind rain snow storm flood quake fire smoke calm sun".split()


def write(path, header, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return str(path)


def texts(count):
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS, 6)) + f" &amp; {i}" for i in range(count)]


def contest(tmp_path, targets, *, sample=("target", "0"), extra=()):
    """--train --test --sample of a contest with these targets, one a row."""
    rows = [
        (f"{i:03}", "" if i % 3 else "air%20raid", text, t)
        for i, (text, t) in enumerate(zip(texts(60), targets, strict=True))
    ]
    train = write(tmp_path / "train.csv", ["id", "keyword", "text", "target"], rows)
    test = write(tmp_path / "test.csv", ["id", "keyword", "text"], [row[:3] for row in rows[:9]])
    files = ["--train", train, "--test", test]
    if sample:
        name, cell = sample
        files += ["--sample", write(tmp_path / "sample.csv", ["id", name], [(row[0], cell) for row in rows[:9]])]
    return [*files, *extra]


def make(monkeypatch, tmp_path, recipe, *argv):
    """Lines that common.new says; the folder is tmp_path/made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["new", "made", "--from", recipe, *argv])
    return list(build(parse()))


def refused(monkeypatch, tmp_path, recipe, *argv):
    """The sentence; nothing may be written."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError) as raised:
        make(monkeypatch, tmp_path, recipe, *argv)
    assert sorted(tmp_path.iterdir()) == before
    return str(raised.value)


def lint(source):
    """Generated code is clean by the project's own rules."""
    command = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), str(source)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def module(folder, monkeypatch):
    for name in ("data", "reviews", "relations"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return load_data_module(folder)


@pytest.mark.parametrize("recipe", ["friends", "nsmc"])
def test_a_folder_of_texts_has_the_scripts_as_they_are_and_a_data_py_that_reads_its_rows(monkeypatch, tmp_path, recipe):
    files = contest(tmp_path, [str(i % 2) for i in range(60)], extra=["--text", "keyword,text", "--metric", "f1"])
    said = "\n".join(make(monkeypatch, tmp_path, recipe, *files))
    assert "  id: id: the sample submission begins with it" in said
    assert "target: labels (2 different values): 0 30, 1 30" in said
    folder = tmp_path / "made"
    for script in ("train.py", "predict.py"):
        assert (folder / script).read_bytes() == (ROOT / recipe / script).read_bytes()
    assert (folder / "data.py").read_text().count("\n") < 60
    lint(folder / "data.py")
    data = module(folder, monkeypatch)
    assert data.METRIC == "f1"
    preprocessing = data.make_preprocessing(data.TaskArguments())
    rows = data.read_examples(tmp_path / "train.csv", preprocessing)
    assert rows[0].segments[0].startswith("air raid: ")
    assert " & 0" in rows[0].segments[0]
    assert not rows[1].segments[0].startswith(":")
    assert [row.label for row in rows[:4]] == [0, 1, 0, 1]
    assert [row.id for row in rows[:2]] == ["000", "001"]
    assert all(row.label == -1 for row in data.read_examples(tmp_path / "test.csv", preprocessing))
    for name in ("demo", "tune", "final", "search"):
        assert yaml.safe_load((folder / "configs" / f"{name}.yaml").read_text())


@pytest.mark.parametrize(
    ("recipe", "metric", "of_search"),
    [("friends", None, "rmse"), ("friends", "spearman", None), ("nsmc", "mae", "mae")],
)
def test_a_search_takes_the_preset_that_was_written(monkeypatch, tmp_path, recipe, metric, of_search):
    files = contest(tmp_path, ["0.5", "1.5", "2.25"] * 20, sample=None)
    make(monkeypatch, tmp_path, recipe, *files, *(["--metric", metric] if metric else []))
    monkeypatch.delitem(sys.modules, "reviews", raising=False)
    space = read_space(tmp_path / "made" / "configs" / "search.yaml")
    check_options(tmp_path / "made", space, ["--model_name_or_path", "scratch"])
    assert space.metric == ("r2" if of_search else metric)


def test_the_sample_holds_20_rows_and_no_cell_of_the_contest_but_names(monkeypatch, tmp_path):
    make(monkeypatch, tmp_path, "friends", *contest(tmp_path, ["no", "yes"] * 30, sample=("target", "no")))
    sample = read_table(tmp_path / "made" / "sample" / "train.csv")
    assert len(sample) == 20
    assert set(sample.column("target")) == {"no", "yes"}
    assert not set(sample.column("text")) & set(read_table(tmp_path / "train.csv").column("text"))
    assert not {word for text in sample.column("text") for word in text.split()} & set(WORDS)


KINDS = {
    "two labels": (["0", "1"], None, [], "labels", ["0", "1"]),
    "labels in the order of numbers": (["10", "9", "1"], None, [], "labels", ["1", "9", "10"]),
    "names with commas": (["Cause(e1,e2)", "Cause(e2,e1)", "Other"], None, [], "labels", None),
    "several labels": (["2,3", "2", "3", "8"], None, [], "several", ["2", "3", "8"]),
    "lists in brackets": (["[2, 3]", "[]", "[8]", "[2]"], None, [], "several", ["2", "3", "8"]),
    "words with spaces": (["rust scab", "rust", "scab", "healthy"], None, [], "several", ["healthy", "rust", "scab"]),
    "two words": (["very good", "good", "very bad", "bad"], None, [], "labels", None),
    "numbers": (["0.5", "1.25", "3", "4.75"], None, [], "number", ["target"]),
    "whole numbers of a metric of numbers": (["1", "2", "3"], "rmse", [], "number", ["target"]),
    "stars": (["1", "2", "3"], "quadratic_kappa", [], "ordered", ["1", "2", "3"]),
    "half stars": (["1.5", "2", "3"], "quadratic_kappa", [], "ordered", ["1.5", "2", "3"]),
    "points of essays": (
        [str(n % 60) for n in range(80)],
        "quadratic_kappa",
        [],
        "ordered",
        [str(n) for n in range(60)],
    ),
    "codes of 46 classes": ([str(n % 46) for n in range(60)], "macro_f1", [], "labels", [str(n) for n in range(46)]),
    "shares": (["0.25", "0.5", "0.75"], "auc", [], "number", None),
    "stars by option": (["1", "2", "3"], None, ["ordered"], "ordered", ["1", "2", "3"]),
}


@pytest.mark.parametrize("case", KINDS)
def test_the_kind_of_a_target_is_told_by_its_cells_and_by_the_metric(tmp_path, case):
    cells, metric, kind, expected, names = KINDS[case]
    write(tmp_path / "t.csv", ["text", "target"], [(f"text {i}", cell) for i, cell in enumerate(cells * 15)])
    table = read_table(tmp_path / "t.csv")
    target = find_target(table, [columns_of(table)["target"]], kind[0] if kind else None, metric)
    assert target.kind == expected
    assert names is None or target.names == names
    assert target.why


def test_whole_numbers_that_recur_may_be_codes_of_classes_which_is_said(tmp_path):
    for count, doubted in ((46, True), (900, False)):
        write(tmp_path / "t.csv", ["text", "target"], [(f"text {i}", str(i % count)) for i in range(920)])
        table = read_table(tmp_path / "t.csv")
        target = find_target(table, [columns_of(table)["target"]], None, None)
        assert target.kind == "number"
        assert ("say --kind labels" in target.why) == doubted


SUBMISSIONS = {
    "label": (["a", "b"], ("target", "a"), '{"target": most_likely_label}'),
    "placeholder": (["a", "b"], ("target", "0"), "most_likely"),
    "number of a label": (["a", "b"], ("target", "1"), '{"target": most_likely_number}'),
    "probability of the second": (["0", "1"], ("target", "0.5"), '{"target": probability_of("1")}'),
    "number": (["0.5", "1.5"], ("score", "0"), '{"score": number}'),
    "lists": (["2,3", "2", "3"], ("target", "2,3"), '{"target": label_list}'),
    "lists in brackets": (["2,3", "2", "3"], ("target", "[2, 3]"), '{"target": label_json}'),
    "0 or 1 of each label": (["2,3", "2", "3"], ("target", "[0, 1]"), '{"target": label_marks}'),
    "shares of each label": (["2,3", "2", "3"], ("target", "[0.5, 0.5]"), '{"target": probability_list}'),
    "placeholder of several labels": (["2,3", "2", "3"], ("target", "x"), '{"target": label_list}'),
}


@pytest.mark.parametrize("case", SUBMISSIONS)
def test_the_sample_submission_says_what_is_handed_in(monkeypatch, tmp_path, case):
    cells, sample, expected = SUBMISSIONS[case]
    make(monkeypatch, tmp_path, "friends", *contest(tmp_path, cells * (60 // len(cells)), sample=sample))
    assert expected in (tmp_path / "made" / "data.py").read_text()


def test_a_sample_of_other_labels_is_refused_where_rows_have_several(monkeypatch, tmp_path):
    files = contest(tmp_path, ["2,3", "2", "3"] * 20, sample=("target", "2,4"))
    sentence = refused(monkeypatch, tmp_path, "friends", *files)
    assert "column target: '2,4' holds '4', which is not one of 2, 3" in sentence


def test_columns_of_labels_are_told_and_give_the_order_of_the_labels(monkeypatch, tmp_path):
    files = contest(tmp_path, ["a", "b", "c"] * 20, sample=None)
    rows = [(f"{i:03}", "0.3", "0.3", "0.4") for i in range(9)]
    sample = write(tmp_path / "sample.csv", ["id", "p_c", "p_a", "p_b"], rows)
    make(monkeypatch, tmp_path, "friends", *files, "--sample", sample)
    source = (tmp_path / "made" / "data.py").read_text()
    assert 'LABEL_NAMES = ["c", "a", "b"]' in source
    assert 'SubmissionFormat("id", {"p_{label}": probability})' in source


def test_pairs_of_sentences_are_two_segments_and_rows_are_numbered_as_the_sample_does(monkeypatch, tmp_path):
    pairs = [(a, b, "1" if i % 2 else "0") for i, (a, b) in enumerate(zip(texts(40), texts(40)[::-1], strict=True))]
    train = write(tmp_path / "train.csv", ["one", "two", "same"], pairs)
    test = write(tmp_path / "test.csv", ["one", "two"], [pair[:2] for pair in pairs[:5]])
    sample = write(tmp_path / "sample.csv", ["id", "same"], [(i, 0) for i in range(5)])
    make(monkeypatch, tmp_path, "friends", "--train", train, "--test", test, "--sample", sample)
    data = module(tmp_path / "made", monkeypatch)
    assert data.SEGMENTS == ["{one}", "{two}"]
    rows = data.read_examples(test, data.make_preprocessing(data.TaskArguments()))
    assert [row.id for row in rows] == ["0", "1", "2", "3", "4"]
    assert len(rows[0].segments) == 2


def test_a_copy_of_klue_re_takes_the_marks_out_and_knows_where_they_stood(monkeypatch, tmp_path):
    rows = [("Part(e1,e2)", "The <e1> arm </e1> of a <e2>chair</e2>."), ("Other", "<e2>A</e2> and <e1>B</e1>")] * 5
    (tmp_path / "train.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in rows))
    files = ["--train", str(tmp_path / "train.tsv"), "--columns", "relation,sentence", "--text", "sentence"]
    make(monkeypatch, tmp_path, "klue_re", *files, "--target", "relation")
    assert (tmp_path / "made" / "data.py").read_text().count("\n") < 60
    lint(tmp_path / "made" / "data.py")
    data = module(tmp_path / "made", monkeypatch)
    first, second, *_ = data.read_examples(tmp_path / "train.tsv", data.make_preprocessing(None))
    assert first.segments == ["The arm of a chair."]
    spans = [[row.segments[0][e.start : e.end + 1] for e in (row.e1, row.e2)] for row in (first, second)]
    assert spans == [["arm", "chair"], ["B", "A"]]
    assert [first.label, second.label] == [1, 0]
    (tmp_path / "test.tsv").write_text("".join(f"\t{text}\n" for _, text in rows))  # as common.new takes it
    assert {row.label for row in data.read_examples(tmp_path / "test.tsv", data.make_preprocessing(None))} == {-1}
    (tmp_path / "train.tsv").write_text("a\tno marks\nb\tno marks\n" * 5)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made").rename(tmp_path / "before")
    assert "row 1, column sentence: marks are none" in refused(
        monkeypatch, tmp_path, "klue_re", *files, "--target", "relation"
    )


BAD = {
    "an empty target": (["0", "1", ""] * 20, [], "train.csv, row 4, column target: 20 of 60 rows have no target"),
    "words among numbers": (["0.5", "1.5"] * 29 + ["good", "2"], [], "column target: 'good' is not a number"),
    "one label": (["0"] * 60, [], "all rows have the same label"),
    "ids for labels": ([f"x{i}" for i in range(60)], [], "60 different values in 60 rows"),
    "a metric of numbers": (["a", "b"] * 30, ["--metric", "rmse"], "'a' is not a number"),
    "a metric of labels": (["0.5", "1.5"] * 30, ["--metric", "f1"], "metric: 'f1' is not defined for this target"),
    "f1 of three": (["a", "b", "c"] * 20, ["--metric", "f1"], "macro_f1"),
    "an unknown metric": (["a", "b"] * 30, ["--metric", "f11"], "nearest: f1"),
    "a text column": (["a", "b"] * 30, ["--text", "txt"], "no column 'txt' (nearest: 'text') (--text)"),
    "a template with a format": (
        ["a", "b"] * 30,
        ["--text", "{text:>9}"],
        "no column 'text:>9' (nearest: 'text')",
    ),
    "a broken template": (["a", "b"] * 30, ["--text", "{text"], "expected text with {column} in it"),
    "a brace in a name": (["a", "b"] * 30, ["--target", "tar{get}"], "no column 'tar{get}'"),
    "a target column": (["a", "b"] * 30, ["--target", "targets"], "no column 'targets' (nearest: 'target')"),
    "the target as text": (["a", "b"] * 30, ["--text", "text,target"], "is the target"),
    "a repeated id": (["a", "b"] * 30, ["--id", "keyword"], "row 3, column keyword: is empty"),
    "0 or 1 in a list": (["[0, 1]", "[1, 1]"] * 30, [], "row 3, column target: '[1, 1]' is a 0 or 1 for each of"),
    "a label twice": (['["a", "a"]', '["b"]'] * 30, [], "row 2, column target: '[\"a\", \"a\"]' has the label 'a'"),
    "words for ordered": (["a", "b"] * 30, ["--kind", "ordered"], "is not a number"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_nothing_is_written(monkeypatch, tmp_path, case):
    cells, options, fragment = BAD[case]
    files = contest(tmp_path, cells, sample=None)
    assert fragment in refused(monkeypatch, tmp_path, "friends", *files, *options)


def test_an_id_in_two_rows_and_a_label_that_only_the_test_file_has_are_refused(monkeypatch, tmp_path):
    rows = [("1", "wind and rain", "a"), ("2", "snow and ice", "b"), ("1", "sun and sea", "a")]
    train = write(tmp_path / "train.csv", ["id", "text", "label"], rows)
    files = ["--train", train, "--text", "text", "--target", "label"]
    assert "row 4, column id: '1' is repeated, expected in row 2 only" in refused(
        monkeypatch, tmp_path, "friends", *files, "--id", "id"
    )
    test = write(tmp_path / "test.csv", ["id", "text", "label"], [("7", "fog and mist", "bb")])
    assert "test.csv, row 2, column label: 'bb' is not one of the 2 labels" in refused(
        monkeypatch, tmp_path, "friends", *files, "--test", test
    )
    write(tmp_path / "test.csv", ["id", "text", "label"], [("7", "fog and mist", "?"), ("8", "dew and frost", "?")])
    assert "test.csv, column label: is '?' in all rows, which is none of the training file's" in refused(
        monkeypatch, tmp_path, "friends", *files, "--test", test
    )
    sample = write(tmp_path / "sample.csv", ["id", "label"], [("7", "a"), ("7", "a")])
    test = write(tmp_path / "test.csv", ["id", "text"], [("7", "fog and mist")])
    assert "is repeated, expected in row 2 only (the sample submission's ids are of this column)" in refused(
        monkeypatch, tmp_path, "friends", *files, "--test", test, "--sample", sample
    )
    write(tmp_path / "train.csv", ["id", "text", "label"], rows[:2])
    assert "stands in 2 rows, expected one row an id" in refused(
        monkeypatch, tmp_path, "friends", *files, "--test", test, "--sample", sample
    )


def test_ids_that_the_sample_spells_otherwise_are_refused_before_anything_is_trained(monkeypatch, tmp_path):
    files = contest(tmp_path, ["0", "1"] * 30)
    text = (tmp_path / "sample.csv").read_text().replace("007", "7")
    (tmp_path / "sample.csv").write_text(text)
    sentence = refused(monkeypatch, tmp_path, "friends", *files)
    assert "sample.csv, row 9, column id: id '7' is not in" in sentence


def test_a_folder_that_cannot_be_finished_leaves_nothing_behind(monkeypatch, tmp_path):
    files = contest(tmp_path, ["0", "1"] * 30)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("common.new.build.write_sample", full)
    assert "made: cannot be written (No space left on device)" in refused(monkeypatch, tmp_path, "friends", *files)


def test_the_command_prints_what_it_found(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    files = contest(tmp_path, ["0", "1"] * 30)
    monkeypatch.setattr(sys, "argv", ["new", "made", "--from", "friends", *files])
    main()
    assert "accelerate launch made/train.py" in capsys.readouterr().out
    assert importlib.util.find_spec("common.new")
