"""Word embeddings cut to the tokens that occur: the same logits, and the others as they were."""

from contextlib import nullcontext
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    BartConfig,
    BertConfig,
    BertForMaskedLM,
    DebertaV2Config,
    ElectraConfig,
    Qwen2Config,
    RobertaConfig,
    TrainingArguments,
    XLMRobertaConfig,
)

from common.console import InputError, Stopped
from common.folds import Fold
from common.inference import predict_fold
from common.options import TextTaskArguments
from common.run import Run
from common.text_trainer import TextTrainer
from common.training import train_fold
from common.tricks.vocabulary import WordsInUse, ids_in_use
from tests.tools.params import first

VOCABULARY = 80
TRAINED, TESTED = np.arange(8, 30), np.arange(24, 40)  # ids of the rows; 40 and above occur nowhere
TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "num_labels": 3}
TINY |= {"vocab_size": VOCABULARY, "initializer_range": 0.2}
DEBERTA = {"relative_attention": True, "max_relative_positions": 8, "pos_att_type": ["c2p", "p2c"]}
DEBERTA |= {"position_biased_input": False, "pooler_hidden_size": 16}
FAMILIES = {
    "bert": BertConfig(**TINY),
    "roberta": RobertaConfig(**TINY, pad_token_id=1, max_position_embeddings=20),
    "xlm-roberta": XLMRobertaConfig(**TINY, pad_token_id=1, max_position_embeddings=20),
    "deberta-v2": DebertaV2Config(**TINY, **DEBERTA),
    "electra": ElectraConfig(**TINY, embedding_size=8),
    "qwen2": Qwen2Config(**TINY, num_key_value_heads=1, pad_token_id=60),  # an id that no row holds
}
BART = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "num_labels": 3}
BART |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "vocab_size": VOCABULARY}
OPTIONS = {
    "fgm": {"fgm_epsilon": 0.5},
    "awp": {"awp_epsilon": 0.05},
    "ema": {"ema_decay": 0.9},
    "rates": {"layerwise_lr_decay": 0.8, "head_learning_rate": 0.02},
    "smote": {"feature_oversample_ratio": 0.5},
    "rdrop": {"rdrop_alpha": 1.0},
    "budget": {"tokens_per_batch": 40},
}


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_rows(ids, count, seed):
    """Rows of 4 to 9 of these ids, whose first tells the label."""
    generator = np.random.default_rng(seed)
    labels = np.resize([0, 0, 1, 0, 0, 1, 0, 2], count)
    rows = [[2, 5 + int(label), *generator.choice(ids, generator.integers(1, 7)).tolist(), 3] for label in labels]
    names = [str(i) for i in range(count)]
    return datasets.Dataset.from_dict({"id": names, "input_ids": rows, "labels": labels.tolist()})


def collator(pad):
    def collate(rows):
        longest = max(len(row["input_ids"]) for row in rows)
        ids = torch.tensor([row["input_ids"] + [pad] * (longest - len(row["input_ids"])) for row in rows])
        labels = torch.tensor([row["labels"] for row in rows])
        return {"input_ids": ids, "attention_mask": (ids != pad).long(), "labels": labels}

    return collate


def make_fold(folder, options, **training):
    args = TextTaskArguments(**options)
    run = SimpleNamespace(phase=lambda name: nullcontext(), args=args, done={})
    defaults = {
        "per_device_train_batch_size": 8, "num_train_epochs": 2, "learning_rate": 1e-2, "weight_decay": 0.3, "max_grad_norm": 0.5,
        "save_strategy": "no", "eval_strategy": "epoch", "use_cpu": True, "report_to": [], "disable_tqdm": True,
        "restore_callback_states_from_checkpoint": True,
    }  # fmt: skip
    training_args = TrainingArguments(output_dir=str(folder), **{**defaults, **training})
    rows, held_out = make_rows(TRAINED, 32, 0), make_rows(TRAINED, 12, 1)
    to_predict = {"held_out": held_out, "test": make_rows(TESTED, 12, 2)}
    return Fold(run, 0, folder, args, training_args, np.arange(32), rows, held_out, to_predict)


