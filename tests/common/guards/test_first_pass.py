"""Two rows go through the model before anything is written: families of transformers, tiny and with random weights,
each with a tokenizer that fits or does not."""

import functools
import inspect

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from common.console import InputError
from common.examples import TextExample
from common.files import read_json, write_json
from common.guards.first_pass import check_forward, check_pixels, empty_encoder, max_positions, type_rows
from common.guards.weights import say
from common.models import load_fold, load_model, load_tokenizer
from common.options import TextTaskArguments
from common.text import Collator, choose_max_length, tokenize
from common.tricks.scratch import train_tokenizer

TEXTS = ["the cat sat on the mat", "a dog ran to the end of the day", "yes"]
EXAMPLES = [TextExample(str(i), [text, "a dog"] if i < 2 else [text], label=0) for i, text in enumerate(TEXTS)]
LABELS = ["a", "b", "c"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
SMALL |= {"max_position_embeddings": 24}
GPT = {"n_positions": 24, "n_embd": 16, "n_layer": 2, "n_head": 2}
DISTIL = {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 24}
BART = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24}
BART |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 24}
# family -> (options, tokens that a row may have)
FAMILIES = {
    "bert": (SMALL, 24),
    "roberta": (SMALL | {"pad_token_id": 0}, 23),
    "xlm-roberta": (SMALL | {"pad_token_id": 0}, 23),
    "xlm-roberta-xl": (SMALL | {"pad_token_id": 0}, 23),
    "camembert": (SMALL | {"pad_token_id": 1}, 22),
    "roberta-prelayernorm": (SMALL | {"pad_token_id": 1}, 22),
    "mpnet": (SMALL | {"pad_token_id": 1}, 22),
    "data2vec-text": (SMALL | {"pad_token_id": 1}, 22),
    "luke": (SMALL | {"pad_token_id": 1, "entity_vocab_size": 8, "entity_emb_size": 8}, 22),
    "xmod": (SMALL | {"pad_token_id": 1, "languages": ["ko_KR"], "default_language": "ko_KR"}, 22),
    "esm": (SMALL | {"pad_token_id": 1, "mask_token_id": 4, "position_embedding_type": "absolute"}, 22),
    "ibert": (SMALL | {"pad_token_id": 1}, 22),
    "longformer": (SMALL | {"pad_token_id": 1, "attention_window": [8, 8], "sep_token_id": 3}, 22),
    "electra": (SMALL | {"embedding_size": 8}, 24),
    "albert": (SMALL | {"embedding_size": 8}, 24),
    "convbert": (SMALL | {"embedding_size": 16}, 24),
    "megatron-bert": (SMALL, 24),
    "ernie": (SMALL, 24),
    "rembert": (SMALL | {"input_embedding_size": 8}, 24),
    "roformer": (SMALL | {"embedding_size": 16}, 24),
    "nystromformer": (SMALL | {"segment_means_seq_len": 24, "num_landmarks": 24}, 24),
    "squeezebert": (SMALL | {"embedding_size": 16, "q_groups": 1, "k_groups": 1, "v_groups": 1, "post_attention_groups": 1, "intermediate_groups": 1, "output_groups": 1}, 24),
    "deberta": (SMALL | {"pos_att_type": ["p2c", "c2p"], "relative_attention": True, "position_biased_input": False}, 24),
    "deberta-v2": (SMALL | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}, 24),
    "modernbert": (SMALL | {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}, 24),
    "big_bird": (SMALL | {"block_size": 2, "num_random_blocks": 1, "initializer_range": 0.5}, 24),
    "distilbert": (DISTIL, 24),
    "xlnet": ({"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24, "pad_token_id": 0}, None),
    "gpt2": (GPT, 24),
    "openai-gpt": (GPT, 24),
    "opt": (SMALL | {"ffn_dim": 24, "word_embed_proj_dim": 16, "pad_token_id": 0}, 24),
    "llama": (SMALL, 24),
}  # fmt: skip


@pytest.fixture(scope="module")
def words():
    """A BertTokenizer: pairs have token types 0 and 1."""
    return train_tokenizer(TEXTS)


@pytest.fixture
def folder(tmp_path, words):
    def make(family="bert", tokenizer=None, **options):
        torch.manual_seed(0)
        tokenizer = tokenizer or words
        config = AutoConfig.for_model(family, **{"vocab_size": len(tokenizer)} | FAMILIES[family][0] | options)
        AutoModel.from_config(config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        return tmp_path

    return make


def first_pass(path, max_length="auto", change=lambda model: model, examples=EXAMPLES, **options):
    """(the checked model, its tokenizer), as train.py makes them."""
    args = TextTaskArguments(model_name_or_path=str(path), **options)
    tokenizer = load_tokenizer(args, [])
    lengths = torch.tensor([1000]).numpy()
    length = choose_max_length(lengths, tokenizer, str(max_length), 6)
    length = min(length, 40)

    def make_model():
        model = load_model(args, LABELS, tokenizer)
        model.config.preprocessing = {"max_length": length}
        return change(model)

    encode = lambda rows: tokenize(rows, tokenizer, length)  # noqa: E731
    return check_forward(make_model, examples, encode, Collator(tokenizer)), tokenizer


@pytest.mark.parametrize("family", FAMILIES)
def test_the_longest_row_is_read_from_the_models_embeddings_and_fits(folder, family):
    path = folder(family)
    limit = FAMILIES[family][1]
    config = AutoConfig.from_pretrained(path)
    assert max_positions(config, empty_encoder(config, False)) == (limit or max_positions(config))
    model, tokenizer = first_pass(path)
    if limit:
        assert tokenizer.model_max_length == limit
        with pytest.raises(InputError, match=f"max_length: {limit + 1} is more than the {limit}"):
            first_pass(path, limit + 1)
    assert not model.training


@pytest.mark.parametrize("family", ["roberta", "data2vec-text", "xmod", "luke", "camembert"])
def test_one_token_more_than_the_limit_does_not_fit(folder, family):
    """The limit is the model's own, not one that is too careful."""
    config = AutoConfig.from_pretrained(folder(family))
    model = AutoModel.from_config(config).eval()
    limit = FAMILIES[family][1]
    ids = torch.full((1, limit), 5)
    model(input_ids=ids, attention_mask=torch.ones_like(ids))
    ids = torch.full((1, limit + 1), 5)
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=ids, attention_mask=torch.ones_like(ids))


@pytest.mark.parametrize("family", ["roberta", "camembert", "data2vec-text", "xmod", "xlm-roberta", "bert"])
def test_token_types_that_a_model_does_not_know_are_left_out_and_it_is_said(folder, family, capsys):
    say.cache_clear()
    path = folder(family, type_vocab_size=1)
    model, tokenizer = first_pass(path)
    assert "token types are left out: the model has 1, the tokenizer 2" in capsys.readouterr().out
    assert "token_type_ids" not in tokenize(EXAMPLES, tokenizer, 20)[0]
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    _, again = load_fold(path, torch.device("cpu"), LABELS, ["max_length"])  # predict.py reads them the same way
    assert tokenize(EXAMPLES, again, 20) == tokenize(EXAMPLES, tokenizer, 20)


@pytest.mark.parametrize("options", [{}, {"pad_token_id": 0}], ids=["no pad token", "pad token"])
@pytest.mark.parametrize("family", ["gpt2", "openai-gpt"])
def test_token_types_are_not_read_as_words(folder, family, options):
    """Whether a model is there with its weights or without: training looks at the one, predict.py at the other."""
    path = folder(family, **options)
    _, tokenizer = first_pass(path)
    assert "token_type_ids" not in tokenize(EXAMPLES, tokenizer, 20)[0]
    assert type_rows(empty_encoder(AutoConfig.from_pretrained(path), False)) == 0
    assert type_rows(AutoModel.from_pretrained(path)) == 0


def test_relative_token_types_of_xlnet_stay(folder):
    _, tokenizer = first_pass(folder("xlnet"))
    assert max(tokenize(EXAMPLES, tokenizer, 20)[0]["token_type_ids"]) == 1


def alone_and_together(model, tokenizer):
    """(logits of each of EXAMPLES in a batch of its own, those in one batch)."""
    rows = tokenize(EXAMPLES, tokenizer, 20)
    batches = [Collator(tokenizer)(part) for part in [*([row] for row in rows), rows]]
    with torch.no_grad():
        *alone, together = [model.eval()(**{k: v for k, v in b.items() if k != "labels"}).logits for b in batches]
    return torch.cat(alone), together


@pytest.mark.parametrize(("family", "side"), [("bert", "left"), ("electra", "left"), ("xlnet", "right")])
def test_the_padding_stands_where_the_classifier_does_not_look_whatever_the_tokenizers_files_say(folder, family, side):
    path = folder(family)
    settings = read_json(path / "tokenizer_config.json")
    write_json(path / "tokenizer_config.json", {**settings, "padding_side": side})
    assert AutoTokenizer.from_pretrained(path).padding_side == side
    alone, together = alone_and_together(*first_pass(path))
    assert torch.allclose(alone, together, atol=1e-6)


def test_a_sparse_attention_that_a_short_batch_would_end_is_left_from_the_beginning(folder, tmp_path):
    """BigBird's: else a loaded fold would read its first long batch in another way than the trained one."""
    path = folder("big_bird")
    model, tokenizer = first_pass(path)
    ids = torch.randint(5, 20, (1, 24), generator=torch.Generator().manual_seed(0))
    model.save_pretrained(path)
    again, _ = load_fold(path, torch.device("cpu"), LABELS, ["max_length"])
    alone_and_together(model, tokenizer)
    with torch.no_grad():
        assert torch.equal(model.eval()(input_ids=ids).logits, again.eval()(input_ids=ids).logits)


def test_a_model_that_reads_characters_is_one_sentence(tmp_path, words):
    config = AutoConfig.for_model("canine", **SMALL)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="canine. has no embedding with a row per token"):
        first_pass(tmp_path)


