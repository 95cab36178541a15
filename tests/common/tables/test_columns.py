"""Columns as the text that a model reads, and as labels."""

import math

import pytest

from common.console import InputError
from common.tables.columns import (
    decode_html,
    decode_percent,
    fill,
    label_number,
    listed,
    marked_label,
    marked_labels,
    number_of,
    same_text,
    take_out_marks,
)


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("{keyword}: {text}", {"keyword": "fire", "text": "Help!"}, "fire: Help!"),
        ("{keyword}: {text}", {"keyword": " ", "text": "Help!"}, "Help!"),
        ("{keyword}: {text}", {"keyword": "fire", "text": ""}, "fire"),
        ("{keyword}: {text}", {"keyword": "", "text": ""}, ""),
        ("[{a}] {b} - {c}", {"a": "x", "b": "", "c": "z"}, "[x - z"),
        ("tags {a}; {b}", {"a": "", "b": "y"}, "y"),
        ("{a}, {{b}}", {"a": "x"}, "x, {b}"),
    ],
)
def test_an_empty_column_is_left_out_with_what_stands_in_front_of_it(template, values, text):
    assert fill(template, values) == text


def test_entities_and_escapes_become_characters_and_what_is_none_stays():
    assert decode_html("a &lt;b&gt; &amp; c &#39; AT&T") == "a <b> & c ' AT&T"
    assert decode_percent("body%20bag 100% %C3%A9 %FF") == "body bag 100% é %FF"


@pytest.mark.parametrize(
    ("cell", "separator", "names"),
    [
        ("2,3,4", ",", ["2", "3", "4"]),
        ("[2, 3]", ",", ["2", "3"]),
        ("[\"a b\", 'c']", ",", ["a b", "c"]),
        ('["a, b", "c"]', ",", ["a, b", "c"]),
        ("[a, b]", ",", ["a", "b"]),
        ("rust scab", " ", ["rust", "scab"]),
        ("", ",", []),
        ("[]", ",", []),
        ("['a b' 'c']", ",", ["a b", "c"]),  # numpy's
        ("['a'\n \"b's\"]", ",", ["a", "b's"]),
        ("[1 2 13]", ",", ["1", "2", "13"]),
        ("('a, b', 'c')", ";", ["a, b", "c"]),
        ("('a',)", ",", ["a"]),
        ("{'b', 'a'}", ",", ["b", "a"]),
        ("set()", ",", []),
        ("(a)", ",", ["(a)"]),
        ("Cause(e1,e2)", ";", ["Cause(e1,e2)"]),
    ],
)
def test_a_list_of_labels_is_read_in_every_spelling(cell, separator, names):
    assert listed(cell, separator) == names


def test_a_label_that_is_unknown_or_empty_is_refused_and_a_missing_column_is_no_label():
    assert label_number(None, ["a", "b"], "t") == -1
    assert label_number(" b ", ["a", "b"], "t") == 1
    with pytest.raises(InputError, match="t: 'joyy' is not one of .* .nearest: 'joy'."):
        label_number("joyy", ["anger", "joy"], "t")
    with pytest.raises(InputError, match="t: is empty"):
        label_number(" ", ["a", "b"], "t")


def test_labels_that_are_numbers_are_told_by_their_value_where_only_one_has_it():
    assert [label_number(cell, ["1", "2"], "t") for cell in ("1", "2.0", "02")] == [0, 1, 1]
    assert label_number("01", ["01", "1"], "t") == 0
    with pytest.raises(InputError, match="'1.0' is not one of"):
        label_number("1.0", ["01", "1"], "t")


@pytest.mark.parametrize(
    ("cell", "marks", "number"),
    [
        ("3,5", (",", ""), 3.5),
        ("-1.234,5", (",", "."), -1234.5),
        ("1,234,567.5", (".", ","), 1234567.5),
        ("12 345", (".", " "), 12345),
        ("1e3", (".", ","), 1000),
    ],
)
def test_a_number_has_the_marks_that_are_named(cell, marks, number):
    assert number_of(cell, "t", *marks) == number


@pytest.mark.parametrize(
    ("cell", "marks"), [("1.5", (",", "")), ("1,23", (".", ",")), ("1,2345", (".", ",")), ("0,123", (".", ","))]
)
def test_a_number_with_other_marks_or_uneven_groups_is_refused(cell, marks):
    with pytest.raises(InputError, match="is not a number"):
        number_of(cell, "t", *marks)


def test_a_column_a_label_holds_0_or_1_and_without_columns_or_cells_nothing_is_known():
    assert marked_labels({"a": " 1.0", "b": "False", "x": "7"}, ["a", "b"], "t") == ["a"]
    assert marked_labels({"x": "1"}, ["a", "b"], "t") is None
    assert marked_labels({"a": "", "b": " "}, ["a", "b"], "t") is None
    assert marked_label({"a": "0", "b": "1"}, ["a", "b"], "t") == 1
    assert marked_label({}, ["a", "b"], "t") == -1
    with pytest.raises(InputError, match="t, column b: '2', expected 0 or 1"):
        marked_labels({"a": "1", "b": "2"}, ["a", "b"], "t")
    with pytest.raises(InputError, match="t, column b: '', expected 0 or 1"):
        marked_labels({"a": "1"}, ["a", "b"], "t")
    with pytest.raises(InputError, match="t: 0 of a, b are 1, expected one"):
        marked_label({"a": "0", "b": "0"}, ["a", "b"], "t")


def test_a_number_is_finite_and_in_digits():
    assert number_of("3.50", "t") == 3.5
    assert math.isnan(number_of(None, "t"))
    for value in ("good", "1_000", "1e999", "", "nan"):
        with pytest.raises(InputError, match="^t: "):
            number_of(value, "t")


@pytest.mark.parametrize(
    ("text", "names"),
    [("<e1>a</e1> <e2>b</e2> <e1>c</e1>", ["e1", "e1 again", "e2"]), ("<e1> </e1> and <e2>b</e2>", ["e2"])],
)
def test_a_mark_that_stands_twice_or_around_nothing_is_seen(text, names):
    assert sorted(take_out_marks(text)[1]) == names


def test_texts_that_differ_in_case_and_spaces_are_the_same():
    assert same_text(["A  b", "c"]) == same_text(["a b ", "C"]) != same_text(["a", "b c"])


def test_marks_are_taken_out_and_the_spans_hold_what_stood_between_them():
    plain, spans = take_out_marks("The <e1> old arm </e1> of <i>a <e2>chair</e2></i>, <b>ok")
    assert plain == "The old arm of <i>a chair</i>, <b>ok"
    assert {name: plain[a : b + 1] for name, (a, b) in spans.items()} == {"e1": "old arm", "e2": "chair"}
