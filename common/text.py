"""Text rows to tensors: segments, truncation, max_length, attention masks, padding.

A row is one to three segments. They are joined as the tokenizer joins a pair: [CLS] a [SEP] b [SEP] for BERT, <s> a
</s></s> b </s> for RoBERTa; a third segment follows the second in the same way.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import torch
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from common.console import InputError
from common.examples import TextExample

TOKENIZER_COLUMNS = {"input_ids", "attention_mask", "token_type_ids", "labels"}  # what a tokenizer pads
LENGTH_COVERAGE = 0.995  # share of the training rows that max_length "auto" covers whole


@dataclass
class PairFormat:
    """Token ids that a tokenizer puts around and between the two texts of a pair, and the token types."""

    prefix: list[int]
    between: list[int]
    suffix: list[int]
    types: list[int] | None  # of prefix, first text, between, second text, suffix

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "PairFormat":
        first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a", "b"))
        pair = tokenizer("a", "b")
        ids = pair["input_ids"]
        at = next(i for i in range(len(ids)) if ids[i : i + len(first)] == first)
        end = at + len(first)
        then = next(i for i in range(end, len(ids)) if ids[i : i + len(second)] == second)
        types = None
        if "token_type_ids" in tokenizer.model_input_names and "token_type_ids" in pair:
            kinds = pair["token_type_ids"]
            types = [kinds[0], kinds[at], kinds[end], kinds[then], kinds[-1]]
        return cls(ids[:at], ids[end:then], ids[then + len(second) :], types)

    def num_special(self, segments: int) -> int:
        """Special tokens in a row of that many segments."""
        return len(self.prefix) + len(self.between) * (segments - 1) + len(self.suffix)

    def join(self, segments: list[list[int]]) -> dict[str, list[int]]:
        """input_ids, attention_mask and, where the tokenizer has them, token_type_ids of one row."""
        ids = list(self.prefix)
        kinds = self.types or [0] * 5
        types = [kinds[0]] * len(self.prefix)
        for number, segment in enumerate(segments):
            if number:
                ids += self.between
                types += [kinds[2] if number == 1 else kinds[3]] * len(self.between)
            ids += segment
            types += [kinds[3] if number else kinds[1]] * len(segment)
        ids += self.suffix
        types += [kinds[4] if len(segments) > 1 else kinds[1]] * len(self.suffix)
        row = {"input_ids": ids, "attention_mask": [1] * len(ids)}
        return row if self.types is None else {**row, "token_type_ids": types}


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


def tokenize_segments(examples: Sequence[TextExample], tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]]:
    """Token ids, without special ones, of every distinct segment: one that stands in several rows is read once."""
    texts = list(dict.fromkeys(segment for example in examples for segment in example.segments))
    if not texts:
        return {}
    return dict(zip(texts, tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"], strict=True))


def find_max_length(
    examples: Sequence[TextExample], tokenizer: PreTrainedTokenizerBase, max_length: str
) -> tuple[int, float]:
    """(tokens per row, share of the rows that are cut) for max_length, a number or `auto`, over the training rows."""
    pieces = tokenize_segments(examples, tokenizer)
    pair_format = PairFormat.of(tokenizer)
    lengths = np.array(
        [sum(len(pieces[s]) for s in e.segments) + pair_format.num_special(len(e.segments)) for e in examples]
    )
    length = choose_max_length(lengths, tokenizer, max_length, pair_format.num_special(3))
    return length, float((lengths > length).mean())


def choose_max_length(lengths: np.ndarray, tokenizer: PreTrainedTokenizerBase, max_length: str, least: int) -> int:
    """Tokens per row for max_length, a number above `least` or `auto`, over lengths (N,). Raises InputError."""
    limit = tokenizer.model_max_length
    if max_length == "auto":
        return min(int(np.quantile(lengths, LENGTH_COVERAGE, method="inverted_cdf")), limit)
    if not (max_length.isdecimal() and len(max_length) < 10) or int(max_length) <= least:
        raise InputError(f"max_length: {max_length!r} is neither auto nor a number above {least}")
    if int(max_length) > limit:
        raise InputError(f"max_length: {max_length} is more than the {limit} tokens that the model takes")
    return int(max_length)


def tokenize(
    examples: Sequence[TextExample],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    cache_file: str | Path | None = None,
) -> datasets.Dataset | list[dict]:
    """Rows of id, labels and what the tokenizer has, as write_rows() keeps them; Collator pads them."""

    def rows() -> Iterator[dict]:
        pieces = tokenize_segments(examples, tokenizer)
        pair_format = PairFormat.of(tokenizer)
        for example in examples:
            segments = [pieces[segment] for segment in example.segments]
            room = max_length - pair_format.num_special(len(segments))
            row = pair_format.join(truncate(segments, room, example.main))
            yield {"id": example.id, **row, "labels": example.label}

    return write_rows(rows(), cache_file)


def write_rows(rows: Iterable[dict], cache_file: str | Path | None) -> datasets.Dataset | list[dict]:
    """The rows, memory-mapped from cache_file (Arrow); a list without one."""
    if cache_file is None:
        return list(rows)
    if not Path(cache_file).with_suffix(".whole").exists():  # else of a fold or process before (workers/rows.py)
        Path(cache_file).parent.mkdir(parents=True, exist_ok=True)
        with datasets.arrow_writer.ArrowWriter(path=str(cache_file), writer_batch_size=5000) as writer:
            for row in rows:
                writer.write(row)
            writer.finalize()
    return datasets.Dataset.from_file(str(cache_file))


class Collator:
    """Pads rows of tokenize() to the longest of the batch (to a multiple of 8 on a GPU, whose matrix units want it).

    Columns beside the tokenizer's own hold a number per token (what it belongs to, say) and are padded with 0.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer
        self.pad = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8 if torch.cuda.is_available() else None)

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        own = [key for key in rows[0] if key in TOKENIZER_COLUMNS]
        batch = dict(self.pad([{key: row[key] for key in own} for row in rows]))
        for key in rows[0].keys() - {*own, "id"}:
            batch[key] = torch.zeros_like(batch["input_ids"])
            for number, row in enumerate(rows):
                place = slice(len(row[key])) if self.tokenizer.padding_side == "right" else slice(-len(row[key]), None)
                batch[key][number, place] = torch.tensor(row[key])
        return batch
