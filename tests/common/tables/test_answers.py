"""Cells of submissions of all kinds, and the check of each."""

import numpy as np
import pytest

from common.console import InputError
from common.logits import Logits
from common.submission import (
    Submission,
    SubmissionFormat,
    check_submission,
    label_json,
    label_list,
    label_words,
    labels_joined,
    number,
    probability_of,
    score,
    whole_number,
    yes_or_no,
)
from common.tables.answers import check_list
from common.targets import Classes, Number, SeveralLabels

NAMES = ["2", "3", "4"]
VALUES = np.array([[1.0, 2.0, -1.0], [-1.0, -2.0, -3.0]], np.float32)


def logits(target=Classes):
    names = target(NAMES)
    return Logits(np.array(["007", "b\\ 1"]), VALUES, [names.unknown] * 2, names)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"labels": label_list}, 'id,labels\n007,"2,3"\nb\\ 1,2\n'),
        ({"labels": label_words}, "id,labels\n007,2 3\nb\\ 1,2\n"),
        ({"labels": labels_joined("; ")}, "id,labels\n007,2; 3\nb\\ 1,2\n"),
        ({"labels": label_json}, 'id,labels\n007,"[2, 3]"\nb\\ 1,[]\n'),
        ({"is_{label}": yes_or_no}, "id,is_2,is_3,is_4\n007,1,1,0\nb\\ 1,0,0,0\n"),
        ({"p": number}, "id,p\n007,1\nb\\ 1,-1\n"),
    ],
)
def test_a_submission_of_each_kind_is_written_with_the_samples_ids_and_passes_its_own_check(tmp_path, columns, text):
    form = SubmissionFormat("id", columns)
    names = form.column_names(NAMES)
    sample = tmp_path / "sample.csv"
    sample.write_text(f"id,{','.join(names)}\n" + "".join(f"{i}{',0' * len(names)}\n" for i in ("b\\ 1", "007")))
    ids = ["b\\ 1", "007"]
    Submission(form, str(sample), ids).write(tmp_path / "s.csv", logits(SeveralLabels))
    first, *rows = text.splitlines(keepends=True)
    assert (tmp_path / "s.csv").read_text() == first + "".join(reversed(rows))


@pytest.mark.parametrize(
    ("function", "cells"),
    [
        (yes_or_no, [["0", "1"], ["1", "0"], ["0", "0"]]),  # 0 or 1 of each label
        (label_list, ["3", "2"]),
        (label_json, ["[3]", "[2]"]),
    ],
)
def test_where_a_row_has_one_class_the_likeliest_is_the_only_one_however_many_logits_are_above_0(function, cells):
    assert function(logits()) == cells


def test_whole_numbers_are_rounded_and_none_is_minus_0():
    values = np.array([[2.5], [-0.2], [123456.6]], np.float32)
    cells = whole_number(Logits(np.array(["a", "b", "c"]), values, np.full(3, np.nan), Number("y")))
    assert cells == ["2", "0", "123457"]


def test_scores_of_several_labels_need_not_sum_to_one_and_are_between_0_and_1(tmp_path):
    form = SubmissionFormat("id", {"{label}": score})
    (tmp_path / "sample.csv").write_text("id,2,3,4\n007,0,0,0\n")
    (tmp_path / "s.csv").write_text("id,2,3,4\n007,0.9,0.8,0.1\n")
    check_submission(tmp_path / "s.csv", tmp_path / "sample.csv", kinds=form.kinds(NAMES))
    (tmp_path / "s.csv").write_text("id,2,3,4\n007,0.9,1.8,0.1\n")
    with pytest.raises(InputError, match="row 2, column 3: '1.8', expected a probability"):
        check_submission(tmp_path / "s.csv", tmp_path / "sample.csv", kinds=form.kinds(NAMES))


def test_the_probability_of_one_label_is_that_of_its_column():
    cells = SubmissionFormat("id", {"p": probability_of("3")}).cells(logits())
    assert cells == {"p": ["0.70538451", "0.24472847"]}


@pytest.mark.parametrize(
    ("kind", "cell", "wrong"),
    [
        ("list", '"2,4"', '"2,5"'),
        ("list", '"[2, 4]"', '"[2, 2]"'),
        ("list", "[]", "[x]"),
        ("list", "2 3", "2 33"),
        ("binary", "1", "0.5"),
        ("number", "-3.5", "high"),
    ],
)
def test_a_cell_that_is_not_of_its_kind_is_refused_at_its_place(tmp_path, kind, cell, wrong):
    (tmp_path / "sample.csv").write_text("id,x\n1,0\n")
    kinds = {"label_names": NAMES if kind == "list" else None, "kinds": {"x": kind}}
    (tmp_path / "s.csv").write_text(f"id,x\n1,{cell}\n")
    check_submission(tmp_path / "s.csv", tmp_path / "sample.csv", **kinds)
    (tmp_path / "s.csv").write_text(f"id,x\n1,{wrong}\n")
    with pytest.raises(InputError, match="row 2, column x"):
        check_submission(tmp_path / "s.csv", tmp_path / "sample.csv", **kinds)


def test_a_sample_that_repeats_ids_without_labels_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "sample.csv").write_text("id,x\n1,0\n1,0\n")
    with pytest.raises(InputError, match="1 ids are repeated, expected each once, or with the same labels in each"):
        check_submission(tmp_path / "sample.csv", tmp_path / "sample.csv")


@pytest.mark.parametrize("cell", ["red/blue", "Cause(e1,e2);red", "Cause(e1,e2)/blue", "blue red"])
def test_labels_of_a_list_are_told_by_the_separator_that_leaves_known_ones(cell):
    names = ["red", "blue", "Cause(e1,e2)"]
    check_list(cell, names, "row 2")
    with pytest.raises(InputError, match="row 2: unknown label"):
        check_list(f"{cell}x", names, "row 2")
