"""What a sample submission says of the submission that is wanted, and a submission that says something else."""

from types import SimpleNamespace

import pytest

from common.console import InputError
from common.examples import TextExample
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
        ("id;v\n1;a\n2;a\n", "id;v\n2;a\n1;a\n", "sample.csv, row 1: 'id;v' is separated by semicolons"),
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
