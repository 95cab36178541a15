"""Text rows to tensors: segments, truncation, max_length, attention masks, padding.

A row is one to three segments. They are joined as the tokenizer joins a pair: [CLS] a [SEP] b [SEP] for BERT, <s> a
</s></s> b </s> for RoBERTa; a third segment follows the second in the same way.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import datasets
import numpy as np
import torch
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from common.console import InputError
from common.decoders.segments import PairFormat, truncate
from common.examples import TextExample

TOKENIZER_COLUMNS = {"input_ids", "attention_mask", "token_type_ids", "labels"}  # what a tokenizer pads
LENGTH_COVERAGE = 0.995  # share of the training rows that max_length "auto" covers whole


def tokenize_segments(examples: Sequence[TextExample], tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]]:
    """Token ids, without special ones, of every distinct segment: one that stands in several rows is read once."""
    from common.tricks.token_cache import token_ids

    texts = list(dict.fromkeys(segment for example in examples for segment in example.segments))
    return dict(zip(texts, token_ids(texts, tokenizer), strict=True)) if texts else {}


def find_max_length(
    examples: Sequence[TextExample], tokenizer: PreTrainedTokenizerBase, max_length: str
) -> tuple[int, float]:
    """(tokens per row, share of the rows that are cut) for max_length, a number or `auto`, over the training rows."""
    pair_format = PairFormat.of(tokenizer)
    if examples and examples[0].template:
        from common.decoders.template import row_lengths

        lengths = row_lengths(examples, tokenizer)
    else:
        pieces = tokenize_segments(examples, tokenizer)
        special = pair_format.num_special
        lengths = np.array([sum(len(pieces[s]) for s in e.segments) + special(len(e.segments)) for e in examples])
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
    if examples and examples[0].template:
        from common.decoders.template import tokenized_rows

        return write_rows(tokenized_rows(examples, tokenizer, max_length, truncate), cache_file)

    def rows() -> Iterator[dict]:
        pieces = tokenize_segments(examples, tokenizer)
        pair_format = PairFormat.of(tokenizer)
        nothing = [tokenizer.bos_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id]
        for example in examples:
            segments = [pieces[segment] for segment in example.segments]
            room = max_length - pair_format.num_special(len(segments))
            parts = truncate(segments, room, example.main)
            if not any(parts) and not pair_format.num_special(1):
                parts = [nothing]  # an empty text of a family without special tokens: one token there must be
            row = pair_format.join(parts)
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
