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
        ("rust scab", " ", ["rust", "scab"]),
        ("", ",", []),
        ("[]", ",", []),
    ],
)
def test_a_list_of_labels_is_read_in_both_spellings(cell, separator, names):
    assert listed(cell, separator) == names


def test_a_label_that_is_unknown_or_empty_is_refused_and_a_missing_column_is_no_label():
    assert label_number(None, ["a", "b"], "t") == -1
    assert label_number(" b ", ["a", "b"], "t") == 1
    with pytest.raises(InputError, match="t: 'joyy' is not one of .* .nearest: 'joy'."):
        label_number("joyy", ["anger", "joy"], "t")
    with pytest.raises(InputError, match="t: is empty"):
        label_number(" ", ["a", "b"], "t")


def test_a_number_is_finite_and_in_digits():
    assert number_of("3.50", "t") == 3.5
    assert math.isnan(number_of(None, "t"))
    for value in ("good", "1_000", "1e999", "", "nan"):
        with pytest.raises(InputError, match="^t: "):
            number_of(value, "t")


def test_texts_that_differ_in_case_and_spaces_are_the_same():
    assert same_text(["A  b", "c"]) == same_text(["a b ", "C"]) != same_text(["a", "b c"])


def test_marks_are_taken_out_and_the_spans_hold_what_stood_between_them():
    plain, spans = take_out_marks("The <e1> old arm </e1> of a <e2>chair</e2>, <b>ok")
    assert plain == "The old arm of a chair, <b>ok"
    assert {name: plain[a : b + 1] for name, (a, b) in spans.items()} == {"e1": "old arm", "e2": "chair"}
