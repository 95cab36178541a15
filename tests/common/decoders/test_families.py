"""Decoders of each family, tiny and with random weights: what a row's logits depend on."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from common.decoders.family import choose_pad, is_decoder
from common.examples import TextExample
from common.models import load_fold
from common.text import tokenize
from tests.tools.decoders import FAMILIES, WITH_PAD, load_classifier, logits_of, make_decoder

LABELS = ["a", "b", "c"]
ROWS = [
    TextExample("0", ["How are you?", "Fine."]),
    TextExample("1", ["I", "What did you say about the trip to the lake?"]),
    TextExample("2", ["thanks <eos><eos>"]),  # ends as padding does where the tokenizer has no pad token
    TextExample("3", [""]),  # an empty text; without special tokens it has no token of its own
]


def load(folder):
    return load_classifier(folder, LABELS)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_rows_logits_do_not_depend_on_its_neighbours_whichever_side_is_padded(tmp_path, family, side):
    model, tokenizer = load(make_decoder(family, tmp_path, padding_side=side))
    rows = tokenize(ROWS, tokenizer, 60)
    alone = torch.cat([logits_of(model, tokenizer, [row]) for row in rows])
    for padded in ("left", "right"):
        tokenizer.padding_side = padded
        assert torch.allclose(logits_of(model, tokenizer, rows), alone, atol=1e-5)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_the_classifier_looks_at_the_last_token_also_where_that_is_the_one_that_pads(tmp_path, family):
    model, tokenizer = load(make_decoder(family, tmp_path))
    rows = tokenize(ROWS, tokenizer, 60)
    for row in rows:
        states = model.base_model(input_ids=torch.tensor([row["input_ids"]])).last_hidden_state  # without a mask
        logits = model.score(states)[0, -1]
        assert torch.allclose(logits, logits_of(model, tokenizer, [row])[0], atol=1e-5)
    assert rows[2]["input_ids"][-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("family", FAMILIES)
def test_the_pad_token_is_one_of_the_vocabulary_and_travels_with_the_fold(tmp_path, family):
    path = make_decoder(family, tmp_path / "base")
    model, tokenizer = load(path)
    assert len(model.get_input_embeddings().weight) == AutoConfig.from_pretrained(path).vocab_size
    assert model.config.pad_token_id == tokenizer.pad_token_id < model.config.vocab_size
    assert tokenizer.pad_token == WITH_PAD.get(family, "<eos>")
    model.config.preprocessing = {"max_length": 60}
    model.save_pretrained(tmp_path / "fold")
    tokenizer.save_pretrained(tmp_path / "fold")
    loaded, own = load_fold(tmp_path / "fold", torch.device("cpu"), LABELS, ["max_length"])
    rows = tokenize(ROWS, tokenizer, 60)
    assert own.padding_side == "right" and own.pad_token == tokenizer.pad_token
    assert torch.allclose(logits_of(loaded, own, rows), logits_of(model, tokenizer, rows), atol=1e-6)
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path / "fold").eval()
    assert torch.allclose(logits_of(stock, own, rows[:2]), logits_of(model, tokenizer, rows[:2]), atol=1e-5)


def test_a_token_that_is_called_padding_goes_before_the_end_of_the_text(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(make_decoder("llama", tmp_path))
    config = AutoConfig.from_pretrained(tmp_path)
    assert choose_pad(tokenizer, config) == "<eos>"
    tokenizer.add_tokens(["<|finetune_right_pad_id|>"], special_tokens=True)
    assert choose_pad(tokenizer, config) == "<|finetune_right_pad_id|>"
    config.pad_token_id = 7
    assert choose_pad(tokenizer, config) == tokenizer.convert_ids_to_tokens(7)


def test_two_texts_of_a_family_without_special_tokens_do_not_stick_together(tmp_path):
    _, tokenizer = load(make_decoder("qwen2", tmp_path))
    (row,) = tokenize(ROWS[:1], tokenizer, 60)
    assert tokenizer.decode(row["input_ids"]) == "How are you?\nFine."


@pytest.mark.parametrize(
    "name, decoder",
    [
        ("bert", False),
        ("roberta", False),
        ("xlnet", False),
        ("deberta-v2", False),
        ("modernbert", False),
        ("gpt2", True),
        ("qwen3", True),
        ("exaone4", True),
        ("phi3", True),
    ],
)
def test_encoders_are_told_from_decoders(name, decoder):
    assert is_decoder(AutoConfig.for_model(name)) == decoder