def test_token_types_stay_where_the_model_has_them(folder):
    _, tokenizer = first_pass(folder(type_vocab_size=2))
    assert max(tokenize(EXAMPLES, tokenizer, 20)[0]["token_type_ids"]) == 1


def plain_tokenizer(words, **special):
    vocabulary = {
        token: number for number, token in enumerate(["<end>", *sorted({w for t in words for w in t.split()}), "<unk>"])
    }
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **special)


@pytest.mark.parametrize("family", ["gpt2", "bert", "llama", "openai-gpt"])
def test_a_tokenizer_without_a_pad_token_pads_with_its_eos_and_padding_changes_nothing(folder, family, capsys):
    say.cache_clear()
    path = folder(
        family, plain_tokenizer(TEXTS, eos_token="<end>"), **({} if family == "bert" else {"pad_token_id": None})
    )
    model, tokenizer = first_pass(path)
    assert "<end> pads" in capsys.readouterr().out and tokenizer.pad_token == "<end>"
    rows = tokenize(EXAMPLES, tokenizer, 20)
    together = model(**{k: v for k, v in Collator(tokenizer)(rows).items() if k != "labels"}).logits
    for number, row in enumerate(rows):
        alone = model(**{k: v for k, v in Collator(tokenizer)([row]).items() if k != "labels"}).logits
        assert torch.allclose(together[number], alone[0], atol=1e-5)


