"""A row's segments as one row of tokens: cut, and joined as the tokenizer joins a pair."""

from dataclasses import dataclass
from itertools import islice

from transformers import PreTrainedTokenizerBase

from common.console import InputError

TEXTS = ("가", "나", "1", "2", "the", "좋다")
MOST_PROBES = 1000  # words of the vocabulary, which may be 250,000


@dataclass
class PairFormat:
    """Token ids that a tokenizer puts around and between the two texts of a pair, and the token types."""

    prefix: list[int]
    between: list[int]
    suffix: list[int]
    types: list[list[int]] | None  # of prefix, first text, between, second text, suffix; a text's is one number
    alone: list[list[int]] | None  # of prefix, text, suffix where a row has one segment

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "PairFormat":
        texts = probes(tokenizer)
        first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
        single, pair = tokenizer(texts[0]), tokenizer(*texts)
        before, _, after = around(single["input_ids"], first)
        prefix, at, rest = around(pair["input_ids"], first)
        between, then, suffix = around(rest, second)
        then += at + len(first)
        types = alone = None
        if "token_type_ids" in tokenizer.model_input_names and "token_type_ids" in pair:
            kinds = pair["token_type_ids"]
            end = then + len(second)
            types = [kinds[:at], kinds[at : at + 1], kinds[at + len(first) : then], kinds[then : then + 1], kinds[end:]]
            kinds = single["token_type_ids"]
            alone = [kinds[: len(before)], kinds[len(before) :][:1], kinds[len(kinds) - len(after) :]]
        if not (prefix or between or suffix):  # a template for one text alone says nothing of pairs
            prefix, between, suffix = before, after, after
            if types:
                types = [alone[0], types[1], alone[2], types[3], types[3] * len(after)]
        if not between:  # families without special tokens (GPT-2, Qwen) would glue one text to the other
            between = tokenizer("\n", add_special_tokens=False)["input_ids"]
            if types:
                types[2] = types[3] * len(between)
        return cls(prefix, between, suffix, types, alone)

    def num_special(self, segments: int) -> int:
        """Special tokens in a row of that many segments."""
        return len(self.prefix) + len(self.between) * (segments - 1) + len(self.suffix)

    def join(self, segments: list[list[int]]) -> dict[str, list[int]]:
        """input_ids, attention_mask and, where the tokenizer has them, token_type_ids of one row."""
        ids = [*self.prefix, *segments[0]]
        for segment in segments[1:]:
            ids += [*self.between, *segment]
        ids += self.suffix
        row = {"input_ids": ids, "attention_mask": [1] * len(ids)}
        if self.types is None:
            return row
        before, first, between, second, after = self.types
        if len(segments) == 1:
            before, first, after = self.alone
        types = [*before, *first * len(segments[0])]
        for number, segment in enumerate(segments[1:]):
            types += [*(second * len(self.between) if number else between), *second * len(segment)]
        return {**row, "token_type_ids": [*types, *after]}


def probes(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Two texts that a tokenizer reads as tokens, none of them special where it knows such.

    Letters at first; a vocabulary without them, of Korean alone say, may drop them without a token. Raises InputError.
    """
    special = set(tokenizer.all_special_ids)
    words = (word for word in tokenizer.get_vocab() if word not in tokenizer.all_special_tokens)
    read: list[str] = []  # at least as something unknown
    known: list[str] = []
    for text in ("a", "b", *TEXTS, *islice(words, MOST_PROBES)):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if ids:
            read.append(text)
            if not special & set(ids):
                known.append(text)
        if len(known) == 2:
            break
    found = known or read
    if not found:
        raise InputError("model_name_or_path: the tokenizer reads no token even in the words of its own vocabulary")
    return [found[0], found[-1]]


def around(ids: list[int], part: list[int]) -> tuple[list[int], int, list[int]]:
    """(what stands before a part, how much that is, what stands behind it)."""
    at = next(i for i in range(len(ids)) if ids[i : i + len(part)] == part)
    return ids[:at], at, ids[at + len(part) :]


def truncate(segments: list[list[int]], room: int, main: int) -> list[list[int]]:
    """Cut segments at their ends to `room` tokens in all: the longest others first, `main` when they are used up."""
    lengths = [len(segment) for segment in segments]
    while (excess := sum(lengths) - room) > 0:
        others = [i for i in range(len(lengths)) if i != main and lengths[i]]
        if not others:
            lengths[main] = max(0, room)
            break
        order = sorted(others, key=lambda i: -lengths[i])
        below = lengths[order[1]] if len(order) > 1 else 0
        lengths[order[0]] -= min(excess, max(1, lengths[order[0]] - below))
    return [segment[:length] for segment, length in zip(segments, lengths, strict=True)]
