"""Rows as one text of a template, in place of segments: "Dialogue:\\n{previous}\\nLine: {current}\\nEmotion:".

The text is tokenized as a whole, so a row that fits is what the tokenizer makes of it (pipeline() reads the same).
Fields are cut in tokens: the context's longest first, {current} when it is used up; the template's words, and what
the tokenizer puts around a row, never.
"""

from collections.abc import Iterator, Sequence
from string import Formatter
from typing import TYPE_CHECKING, Any

import numpy as np

from common.console import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CURRENT = "current"


def fields_of(template: str) -> list[str]:
    """The names of a template's fields, in order. Raises InputError for a brace that opens none."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise InputError(f"prompt_template: {error}; a brace of the text itself is written twice") from error
    for _, name, form, conversion in parts:
        if name is not None and (form or conversion):
            raise InputError(f"prompt_template: {{{name}}} has a format, expected the name of a field alone")
    return [name for _, name, *_ in parts if name is not None]


def check_template(template: str, known: Sequence[str]) -> None:
    """Raise InputError for a template without {current}, with another field than the known, or with one twice."""
    names = fields_of(template)
    offered = ", ".join(f"{{{name}}}" for name in known)
    for name in names:
        if name not in known:
            raise InputError(f"prompt_template: {{{name}}} is no field of this task, expected some of {offered}")
        if names.count(name) > 1:
            raise InputError(f"prompt_template: {{{name}}} stands there twice, expected once")
    if CURRENT not in names:
        raise InputError(f"prompt_template: has no {{{CURRENT}}}, the text to classify; expected some of {offered}")


def literals_of(template: str) -> list[str]:
    """What stands before, between and behind the fields; one more than there are fields."""
    literals = [""]
    for text, name, *_ in Formatter().parse(template):
        literals[-1] += text
        if name is not None:
            literals.append("")
    return literals


def fill(template: str, values: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """(the text, the characters [start, end) of each field) of values in the order of the template's fields."""
    text, *literals = literals_of(template)
    spans = []
    for value, literal in zip(values, literals, strict=True):
        spans.append((len(text), len(text) + len(value)))
        text += value + literal
    return text, spans


def template_rows(examples: Sequence, tokenizer: "PreTrainedTokenizerBase") -> Iterator[tuple[dict, list[list[int]]]]:
    """(what the tokenizer gives for a row, the places of the tokens of each of its fields).

    A token that belongs to a field and to the template's words is the template's. Raises InputError for a tokenizer
    that does not say where its tokens stand.
    """
    if not tokenizer.is_fast:
        raise InputError("prompt_template: the tokenizer is a slow one, which does not say where its tokens stand")
    for example in examples:
        text, spans = fill(example.template, example.segments)
        row = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
        offsets = row.pop("offset_mapping")
        special = row.pop("special_tokens_mask")
        places: list[list[int]] = [[] for _ in spans]
        for place, (start, end) in enumerate(offsets):
            if special[place] and start == end:
                continue
            for number, (first, last) in enumerate(spans):
                # a space in front of a word belongs to its token
                if (start >= first or not text[start:first].strip() and first < end) and start < end <= last:
                    places[number].append(place)
        yield row, places


def row_lengths(examples: Sequence, tokenizer: "PreTrainedTokenizerBase") -> np.ndarray:
    """(N,) tokens of each row, uncut."""
    return np.array([len(row["input_ids"]) for row, _ in template_rows(examples, tokenizer)])


def tokenized_rows(
    examples: Sequence, tokenizer: "PreTrainedTokenizerBase", max_length: int, truncate: Any
) -> Iterator[dict]:
    """Rows of id, labels and what the tokenizer has, of at most max_length tokens. truncate: common.text's.

    Raises InputError where the template's words alone are longer.
    """
    for example, (row, places) in zip(examples, template_rows(examples, tokenizer), strict=True):
        length = len(row["input_ids"])
        if length > max_length:
            fixed = length - sum(map(len, places))
            if fixed >= max_length:
                raise InputError(f"max_length: {max_length} has no room beside the template's {fixed} tokens")
            kept = {place for part in truncate(places, max_length - fixed, example.main) for place in part}
            cut = {place for part in places for place in part} - kept
            row = {key: [value for i, value in enumerate(row[key]) if i not in cut] for key in row}
        yield {"id": example.id, **row, "labels": example.label}
