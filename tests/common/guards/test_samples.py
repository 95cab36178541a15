"""What a sample submission says of the submission that is wanted, and a submission that says something else."""

import gzip
import zipfile
from types import SimpleNamespace

import numpy as np
import openpyxl
import pytest

from common.console import InputError
from common.examples import TextExample
from common.guards.samples import read_sample
from common.logits import Logits
from common.submission import (
    SubmissionFormat,
    check_submission,
    most_likely_label,
    most_likely_number,
    probability_of,
)

WORDS = "id,v\n1,joy\n2,fear\n"


def check(tmp_path, sample, text, **options):
    (tmp_path / "sample.csv").write_text(sample, encoding="utf-8")
    (tmp_path / "s.csv").write_text(text, encoding="utf-8")
    check_submission(tmp_path / "s.csv", tmp_path / "sample.csv", **options)


@pytest.mark.parametrize(
    ("sample", "text", "message"),
    [
        ("id;v\n1;a\n2;a\n", "id;v\n2;a\n1;a\n", "s.csv, row 1: 'id;v' is separated by semicolons"),
        ("id\tv\n1\ta\n", "id\tv\n1\ta\n", "separated by tabs, expected commas"),
        ("id,v,v\n1,0,0\n", "id,v,v\n1,x,0\n", "two columns are named 'v'"),
        (WORDS, "id,v\n1,0\n2,1\n", "s.csv, row 2, column v: '0', expected text such as 'joy'"),
        (WORDS, "id,v\n1,joy\n2,Joy\n", "s.csv, row 3, column v: 'Joy', expected 'joy' as the sample spells it"),
        (WORDS, "id,v\n1, joy\n2,joy\n", "row 2, column v: ' joy', expected 'joy'"),
        ("id,v\n1,각\n", "id,v\n1,\u1100\u1161\u11a8\n", "expected '각' as the sample spells it"),
        ("id,v\n각,a\n", "id,v\n\u1100\u1161\u11a8,a\n", "is composed of other characters"),
        ('id,v\n1,"[0.5, 0.5]"\n', 'id,v\n1,"[0.5, 0.2, 0.3]"\n', "expected a list of 2 numbers"),
        ('id,v\n1,"[0.5, 0.5]"\n', 'id,v\n1,"[0.5, NaN]"\n', "expected a list of 2 numbers"),
    ],
)
def test_what_a_competition_would_refuse_or_misread_is_refused_at_its_place(tmp_path, sample, text, message):
    with pytest.raises(InputError) as raised:
        check(tmp_path, sample, text)
    assert message in str(raised.value)


SAMPLE = [("id", "감정"), ("007", "joy"), ("003", "fear"), ("x 1", "joy")]


def write_workbook(path):
    book = openpyxl.Workbook()
    for row in SAMPLE:
        book.active.append(row)
    book.save(path)


def write_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("sample.csv", "\n".join(map(",".join, SAMPLE)))


@pytest.mark.parametrize(
    ("name", "write"),
    {
        "sample.xlsx": write_workbook,
        "sample.csv.zip": write_zip,
        "sample.csv.gz": lambda path: path.write_bytes(gzip.compress("\n".join(map(",".join, SAMPLE)).encode())),
        "sample.tsv": lambda path: path.write_text("\n".join(map("\t".join, SAMPLE)), encoding="utf-8"),
        "semicolons.csv": lambda path: path.write_text("\n".join(map(";".join, SAMPLE)), encoding="utf-8"),
        "korean.csv": lambda path: path.write_text("\n".join(map(",".join, SAMPLE)), encoding="cp949"),
    }.items(),
)
def test_a_sample_of_any_format_gives_its_ids_and_order_and_is_said(tmp_path, capsys, name, write):
    path = tmp_path / name
    write(path)
    names = ["fear", "joy"]
    ids = ["003", "007", "x 1"]
    submission = SubmissionFormat("id", {"감정": most_likely_label}).fit(str(path), ids, names)
    said = capsys.readouterr().out
    assert said.count("read as a table") == 1 and name in said
    submission.write(tmp_path / "s.csv", Logits(ids, np.eye(2, dtype=np.float32)[[0, 1, 1]], [-1] * 3, names))
    assert (tmp_path / "s.csv").read_text(encoding="utf-8") == "id,감정\n007,joy\n003,fear\nx 1,joy\n"
    assert "read as a table" not in capsys.readouterr().out
    with pytest.raises(InputError, match="ids are missing|expected|not"):
        SubmissionFormat("id", {"감정": most_likely_label}).fit(str(path), ids[:2], names)


def test_a_csv_that_is_broken_stays_a_broken_csv(tmp_path):
    (tmp_path / "sample.csv").write_text("id,v\n1,joy\n2,fear,more\n")
    with pytest.raises(InputError, match="row 3: 3 fields, expected 2"):
        read_sample(tmp_path / "sample.csv")


@pytest.mark.parametrize(
    ("cells", "function", "message"),
    [
        (["Joy", "Fear"], most_likely_label, "'Joy' is not one of the 2 labels (nearest: 'joy'), the submission has"),
        (["0", "1"], most_likely_label, "'0' is not one of the 2 labels, the submission has those"),
        (["joy", "fear"], most_likely_number, "'joy' is not a number, the submission has numbers there"),
        (["joy", "fear"], probability_of("joy"), "'joy' is not a number"),
        (["joy", "fear"], most_likely_label, None),
        (["0", "0"], most_likely_label, None),  # a placeholder
        (["?", "?"], most_likely_number, None),
        (["0", "1"], probability_of("joy"), None),
    ],
)
def test_a_sample_that_shows_other_answers_is_refused_before_training(tmp_path, cells, function, message):
    (tmp_path / "sample.csv").write_text(f"id,v\n1,{cells[0]}\n2,{cells[1]}\n")
    args = SimpleNamespace(sample_submission_file=str(tmp_path / "sample.csv"), max_predict_samples=None)
    form = SubmissionFormat("id", {"v": function})
    rows = [TextExample(name, ["x"]) for name in ("2", "1")]
    if message is None:
        assert form.expect(args, rows, ["fear", "joy"]).ids == ["1", "2"]
        return
    with pytest.raises(InputError) as raised:
        form.expect(args, rows, ["fear", "joy"])
    assert str(raised.value).startswith(f"{tmp_path}/sample.csv, column v: {message}")


def test_labels_are_compared_by_value_and_two_labels_may_differ_in_case(tmp_path):
    check(tmp_path, "id,v\n1,0.0\n2,1.0\n", "id,v\n1,0\n2,1\n", label_names=["0", "1"])
    check(tmp_path, WORDS, "id,v\n1,Joy\n2,joy\n", label_names=["joy", "Joy", "fear"])
