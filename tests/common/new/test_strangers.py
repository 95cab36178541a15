"""Files as strangers have them: what they mean is found, or refused in a sentence, and nothing is altered."""

import csv
import json
import shlex
import shutil
import sys
import unicodedata
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openpyxl
import pytest

from common.console import InputError
from common.logits import Logits
from common.new.__main__ import parse
from common.new.build import build
from common.options.task_module import load_data_module
from common.submission import Submission, check_submission
from common.submission import main as check_command
from common.tables import read_table

WORDS = "wind rain snow storm flood quake fire smoke calm sun".split()


def write(path, header, rows, delimiter=",", encoding="utf-8"):
    with open(path, "w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows([header, *rows])
    return str(path)


def texts(count):
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS, 6)) + f" no {i}" for i in range(count)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(monkeypatch, *argv):
    """(what common.new says, the data.py that it wrote)."""
    monkeypatch.setattr(sys, "argv", ["new", "made", "--from", "friends", *map(str, argv)])
    said = "\n".join(build(parse()))
    for name in ("data", "reviews"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return said, load_data_module(Path("made"))


def refused(monkeypatch, *argv):
    with pytest.raises(InputError) as raised:
        make(monkeypatch, *argv)
    return str(raised.value)


def rows_of(data, path):
    return data.read_examples(path, data.make_preprocessing(data.TaskArguments()))


def labels_of_cells(folder, monkeypatch, cells, *argv, delimiter=","):
    """(data.py, the labels of rows with these targets)."""
    rows = [(f"{i:03}", text, cell) for i, (text, cell) in enumerate(zip(texts(len(cells)), cells, strict=True))]
    train = write(folder / "train.csv", ["id", "text", "target"], rows, delimiter)
    _, data = make(monkeypatch, "--train", train, *argv)
    return data, [row.label for row in rows_of(data, train)]


NUMBERS = {
    "a decimal comma": (["3,25", "10,5", "-0,75"], [], [3.25, 10.5, -0.75]),
    "thousands and a point": (["1,234.50", "12.25", "1,000,000"], [], [1234.5, 12.25, 1e6]),
    "thousands and a comma": (["1.234,50", "12,25", "1.000.000"], [], [1234.5, 12.25, 1e6]),
    "spaces for thousands": (["1 234,50", "12,25", "7"], [], [1234.5, 12.25, 7]),
    "a mark that the command names": (["1,234", "950", "2,500"], ["--decimal", "."], [1234, 950, 2500]),
    "the other": (["1,234", "950", "2,500"], ["--decimal", ","], [1.234, 950, 2.5]),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_a_number_is_read_with_the_marks_that_it_is_written_with(folder, monkeypatch, case):
    cells, argv, numbers = NUMBERS[case]
    varied = [f"{cell}" for cell in cells * 10]
    data, labels = labels_of_cells(folder, monkeypatch, varied, "--kind", "number", *argv, delimiter=";")
    assert data.LABEL_NAMES.kind == "number"
    assert labels == numbers * 10
    (folder / "blank.csv").write_text("id;text;target\n1;wind;\n")
    assert np.isnan(rows_of(data, folder / "blank.csv")[0].label)


@pytest.mark.parametrize(
    ("cells", "fragment"),
    [
        (["1,234", "2,500", "999"] * 10, "'1,234' may be 1234 or 1.234; say --decimal , or --decimal ."),
        (["0,5", "1", "1,5", "2", "2,5", "3"] * 20, "'0,5' may be two labels or a number with a decimal comma"),
        (["$1.50", "$2.75", "$3.10"] * 10 + [f"${i}.99" for i in range(30)], "Numbers with a sign or a unit ('$1.50')"),
        (["low", "high", "NaN"] * 10, "row 4, column target: 10 of 30 rows have no target (first: row 4, 'NaN')"),
        (["1.5", "2.5", "1e400"] * 10, "'1e400' is not a number, as 20 others are"),
        (["1.5", "2.5", "NA"] * 10, "10 of 30 rows have no target (first: row 4, 'NA')"),
    ],
)
def test_a_target_that_can_be_read_in_two_ways_or_in_none_is_one_sentence(folder, monkeypatch, cells, fragment):
    rows = [(i, text, cell) for i, (text, cell) in enumerate(zip(texts(len(cells)), cells, strict=True))]
    train = write(folder / "train.csv", ["id", "text", "target"], rows, ";")
    assert fragment in refused(monkeypatch, "--train", train)
    assert not (folder / "made").exists()


def test_labels_that_pandas_wrote_as_floats_are_the_whole_numbers_of_the_sample(folder, monkeypatch):
    rows = [(i, text, f"{i % 5 + 1}.0") for i, text in enumerate(texts(60))]
    train = write(folder / "train.csv", ["id", "text", "stars"], rows)
    test = write(folder / "test.csv", ["id", "text"], [row[:2] for row in rows[:9]])
    sample = write(folder / "sample.csv", ["id", "stars"], [(i, 0) for i in range(9)])  # no star is 0
    _, data = make(monkeypatch, "--train", train, "--test", test, "--sample", sample)
    assert data.LABEL_NAMES == ["1", "2", "3", "4", "5"]
    assert [row.label for row in rows_of(data, train)[:5]] == [0, 1, 2, 3, 4]
    logits = Logits(np.array(["0"]), np.eye(5)[[4]], np.array([-1]), data.LABEL_NAMES)
    assert data.SUBMISSION.cells(logits) == {"stars": ["5"]}


MARKS = {"0 and 1": ("0", "1"), "floats": ("0.0", "1.0"), "spaces": (" 0", " 1"), "words": ("False", "True")}


@pytest.mark.parametrize("case", MARKS)
def test_columns_of_0_and_1_are_labels_in_the_order_of_the_sample(folder, monkeypatch, case):
    no, yes = MARKS[case]
    rows = [(i, text, *(yes if held else no for held in (i % 2, i % 3 == 0))) for i, text in enumerate(texts(60))]
    train = write(folder / "train.csv", ["id", "text", "toxic", "spam"], rows)
    test = write(folder / "test.csv", ["id", "text"], [row[:2] for row in rows[:9]])
    sample = write(folder / "sample.csv", ["id", "spam", "toxic"], [(i, 0.5, 0.5) for i in range(9)])
    said, data = make(monkeypatch, "--train", train, "--test", test, "--sample", sample)
    assert "toxic 30, spam 20" in said or "spam 20, toxic 30" in said
    assert [*data.LABEL_NAMES] == ["spam", "toxic"]
    assert [row.label for row in rows_of(data, train)[:4]] == [(1, 0), (0, 1), (0, 0), (1, 1)]
    assert rows_of(data, test)[0].label == (-1, -1)
    logits = Logits(np.array(["0"]), np.array([[9.0, -9.0]]), np.full((1, 2), -1), data.LABEL_NAMES)
    assert [[float(v) > 0.5 for v in cells] for cells in data.SUBMISSION.cells(logits).values()] == [[True], [False]]


@pytest.mark.parametrize("around", ["class_{}", "p1_{}"])
def test_columns_of_labels_are_found_where_their_names_begin_with_a_label_by_chance(folder, monkeypatch, around):
    labels = ["1", "2", "3"] if around == "p1_{}" else ["a", "b", "c"]
    rows = [(i, text, labels[i % 3]) for i, text in enumerate(texts(60))]
    train = write(folder / "train.csv", ["id", "text", "target"], rows)
    test = write(folder / "test.csv", ["id", "text"], [row[:2] for row in rows[:9]])
    header = ["id", *map(around.format, labels)]
    sample = write(folder / "sample.csv", header, [(i, 0.3, 0.3, 0.4) for i in range(9)])
    _, data = make(monkeypatch, "--train", train, "--test", test, "--sample", sample)
    assert data.SUBMISSION.column_names(data.LABEL_NAMES) == header[1:]


def test_columns_with_one_1_a_row_are_classes(folder, monkeypatch):
    rows = [(i, text, *(int(i % 3 == c) for c in range(3))) for i, text in enumerate(texts(60))]
    train = write(folder / "train.csv", ["id", "text", "a", "b", "c"], rows)
    _, data = make(monkeypatch, "--train", train, "--target", "a,b,c")
    assert data.LABEL_NAMES == ["a", "b", "c"]
    assert [row.label for row in rows_of(data, train)[:4]] == [0, 1, 2, 0]
    two = write(folder / "two.csv", ["id", "text", "a", "b", "c"], [(0, "wind", 1, 1, 0)])
    with pytest.raises(InputError, match="two.csv, row 2: 2 of a, b, c are 1, expected one"):
        rows_of(data, two)


def test_a_json_list_is_a_list_also_where_a_name_holds_a_comma(folder, monkeypatch):
    names = [["a, b"], ["c", "a, b"], ["c"], []]
    with open(folder / "train.jsonl", "w") as file:
        for i, text in enumerate(texts(60)):
            file.write(json.dumps({"id": i, "text": text, "tags": names[i % 4]}) + "\n")
    _, data = make(monkeypatch, "--train", "train.jsonl", "--target", "tags")
    assert [*data.LABEL_NAMES] == ["a, b", "c"]
    assert [row.label for row in rows_of(data, "train.jsonl")[:4]] == [(1, 0), (1, 1), (0, 1), (0, 0)]
    logits = Logits(np.array(["0"]), np.array([[1.0, 1.0]]), np.full((1, 2), -1), data.LABEL_NAMES)
    assert data.SUBMISSION.cells(logits) == {"tags": ['["a, b", "c"]']}


def test_lists_are_handed_in_with_the_separator_of_the_sample(folder, monkeypatch):
    cells = ["red;blue", "red", "blue", "very green"]
    rows = [(i, text, cells[i % 4]) for i, text in enumerate(texts(60))]
    train = write(folder / "train.csv", ["id", "text", "tags"], rows)
    test = write(folder / "test.csv", ["id", "text"], [row[:2] for row in rows[:9]])
    sample = write(folder / "sample.csv", ["id", "tags"], [(i, "very green") for i in range(9)])
    said, data = make(monkeypatch, "--train", train, "--test", test, "--sample", sample)
    logits = Logits(np.array(["0"]), np.ones((1, 3)), np.full((1, 3), -1), data.LABEL_NAMES)
    assert data.SUBMISSION.cells(logits) == {"tags": ["blue;red;very green"]}
    (folder / "s.csv").write_text("id,tags\n" + "".join(f"{i},blue;very green\n" for i in range(9)))
    names = {"label_names": data.LABEL_NAMES, "kinds": {"tags": "list"}}
    check_submission("s.csv", "sample.csv", **names)
    assert "sample.csv --labels 'blue,red,very green' --lists" in said
    (folder / "s.csv").write_text("id,tags\n" + "".join(f"{i},blue;green\n" for i in range(9)))
    with pytest.raises(InputError, match="row 2, column tags: unknown label 'green'"):
        check_submission("s.csv", "sample.csv", **names)


def test_ordered_words_are_classes_in_the_order_that_the_command_names(folder, monkeypatch):
    cells = ["low", "medium", "high"] * 10
    data, labels = labels_of_cells(folder, monkeypatch, cells, "--order", "low,medium,high")
    assert (data.LABEL_NAMES.kind, [*data.LABEL_NAMES]) == ("ordered", ["low", "medium", "high"])
    assert labels == [0, 1, 2] * 10
    (folder / "made").rename(folder / "before")
    train = ["--train", "train.csv"]
    assert "with --order a,b,c" in refused(monkeypatch, *train, "--kind", "ordered")
    assert "--order has no 'high'" in refused(monkeypatch, *train, "--order", "low,medium,hihg")
    assert "--order: is of ordered classes, --kind is number" in refused(
        monkeypatch, *train, "--order", "low,high", "--kind", "number"
    )


def test_ids_that_only_the_test_file_has_are_those_of_the_submission(folder, monkeypatch):
    rows = [(text, "ab"[i % 2]) for i, text in enumerate(texts(60))]
    train = write(folder / "train.csv", ["text", "label"], rows)
    test = write(folder / "test.csv", ["ID", "text"], [(f"00{i}", row[0]) for i, row in enumerate(rows[:9])])
    sample = write(folder / "sample.csv", ["row_id", "label"], [(f"00{i}", "a") for i in (3, 1, 0, 2, 8, 7, 6, 5, 4)])
    said, data = make(monkeypatch, "--train", train, "--test", test, "--sample", sample)
    assert "ID: the test file's ids; the training file has none" in said
    assert [row.id for row in rows_of(data, test)][:2] == ["000", "001"]
    assert [row.id for row in rows_of(data, train)][:2] == ["2", "3"]
    assert data.SUBMISSION.id_column == "row_id"
    sample_rows = rows_of(data, folder / "made" / "sample" / "test.csv")
    ids = [fields[0] for _, fields in read_table(folder / "made" / "sample" / "sample_submission.csv").rows]
    assert [row.id for row in sample_rows] == ids


def test_a_numbered_sample_never_takes_rows_of_a_test_file_whose_ids_are_in_another_order(folder, monkeypatch):
    rows = [(i % 7, text, "ab"[i % 2]) for i, text in enumerate(texts(60))]  # ids repeat
    train = write(folder / "train.csv", ["id", "text", "label"], rows)
    sample = write(folder / "sample.csv", ["id", "label"], [(i, "a") for i in range(5)])
    files = ["--train", train, "--sample", sample, "--test"]
    shuffled = write(folder / "shuffled.csv", ["id", "text"], [(i, f"text no {i}") for i in (3, 1, 0, 2, 4)])
    assert "row 9, column id: '0' is repeated, expected in row 2 only (the sample" in refused(
        monkeypatch, *files, shuffled
    )
    in_order = write(folder / "test.csv", ["id", "text"], [(i, f"text no {i}") for i in range(5)])
    _, data = make(monkeypatch, *files, in_order)
    assert [row.id for row in rows_of(data, in_order)] == ["0", "1", "2", "3", "4"]


def test_a_test_file_whose_target_column_is_empty_has_no_labels(folder, monkeypatch):
    cells = ["a", "b"] * 15
    rows = [(i, text, "") for i, text in enumerate(texts(9))]
    test = write(folder / "test.csv", ["id", "text", "target"], rows)
    data, labels = labels_of_cells(folder, monkeypatch, cells, "--test", test)
    assert labels == [0, 1] * 15
    assert {row.label for row in rows_of(data, test)} == {-1}


ANSWERS = {
    "placeholders of a metric of probabilities": ("01", "auc", "target", ["0"] * 9, {"target": "1"}),
    "labels all the same": ("01", "f1", "target", ["0"] * 9, {"target": "label"}),
    "a column named after a label": (["fake", "real"], "log_loss", "fake", ["0.5"] * 9, {"fake": "0"}),
    "a column that ends with one": (["fake", "real"], "log_loss", "p_Real", ["0.5"] * 9, {"p_Real": "1"}),
    "no label's name": (["fake", "real"], "log_loss", "score", ["0.5"] * 9, {"score": "1"}),
    "whole numbers of a number": (None, "rmse", "target", list("123456789"), {"target": "whole"}),
    "a placeholder of a number": (None, "rmse", "target", ["0"] * 9, {"target": "number"}),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_what_is_handed_in_suits_the_metric_the_cells_and_the_columns_name(folder, monkeypatch, capsys, case):
    names, metric, column, cells, expected = ANSWERS[case]
    targets = [f"{i * 7}" for i in range(60)] if names is None else [names[i % 2] for i in range(60)]
    rows = [(i, text, target) for i, (text, target) in enumerate(zip(texts(60), targets, strict=True))]
    train = write(folder / "train.csv", ["id", "text", "target"], rows)
    test = write(folder / "test.csv", ["id", "text"], [row[:2] for row in rows[:9]])
    sample = write(folder / "sample.csv", ["id", column], list(enumerate(cells)))
    files = ["--train", train, "--test", test, "--sample", sample, "--target", "target"]
    said, data = make(monkeypatch, *files, "--metric", metric)
    values = np.array([[2.6]]) if names is None else np.log([[0.25, 0.75]])
    labels = np.array([np.nan]) if names is None else np.array([-1])
    logits = Logits(np.arange(9).astype(str), np.tile(values, (9, 1)), np.tile(labels, 9), data.LABEL_NAMES)
    Submission(data.SUBMISSION, sample, [str(i) for i in range(9)]).write("runs/made/final/submission.csv", logits)
    (command,) = [line for line in said.splitlines() if "common.submission" in line]
    assert command.strip() in (folder / "made" / "README.md").read_text()
    monkeypatch.setattr(sys, "argv", shlex.split(command)[2:])
    check_command()  # the page's check takes what the page's training writes
    assert "fits made/data/sample.csv" in capsys.readouterr().out
    ((name, (cell,)),) = data.SUBMISSION.cells(Logits(np.array(["0"]), values, labels, data.LABEL_NAMES)).items()
    meaning = {"0": 0.25, "1": 0.75, "label": 1, "whole": 3, "number": 2.6}[expected[name]]
    assert float(cell) == pytest.approx(meaning)


@pytest.mark.parametrize(("cells", "doubted"), [("012340123", True), ("000000000", False), ("123451234", False)])
def test_a_sample_that_counts_from_another_number_is_doubted(folder, monkeypatch, cells, doubted):
    rows = [(i, text, i % 5 + 1) for i, text in enumerate(texts(60))]
    train = write(folder / "train.csv", ["id", "text", "target"], rows)
    test = write(folder / "test.csv", ["id", "text"], [row[:2] for row in rows[:9]])
    sample = write(folder / "sample.csv", ["id", "target"], list(enumerate(cells)))
    files = ["--train", train, "--test", test, "--sample", sample, "--target", "target", "--metric", "accuracy"]
    said, _ = make(monkeypatch, *files)
    assert ("'0' there is not one of the labels" in said) == doubted
    assert ("'0' there is a placeholder" in said) == (cells == "000000000")


def test_a_sample_in_another_format_becomes_csv_with_its_cells_as_they_are(folder, monkeypatch):
    rows = [(f"{i:03}", text, "ab"[i % 2]) for i, text in enumerate(texts(60))]
    train = write(folder / "train.csv", ["id", "text", "label"], rows)
    test = write(folder / "test.csv", ["id", "text"], [row[:2] for row in rows[:9]])
    sample = [["id", "label"], *([f"{i:03}", "a"] for i in range(9))]
    text = "".join(",".join(line) + "\n" for line in sample)
    book = openpyxl.Workbook()
    for line in sample:
        book.active.append(line)
    book.save(folder / "book.xlsx")
    with zipfile.ZipFile(folder / "packed.zip", "w") as archive:
        archive.writestr("sample.csv", text)
    (folder / "semicolons.csv").write_text(text.replace(",", ";"), encoding="utf-16")
    (folder / "plain.csv").write_text(text)
    for name in ("book.xlsx", "packed.zip", "semicolons.csv", "plain.csv"):
        _, data = make(monkeypatch, "--train", train, "--test", test, "--sample", name)
        written = folder / "made" / "data" / data.COMPETITION_FILES["sample_submission_file"]
        assert written.suffix == ".csv" and written.read_text() == text
        (folder / "made").rename(folder / f"made_{name}")


def test_klue_re_does_not_take_a_column_a_label(folder, monkeypatch):
    rows = [(f"<e1>a{i}</e1> of <e2>b</e2>", i % 2, (i + 1) % 2) for i in range(20)]
    write(folder / "train.csv", ["sentence", "x", "y"], rows)
    argv = ["new", "made", "--from", "klue_re", "--train", "train.csv", "--text", "sentence", "--target", "x,y"]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(InputError, match="klue_re reads one column of labels"):
        list(build(parse()))


def test_names_of_columns_and_labels_are_questions_with_any_marks(folder, monkeypatch):
    """As forms write them: line breaks, quotes, colons, commas behind which a line of data.py could be broken."""
    question = 'Say, freely: what was "good", what was not!\n(a\\b) ' * 4
    labels = ["Arts, " + "x" * 150, "Law, order and 'peace', and more", 'a "b"', "{c}"]
    rows = [(f"{i:03}", text, labels[i % 4]) for i, text in enumerate(texts(40))]
    train = write(folder / "train.csv", ['i"d', question, "your: choice"], rows)
    test = write(folder / "test.csv", ['i"d', question], [row[:2] for row in rows])
    _, data = make(monkeypatch, "--train", train, "--test", test, "--id", 'i"d', "--target", "your: choice")
    found = [(row.id, row.segments[0], data.LABEL_NAMES[row.label]) for row in rows_of(data, train)]
    assert found == rows
    assert [row.id for row in rows_of(data, test)] == [row[0] for row in rows]


def test_a_brace_in_a_name_is_refused_and_1_and_1_0_are_asked_about(folder, monkeypatch):
    rows = [(text, ("0", "1", "1.0")[i % 3]) for i, text in enumerate(texts(40))]
    train = write(folder / "train.csv", ["text", "la{b}el"], rows)
    assert "column 'la{b}el' has a brace" in refused(monkeypatch, "--train", train, "--target", "la{b}el")
    train = write(folder / "train.csv", ["text", "label"], rows)
    said, _ = make(monkeypatch, "--train", train)
    assert "'1' and '1.0' are the same number: are they one label?" in said


@pytest.mark.parametrize(
    "labels, said",
    [
        (["TRUE", "True", "no"], "'TRUE' and 'True' differ in case only"),
        (["a", "b", "b\u200b"], "'b' and 'b\\u200b' look alike"),
        (["1", "2", "\uff11"], "'1' and '\uff11' look alike"),
        (["a b", "a\u3000b", "c"], "'a b' and 'a\\u3000b' look alike"),
    ],
)
def test_labels_that_nobody_can_tell_apart_are_asked_about(folder, monkeypatch, labels, said):
    rows = [[text, labels[i % 3]] for i, text in enumerate(texts(30))]
    train = write(folder / "train.csv", ["text", "label"], rows)
    assert f"{said}: are they one label?" in make(monkeypatch, "--train", train)[0]


def test_a_quote_that_opens_nothing_in_one_file_opens_nothing_in_the_others(folder, monkeypatch):
    lines = [f'{i:03}\t"Hi" he said {text}\t{"ab"[i % 2]}' for i, text in enumerate(texts(40))]
    (folder / "train.tsv").write_text("\n".join(["id\ttext\tlabel", *lines]))
    (folder / "test.tsv").write_text('id\ttext\n1\t"Hi"\n2\tHi\n')
    _, data = make(monkeypatch, "--train", "train.tsv", "--test", "test.tsv", "--text", "text")
    assert [row.segments for row in rows_of(data, "test.tsv")] == [['"Hi"'], ["Hi"]]
    assert rows_of(data, "train.tsv")[0].segments[0].startswith('"Hi" he')
    (folder / "train.tsv").write_text("\n".join(["id\ttext\tlabel", *lines]).replace('"Hi"', "Hi"))
    shutil.rmtree(folder / "made")
    _, data = make(monkeypatch, "--train", "train.tsv", "--test", "test.tsv")
    assert [row.segments for row in rows_of(data, "test.tsv")] == [["Hi"], ["Hi"]]


def test_of_two_columns_with_the_samples_ids_the_one_with_its_name_counts_and_without_one_is_asked_for(
    folder, monkeypatch
):
    train = write(
        folder / "train.csv", ["no", "code", "text", "label"], [(i, i, t, i % 2) for i, t in enumerate(texts(40))]
    )
    test = write(folder / "test.csv", ["no", "code", "text"], [(i, 9 - i, f"wind and rain {i}") for i in range(10)])
    files = ["--train", train, "--test", test, "--sample"]
    sample = write(folder / "sample.csv", ["id", "label"], [(i, 0) for i in range(10)])
    assert "columns 'no' and 'code' both have the ids" in refused(monkeypatch, *files, sample)
    sample = write(folder / "sample.csv", ["code", "label"], [(i, 0) for i in range(10)])
    _, data = make(monkeypatch, *files, sample)
    assert [row.id for row in rows_of(data, test)] == [str(9 - i) for i in range(10)]


@pytest.mark.parametrize(
    ("labels", "columns", "options"),
    [
        (["0", "1", "2"], ["c2", "c0", "c1"], ["--kind", "ordered"]),
        (["low", "mid", "high"], ["chigh", "clow", "cmid"], ["--order", "low,mid,high"]),
        (["0", "1"], ["c1", "c0"], ["--metric", "f1"]),
    ],
)
def test_columns_of_the_sample_leave_an_order_that_says_something(folder, monkeypatch, labels, columns, options):
    rows = [(f"{i:03}", text, labels[i % len(labels)]) for i, text in enumerate(texts(40))]
    train = write(folder / "train.csv", ["id", "text", "label"], rows)
    test = write(folder / "test.csv", ["id", "text"], [row[:2] for row in rows])
    sample = write(folder / "sample.csv", ["id", *columns], [[row[0], *[0.5] * len(columns)] for row in rows])
    _, data = make(monkeypatch, "--train", train, "--test", test, "--sample", sample, *options)
    assert list(data.LABEL_NAMES) == labels
    logits = Logits(["000"], np.array([[3.0, 0.0, -3.0][: len(labels)]]), [-1], labels)
    cells = data.SUBMISSION.cells(logits)
    assert list(cells) == columns
    assert [cells[f"c{label}"][0] for label in labels] == [f"{p:.8f}" for p in logits.probabilities()[0]]


def test_labels_of_a_sample_may_be_spelled_as_numbers_with_a_point(folder, monkeypatch):
    rows = [(f"{i:03}", text, str(i % 2)) for i, text in enumerate(texts(40))]
    train = write(folder / "train.csv", ["id", "text", "target"], rows)
    test = write(folder / "test.csv", ["id", "text"], [row[:2] for row in rows])
    sample = write(folder / "sample.csv", ["id", "target"], [(row[0], f"{i % 2}.0") for i, row in enumerate(rows)])
    said, _ = make(monkeypatch, "--train", train, "--test", test, "--sample", sample)
    assert "submission: target: most_likely_label" in said


def test_numpys_lists_are_several_labels(folder, monkeypatch):
    lists = [["a"], ["a", "b"], ["b"], ["b", "c"], ["c"]]
    cells = ["[" + " ".join(f"'{name}'" for name in lists[i % 5]) + "]" for i in range(60)]
    data, labels = labels_of_cells(folder, monkeypatch, cells)
    assert list(data.LABEL_NAMES) == ["a", "b", "c"]
    assert [tuple(label) for label in labels[:2]] == [(1, 0, 0), (1, 1, 0)]


TAGS = [f"tag {i}" for i in range(20)]


@pytest.mark.parametrize("mark", [";", "|", "/"])
def test_the_separator_of_rare_labels_is_found_where_kind_says_that_there_are_several(folder, monkeypatch, mark):
    cells = [mark.join(TAGS[i % 7 : i % 7 + 1 + i % 3]) for i in range(30)]
    data, labels = labels_of_cells(folder, monkeypatch, cells, "--kind", "several")
    assert sorted(data.LABEL_NAMES) == sorted(TAGS[:9])
    assert labels[2] == tuple(int(name in TAGS[2:5]) for name in data.LABEL_NAMES)


def test_kind_several_without_several_labels_in_any_cell_is_one_sentence(folder, monkeypatch):
    train = write(folder / "train.csv", ["text", "target"], [(text, f"a{i % 3}") for i, text in enumerate(texts(30))])
    said = refused(monkeypatch, "--train", train, "--kind", "several")
    assert f"{train}, column target: no cell holds several labels, which are separated by one of , ; | / " in said


@pytest.mark.parametrize(
    ("cells", "fragment"),
    [
        (["0", "1", "3"] * 3, "'0' is not one of 긍정, 부정"),
        ([unicodedata.normalize("NFD", "긍정")] * 9, "is composed of single letters (NFD), labels are written in NFC"),
    ],
)
def test_a_sample_with_other_labels_is_refused_before_anything_is_written(folder, monkeypatch, cells, fragment):
    rows = [(i, text, ("긍정", "부정")[i % 2]) for i, text in enumerate(texts(40))]
    train = write(folder / "train.csv", ["id", "text", "target"], rows)
    test = write(folder / "test.csv", ["id", "text"], [row[:2] for row in rows[:9]])
    sample = write(folder / "sample.csv", ["id", "target"], list(enumerate(cells)))
    assert fragment in refused(monkeypatch, "--train", train, "--test", test, "--sample", sample)


@pytest.mark.parametrize(("cells", "doubted"), [("000", True), ("010", False)])
def test_a_test_file_with_one_label_throughout_may_hold_a_placeholder_which_is_said(
    folder, monkeypatch, cells, doubted
):
    train = write(folder / "train.csv", ["text", "target"], [(text, i % 2) for i, text in enumerate(texts(40))])
    test = write(folder / "test.csv", ["text", "target"], list(zip(texts(3), cells, strict=True)))
    said, _ = make(monkeypatch, "--train", train, "--test", test)
    assert ("test: target is '0' in all rows, which is taken for their labels" in said) == doubted


CODES = {
    "dates": "2024-01-{:02} 10:00:00",
    "timestamps": "2024-01-{:02}T00:00:00",
    "korean dates": "2024년 1월 {}일",
    "addresses": "https://example.org/posts/{}",
    "hashes": "f3a9c0de77ab{:04x}",
    "telephones": "010 1234 {:04}",
}


@pytest.mark.parametrize("case", CODES)
def test_dates_and_codes_are_no_texts(folder, monkeypatch, case):
    rows = [(CODES[case].format(i + 1), text, i % 2) for i, text in enumerate(texts(40))]
    _, data = make(monkeypatch, "--train", write(folder / "train.csv", ["at", "text", "target"], rows))
    assert data.SEGMENTS == ["{text}"]


def test_names_of_columns_with_spaces_around_them_are_found(folder, monkeypatch):
    rows = [(i, text, f" {i % 2}") for i, text in enumerate(texts(40))]
    train = write(folder / "train.csv", ["id", " text", " label"], rows)
    _, data = make(monkeypatch, "--train", train)
    assert [row.label for row in rows_of(data, train)[:3]] == [0, 1, 0]
    shutil.rmtree("made")
    _, data = make(monkeypatch, "--train", train, "--text", "text", "--target", "label", "--id", "id")
    assert data.SEGMENTS == ["{ text}"]
    shutil.rmtree("made")
    assert "(nearest: ' text')" in refused(monkeypatch, "--train", train, "--text", "{text}")


def test_a_target_has_a_korean_name(folder, monkeypatch):
    rows = [(i, f"{text} 바람", ("긍정", "부정")[i % 2]) for i, text in enumerate(texts(40))]
    _, data = make(monkeypatch, "--train", write(folder / "train.csv", ["번호", "문장", "분류"], rows))
    assert data.LABEL_NAMES == ["긍정", "부정"]


@pytest.mark.parametrize(("unit", "doubted"), [("{}%", True), ("{}", False), ("grade {}", False)])
def test_few_numbers_with_a_unit_are_labels_and_it_is_said_how_they_would_be_numbers(
    folder, monkeypatch, unit, doubted
):
    rows = [(i, text, unit.format(i % 5)) for i, text in enumerate(texts(40))]
    said, data = make(monkeypatch, "--train", write(folder / "train.csv", ["id", "text", "target"], rows))
    assert data.LABEL_NAMES == [unit.format(i) for i in range(5)]
    assert ("a number with a sign or a unit has to be written without it" in said) == doubted


@pytest.mark.parametrize(
    ("names", "metric", "command"),
    [
        (["no", "yes"], "f1", "--tune_decision f1      # thresholds"),
        (["a", "b", "c"], "macro_f1", "--tune_decision macro_f1      # offsets of the classes"),
        (["a", "b", "c"], "log_loss", ""),
    ],
)
def test_a_made_readme_says_how_a_decision_is_tuned_where_the_metric_wants_it(
    folder, monkeypatch, names, metric, command
):
    rows = [(f"{i:03}", text, names[i % len(names)]) for i, text in enumerate(texts(30))]
    make(monkeypatch, "--train", write(folder / "train.csv", ["id", "text", "target"], rows), "--metric", metric)
    page = (Path("made") / "README.md").read_text()
    assert ("python -m common.blend made runs/made/final" in page) == bool(command) and command in page


@pytest.mark.parametrize("kind", ["labels", "several"])
def test_a_sample_with_a_row_for_each_label_of_an_id_is_written_so(folder, monkeypatch, kind):
    names = ["calm", "rain", "wind"]
    cells = [names[i % 3] if kind == "labels" else ",".join(names[: 1 + i % 3]) for i in range(30)]
    rows = [(f"{i:03}", text, cell) for i, (text, cell) in enumerate(zip(texts(30), cells, strict=True))]
    train = write(folder / "train.csv", ["id", "text", "weather"], rows)
    test = write(folder / "test.csv", ["id", "text"], [row[:2] for row in rows[:4]])
    sample = write(
        folder / "sample.csv", ["id", "weather", "score"], [(row[0], name, 0.5) for row in rows[:4] for name in names]
    )
    said, data = make(monkeypatch, "--train", train, "--test", test, "--sample", sample, "--kind", kind)
    assert "a row for each label, named in weather" in said and "--numbers" in said
    assert "LongFormat(" in (Path("made") / "data.py").read_text()
    for place in (Path("made/sample"), Path("made/data")):
        tests = rows_of(data, next(path for path in place.glob("test.csv")))
        args = SimpleNamespace(sample_submission_file=str(next(place.glob("sample*.csv"))), max_predict_samples=None)
        submission = data.SUBMISSION.expect(args, tests, data.LABEL_NAMES)
        values = np.random.default_rng(0).normal(size=(len(tests), 3)).astype(np.float32)
        unknown = np.full((len(tests), 3) if kind == "several" else len(tests), -1)
        submission.write("s.csv", Logits([row.id for row in tests], values, unknown, data.LABEL_NAMES))
        written = read_table(Path("s.csv"))
        assert [tuple(fields[:2]) for _, fields in written.rows] == [
            (row.id, name) for row in tests for name in data.LABEL_NAMES
        ]
    strange = write(folder / "strange.csv", ["id", "weather", "score"], [(r[0], n, 0) for r in rows[:4] for n in "ab"])
    shutil.rmtree("made")
    assert "which are not the labels" in refused(
        monkeypatch, "--train", train, "--test", test, "--sample", strange, "--kind", kind
    )