def test_a_tokenizer_that_nothing_can_pad_is_refused(folder):
    with pytest.raises(InputError, match="neither a pad token nor an eos token"):
        first_pass(folder("gpt2", plain_tokenizer(TEXTS)))


def test_another_pad_token_than_the_model_looks_for_is_refused(folder):
    """A model of the kind that looks for its last token by the pad token's id."""

    def last_by_id(model):
        forward = model.forward

        @functools.wraps(forward)
        def new(**kwargs):
            output = forward(**kwargs)
            output.logits = output.logits + (kwargs["input_ids"] != model.config.pad_token_id).sum(1, keepdim=True)
            return output

        model.forward = new
        return model

    path = folder("bert", plain_tokenizer(TEXTS, pad_token="the"), pad_token_id=0)
    with pytest.raises(InputError, match="the padding changes the logits"):
        first_pass(path, change=last_by_id)


def test_a_decoder_pads_with_its_tokenizers_token_whatever_its_configuration_says(folder):
    path = folder("gpt2", plain_tokenizer(TEXTS, eos_token="<end>", pad_token="the"), pad_token_id=0)
    model, tokenizer = first_pass(path)
    assert model.config.pad_token_id == tokenizer.pad_token_id != 0


def test_a_default_language_that_is_not_set_is_one_sentence(folder):
    with pytest.raises(InputError, match="xmod.*cannot read the training rows"):
        first_pass(folder("xmod", default_language=None))


