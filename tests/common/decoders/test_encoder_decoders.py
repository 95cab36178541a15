"""Classifiers over an encoder with a decoder, tiny and with random weights: a row's logits are of its last token, whatever
its text and its batch hold."""

import copy

import pytest
import torch
import transformers
from packaging.version import Version
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from common.examples import TextExample
from common.guards.first_pass import check_forward
from common.models import load_fold
from common.text import Collator, tokenize
from tests.tools.decoders import load_classifier, logits_of

LABELS = ["a", "b", "c"]
WORDS = ["<s>", "<pad>", "</s>", "<unk>", "ko_KR", "the", "cat", "sat", "on", "a", "mat", "yes"]
BART = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24}
BART |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 40, "init_std": 0.5}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "initializer_factor": 3.0}
HALF = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 8}
HALF |= {"num_key_value_heads": 2, "vocab_size": len(WORDS), "initializer_range": 0.5}
FAMILIES = {
    "bart": BART,
    "mbart": BART,
    "mvp": BART,
    "plbart": BART,
    "bigbird_pegasus": BART | {"block_size": 4, "num_random_blocks": 1},
    "t5": T5,
    "mt5": T5,
    "umt5": T5,
    "t5gemma": {"encoder": HALF, "decoder": HALF},
}
UMT5 = pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.24"), reason="its decoder sees what follows in transformers 5.17"
)
BEHIND = {"mbart": ["ko_KR"]}  # what its tokenizer puts behind the eos
TEXTS = [
    ["the cat"],
    ["the cat sat on a mat", "yes"],
    ["a </s> mat </s>"],
    ["<pad> yes <pad>"],
    [""],
    ["a", "mat", "a"],
]
ROWS = [TextExample(str(i), segments, label=0) for i, segments in enumerate(TEXTS)]


def make_tokenizer(family, ends="</s>"):
    """Words; `ends` and what the family puts behind it at a row's end. Empty: nothing is put there."""
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    if ends:
        end = " ".join([ends, *BEHIND.get(family, [])])
        special = [(word, WORDS.index(word)) for word in end.split()]
        tokenizer.post_processor = TemplateProcessing(f"$A {end}", f"$A {ends} $B {end}", special)
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def load(folder, family, **how):
    torch.manual_seed(0)
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2}
    config = AutoConfig.for_model(family, vocab_size=len(WORDS), num_labels=3, **special, **FAMILIES[family])
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    make_tokenizer(family, **how).save_pretrained(folder)
    return load_classifier(folder, LABELS)


@pytest.mark.parametrize("ends", ["</s>", ""])
@pytest.mark.parametrize(
    "family", [pytest.param(family, marks=UMT5 if family == "umt5" else ()) for family in FAMILIES]
)
def test_logits_are_of_the_rows_last_token_whatever_it_and_its_batch_hold(tmp_path, family, ends):
    model, tokenizer = load(tmp_path, family, ends=ends)
    rows = tokenize(ROWS, tokenizer, 30)
    alone = torch.cat([logits_of(model, tokenizer, [row]) for row in rows])
    assert torch.allclose(logits_of(model, tokenizer, rows), alone, rtol=1e-3, atol=1e-3)
    assert torch.allclose(logits_of(copy.deepcopy(model), tokenizer, rows), alone, rtol=1e-3, atol=1e-3)
    assert torch.pdist(alone).min() > 1e-2
    model.config.preprocessing = {"max_length": 30}
    model.save_pretrained(tmp_path / "fold")
    tokenizer.save_pretrained(tmp_path / "fold")
    again, own = load_fold(tmp_path / "fold", torch.device("cpu"), LABELS, ["max_length"])
    assert torch.equal(logits_of(again.eval(), own, rows), logits_of(model, tokenizer, rows))
    encode = lambda part: tokenize(part, tokenizer, 30)  # noqa: E731
    check_forward(lambda: model, ROWS, encode, Collator(tokenizer))


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "t5gemma"])
def test_rows_with_one_eos_are_read_as_the_library_reads_them(tmp_path, family):
    model, tokenizer = load(tmp_path, family)
    rows = tokenize(ROWS[:1] + ROWS[4:5], tokenizer, 30)
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert torch.allclose(logits_of(model, tokenizer, rows), logits_of(stock, tokenizer, rows), atol=1e-6)


@pytest.mark.parametrize("family", ["bart", "t5"])
def test_gradients_reach_encoder_decoder_and_head(tmp_path, family):
    model, tokenizer = load(tmp_path, family)
    batch = Collator(tokenizer)(tokenize(ROWS, tokenizer, 30))
    model.train()(**batch).loss.backward()
    assert all(weight.grad is not None for weight in model.parameters())
