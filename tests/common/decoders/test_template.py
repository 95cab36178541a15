"""Rows as one text of a template: what is cut, and what never is."""

import pytest
from transformers import AutoTokenizer

from common.console import InputError
from common.decoders.template import check_template, fields_of, fill
from common.examples import TextExample
from common.text import find_max_length, tokenize
from tests.tools.decoders import make_decoder

TEMPLATE = "Dialogue:\n{previous}\nLine: {current}\nEmotion:"


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def tokenizer(request, tmp_path_factory):
    """Without and with a token in front of a row."""
    return AutoTokenizer.from_pretrained(make_decoder(request.param, tmp_path_factory.mktemp("decoder")))


def example(previous, current):
    return TextExample("0", [previous, current], main=1, template=TEMPLATE)


def text_of(rows, tokenizer):
    return tokenizer.decode(rows[0]["input_ids"], skip_special_tokens=True)


def test_a_row_that_fits_is_what_the_tokenizer_makes_of_the_whole_text(tokenizer):
    row = example("How are you?", "I am fine, thanks.")
    (rows,) = tokenize([row], tokenizer, 200)
    whole = tokenizer("Dialogue:\nHow are you?\nLine: I am fine, thanks.\nEmotion:")
    assert rows["input_ids"] == whole["input_ids"] and rows["attention_mask"] == [1] * len(whole["input_ids"])
    assert find_max_length([row], tokenizer, "auto") == (len(whole["input_ids"]), 0.0)


@pytest.mark.parametrize("less", range(1, 20, 3))
def test_the_context_is_cut_before_the_line_and_the_templates_words_never(tokenizer, less):
    previous, current = "What did you say about the trip?" * 2, "I am fine, thanks."
    row = example(previous, current)
    length = find_max_length([row], tokenizer, "auto")[0]
    rows = tokenize([row], tokenizer, length - less)
    assert len(rows[0]["input_ids"]) == length - less
    text = text_of(rows, tokenizer)
    assert text.startswith("Dialogue:\n") and text.endswith("\nEmotion:") and "\nLine:" in text
    before, _, line = text.removeprefix("Dialogue:\n").removesuffix("\nEmotion:").partition("\nLine:")
    assert previous.startswith(before) and len(before) < len(previous)
    assert line.strip() == current or not before and current.startswith(line.strip())


def test_a_length_that_the_words_alone_fill_is_one_sentence(tokenizer):
    row = example("a" * 300, "b" * 300)
    for length in (5, 20):
        with pytest.raises(InputError, match=f"max_length: {length} has no room beside the template's"):
            tokenize([row], tokenizer, length)


@pytest.mark.parametrize(
    "template, part",
    [
        ("Line: {previous}", "has no {current}"),
        ("{currant}", "{currant} is no field of this task, expected some of {current}, {previous}"),
        ("{current} {current}", "stands there twice"),
        ("{current", "prompt_template: "),
        ("{current!r}", "has a format"),
        ("{}{current}", "{} is no field"),
    ],
)
def test_a_template_that_cannot_be_filled_is_one_sentence(template, part):
    with pytest.raises(InputError) as info:
        check_template(template, ("current", "previous"))
    assert part in str(info.value)


def test_braces_that_are_written_twice_are_text():
    assert fields_of("{{x}} {current}") == ["current"]
    assert fill("{{x}} {current}!", ["{y}"]) == ("{x} {y}!", [(4, 7)])
