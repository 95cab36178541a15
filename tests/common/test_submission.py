import re
import subprocess
import sys

import numpy as np
import pytest

from common.console import InputError
from common.submission import check_submission, read_sample_ids, write_submission

SAMPLE = "Id,Predicted\n1,joy\n02,joy\n3_0,joy\n"
LABELS = ["joy", "anger", "none"]


def check(tmp_path, text, sample=SAMPLE, **options):
    path, sample_path = tmp_path / "s.csv", tmp_path / "sample.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    sample_path.write_bytes(sample if isinstance(sample, bytes) else sample.encode())
    check_submission(path, sample_path, **options)


def test_what_is_written_fits_the_sample_and_has_lf_and_utf8(tmp_path):
    path, sample_path = tmp_path / "s.csv", tmp_path / "sample.csv"
    write_submission(path, np.array(["1", "02", "3_0"]), {"Predicted": ["기쁨", "a,b", 'q"']})
    assert path.read_bytes() == 'Id,Predicted\n1,기쁨\n02,"a,b"\n3_0,"q"""\n'.encode()
    sample_path.write_bytes(b"\xef\xbb\xbf" + SAMPLE.replace("\n", "\r\n").encode())
    check_submission(path, sample_path, label_names=["기쁨", "a,b", 'q"'])