def answering(answer):
    def change(model):
        forward = model.forward
        model.forward = lambda **inputs: answer(forward(**inputs).logits)
        return model

    return change


ANSWERS = {
    "tuple": lambda logits: (logits,),
    "logits-in-a-tuple": lambda logits: SequenceClassifierOutput(logits=(logits, logits)),
    "none": lambda logits: SequenceClassifierOutput(),
    "a-row-too-many": lambda logits: SequenceClassifierOutput(logits=torch.cat([logits, logits])),
    "a-label-too-few": lambda logits: SequenceClassifierOutput(logits=logits[:, 1:]),
    "per-token": lambda logits: SequenceClassifierOutput(logits=logits[:, None].expand(-1, 5, -1)),
    "one-axis": lambda logits: SequenceClassifierOutput(logits=logits[:, 0]),
    "nan": lambda logits: SequenceClassifierOutput(logits=logits / 0),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_logits_that_are_not_one_number_per_row_and_label_are_refused(folder, answer):
    with pytest.raises(InputError, match="logits are"):
        first_pass(folder(), change=answering(answer))


def test_a_configuration_that_wants_tuples_works(folder):
    path = folder(return_dict=False)
    model, _ = first_pass(path)
    assert isinstance(model, BertForSequenceClassification) and model.config.return_dict


def test_weights_that_are_no_numbers_are_refused(folder):
    def change(model):
        model.base_model.encoder.layer[0].output.dense.weight.data[:] = float("nan")
        return model

    with pytest.raises(InputError, match="no finite numbers"):
        first_pass(folder(), change=change)


def test_ids_beyond_the_embedding_are_refused(folder, words):
    path = folder(vocab_size=len(words) - 2)
    with pytest.raises(InputError, match="not of one model"):
        first_pass(path)


def test_the_generator_of_random_numbers_and_the_models_mode_stay(folder):
    path = folder()
    model = first_pass(path)[0].train()
    model.config.preprocessing = {"max_length": 20}
    tokenizer = AutoTokenizer.from_pretrained(path)
    forward = model.forward
    model.forward = lambda **inputs: (torch.rand(1), forward(**inputs))[1]  # some models draw in evaluation mode, too
    before = torch.get_rng_state()
    encode = lambda rows: tokenize(rows, tokenizer, 20)  # noqa: E731
    check_forward(lambda: model, EXAMPLES, encode, Collator(tokenizer))
    assert torch.equal(before, torch.get_rng_state()) and model.training


def test_the_row_that_goes_through_is_as_long_as_later_rows_may_be(folder):
    seen = []

    def change(model):
        forward = model.forward

        def spy(**inputs):
            seen.append(tuple(inputs["input_ids"].shape))
            return forward(**inputs)

        model.forward = spy
        return model

    first_pass(folder(), 24, change)
    assert seen[0] == (2, 24)


def test_encoders_with_a_decoder_take_pairs_beside_single_texts(tmp_path, words):
    config = AutoConfig.for_model("bart", vocab_size=len(words), eos_token_id=3, pad_token_id=0, **BART)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    assert first_pass(tmp_path)[0].config.model_type == "bart"


def test_images_that_do_not_fit_are_one_sentence():
    class Picky(torch.nn.Module):
        config = type("Config", (), {"num_labels": 3})
        main_input_name = "pixel_values"

        def forward(self, pixel_values):
            return SequenceClassifierOutput(logits=pixel_values.flatten(1) @ torch.ones(12, 3))

    check_pixels(Picky(), 2, 3, 2, 2)
    with pytest.raises(InputError, match="cannot take 3 x 4 x 4"):
        check_pixels(Picky(), 2, 3, 4, 4)
    assert inspect.signature(check_pixels)
