"""R-BERT against the paper's equations, over the encoder families of transformers (tiny ones, made here), saved and
loaded."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForMaskedLM,
    BertTokenizerFast,
    PreTrainedTokenizerFast,
)

from common.console import InputError
from common.decoders.adapters import wrap
from common.files import read_json, write_json
from common.models import load_fold, load_tokenizer
from common.text import Collator
from common.tricks.lora import add_lora, merge_lora
from common.tricks.scratch import train_tokenizer
from common.tricks.vocabulary import WordsInUse
from klue_re.data import Entity, RelationExample, TaskArguments
from klue_re.entities import EntityFormat, mark_and_tokenize, tokenize
from klue_re.model import (
    RBertConfig,
    RBertForRelationExtraction,
    has_pooler,
    head_options,
    load_relation_model,
    mean_over,
)
from tests.tools.decoders import make_decoder, save_adapters

LABELS = ["관계_없음", "인물:소속단체", "단체:구성원"]
SENTENCES = ["이순신은 조선의 장군이다", "한빛출판사는 서윤재가 세운 회사이다", "오늘 민세라는 다솜방송에 나왔다"]
EXAMPLES = [
    RelationExample("a", [SENTENCES[0]], 1, e1=Entity(0, 2, "PER"), e2=Entity(5, 6, "LOC")),
    RelationExample("b", [SENTENCES[1]], 2, e1=Entity(0, 4, "ORG"), e2=Entity(7, 9, "PER")),
    RelationExample("c", [SENTENCES[2]], 0, e1=Entity(8, 11, "ORG"), e2=Entity(3, 5, "PER")),
]
SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
FAMILIES = {
    "bert": {},
    "roberta": {},
    "xlm-roberta": {},
    "electra": {"embedding_size": 16},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8},
}
SMOOTH = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """family -> folder with a tiny encoder of it and a tokenizer."""
    tokenizer, folders = train_tokenizer(SENTENCES), {}
    for family, options in FAMILIES.items():
        torch.manual_seed(0)
        folders[family] = tmp_path_factory.mktemp(family)
        config = AutoConfig.for_model(
            family, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **SMALL, **SMOOTH, **options
        )
        AutoModel.from_config(config).save_pretrained(folders[family])
        tokenizer.save_pretrained(folders[family])
    return folders


def entity_format(**options):
    args = TaskArguments(**options)
    return EntityFormat.of(args, EXAMPLES)


def load(folder, form=None, **options):
    """(model in evaluation mode, its tokenizer, the format of its rows)."""
    form = form or entity_format()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(form.special_tokens(), special_tokens=True)
    torch.manual_seed(1)
    args = TaskArguments(model_name_or_path=str(folder))
    model = load_relation_model(args, LABELS, tokenizer, {"head": "rbert", **options}, form.special_tokens())
    return model.eval(), tokenizer, form


def batch_of(tokenizer, form, folder, max_length=64):
    rows = tokenize(mark_and_tokenize(EXAMPLES, form, tokenizer), form, tokenizer, max_length, folder / "rows.arrow")
    return Collator(tokenizer)([rows[i] for i in range(len(rows))])


# The equations


def fully_connected(linear, activation, vector):
    """W a(x) + b with numbers of its own, not with torch's layers."""
    weight, bias = linear.weight.detach().numpy().astype(np.float64), linear.bias.detach().numpy().astype(np.float64)
    return np.array(
        [sum(weight[i, j] * activation(vector[j]) for j in range(len(vector))) + bias[i] for i in range(len(bias))]
    )


def gelu(x):
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def paper(model, states, batch, row, activation=math.tanh, extra=()):
    """Equations 1 to 5 for one row, term by term, in float64; extra: what else is concatenated, as functions of H'_0,
    H'_1, H'_2."""
    head = model.head
    spans = [[t for t in range(states.shape[1]) if batch[name][row][t] == 1] for name in ("e1_mask", "e2_mask")]
    h1, h2 = (sum(states[row, t] for t in span) / len(span) for span in spans)
    w1, w2 = (head.layers[name if name in head.layers else "entity"] for name in ("e1", "e2"))
    h0 = fully_connected(head.layers["cls"], activation, states[row, 0])
    h1, h2 = fully_connected(w1, activation, h1), fully_connected(w2, activation, h2)
    joined = np.concatenate([h0, h1, h2, *(term(h0, h1, h2) for term in extra)])
    logits = fully_connected(head.classifier, lambda x: x, joined)
    return np.exp(logits) / np.exp(logits).sum()


