"""common/tables/long_rows.py: a submission with a row for each label of each id."""

import csv
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from common.console import InputError
from common.examples import TextExample
from common.logits import Logits
from common.submission import check_submission, most_likely_label, probability, yes_or_no
from common.submission import main as check_command
from common.tables.long_rows import LongFormat

NAMES = ["joy", "anger", "fear"]
FORM = LongFormat("id", {"share": probability, "is": yes_or_no}, label_column="emotion")
# in an order of its own, columns too; an id with zeros in front
SAMPLE = [(label, "0.5", row_id, "0") for label in reversed(NAMES) for row_id in ("007", "b")]
SAMPLE = [(row_id, share, label, zero) for label, share, row_id, zero in SAMPLE]


def write(path, rows, header=("id", "share", "emotion", "is")):
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return path


def logits():
    values = np.array([[1.0, 2.0, -1.0], [0.0, -2.0, -3.0]], np.float32)
    return Logits(np.array(["b", "007"]), values, np.array([-1, -1]), NAMES)


def expect(sample, ids=("b", "007"), form=FORM):
    args = SimpleNamespace(sample_submission_file=sample and str(sample), max_predict_samples=None)
    return form.expect(args, [TextExample(row_id, []) for row_id in ids], NAMES)


def test_the_rows_are_the_samples_in_its_order_with_the_cells_of_their_id_and_label(tmp_path):
    sample = write(tmp_path / "sample.csv", SAMPLE)
    expect(sample).write(tmp_path / "s.csv", logits())
    with open(tmp_path / "s.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "share", "emotion", "is"]
    assert [(row[0], row[2]) for row in rows] == [(row[0], row[2]) for row in SAMPLE]
    of_id = dict(zip(logits().ids.tolist(), zip(logits().probabilities(), logits().logits, strict=True), strict=True))
    for row_id, share, label, given in rows:
        probabilities, values = of_id[row_id]
        c = NAMES.index(label)
        assert float(share) == pytest.approx(probabilities[c], abs=1e-6) and given == str(int(values.argmax() == c))


def test_without_a_sample_each_id_has_its_labels_one_after_the_other(tmp_path):
    expect(None).write(tmp_path / "s.csv", logits())
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines[0] == "id,emotion,share,is"
    assert [line.split(",")[:2] for line in lines[1:]] == [[row_id, name] for row_id in ("b", "007") for name in NAMES]


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda rows: rows[1:], "id '007' has no row of the label 'fear'"),
        (lambda rows: [*rows, rows[0]], "row 8: id '007' has the label 'fear' in row 2, too"),
        (lambda rows: [(*rows[0][:2], "fera", "0"), *rows[1:]], "unknown label 'fera'"),
        (lambda rows: [row for row in rows if row[0] == "b"], "1 ids are missing (first: '007')"),
        (lambda rows: [*rows, *(("c", "0.5", name, "0") for name in NAMES)], "id 'c' is not in the test file"),
        (lambda rows: [(a, f"word {a}", c, d) for a, _, c, d in rows], "column share"),
    ],
)
def test_a_sample_that_has_not_each_id_with_each_label_once_is_refused_before_training(tmp_path, change, fragment):
    sample = write(tmp_path / "sample.csv", change(SAMPLE))
    with pytest.raises(InputError) as raised:
        expect(sample)
    assert fragment in str(raised.value) and str(sample) in str(raised.value)


def test_a_function_that_gives_no_cell_for_every_label_is_named(tmp_path):
    form = LongFormat("id", {"share": most_likely_label}, label_column="emotion")
    with pytest.raises(InputError, match="SUBMISSION, column share: has not a cell for every label"):
        expect(None, form=form).write(tmp_path / "s.csv", logits())


def test_the_command_compares_ids_and_labels_whatever_the_numbers_are(tmp_path, monkeypatch, capsys):
    sample = write(tmp_path / "sample.csv", [(*row[:1], "0", *row[2:]) for row in SAMPLE])
    right = [(row_id, "0.25", label, "1") for row_id, _, label, _ in SAMPLE]
    monkeypatch.setattr(sys, "argv", ["submission", str(write(tmp_path / "s.csv", right)), str(sample), "--numbers"])
    check_command()
    assert "fits" in capsys.readouterr().out
    swapped = [(right[1][0], *right[0][1:]), (right[0][0], *right[1][1:]), *right[2:]]
    for rows, fragment in (
        (swapped, "columns id, emotion: id 'b, fear', expected '007, fear'"),
        (right[1:], "1 ids are missing (first: '007, fear')"),
        ([*right, right[0]], "is repeated"),
    ):
        with pytest.raises(InputError) as raised:
            check_submission(write(tmp_path / "s.csv", rows), sample, kinds={"share": "number"})
        assert fragment.replace("columns", "column") in str(raised.value)