def test_float32_softmax_passes_as_probabilities_beside_a_label_column(tmp_path):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 3).astype(np.float32)
    columns = {"Predicted": ["joy", "none", "anger"], **dict(zip(LABELS, probabilities.T, strict=True))}
    write_submission(tmp_path / "s.csv", ["1", "02", "3_0"], columns)
    (tmp_path / "sample.csv").write_text("Id,Predicted,joy,anger,none\n1,joy,1,0,0\n02,joy,1,0,0\n3_0,joy,1,0,0\n")
    options = {"label_names": LABELS, "probability_columns": True, "label_columns": ["Predicted"]}
    check_submission(tmp_path / "s.csv", tmp_path / "sample.csv", **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.csv: is empty"),
        ("Id,Label\n1,joy\n", "row 1: columns are Id,Label, expected Id,Predicted"),
        ("Predicted,Id\njoy,1\n", "row 1: columns are Predicted,Id"),
        ("Id,Predicted\n1,joy\n02,joy\n", "1 ids are missing (first: '3_0')"),
        (SAMPLE + "4,joy\n", "row 5, column Id: id '4' is not in"),
        (SAMPLE + "1,joy\n", "row 5, column Id: id '1' is repeated"),
        (SAMPLE.replace("02", "2"), "row 3, column Id: id '2' is not in"),
        ("Id,Predicted\n02,joy\n1,joy\n3_0,joy\n", "row 2, column Id: id '02', expected '1'"),
        (SAMPLE.replace("02,joy", "02,"), "row 3, column Predicted: unknown label ''"),
        ("Id,Predicted\n1,angre\n02,joy\n3_0,joy\n", "'angre', expected one of the 3 labels (nearest: 'anger')"),
        (SAMPLE.replace("02,joy", "02,joy,1"), "row 3: 3 fields, expected 2"),
        (SAMPLE.replace("02,joy", '02,"joy'), "row 3: is not CSV"),
        ('Id,Predicted\n\n1,joy\n"0\n2",joy\n3_0\n', "row 6: 1 fields"),
        (b"Id,Predicted\n1,\xff\n", "row 2: is not UTF-8"),
        (b"\xef\xbb\xbf" + SAMPLE.encode(), "row 1: starts with a byte-order mark"),
    ],
)
def test_each_fault_is_named_with_its_place(tmp_path, text, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        check(tmp_path, text, label_names=LABELS)
    assert str(caught.value).startswith(str(tmp_path / "s.csv"))


@pytest.mark.parametrize("value", ["", "NaN", " "])
def test_missing_values_are_refused_without_label_names_too(tmp_path, value):
    with pytest.raises(InputError, match="row 4, column Predicted"):
        check(tmp_path, SAMPLE.replace("3_0,joy", f"3_0,{value}"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0.5,0.4998", "row 2, columns a to b: probabilities sum to 0.9998"),
        ("1.5,-0.5", "row 2, column a: '1.5'"),
        ("nan,1", "row 2, column a: 'nan'"),
        ("x,1", "row 2, column a: 'x'"),
        ("inf,0", "row 2, column a: 'inf'"),
        ("0,", "row 2, column b: ''"),
    ],
)
def test_bad_probabilities_are_named_with_their_place(tmp_path, row, message):
    sample = "id,a,b\n7,0.5,0.5\n"
    check(tmp_path, "id,a,b\n7,0.5,0.49995\n", sample, probability_columns=True)
    with pytest.raises(InputError, match=re.escape(message)):
        check(tmp_path, f"id,a,b\n7,{row}\n", sample, probability_columns=True)


@pytest.mark.parametrize(("written", "wanted"), [("7.0", "7"), ("7", "007"), (" a", "a")])
def test_an_id_that_the_sample_spells_otherwise_is_told_how(tmp_path, written, wanted):
    sentence = f"id {written!r} is not in {tmp_path / 'sample.csv'}, expected only its ids; it is {wanted!r} there"
    with pytest.raises(InputError, match=re.escape(sentence)):
        check(tmp_path, f"Id,Predicted\n{written},joy\n", f"Id,Predicted\n{wanted},joy\n")


def test_sample_at_fault_is_named_itself(tmp_path):
    for sample in (SAMPLE + "1,joy\n", b"\xef\xbb\xbf", "Id,Predicted\n1\n"):
        with pytest.raises(InputError, match=re.escape(str(tmp_path / "sample.csv"))):
            check(tmp_path, SAMPLE, sample)


def test_command_answers_0_or_2_with_one_line(tmp_path):
    (tmp_path / "sample.csv").write_text(SAMPLE)
    for text, labels, code in [(SAMPLE, "joy,anger", 0), (SAMPLE, "anger", 2), ("", "joy", 2)]:
        (tmp_path / "s.csv").write_text(text)
        command = [
            sys.executable,
            "-m",
            "common.submission",
            tmp_path / "s.csv",
            tmp_path / "sample.csv",
            "--labels",
            labels,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == code
        assert re.fullmatch(r"error: .*s\.csv.*\n" if code else "", done.stderr)


# A competition that wants one column in the order of its test file


def test_a_submission_without_ids_is_one_column_that_fits_its_sample(tmp_path):
    (tmp_path / "sample.csv").write_text("pred\n0\n0\n0\n")
    assert read_sample_ids(tmp_path / "sample.csv", ["x", "y", "z"], ["pred"], None) == ["x", "y", "z"]
    write_submission(tmp_path / "s.csv", ["x", "y", "z"], {"pred": ["4", "0", "41"]}, None)
    assert (tmp_path / "s.csv").read_text() == "pred\n4\n0\n41\n"
    check_submission(tmp_path / "s.csv", tmp_path / "sample.csv", label_names=["0", "4", "41"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("pred\n1\n2\n", "2 rows, expected 3"),
        ("pred\n1\n2\n3\n4\n", "4 rows, expected 3"),
        ("label\n1\n2\n3\n", "columns are label, expected pred"),
        ("pred\n1\n9\n2\n", "row 3, column pred: unknown label '9'"),
        ('pred\n1\n""\n2\n', "row 3, column pred"),
    ],
)
def test_a_submission_without_ids_that_does_not_fit_is_refused(tmp_path, content, message):
    (tmp_path / "sample.csv").write_text("pred\n0\n0\n0\n")
    (tmp_path / "s.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        check_submission(tmp_path / "s.csv", tmp_path / "sample.csv", label_names=["1", "2", "3"])


def test_a_sample_without_ids_must_have_the_test_files_number_of_rows(tmp_path):
    (tmp_path / "sample.csv").write_text("pred\n0\n0\n")
    with pytest.raises(InputError, match="2 rows, expected 3 as in the test file"):
        read_sample_ids(tmp_path / "sample.csv", ["x", "y", "z"], ["pred"], None)
    with pytest.raises(InputError, match="columns are pred, expected id,pred"):
        read_sample_ids(tmp_path / "sample.csv", ["x", "y"], ["pred"], "id")