@pytest.mark.parametrize("entity_layer", ["shared", "split"])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_the_probabilities_are_those_of_the_papers_equations(encoders, tmp_path, entity_layer, precision):
    model, tokenizer, form = load(encoders["bert"], entity_layer=entity_layer)
    batch = batch_of(tokenizer, form, tmp_path)
    labels = batch.pop("labels")
    model = model.to(precision)
    with torch.no_grad():
        output = model(**batch, labels=labels)
        states = (
            model.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            .last_hidden_state.double()
            .numpy()
        )
    wanted = np.stack([paper(model, states, batch, row) for row in range(3)])
    assert np.abs(output.logits.softmax(-1).double().numpy() - wanted).max() < (
        1e-5 if precision == torch.float32 else 1e-12
    )
    assert output.loss.item() == pytest.approx(-np.log(wanted[np.arange(3), labels.numpy()]).mean(), abs=1e-5)
    assert np.ptp(wanted[:, 0]) > 1e-4  # the rows differ


@pytest.mark.parametrize(
    ("concat", "extra"),
    [
        (["cls", "e1", "e2", "e1*e2"], [lambda h0, h1, h2: h1 * h2]),
        (["cls", "e1", "e2", "|e1-e2|"], [lambda h0, h1, h2: np.abs(h1 - h2)]),
        (["cls", "e1", "e2", "cls*e1", "cls*e2"], [lambda h0, h1, h2: h0 * h1, lambda h0, h1, h2: h0 * h2]),
    ],
)
@pytest.mark.parametrize(("activation", "function"), [("tanh", math.tanh), ("gelu", gelu)])
def test_each_concatenation_and_activation_is_what_its_name_says(
    encoders, tmp_path, concat, extra, activation, function
):
    model, tokenizer, form = load(encoders["bert"], concat=concat, activation=activation)
    batch = batch_of(tokenizer, form, tmp_path)
    batch.pop("labels")
    with torch.no_grad():
        given = model(**batch).logits.softmax(-1).numpy()
        states = (
            model.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            .last_hidden_state.double()
            .numpy()
        )
    wanted = np.stack([paper(model, states, batch, row, function, extra) for row in range(3)])
    assert np.abs(given - wanted).max() < 1e-5


@pytest.mark.parametrize(
    ("concat", "layers"),
    [
        (["cls*e1", "cls*e2"], {"cls", "e1", "e2"}),
        (["cls*e1", "cls*e2", "e1*e2"], {"cls", "e1", "e2"}),
        (["e1*e2", "|e1-e2|"], {"e1", "e2"}),
        (["cls"], {"cls"}),
    ],
)
def test_a_combination_has_its_own_width_and_only_the_layers_that_it_reads_all_with_gradients(
    encoders, tmp_path, concat, layers
):
    model, tokenizer, form = load(encoders["bert"], concat=concat)
    assert model.head.classifier.in_features == 24 * len(concat) and set(model.head.layers) == layers
    model(**batch_of(tokenizer, form, tmp_path)).loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.head.parameters())


@pytest.mark.parametrize("cls_pooling", ["first", "mean", "pooler"])
def test_the_sentences_vector_is_the_first_state_the_mean_of_all_or_the_poolers(encoders, tmp_path, cls_pooling):
    model, tokenizer, form = load(encoders["roberta"], cls_pooling=cls_pooling)
    batch = batch_of(tokenizer, form, tmp_path)
    batch.pop("labels")
    with torch.no_grad():
        cls, e1, _ = model.pool(**batch)
        output = AutoModel.from_pretrained(encoders["roberta"])(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        )
    states, mask = output.last_hidden_state, batch["attention_mask"].bool()
    wanted = {
        "first": states[:, 0],
        "mean": torch.stack([states[i, mask[i]].mean(0) for i in range(3)]),
        "pooler": output.pooler_output,
    }[cls_pooling]
    assert torch.allclose(cls, wanted, atol=1e-6)
    assert torch.allclose(e1[0], states[0, batch["e1_mask"][0].bool()].mean(0), atol=1e-6)
    assert (model.encoder.pooler is None) == (cls_pooling != "pooler")


