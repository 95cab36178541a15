"""Text rows to tensors: tokenizers and models by name, segments, truncation, padding.

A row is one to three segments. They are joined as the tokenizer joins a pair: [CLS] a [SEP] b [SEP] for BERT, <s> a
</s></s> b </s> for RoBERTa; a third segment follows the second in the same way.
"""

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import torch
from pyarrow import compute
from safetensors import SafetensorError
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.trainers import WordPieceTrainer
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    DataCollatorWithPadding,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from common.errors import InputError, first_line
from common.examples import TextExample

# What from_pretrained raises for a folder or a hub id that holds no model, or damaged files.
BROKEN_FILES = (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError)
POSITIONS_AFTER_PAD = {
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "camembert",
    "mpnet",
    "longformer",
}  # the first is pad_token_id + 1
TOKENIZER_COLUMNS = {"input_ids", "attention_mask", "token_type_ids", "labels"}  # what a tokenizer pads
LENGTH_COVERAGE = 0.995  # share of the training rows that max_length "auto" covers whole
SCRATCH = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "vocab_size": 4000,
}
SCRATCH_ALPHABET = 1000  # the most frequent characters; a row's others are unknown
SCRATCH_INITIALIZER_RANGE = (
    0.06  # BERT's 0.02 is for hidden size 768; at 128 it learns the bundled samples 12 to 18 points worse
)


def load_tokenizer(
    name_or_path: str, texts: Sequence[str], special_tokens: Sequence[str] = (), trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, or for `scratch` a WordPiece one trained on `texts`; `special_tokens` become tokens of
    its vocabulary.

    Raises InputError where there is no such folder and no such model on the hub.
    """
    if name_or_path == "scratch":
        tokenizer = train_tokenizer(texts)
    else:
        try:
            tokenizer = AutoTokenizer.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
            config = AutoConfig.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
        except BROKEN_FILES as error:
            raise unavailable(name_or_path, error) from error
        tokenizer.model_max_length = min(
            tokenizer.model_max_length, max_positions(config)
        )  # some tokenizers do not know it
    tokenizer.add_tokens(list(special_tokens), special_tokens=True)
    return tokenizer


def max_positions(config: PretrainedConfig) -> int:
    """The longest row that the model's position embeddings take; a very large number where it has none."""
    positions = config.to_dict().get("max_position_embeddings") or VERY_LARGE_INTEGER
    return positions - config.pad_token_id - 1 if config.model_type in POSITIONS_AFTER_PAD else positions


def train_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerBase:
    """A lower-case WordPiece tokenizer, the same one in every process.

    The trainer of `tokenizers` numbers the pieces that it finds in the random order of a hash table, and breaks ties
    between merges by those numbers: a resumed run, or another process of the same run, would get another vocabulary. So
    all characters, alone and as the rest of a word, are numbered before it starts.
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    bert = BertTokenizerFast().backend_tokenizer
    counts = Counter(
        character for text in texts for character in bert.normalizer.normalize_str(text) if not character.isspace()
    )
    alphabet = sorted(sorted(counts, key=lambda character: (-counts[character], character))[:SCRATCH_ALPHABET])
    trainer = WordPieceTrainer(
        vocab_size=SCRATCH["vocab_size"],
        special_tokens=[*special, *(f"##{character}" for character in alphabet)],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    trained = Tokenizer(WordPiece(unk_token="[UNK]"))
    trained.normalizer = bert.normalizer
    trained.pre_tokenizer = bert.pre_tokenizer
    trained.train_from_iterator(texts, trainer)
    return BertTokenizerFast(
        vocab=dict(sorted(trained.get_vocab().items(), key=lambda item: item[1])), model_max_length=512
    )


def load_model(
    name_or_path: str, label_names: Sequence[str], tokenizer: PreTrainedTokenizerBase, trust_remote_code: bool = False
) -> PreTrainedModel:
    """A sequence classifier in float32 with one output per label, and embeddings for every token of the tokenizer.

    `scratch` is a BERT of 2 layers, hidden size 128. Raises InputError as load_tokenizer does.
    """
    labels = {"id2label": dict(enumerate(label_names)), "label2id": {name: i for i, name in enumerate(label_names)}}
    if name_or_path == "scratch":
        return BertForSequenceClassification(scratch_config(tokenizer, **labels))
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            name_or_path,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            trust_remote_code=trust_remote_code,
            **labels,
        )
    except BROKEN_FILES as error:
        raise unavailable(name_or_path, error) from error
    logging.getLogger("transformers.modeling_utils").setLevel(
        logging.ERROR
    )  # which weights are new is said once, not for every fold
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer))
    return model


def scratch_config(tokenizer: PreTrainedTokenizerBase, **labels: dict) -> BertConfig:
    """The encoder that `scratch` stands for, with embeddings for every token of the tokenizer."""
    return BertConfig(
        **{**SCRATCH, "vocab_size": len(tokenizer)},
        initializer_range=SCRATCH_INITIALIZER_RANGE,
        pad_token_id=tokenizer.pad_token_id,
        **labels,
    )


def load_fold(
    folder: str | Path, device: torch.device, label_names: Sequence[str], preprocessing: Sequence[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model (float32, on the device) and tokenizer of a finished fold.

    Raises InputError where the folder is not whole, or is another task's: its labels or the keys of
    config.preprocessing are others.
    """
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).to(device)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except BROKEN_FILES as error:
        raise InputError(f"{folder}: the model cannot be loaded ({first_line(error)})") from error
    found = model.config.to_dict().get("preprocessing", {})
    if set(found) != set(preprocessing):
        keys = ", ".join(found) or "none"
        raise InputError(
            f"{folder}: config.json has preprocessing for {keys}, expected {', '.join(preprocessing)}; is it another "
            "task's run?"
        )
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    if names != list(label_names):
        raise InputError(f"{folder}: the model's labels are {', '.join(names)}, expected {', '.join(label_names)}")
    return model, tokenizer


