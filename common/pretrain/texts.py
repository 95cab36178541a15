"""A competition's texts as rows for language modelling: each once, end to end, in rows of one length."""

from collections.abc import Sequence
from types import ModuleType

import datasets
from transformers import PreTrainedTokenizerBase

from common.console import InputError, print_once
from common.examples import TextExample, check_examples
from common.options.task_module import arguments_of


def read_texts(data: ModuleType, paths: Sequence[str], model_name_or_path: str) -> list[str]:
    """The segments of every row but its context, as the task's own read_examples() reads them with its default options;
    each text once, in the order of the files. Says how many are repeated. Raises InputError as the task does."""
    args = arguments_of(data)(model_name_or_path=model_name_or_path, train_file=paths[0])
    preprocessing = data.make_preprocessing(args)
    texts = []
    for path in paths:
        rows = data.read_examples(path, preprocessing)
        check_examples(rows, path)
        if not isinstance(rows[0], TextExample):
            raise InputError(f"{path}: holds no texts; pretraining is for the folders of texts")
        texts += [text for row in rows for text in row.own]
    distinct = list(dict.fromkeys(texts))
    print_once(f"{len(texts)} texts, {len(distinct)} different ones, which are read once each")
    return distinct


def pack(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int, causal: bool) -> datasets.Dataset:
    """Rows of max_length tokens: all texts with their special tokens, end to end; the last row is padded.

    Columns for DataCollatorForLanguageModeling: input_ids, attention_mask and, unless causal, special_tokens_mask and,
    where the tokenizer says what its words are, offset_mapping (max_length, 2). A causal model has its end token after
    each text. Nothing is left out: a text that is cut goes on in the next row.
    """
    encoded = tokenizer(list(texts), return_special_tokens_mask=True, verbose=False)
    end = [tokenizer.eos_token_id] if causal and tokenizer.eos_token_id is not None else []
    ids: list[int] = []
    special: list[int] = []
    offsets: list[tuple[int, int]] = []
    for number, (row, marks) in enumerate(zip(encoded["input_ids"], encoded["special_tokens_mask"], strict=True)):
        own = [] if end and row[-1:] == end else end
        ids += row + own
        special += marks + [1] * len(own)
        offsets += word_places(encoded.word_ids(number)) if tokenizer.is_fast else []
    missing = -len(ids) % max_length
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    columns = {
        "input_ids": ids + [pad] * missing,
        "attention_mask": [1] * len(ids) + [0] * missing,
    }
    if not causal:
        columns["special_tokens_mask"] = special + [1] * missing
        if offsets:
            columns["offset_mapping"] = offsets + [(0, 0)] * missing
    starts = range(0, len(ids) + missing, max_length)
    return datasets.Dataset.from_dict(
        {name: [values[start : start + max_length] for start in starts] for name, values in columns.items()}
    )


def word_places(words: Sequence[int | None]) -> list[tuple[int, int]]:
    """Places [start, end) of a text's tokens, with a gap in front of each word: by gaps the collator tells words apart.

    Not the tokenizer's own places, in which the space in front of a word may be its token's (DeBERTa v3), or which has
    none between words (Chinese): the whole text would be one word. words: the number of each token's; None: none.
    """
    places = []
    end = 0
    for number, word in enumerate(words):
        start = end if number and word is not None and word == words[number - 1] else end + 1
        end = start + 1
        places.append((start, end))
    return places