def test_the_sentences_vector_is_that_of_the_cls_token_where_it_stands_last_behind_padding_in_front(tmp_path, capsys):
    """XLNet: the first place of a shorter row is padding, the first token a word."""
    tokenizer = train_tokenizer(SENTENCES)
    template = {"single": "$A [SEP] [CLS]:2", "pair": "$A [SEP] $B:1 [SEP]:1 [CLS]:2"}
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(special_tokens=special, **template)
    names = {name: getattr(tokenizer, name) for name in ("cls_token", "sep_token", "pad_token", "unk_token")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, **names)
    small = {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24, "initializer_range": 0.5}
    AutoModel.from_config(AutoConfig.for_model("xlnet", vocab_size=len(tokenizer), **small)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    args = TaskArguments(model_name_or_path=str(tmp_path))
    form = entity_format()
    tokenizer = load_tokenizer(args, [], form.special_tokens())
    model = load_relation_model(args, LABELS, tokenizer, head_options(args, 0), form.special_tokens()).eval()
    assert model.config.cls_pooling == "last" and "[CLS] is the last token" in capsys.readouterr().out
    rows = tokenize(mark_and_tokenize(EXAMPLES, form, tokenizer), form, tokenizer, 64)
    together = Collator(tokenizer)(rows)
    assert (together["input_ids"][:, 0] == tokenizer.pad_token_id).any()
    for pooling in ("last", "first"):
        model.config.cls_pooling = pooling
        with torch.no_grad():
            alone = torch.cat([model(**Collator(tokenizer)([row])).logits for row in rows])
            assert torch.allclose(model(**together).logits, alone, atol=1e-5)


def test_the_mean_over_one_token_is_its_state_and_over_none_is_zero():
    states = torch.randn(3, 4, 5)
    mask = torch.tensor([[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 1]])
    means = mean_over(states, mask)
    assert torch.allclose(means[0], states[0, 1]) and torch.equal(means[1], torch.zeros(5))
    assert torch.allclose(means[2], (states[2, 0] + states[2, 2] + states[2, 3]) / 3)


def test_a_shared_entity_layer_is_one_layer_and_split_layers_are_two(encoders):
    shared, split = (load(encoders["bert"], entity_layer=name)[0] for name in ("shared", "split"))
    assert sum(p.numel() for p in split.parameters()) - sum(p.numel() for p in shared.parameters()) == 24 * 24 + 24


def test_the_indicators_head_adds_the_words_around_the_entities_as_a_vector_of_its_own(encoders, tmp_path):
    model, tokenizer, form = load(
        encoders["bert"], entity_format(head="indicators", indicator_words=1), head="indicators"
    )
    batch = batch_of(tokenizer, form, tmp_path)
    batch.pop("labels")
    assert model.head.classifier.in_features == 4 * 24
    with torch.no_grad():
        first = model(**batch).logits
        changed = model(**{**batch, "indicator_mask": torch.zeros_like(batch["indicator_mask"])}).logits
    assert batch["indicator_mask"].sum() > 0 and not torch.allclose(first, changed, atol=1e-6)
    assert torch.isfinite(changed).all()  # nothing between the entities, nothing around them


# Pretrained weights


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("cls_pooling", ["first", "pooler"])
def test_every_encoder_weight_is_the_pretrained_one_before_and_after_saving(encoders, tmp_path, family, cls_pooling):
    model, tokenizer, form = load(encoders[family], cls_pooling=cls_pooling)
    stored = load_file(encoders[family] / "model.safetensors")
    poolers = {name for name in stored if name.startswith("pooler.")}
    assert bool(poolers) == (family in ("bert", "roberta", "xlm-roberta"))
    expected = {name: tensor for name, tensor in stored.items() if cls_pooling == "pooler" or name not in poolers}
    given = model.encoder.state_dict()
    assert expected.keys() == given.keys()
    for name, tensor in expected.items():
        assert torch.equal(given[name], tensor), name

    model.config.preprocessing = form.preprocessing(64)
    model.save_pretrained(tmp_path / "fold")
    tokenizer.save_pretrained(tmp_path / "fold")
    batch = batch_of(tokenizer, form, tmp_path)
    batch.pop("labels")
    loaded, _ = load_fold(tmp_path / "fold", torch.device("cpu"), LABELS, tuple(form.preprocessing(64)))
    assert type(loaded) is RBertForRelationExtraction
    with torch.no_grad():
        assert torch.equal(loaded.eval()(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize("name", ["embeddings.word_embeddings.weight", "encoder.layer.1.attention.self.query.bias"])
@pytest.mark.parametrize("family", ["bert", "electra"])
def test_an_encoder_that_lacks_a_weight_is_refused_by_the_name_of_the_weight(encoders, tmp_path, family, name):
    AutoTokenizer.from_pretrained(encoders[family]).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes((encoders[family] / "config.json").read_bytes())
    weights = load_file(encoders[family] / "model.safetensors")
    del weights[name]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"{name} is missing"):
        load(tmp_path)


def test_a_checkpoint_of_a_language_model_loads_and_without_pretrained_pooler_the_first_token_is_taken(
    encoders, tmp_path, capsys
):
    config = AutoConfig.from_pretrained(encoders["bert"])
    BertForMaskedLM(config).save_pretrained(tmp_path)  # weights are called bert.*, and there is no pooler
    AutoTokenizer.from_pretrained(encoders["bert"]).save_pretrained(tmp_path)
    model, *_ = load(tmp_path, cls_pooling="pooler")
    assert model.config.cls_pooling == "first" and not has_pooler(model.encoder)
    assert "has no pretrained pooler, going on with first" in capsys.readouterr().out
    stored = load_file(tmp_path / "model.safetensors")
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(tensor, stored[f"bert.{name}"]), name


def test_the_encoder_attends_as_it_would_without_the_head(encoders):
    model, *_ = load(encoders["bert"])
    assert (
        model.encoder.config._attn_implementation
        == AutoModel.from_pretrained(encoders["bert"]).config._attn_implementation
        == "sdpa"
    )


def test_the_auto_class_loads_what_was_saved_and_a_changed_weight_changes_it(encoders, tmp_path):
    model, *_ = load(encoders["bert"], concat=["cls", "e1*e2"], activation="gelu", entity_layer="shared")
    model.save_pretrained(tmp_path)
    loaded, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert [loaded.config.id2label[i] for i in range(3)] == LABELS
    assert (loaded.config.concat, loaded.config.activation, loaded.config.entity_layer) == (
        ["cls", "e1*e2"],
        "gelu",
        "shared",
    )
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


# New tokens, entity types


def with_new_tokens(encoders, representation, words):
    """(the word vectors of an R-BERT, its tokenizer, the new tokens) where the vocabulary is `words`."""
    form = entity_format(entity_representation=representation)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}, do_lower_case=False)
    tokenizer.add_tokens(form.special_tokens(), special_tokens=True)
    args = TaskArguments(model_name_or_path=str(encoders["bert"]))
    model = load_relation_model(args, LABELS, tokenizer, {"head": "rbert"}, form.special_tokens())
    return model.get_input_embeddings().weight, tokenizer, form.special_tokens()


