"""Segments, truncation, padding and batches of similar length."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, BertTokenizerFast, PreTrainedTokenizerFast, RobertaTokenizerFast

from common.batches import LengthBatchSampler, row_lengths, token_budget_sizes
from common.console import InputError
from common.examples import TextExample
from common.models import load_model, load_tokenizer
from common.options import TextTaskArguments
from common.text import Collator, PairFormat, find_max_length, tokenize, tokenize_segments, truncate
from common.tricks.token_budget import TokenBudgetBatchSampler

LINES = [
    "the cat sat on the mat",
    "a dog ran",
    "the dog sat",
    "what a day it was , was it not",
    "yes",
    "the end of the day",
] * 5


@pytest.fixture(scope="module")
def bert():
    return load_tokenizer(TextTaskArguments(), LINES, ["[None]"])


@pytest.fixture(scope="module")
def roberta():
    return RobertaTokenizerFast().train_new_from_iterator([LINES], vocab_size=400)


def test_two_segments_are_joined_exactly_as_the_tokenizer_joins_a_pair(bert, roberta, tmp_path):
    for number, tokenizer in enumerate([bert, roberta]):
        examples = [TextExample("0", ["the cat sat", "a dog ran"]), TextExample("1", ["yes"])]
        rows = tokenize(examples, tokenizer, 64, tmp_path / f"{number}.arrow")
        for row, expected in zip(rows, [tokenizer("the cat sat", "a dog ran"), tokenizer("yes")], strict=True):
            for key in expected:
                assert row[key] == expected[key], (type(tokenizer), key)


def test_a_third_segment_follows_the_second_with_the_same_separator(bert):
    pair_format = PairFormat.of(bert)
    row = pair_format.join([[11], [12], [13]])
    cls, sep = bert.cls_token_id, bert.sep_token_id
    assert row["input_ids"] == [cls, 11, sep, 12, sep, 13, sep]
    assert row["token_type_ids"] == [0, 0, 0, 1, 1, 1, 1]
    assert pair_format.num_special(3) == 4


def framed(vocabulary, **templates):
    """A tokenizer of single characters that drops what it does not know; templates: of TemplateProcessing."""
    own = Tokenizer(BPE(vocab={token: number for number, token in enumerate(vocabulary)}, merges=[]))
    own.pre_tokenizer = Whitespace()
    special = [("[CLS]", 0), ("[SEP]", 1)]
    own.post_processor = TemplateProcessing(special_tokens=special, **templates)
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=own, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", model_input_names=names
    )


PAIR = "[CLS] $A [SEP] $B:1 [SEP]:1"
TEMPLATES = {
    "bert": {"single": "[CLS] $A [SEP]", "pair": PAIR},
    "xlnet": {"single": "$A [SEP] [CLS]:2", "pair": "$A [SEP] $B:1 [SEP]:1 [CLS]:2"},
}


@pytest.mark.parametrize("vocabulary", ["ab", "좋다", "x"], ids=["letters", "korean", "one"])
@pytest.mark.parametrize("family", TEMPLATES)
def test_a_row_is_what_the_tokenizer_makes_of_it_whatever_its_vocabulary_lacks(family, vocabulary):
    tokenizer = framed(["[CLS]", "[SEP]", "[PAD]", *vocabulary], **TEMPLATES[family])
    first, last = vocabulary[0], vocabulary[-1]
    for segments in [[last], [first, last * 2], [last * 3, first]]:
        row = PairFormat.of(tokenizer).join(list(tokenize_segments([TextExample("0", segments)], tokenizer).values()))
        assert row == dict(tokenizer(*segments))


def test_a_tokenizer_with_a_template_for_one_text_alone_puts_its_tokens_around_pairs_too():
    tokenizer = framed(["[CLS]", "[SEP]", "[PAD]", "a", "b"], single="[CLS] $A [SEP]")
    pair_format = PairFormat.of(tokenizer)
    assert pair_format.join([[3]])["input_ids"] == [0, 3, 1] and pair_format.num_special(2) == 3
    row = pair_format.join([[3, 4], [4]])
    assert row["input_ids"] == [0, 3, 4, 1, 4, 1] and len(row["token_type_ids"]) == 6


def test_a_tokenizer_that_reads_nothing_is_one_sentence():
    with pytest.raises(InputError, match="reads no token"):
        PairFormat.of(framed(["[CLS]", "[SEP]", "[PAD]"], **TEMPLATES["bert"]))


def test_truncation_takes_from_the_context_before_the_main_segment():
    main, context, other = list(range(10)), list(range(100, 108)), list(range(200, 203))
    cut = truncate([main, context, other], 15, main=0)
    assert cut[0] == main and sum(map(len, cut)) == 15 and cut[1] == context[: len(cut[1])]
    assert truncate([context, main], 4, main=1) == [[], main[:4]]
    assert truncate([main, context], 18, main=0) == [main, context]


def test_no_row_is_longer_than_max_length_and_none_is_padded(bert, tmp_path):
    examples = [TextExample(str(i), [line, "yes"]) for i, line in enumerate(LINES)]
    rows = tokenize(examples, bert, 9, tmp_path / "a.arrow")
    lengths = row_lengths(rows)
    assert lengths.max() == 9 and lengths.min() < 9
    assert bert.pad_token_id not in [i for ids in rows["input_ids"] for i in ids]


def test_special_tokens_are_single_tokens_with_an_embedding(bert):
    assert len(bert("[None]", add_special_tokens=False)["input_ids"]) == 1
    model = load_model(TextTaskArguments(), ["a", "b"], bert)
    assert model.get_input_embeddings().num_embeddings == len(bert)


def test_auto_max_length_is_the_shortest_that_covers_the_share(bert):
    examples = [TextExample(str(i), ["yes"]) for i in range(995)] + [
        TextExample(f"l{i}", ["the cat sat on the mat"]) for i in range(5)
    ]
    short = len(bert("yes")["input_ids"])
    assert find_max_length(examples, bert, "auto") == (short, 0.005)
    assert find_max_length(examples[:100], bert, "64") == (64, 0.0)
    with pytest.raises(InputError, match="neither auto"):
        find_max_length(examples, bert, "long")
    with pytest.raises(InputError, match="more than the 512"):
        find_max_length(examples, bert, "513")


def test_collator_masks_exactly_the_padding(bert, tmp_path):
    rows = tokenize(
        [TextExample("0", ["yes"], 1), TextExample("1", ["the cat sat"], 0)], bert, 64, tmp_path / "a.arrow"
    )
    batch = Collator(bert)(list(rows))
    assert torch.equal(batch["attention_mask"], (batch["input_ids"] != bert.pad_token_id).long())
    assert batch["labels"].tolist() == [1, 0] and "id" not in batch


def test_a_model_that_is_nowhere_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="no-such-model is no folder with a model"):
        load_tokenizer(TextTaskArguments(model_name_or_path="./no-such-model"), LINES)


def test_a_saved_scratch_tokenizer_gives_the_same_tokens(bert, tmp_path):
    bert.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(bert, BertTokenizerFast) and again(LINES)["input_ids"] == bert(LINES)["input_ids"]


@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
@pytest.mark.parametrize("by_length", [True, False])
def test_every_row_is_in_exactly_one_micro_batch_of_an_epoch(rows, by_length):
    sampler = LengthBatchSampler(
        np.random.default_rng(0).integers(3, 60, rows), 4, 1, accumulation=3, by_length=by_length
    )
    batches = list(sampler)
    assert sorted(i for batch in batches for i in batch) == list(range(rows))
    assert len(batches) == len(sampler) and max(map(len, batches)) <= 4


def test_half_the_batch_and_two_processes_take_the_same_optimizer_steps():
    lengths = np.random.default_rng(0).integers(3, 60, 1003)

    def steps(batch_size, accumulation, world_size):
        ranks = [
            list(LengthBatchSampler(lengths, batch_size, 5, accumulation=accumulation, rank=r, world_size=world_size))
            for r in range(world_size)
        ]
        assert len({len(rank) for rank in ranks}) == 1
        micro = [sum(parts, []) for parts in zip(*ranks, strict=True)]
        return [sorted(sum(micro[i : i + accumulation], [])) for i in range(0, len(micro), accumulation)]

    whole = steps(16, 1, 1)
    assert whole == steps(8, 2, 1) == steps(8, 1, 2) == steps(4, 2, 2)


def test_epochs_differ_and_one_epoch_does_not():
    sampler = LengthBatchSampler(np.arange(200), 8, 0)
    first, again = list(sampler), list(sampler)
    sampler.epoch = 1
    assert first == again and first != list(sampler)


def test_batches_by_length_need_far_less_padding_than_random_ones():
    lengths = np.random.default_rng(0).geometric(0.05, 4000)

    def padded(by_length):
        return sum(
            len(batch) * lengths[batch].max() for batch in LengthBatchSampler(lengths, 16, 0, by_length=by_length)
        )

    assert padded(True) < 1.15 * lengths.sum() < 0.6 * padded(False)


@pytest.mark.parametrize("world_size", [1, 3])
def test_token_budget_holds_and_every_row_comes_once(world_size):
    lengths = np.random.default_rng(0).integers(3, 60, 503)
    for epoch in (0, 1):
        ranks = [TokenBudgetBatchSampler(lengths, 256, 0, rank=r, world_size=world_size) for r in range(world_size)]
        for sampler in ranks:
            sampler.epoch = epoch
        batches = [batch for sampler in ranks for batch in sampler]
        assert len({len(sampler) for sampler in ranks}) == 1 and sum(map(len, ranks)) == len(batches)
        fillers = [
            batch for batch in batches if batch[0] >= 503
        ]  # rows that do not count, for processes without a batch
        assert all(len(batch) == 1 for batch in fillers) and len(fillers) < world_size
        counted = [batch for batch in batches if batch not in fillers]
        assert sorted(i for batch in counted for i in batch) == list(range(503))
        assert all(len(batch) * lengths[batch].max() <= 256 for batch in counted)


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own():
    assert token_budget_sizes(np.array([2, 2, 3, 50, 60]), 10) == [3, 1, 1]


@pytest.mark.parametrize("side", ["right", "left"])
def test_numbers_per_token_are_padded_with_0_on_the_tokenizers_side(side):
    tokenizer = load_tokenizer(TextTaskArguments(), ["one two three"])
    tokenizer.padding_side = side
    rows = [{"id": "a", "input_ids": [2, 5, 3], "attention_mask": [1, 1, 1], "mask": [0, 7, 0], "labels": 1}]
    rows.append({"id": "b", "input_ids": [2, 3], "attention_mask": [1, 1], "mask": [8, 9], "labels": 0})
    batch = Collator(tokenizer)(rows)
    assert batch["mask"].tolist() == ([[0, 7, 0], [8, 9, 0]] if side == "right" else [[0, 7, 0], [0, 8, 9]])
    assert batch["mask"].shape == batch["input_ids"].shape and "id" not in batch
    assert ((batch["attention_mask"] == 1) | (batch["mask"] == 0)).all() and batch["labels"].tolist() == [1, 0]