def unavailable(name_or_path: str, error: Exception) -> InputError:
    reason = first_line(error)
    if Path(name_or_path).is_dir():
        return InputError(f"model_name_or_path: the folder {name_or_path} holds no model that can be loaded ({reason})")
    demo = Path(sys.argv[0]).with_name("configs") / "demo.yaml"
    sample = f", or run the bundled sample: python {sys.argv[0]} --config {demo}" if demo.exists() else ""
    return InputError(
        f"model_name_or_path: {name_or_path} is no folder with a model and could not be had from the hub ({reason}); "
        "bring it from a "
        f"machine with a network (python -m common.offline) or name its folder{sample}"
    )


@dataclass
class PairFormat:
    """What a tokenizer puts around and between the two texts of a pair: token ids, and the token types of each part
    (None: has none)."""

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
    """Cut the segments at their ends to `room` tokens in all: the longest of the others first, `main` when they are
    used up."""
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
    """Token ids, without special ones, of every distinct segment: a line that is also another line's context is
    tokenized once."""
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
    """Tokens per row for max_length, a number above `least` or `auto`. lengths: (N,) of the training rows, uncut.
    Raises InputError."""
    limit = tokenizer.model_max_length
    if max_length == "auto":
        return min(int(np.quantile(lengths, LENGTH_COVERAGE, method="inverted_cdf")), limit)
    if not (max_length.isdecimal() and len(max_length) < 10) or int(max_length) <= least:
        raise InputError(f"max_length: {max_length!r} is neither auto nor a number above {least}")
    if int(max_length) > limit:
        raise InputError(f"max_length: {max_length} is more than the {limit} tokens that the model takes")
    return int(max_length)


def tokenize(
    examples: Sequence[TextExample], tokenizer: PreTrainedTokenizerBase, max_length: int, cache_file: str | Path
) -> datasets.Dataset:
    """Rows of id, input_ids, attention_mask, token_type_ids (if the tokenizer has them) and labels, in the examples'
    order.

    Nothing is padded here: Collator pads a batch to its longest row. The rows are memory-mapped from cache_file
    (Arrow).
    """
    pieces = tokenize_segments(examples, tokenizer)
    pair_format = PairFormat.of(tokenizer)

    def rows() -> Iterator[dict]:
        for example in examples:
            segments = [pieces[segment] for segment in example.segments]
            room = max_length - pair_format.num_special(len(segments))
            yield {
                "id": example.id,
                **pair_format.join(truncate(segments, room, example.main)),
                "labels": example.label,
            }

    return write_rows(rows(), cache_file)


def write_rows(rows: Iterable[dict], cache_file: str | Path) -> datasets.Dataset:
    """The rows, memory-mapped from cache_file (Arrow)."""
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


def row_lengths(dataset: datasets.Dataset) -> np.ndarray:
    """(N,) tokens of each row of tokenize(); 1 for rows that are no texts."""
    if "input_ids" not in dataset.column_names:
        return np.ones(len(dataset), dtype=np.int64)
    column = dataset.with_format("arrow", columns=["input_ids"])[:][
        "input_ids"
    ]  # no list is made of the rows: this is asked often
    return compute.list_value_length(column).to_numpy().astype(np.int64)