def test_new_tokens_begin_as_the_mean_of_the_pieces_of_their_text(encoders):
    words = ["E1", "E2", "PER", "ORG", "LOC", "/"]
    weight, tokenizer, _ = with_new_tokens(encoders, "typed_entity_marker", words)
    stored = load_file(encoders["bert"] / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert len(weight) == max(len(stored), len(tokenizer))
    assert len(tokenizer) == 5 + len(words) + 12  # 3 types, 2 entities, open and close
    for token, pieces in (("[E1-PER]", ["E1", "PER"]), ("[/E2-ORG]", ["/", "E2", "ORG"])):
        pieces = tokenizer.convert_tokens_to_ids(pieces)
        assert torch.allclose(weight[tokenizer.convert_tokens_to_ids(token)], stored[pieces].mean(0))


@pytest.mark.parametrize("representation", ["entity_marker", "typed_entity_marker"])
@pytest.mark.parametrize("words", [["이순신"], ["E1", "E2"]], ids=["none", "some"])
def test_new_tokens_whose_text_the_vocabulary_does_not_know_begin_apart_as_words_do(encoders, representation, words):
    weight, tokenizer, special_tokens = with_new_tokens(encoders, representation, words)
    vectors = weight[tokenizer.convert_tokens_to_ids(special_tokens)]
    apart = torch.cdist(vectors, vectors) + 9 * torch.eye(len(vectors))
    assert vectors.isfinite().all() and apart.min() > 0.3 * torch.cdist(weight[1:6], weight[1:6]).mean()


def test_the_embedding_of_types_is_zero_outside_of_entities_and_tells_types_apart(encoders, tmp_path):
    form = entity_format(ner_as="embedding")
    model, tokenizer, _ = load(encoders["electra"], form, num_ner_types=3)
    batch = batch_of(tokenizer, form, tmp_path)
    batch.pop("labels")
    assert form.ner_types == ["LOC", "ORG", "PER"] and set(batch["ner_ids"].flatten().tolist()) == {0, 1, 2, 3}
    with torch.no_grad():
        given = model(**batch).logits
        other = model(**{**batch, "ner_ids": batch["ner_ids"].clamp(max=1)}).logits
        none = model(**{**batch, "ner_ids": torch.zeros_like(batch["ner_ids"])}).logits
        model.ner_embedding = None
        plain = model(**{**batch, "ner_ids": None}).logits
    assert not torch.allclose(given, other, atol=1e-6) and not torch.allclose(given, none, atol=1e-6)
    assert torch.allclose(none, plain, atol=1e-6)


# Training pieces


def test_all_trainable_weights_get_gradients_and_checkpointing_changes_none(encoders, tmp_path):
    model, tokenizer, form = load(encoders["bert"], entity_format(head="indicators"), head="indicators")
    batch = batch_of(tokenizer, form, tmp_path)
    model.train()
    model.head.dropout.p = 0.0
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        model(**batch).loss.backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    assert all(gradient is not None for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-6), name
    assert {name for name, g in gradients[0].items() if g.abs().sum() == 0} <= {
        "encoder.embeddings.token_type_embeddings.weight"
    }


def test_lora_trains_adapters_and_the_head_and_merges_into_a_plain_r_bert(encoders, tmp_path):
    model, tokenizer, form = load(encoders["bert"])
    batch = batch_of(tokenizer, form, tmp_path)
    wrapped = add_lora(model, r=2, alpha=4, dropout=0.0)
    trained = {name for name, p in wrapped.named_parameters() if p.requires_grad}
    assert any("head" in name for name in trained) and all("lora_" in name or ".head." in name for name in trained)
    optimizer = torch.optim.SGD([p for p in wrapped.parameters() if p.requires_grad], lr=0.1)
    wrapped.train()
    wrapped(**batch).loss.backward()
    optimizer.step()
    wrapped.eval()
    labels = batch.pop("labels")
    with torch.no_grad():
        before = wrapped(**batch, labels=labels).logits
        merged = merge_lora(wrapped)
        assert type(merged) is RBertForRelationExtraction
        merged.save_pretrained(tmp_path / "fold")
        after = RBertForRelationExtraction.from_pretrained(tmp_path / "fold").eval()(**batch).logits
    assert torch.allclose(before, after, atol=1e-5)


def test_the_baseline_is_the_stock_class(encoders):
    tokenizer = AutoTokenizer.from_pretrained(encoders["bert"])
    args = TaskArguments(model_name_or_path=str(encoders["bert"]))
    model = load_relation_model(args, LABELS, tokenizer, {"head": "baseline"})
    assert type(model).__name__ == "BertForSequenceClassification" and model.config.num_labels == 3


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no model"):
        args = TaskArguments(model_name_or_path=str(tmp_path))
        load_relation_model(args, LABELS, train_tokenizer(SENTENCES), {"head": "rbert"})


@pytest.mark.parametrize("head", ["rbert", "baseline"])
@pytest.mark.parametrize("family", ["scratch", "bert", "deberta-v2"])
def test_word_embeddings_are_frozen_where_asked_for_and_nothing_else(encoders, family, head):
    tokenizer = train_tokenizer(SENTENCES)
    for frozen in (False, True):
        name = str(encoders.get(family, "scratch"))
        args = TaskArguments(model_name_or_path=name, freeze_word_embeddings=frozen, head=head)
        model = load_relation_model(args, LABELS, tokenizer, head_options(args, 0))
        fixed = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
        assert [name.split(".")[-2:] for name in fixed] == [["word_embeddings", "weight"]] * frozen


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_with_the_word_vectors_in_use_gives_the_same_logits_also_with_added_types_and_markers(
    encoders, tmp_path, family
):
    form = entity_format(ner_as="embedding", entity_representation="entity_marker")
    model, tokenizer, form = load(encoders[family], form, num_ner_types=form.num_ner_types)
    batch = batch_of(tokenizer, form, tmp_path)
    whole = model.get_input_embeddings().weight.detach().clone()
    with torch.no_grad():
        before = model(**batch).logits
        in_use = WordsInUse(model, batch["input_ids"].unique().numpy())
        assert len(model.get_input_embeddings().weight) < len(whole)
        assert torch.equal(model(**batch).logits, before)
        in_use.put_back()
    assert torch.equal(model.get_input_embeddings().weight, whole)


def test_scratch_has_no_pretrained_pooler_which_is_said(capsys):
    args = TaskArguments(cls_pooling="pooler")
    model = load_relation_model(args, LABELS, train_tokenizer(SENTENCES), head_options(args, 0))
    assert model.config.cls_pooling == "first"
    assert "cls_pooling: scratch has no pretrained pooler, going on with first" in capsys.readouterr().out


def test_the_configuration_survives_json(tmp_path):
    config = RBertConfig(
        encoder_config=AutoConfig.for_model("bert", **SMALL).to_dict(), concat=["cls"], dropout=0.3, num_ner_types=2
    )
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is RBertConfig and (loaded.concat, loaded.dropout, loaded.num_ner_types) == (["cls"], 0.3, 2)
    assert loaded.encoder_config["hidden_size"] == 24


@torch.no_grad()
@pytest.mark.parametrize("family", ["bert", "qwen2"])
def test_a_fold_of_adapters_reads_the_encoder_where_the_checkpoint_calls_it_by_its_family(tmp_path, family):
    """As the hub's do: bert.encoder.layer.0, model.layers.0; R-BERT calls them encoder.encoder.layer.0."""
    base = tmp_path / "base"
    if family == "bert":
        tokenizer = train_tokenizer(SENTENCES)
        config = AutoConfig.for_model("bert", vocab_size=len(tokenizer), **SMALL)
        BertForMaskedLM(config).save_pretrained(base)
        tokenizer.save_pretrained(base)
    else:
        make_decoder("qwen2", base, SENTENCES)
    args = TaskArguments(model_name_or_path=str(base), lora_r=2)
    tokenizer = load_tokenizer(args, [])
    model = load_relation_model(args, LABELS, tokenizer, head_options(args, 0))
    model.config.preprocessing = {"max_length": 60}
    saved = save_adapters(wrap(model, args), args, tmp_path / "fold", tokenizer)
    assert not (tmp_path / "fold" / "model.safetensors").exists()
    loaded, _ = load_fold(tmp_path / "fold", torch.device("cpu"), LABELS, ["max_length"])
    ids = torch.arange(5, 15)[None]
    row = {"input_ids": ids, "attention_mask": ids.sign(), "e1_mask": ids == 7, "e2_mask": ids == 9}
    assert torch.allclose(loaded.eval()(**row).logits, saved(**row).logits, atol=1e-5)
    if family == "bert":  # a fold of before, which did not say so
        write_json(tmp_path / "fold" / "base.json", read_json(tmp_path / "fold" / "base.json") | {"key_mapping": None})
        with pytest.raises(InputError, match="has not all of the weights"):
            load_fold(tmp_path / "fold", torch.device("cpu"), LABELS, ["max_length"])
