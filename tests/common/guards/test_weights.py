"""Weights arrive whole, under whatever prefix they were saved, or are refused by name before anything is written."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, BertConfig, RobertaConfig

from common.console import InputError
from common.guards.weights import load_saved, say
from common.models import load_fold, load_model, load_tokenizer
from common.options import TextTaskArguments
from common.targets import Classes, Number, Ordered, SeveralLabels, labels_of_config
from common.tricks.scratch import train_tokenizer
from klue_re.model import load_encoder

TEXTS = ["the cat sat on the mat", "a dog ran"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
LABELS = ["a", "b", "c"]
QUERY = "encoder.layer.1.attention.self.query.weight"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS)


@pytest.fixture
def folder(tokenizer, tmp_path):
    """Makes a folder with a tiny encoder or classifier, its weights as change() wants them."""

    def make(family=BertConfig, head=AutoModel, change=dict, **options):
        torch.manual_seed(0)
        model = head.from_config(family(vocab_size=len(tokenizer), **SMALL, **options))
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        state = load_file(tmp_path / "model.safetensors")
        save_file(change(state), tmp_path / "model.safetensors", metadata={"format": "pt"})
        return tmp_path

    return make


def load(path, labels=LABELS):
    args = TextTaskArguments(model_name_or_path=str(path))
    return load_model(args, labels, load_tokenizer(args, []))


def query(model):
    return model.base_model.encoder.layer[1].attention.self.query.weight


@pytest.mark.parametrize("family", [BertConfig, RobertaConfig], ids=["bert", "roberta"])
@pytest.mark.parametrize(
    "target", [Number("price", loss="huber"), SeveralLabels(LABELS), Ordered(LABELS)], ids=lambda target: target.kind
)
def test_every_target_begins_with_a_pretrained_encoder_and_with_a_run_of_another(folder, tmp_path, family, target):
    model = load(folder(family), target)
    assert model.config.num_labels == len(target) and type(labels_of_config(model.config)) is type(target)
    assert model.config.problem_type == target.problem_type
    model.save_pretrained(tmp_path)
    again = load(tmp_path, LABELS)
    assert labels_of_config(again.config) == LABELS and type(labels_of_config(again.config)) is Classes
    assert again.config.problem_type is None  # else pipeline() would give sigmoids, or the raw logits
    assert torch.equal(query(again), query(model))


PREFIXES = [
    "module.",
    "_orig_mod.",
    "model.",
    "base_model.model.",
    "module.module.",
    "_orig_mod.module.",
    "module.model.",
]
PREFIXES += ["model._orig_mod.", "base_model.model.model.", "_forward_module.module.model."]


@pytest.mark.parametrize("family", [BertConfig, RobertaConfig], ids=["bert", "roberta"])
@pytest.mark.parametrize(
    "head", [AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification], ids=lambda head: head.__name__
)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_weights_below_a_known_prefix_arrive(folder, family, head, prefix):
    kept = {}

    def change(state):
        kept.update(state)
        return {prefix + key: value for key, value in state.items()}

    path = folder(family, head, change, num_labels=3)
    wanted = next(value for key, value in kept.items() if key.endswith(QUERY))
    model = load(path)
    assert torch.equal(query(model), wanted)
    own = model.state_dict()
    assert all(torch.equal(own[key], value) for key, value in kept.items() if key in own)
    encoder, _ = load_encoder(TextTaskArguments(model_name_or_path=str(path)))
    assert torch.equal(encoder.state_dict()[QUERY], wanted)


def test_the_removed_prefix_is_said_once(folder, capsys):
    path = folder(change=lambda state: {f"module.{key}": value for key, value in state.items()})
    load(path)
    load(path)
    assert capsys.readouterr().out.count("module. was removed") == 1


@pytest.mark.parametrize("inside", ["bert._orig_mod.", "module.bert.module.", "bert._fsdp_wrapped_module."])
def test_wrappers_inside_of_a_key_are_removed_too(folder, inside):
    change = lambda state: {key.replace("bert.", inside, 1): value for key, value in state.items()}  # noqa: E731
    path = folder(head=AutoModelForSequenceClassification, change=change, num_labels=3)
    assert torch.isfinite(query(load(path))).all()


def test_gamma_and_beta_of_old_files_arrive_below_a_prefix(folder):
    name = "embeddings.LayerNorm.weight"

    def change(state):
        state[name] = torch.full_like(state[name], 3.0)
        return {
            f"module.{key.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta')}": value
            for key, value in state.items()
        }

    assert load(folder(change=change)).bert.embeddings.LayerNorm.weight.eq(3).all()


def shards(path, prefix):
    state = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    names = sorted(state)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, keys in parts.items():
        save_file({prefix + key: state[key] for key in keys}, path / file, metadata={"format": "pt"})
    index = {prefix + key: file for file, keys in parts.items() for key in keys}
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return state[QUERY]


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.model."])
def test_weights_in_shards_arrive(folder, prefix):
    path = folder()
    assert torch.equal(shards(path, prefix), query(load(path)))


@pytest.mark.parametrize("fault", ["lost", "cut", "outside"])
def test_a_shard_that_is_lost_cut_or_elsewhere_is_one_sentence(folder, fault):
    path = folder()
    shards(path, "module.")
    shard = path / "model-2.safetensors"
    if fault == "lost":
        shard.unlink()
    elif fault == "cut":
        shard.write_bytes(shard.read_bytes()[:900])
    else:
        index = path / "model.safetensors.index.json"
        index.write_text(index.read_text().replace("model-2.", "../model-2."))
        shard.rename(path.parent / shard.name)
    with pytest.raises(InputError):
        load(path)


@pytest.mark.parametrize("nested", ["state_dict", "model"])
@pytest.mark.parametrize("prefix", ["module.", "model."])
def test_pickled_weights_arrive_and_below_a_trainings_name_they_are_refused_or_arrive(folder, prefix, nested):
    path = folder()
    state = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    torch.save({prefix + key: value for key, value in state.items()}, path / "pytorch_model.bin")
    assert torch.equal(query(load(path)), state[QUERY])
    torch.save({nested: {prefix + key: value for key, value in state.items()}}, path / "pytorch_model.bin")
    try:
        assert torch.equal(query(load(path)), state[QUERY])
    except InputError:
        pass


def without(name):
    return lambda state: {key: value for key, value in state.items() if not key.endswith(name)}


def reshaped(name):
    return lambda state: {key: value[:-1].clone() if key.endswith(name) else value for key, value in state.items()}


def renamed(prefix):
    return lambda state: {prefix + key: value for key, value in state.items()}


FAULTS = {
    "missing": (without(QUERY), "query.weight is missing"),
    "missing-below-a-prefix": (lambda state: renamed("module.")(without(QUERY)(state)), "query.weight is missing"),
    "words-missing": (without("word_embeddings.weight"), "word_embeddings.weight is missing"),
    "shape": (reshaped(QUERY), "query.weight is missing or of another shape"),
    "words-of-another-vocabulary": (reshaped("word_embeddings.weight"), "word_embeddings.weight is missing or of another"),
    "half-a-pooler": (without("pooler.dense.bias"), "pooler.dense.bias"),
    "pooler-of-another-shape": (reshaped("pooler.dense.weight"), "pooler.dense.weight"),
    "unknown-prefix": (renamed("student."), "other weights are missing"),
    "another-family": (lambda state: {f"roberta.{key}": value for key, value in state.items()}, "are missing"),
    "nothing": (lambda state: {"x": torch.zeros(2)}, "are missing"),
    "twice": (lambda state: renamed("module.")(state) | {key: value + 1 for key, value in renamed("model.")(state).items()}, "twice"),
    "adapters": (lambda state: state | {f"{QUERY[:-7]}.lora_A.default.weight": torch.zeros(2, 16)}, "merge"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), FAULTS.values(), ids=FAULTS)
def test_an_encoder_whose_weights_do_not_arrive_is_refused_by_the_first_key(folder, change, words):
    path = folder(change=change)
    with pytest.raises(InputError, match=words):
        load(path)
    with pytest.raises(InputError, match=words):
        load_encoder(TextTaskArguments(model_name_or_path=str(path)))


@pytest.mark.parametrize("number", [2, 3, 5])
def test_a_classifier_of_another_number_of_labels_is_new_and_one_of_the_same_arrives(folder, number):
    path = folder(head=AutoModelForSequenceClassification, num_labels=number)
    model = load(path)
    assert model.classifier.out_features == 3
    kept = load_file(path / "model.safetensors")["classifier.weight"]
    assert (number == 3) == (kept.shape == model.classifier.weight.shape and torch.equal(kept, model.classifier.weight))


def test_a_layer_that_config_json_does_not_have_is_said(folder, capsys):
    def another(state):
        twice = {key.replace("layer.1.", "layer.2."): value for key, value in state.items() if "layer.1." in key}
        return {**state, **{key: value.clone() for key, value in twice.items()}}

    for head in (AutoModel, AutoModelForMaskedLM):
        say.cache_clear()
        load(folder(head=head, change=another))
        assert "layer.2.attention.output.LayerNorm.bias and 15 others are left out" in capsys.readouterr().out
    say.cache_clear()
    load(folder(head=AutoModelForMaskedLM))  # its head is nothing that is missed
    assert "left out" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["classifier.weight", "classifier.bias"])
def test_half_a_classifier_is_refused(folder, name):
    with pytest.raises(InputError, match=name):
        load(folder(head=AutoModelForSequenceClassification, change=without(name), num_labels=3))


def test_a_pooler_that_a_family_makes_anew_is_said(folder, capsys):
    load(folder(head=AutoModelForMaskedLM))
    assert "bert.pooler.dense.weight" in capsys.readouterr().out


def test_added_tokens_get_new_rows_and_a_vocabulary_beyond_the_embedding_is_refused(folder):
    path = folder()
    args = TextTaskArguments(model_name_or_path=str(path))
    tokenizer = load_tokenizer(args, [], ["[E1]", "[E2]"])
    assert load_model(args, LABELS, tokenizer).get_input_embeddings().num_embeddings == len(tokenizer)
    train_tokenizer([*TEXTS, "other words of a larger vocabulary"]).save_pretrained(path)
    with pytest.raises(InputError, match="not of one model"):
        load(path)


def test_in_a_fold_no_weight_is_missing_of_another_shape_or_one_too_many(folder):
    def fold(change):
        path = folder(head=AutoModelForSequenceClassification, change=change, num_labels=3)
        config = json.loads((path / "config.json").read_text())
        config |= {"preprocessing": {"max_length": 8}, "id2label": dict(enumerate(LABELS))}
        (path / "config.json").write_text(json.dumps(config))
        return load_fold(path, torch.device("cpu"), LABELS, ["max_length"])

    fold(dict)
    for change, words in [
        (without("classifier.weight"), "classifier.weight is missing"),
        (without(QUERY), f"bert.{QUERY} is missing"),
        (without("pooler.dense.bias"), "bert.pooler.dense.bias is missing"),
        (reshaped("classifier.bias"), "classifier.bias is of another shape"),
        (reshaped(QUERY), f"bert.{QUERY} is of another shape"),
        (lambda state: state | {"extra.weight": torch.zeros(1)}, "extra.weight is none of this model"),
        (renamed("module."), "are missing"),
    ]:
        with pytest.raises(InputError, match=words):
            fold(change)


def test_a_fold_is_loaded_bit_by_bit(folder):
    path = folder(RobertaConfig, AutoModelForSequenceClassification, num_labels=3)
    saved = load_file(path / "model.safetensors")
    loaded = load_saved(AutoModelForSequenceClassification, path).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in saved.items())


def test_loading_and_saving_draw_no_bars(folder, tmp_path, capfd):
    load(folder()).save_pretrained(tmp_path / "again")
    assert capfd.readouterr().err == ""