def make_model(config):
    return AutoModelForSequenceClassification.from_config(config)


def train(folder, config, options, **training):
    """(trainer, logits (24, 3) of held-out and test rows)"""
    fold = make_fold(folder, options, **training)
    trainer, _ = train_fold(fold, lambda: make_model(config), collator(config.pad_token_id), TextTrainer)
    return trainer, np.concatenate([part.logits for part in predict_fold(fold, trainer).values()])


def words(model):
    return model.get_input_embeddings().weight.detach()


def initial_words(config):
    torch.manual_seed(42)  # TrainingArguments' seed
    return words(make_model(config))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The logits without any optional piece."""
    torch.set_num_threads(1)
    return train(tmp_path_factory.mktemp("plain"), FAMILIES["bert"], {}, weight_decay=0.0)[1]


@pytest.mark.parametrize("family", first(2, FAMILIES))
def test_logits_are_those_of_the_full_vocabulary_and_rows_that_never_occur_are_pretrained_to_the_bit(family, tmp_path):
    config = FAMILIES[family]
    trainer, logits = train(tmp_path / "part", config, {})
    full, wanted = train(tmp_path / "full", config, {"full_vocabulary": True})
    np.testing.assert_allclose(logits, wanted, atol=1e-6, rtol=0)
    before, occur = initial_words(config), trainer.model.words_in_use.ids.tolist()
    others = sorted({*range(VOCABULARY)} - {*occur})
    assert torch.equal(words(trainer.model)[others], before[others])
    assert not torch.equal(words(full.model)[others], before[others])  # weight decay
    torch.testing.assert_close(words(trainer.model)[occur], words(full.model)[occur], atol=1e-6, rtol=0)
    trainer.model.save_pretrained(tmp_path / "saved")
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), trainer.model.parameters(), strict=True))
    assert words(saved).shape == before.shape
    embedding = trainer.model.get_input_embeddings()
    assert (embedding.num_embeddings, embedding.padding_idx) == (
        VOCABULARY,
        full.model.get_input_embeddings().padding_idx,
    )


@pytest.mark.parametrize("name", first(2, OPTIONS))
def test_logits_are_those_of_the_full_vocabulary_with_each_optional_piece(name, plain, tmp_path):
    # without weight decay, because AWP's step follows the norm of all rows, also of those that only decay
    wanted = train(tmp_path / "full", FAMILIES["bert"], {**OPTIONS[name], "full_vocabulary": True}, weight_decay=0.0)[1]
    logits = train(tmp_path / "part", FAMILIES["bert"], OPTIONS[name], weight_decay=0.0)[1]
    np.testing.assert_allclose(logits, wanted, atol=2e-6, rtol=0)
    assert np.abs(logits - plain).max() > 1e-3


def test_a_fold_that_was_stopped_goes_on_from_a_small_checkpoint_to_the_same_bits(tmp_path):
    options = {"ema_decay": 0.9}
    whole, logits = train(tmp_path / "whole", FAMILIES["xlm-roberta"], options, save_strategy="epoch")
    stopped = {**options, "stop_after_epoch": 1}
    with pytest.raises(Stopped):
        train(tmp_path / "part", FAMILIES["xlm-roberta"], stopped, save_strategy="epoch")
    checkpoint = tmp_path / "part" / "checkpoints" / "checkpoint-4"
    name = "roberta.embeddings.word_embeddings.weight"
    rows = len(load_file(checkpoint / "model.safetensors")[name])
    assert rows == len(load_file(checkpoint / "ema.safetensors")[f"average.{name}"]) < 45
    moments = torch.load(checkpoint / "optimizer.pt", weights_only=True)["state"].values()
    assert max(state["exp_avg"].shape[0] for state in moments) < 45
    trainer, resumed = train(tmp_path / "part", FAMILIES["xlm-roberta"], options, save_strategy="epoch")
    assert np.array_equal(resumed, logits)
    assert torch.equal(words(trainer.model), words(whole.model))


@pytest.mark.parametrize(
    "options",
    [{"full_vocabulary": True}, {"freeze_word_embeddings": True}, {"lora_r": 2}],
    ids=lambda options: next(iter(options)),
)
def test_the_embedding_is_whole_where_it_is_not_trained_or_a_user_wants_it_whole(options, tmp_path):
    fold = make_fold(tmp_path, options)
    model = TextTrainer.adapt(make_model(FAMILIES["bert"]), fold, collator(0))
    assert len(words(model)) == VOCABULARY


def test_ids_in_use_are_those_of_all_rows_of_the_padding_and_of_the_configuration(tmp_path):
    fold = make_fold(tmp_path, {})
    model = make_model(BertConfig(**TINY, pad_token_id=None, bos_token_id=50, eos_token_id=[51, 52]))
    parts = [fold.train_rows, fold.eval_rows, *fold.to_predict.values()]
    occurring = {token for rows in parts for ids in rows["input_ids"] for token in ids}
    assert set(ids_in_use(fold, collator(77), model).tolist()) == {*occurring, 77, 50, 51, 52}
    assert not {77, 50, 51, 52} & occurring
    assert occurring - {token for ids in fold.train_rows["input_ids"] for token in ids}


def test_a_cut_model_gives_the_same_logits_and_refuses_an_id_that_it_was_cut_without():
    for config in FAMILIES.values():
        model = make_model(config).eval()
        batch = collator(config.pad_token_id)(list(make_rows(TRAINED, 8, 0)))
        inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
        with torch.no_grad():
            before = model(**inputs).logits
            in_use = WordsInUse(model, batch["input_ids"].unique().numpy())
            assert torch.equal(model(**inputs).logits, before)
            with pytest.raises(IndexError):
                model(input_ids=torch.tensor([[2, 79, 3]]))
            in_use.put_back()
            assert torch.equal(model(**inputs).logits, before)
            model(input_ids=torch.tensor([[2, 79, 3]]))


def test_an_embedding_that_is_the_output_layer_too_is_not_cut():
    model = BertForMaskedLM(FAMILIES["bert"])
    with pytest.raises(ValueError, match="output layer"):
        WordsInUse(model, np.arange(10))
    assert len(words(model)) == VOCABULARY


def test_embeddings_of_one_weight_are_cut_and_put_back_together():
    model = make_model(BartConfig(**BART, scale_embedding=True)).eval()
    batch = {"input_ids": torch.tensor([[3, 9, 11, 2], [3, 12, 2, 1]])}
    with torch.no_grad():
        before = model(**batch).logits
        in_use = WordsInUse(model, np.array([1, 2, 3, 9, 11, 12]))
        assert len(in_use.modules) > 1
        assert torch.equal(model(**batch).logits, before)
        in_use.put_back()
        assert torch.equal(model(**batch).logits, before)
    assert len({id(module.weight) for module in in_use.modules}) == 1


def test_a_run_that_was_started_before_there_was_the_option_is_not_gone_on_with(tmp_path):
    (tmp_path / "config.yaml").write_text("num_folds: 2\n")
    run = SimpleNamespace(args=TextTaskArguments(), config={"num_folds": 2, "full_vocabulary": False})
    with pytest.raises(InputError, match="full_vocabulary was not given, now it is False"):
        Run.compare(run, tmp_path / "config.yaml")


def test_gradients_are_those_of_the_whole_embedding():
    torch.manual_seed(0)
    model = make_model(FAMILIES["roberta"]).eval()
    batch = collator(1)(list(make_rows(TRAINED, 8, 0)))
    model(**batch).loss.backward()
    whole = model.get_input_embeddings().weight.grad.clone()
    model.zero_grad()
    in_use = WordsInUse(model, np.union1d(batch["input_ids"].unique().numpy(), [33]))
    model(**batch).loss.backward()
    assert torch.equal(model.get_input_embeddings().weight.grad, whole[in_use.ids])
    assert not whole[1].any()  # the padding's
    assert whole.any()


def test_the_last_row_is_trained_where_the_padding_has_none():
    model = make_model(FAMILIES["roberta"])
    WordsInUse(model, np.array([2, 3, 9, 12]))
    model(input_ids=torch.tensor([[2, 9, 12, 3]]), labels=torch.tensor([0])).loss.backward()
    assert model.get_input_embeddings().weight.grad[3].any()
