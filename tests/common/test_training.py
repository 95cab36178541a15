"""One fold: options, resume, out of memory, model families."""

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    DebertaV2Config,
    ElectraConfig,
    ModernBertConfig,
    RobertaConfig,
    RobertaTokenizerFast,
    TrainingArguments,
    XLMRobertaConfig,
    XLMRobertaTokenizerFast,
)

from common.console import InputError, Stopped
from common.examples import TextExample
from common.folds import Fold
from common.guards.checkpoints import last_whole_checkpoint
from common.guards.manifest import write_manifest
from common.inference import predict_logits, start_accelerator
from common.models import load_model, load_tokenizer
from common.options import TextTaskArguments
from common.text import Collator, tokenize
from common.text_trainer import TextTrainer
from common.training import train_fold
from common.tricks.batch_size import largest_batch
from tests.tools.params import first

LABELS = ["a", "b", "c"]
TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "num_labels": 3}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads on two busy cores wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_rows(count=32):
    """Rows of 4 to 9 tokens whose first token tells the label; 20, 8 and 4 of 32 rows for each class."""
    generator = np.random.default_rng(0)
    labels = np.resize([0, 0, 1, 0, 0, 1, 0, 2], count)
    rows = [[2, 5 + int(label), *generator.integers(8, 30, generator.integers(1, 7)).tolist(), 3] for label in labels]
    return datasets.Dataset.from_dict(
        {"id": [str(i) for i in range(count)], "input_ids": rows, "labels": labels.tolist()}
    )


def collate(rows):
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in rows])
    return {
        "input_ids": ids,
        "attention_mask": (ids > 0).long(),
        "labels": torch.tensor([row["labels"] for row in rows]),
    }


def make_bert(dropout=True):
    return BertForSequenceClassification(
        BertConfig(vocab_size=30, initializer_range=0.2, **TINY, **({} if dropout else NO_DROPOUT))
    )


def train(folder, make_model=make_bert, options=None, rows=None, **training):
    """train_fold() on the rows: 8 optimizer steps of 8 rows unless `training` says otherwise."""
    rows = make_rows() if rows is None else rows
    defaults = {
        "per_device_train_batch_size": 8, "num_train_epochs": 2, "learning_rate": 1e-2, "save_strategy": "no", "eval_strategy": "no",
        "logging_steps": 1, "use_cpu": True, "report_to": [], "disable_tqdm": True, "restore_callback_states_from_checkpoint": True,
    }  # fmt: skip
    training_args = TrainingArguments(output_dir=str(folder), **{**defaults, **training})
    fold = make_fold(folder, TextTaskArguments(**(options or {})), training_args, rows)
    return train_fold(fold, make_model, collate, TextTrainer)


def make_fold(folder, args, training_args, rows):
    """A fold that trains and evaluates on the same rows, of a run that only counts."""
    run = SimpleNamespace(phase=lambda name: nullcontext(), args=args, done={})
    return Fold(run, 0, folder, args, training_args, np.arange(len(rows)), rows, rows, {})


def weights_of(trainer):
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def farthest(a, b):
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


# Out of memory


class Device:
    """Stands for a GPU that, from the forward pass number `since` on, has room for `room` rows."""

    def __init__(self, room, since, error=torch.OutOfMemoryError):
        self.room, self.since, self.error, self.forwards = room, since, error, []

    def make_model(self):
        model = make_bert(dropout=False)
        model.bert.embeddings.register_forward_pre_hook(self.check, with_kwargs=True)
        return model

    def check(self, embeddings, args, kwargs):
        if embeddings.training:
            self.forwards.append(len(kwargs["input_ids"]))
            if len(self.forwards) > self.since and self.forwards[-1] > self.room:
                raise self.error("CUDA out of memory. Tried to allocate 20.00 MiB")


SAVE = {"save_strategy": "steps", "save_steps": 2}
# Adam divides by the size of a gradient: rounding in the key biases, whose gradient is 0, would become whole steps
SGD = {"optim": "sgd", "learning_rate": 0.1}


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_after_out_of_memory_the_fold_goes_on_from_its_checkpoint_with_half_the_batch_and_the_same_weights(
    tmp_path, error
):
    device = Device(room=4, since=5, error=error)
    trainer, info = train(tmp_path / "oom", device.make_model, **SAVE, **SGD)
    plain, _ = train(tmp_path / "plain", lambda: make_bert(dropout=False), **SAVE, **SGD)
    assert (info["per_device_train_batch_size"], info["gradient_accumulation_steps"]) == (4, 2)
    # five steps, the one that failed, and steps 5 to 8 again in halves: the checkpoint is that of step 4
    assert device.forwards == [8] * 6 + [4] * 8
    assert trainer.state.global_step == 8
    assert farthest(weights_of(trainer), weights_of(plain)) < 1e-5


def test_out_of_memory_before_the_first_checkpoint_starts_the_fold_afresh(tmp_path):
    trainer, info = train(tmp_path / "oom", Device(room=2, since=0).make_model, **SGD)
    plain, _ = train(tmp_path / "plain", lambda: make_bert(dropout=False), **SGD)
    assert (info["per_device_train_batch_size"], info["gradient_accumulation_steps"]) == (2, 4)
    assert farthest(weights_of(trainer), weights_of(plain)) < 1e-5


def test_adapters_go_on_after_out_of_memory_as_whole_weights_do(tmp_path):
    adapters = {"lora_r": 4, "lora_dropout": 0.0}
    device = Device(room=4, since=5)
    trainer, info = train(tmp_path / "oom", device.make_model, adapters, **SAVE, **SGD)
    plain, _ = train(tmp_path / "plain", lambda: make_bert(dropout=False), adapters, **SAVE, **SGD)
    assert (info["per_device_train_batch_size"], info["gradient_accumulation_steps"]) == (4, 2)
    assert device.forwards == [8] * 6 + [4] * 8
    assert farthest(weights_of(trainer), weights_of(plain)) < 1e-5


def test_out_of_memory_in_one_of_several_processes_is_an_input_error():
    training_args = SimpleNamespace(world_size=2, per_device_train_batch_size=8, gradient_accumulation_steps=1)
    with pytest.raises(InputError, match="out of memory in one of several processes, where no batch is halved"):
        TextTrainer.halve_batch(TextTaskArguments(), training_args, RuntimeError())


def test_out_of_memory_with_one_row_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="one row per device"):
        train(tmp_path, Device(room=0, since=0).make_model)


def test_out_of_memory_with_a_token_budget_is_an_input_error_and_not_a_larger_effective_batch(tmp_path):
    with pytest.raises(InputError, match="lower tokens_per_batch"):
        train(tmp_path, Device(room=1, since=0).make_model, {"tokens_per_batch": 40})


def test_an_error_that_is_not_of_memory_is_raised_as_it_is(tmp_path):
    def broken():
        model = make_bert()
        model.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("shapes disagree")))
        return model

    with pytest.raises(RuntimeError, match="shapes disagree"):
        train(tmp_path, broken)


# Batch size


@pytest.mark.parametrize("per_row", [0.001, 0.01, 0.03, 0.07, 0.13, 0.3, 0.9])
@pytest.mark.parametrize("rows", [1, 8, 12, 60, 64])
def test_largest_batch_divides_the_effective_batch_and_keeps_below_80_percent(rows, per_row):
    tried = {}

    def memory(batch):
        tried[batch] = batch * per_row if batch * per_row <= 1 else np.inf
        return tried[batch]

    batch = largest_batch(memory, rows)
    assert rows % batch == 0
    assert batch == 1 or tried[batch] <= 0.8
    larger = [b for b in range(batch + 1, rows + 1) if rows % b == 0]
    assert tried[batch] >= 0.6 or not larger or larger[0] * per_row > 0.8
    assert sum(share > 0.8 for share in tried.values()) <= 1  # it stops at the first that is too large


# Checkpoints


def test_half_written_checkpoints_are_ignored_and_removed(tmp_path):
    for step, text in [
        (5, json.dumps({"global_step": 5})),
        (10, json.dumps({"global_step": 10})),
        (15, '{"global_step": 15}'),
        (20, None),
    ]:
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"")
        if text:
            (folder / "trainer_state.json").write_text(text)
        if step <= 10:
            write_manifest(folder)
    assert last_whole_checkpoint(tmp_path, SimpleNamespace(should_save=False)) == tmp_path / "checkpoint-10"
    assert len(list(tmp_path.iterdir())) == 4  # another process than the first removes nothing
    assert last_whole_checkpoint(tmp_path, SimpleNamespace(should_save=True)) == tmp_path / "checkpoint-10"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-5"]
    assert last_whole_checkpoint(tmp_path / "none", SimpleNamespace(should_save=True)) is None


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "options",
    first(
        3,
        [
            {},
            {"ema_decay": 0.9, "feature_oversample_ratio": 1.0},
            {"lora_r": 4, "awp_epsilon": 0.1},
            {"tokens_per_batch": 40, "rdrop_alpha": 1.0},
            {"batch_by_length": False, "fgm_epsilon": 1.0},
        ],
    ),
    ids=lambda options: "+".join(options) or "plain",
)
@pytest.mark.parametrize("step", first(1, [5, 3]))
def test_a_fold_that_was_stopped_in_an_epoch_ends_with_the_bits_of_one_that_was_not(tmp_path, options, step):
    """Stopped in the step after the 3rd or 5th, of four an epoch, with two micro-batches a step and dropout on."""
    training = {**SAVE, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "save_steps": 1}
    whole, _ = train(tmp_path / "whole", options=options, **training)
    left = 2 * step

    def fragile():
        model = make_bert()

        def count(module, *_):
            nonlocal left
            left -= module.training
            if left < 0:
                raise Killed

        model.register_forward_pre_hook(count)
        return model

    with pytest.raises(Killed):
        train(tmp_path / "stopped", fragile, options, **training)
    resumed, _ = train(tmp_path / "stopped", options=options, **training)
    assert farthest(weights_of(whole), weights_of(resumed)) == 0


def test_a_fold_that_stops_after_an_epoch_goes_on_to_the_bits_of_one_that_did_not(tmp_path):
    saves = {"save_strategy": "epoch", "num_train_epochs": 3, "eval_strategy": "epoch"}
    straight, info = train(tmp_path / "straight", **saves)
    for epoch in (0, 1, 1, 2):  # stopping where it stands trains nothing
        with pytest.raises(Stopped, match=f"stopped after epoch {epoch} of 3; --resume goes on"):
            train(tmp_path / "stopped", options={"stop_after_epoch": epoch}, **saves)
    assert len(list((tmp_path / "stopped" / "checkpoints").glob("checkpoint-*"))) == 2
    trainer, again = train(tmp_path / "stopped", options={"stop_after_epoch": 3}, **saves)
    assert farthest(weights_of(trainer), weights_of(straight)) == 0
    scores = [
        [entry["eval_accuracy"] for entry in log["log_history"] if "eval_accuracy" in entry] for log in (info, again)
    ]
    assert len(scores[0]) == 3 and scores[0] == scores[1]


def test_a_fold_that_stopped_early_and_was_killed_before_its_end_is_not_trained_further(tmp_path):
    options = {"early_stopping_patience": 1, "ema_decay": 0.5}
    training = {
        "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1, "learning_rate": 1e-3,
        "load_best_model_at_end": True, "metric_for_best_model": "log_loss", "greater_is_better": True,
    }  # fmt: skip
    whole, _ = train(tmp_path / "run", options=options, **training)
    assert 1 < whole.state.global_step < whole.state.max_steps
    resumed, info = train(tmp_path / "run", options=options, **training)  # its checkpoints are all that is left
    assert resumed.state.global_step == whole.state.global_step
    assert farthest(weights_of(whole), weights_of(resumed)) == 0
    assert info["train_samples_per_second"] == 0


# Optional pieces

OPTIONS = {
    "class_weights": {"class_weight_strength": 1.0},
    "focal": {"focal_gamma": 2.0},
    "rdrop": {"rdrop_alpha": 1.0},
    "fgm": {"fgm_epsilon": 1.0},
    "awp": {"awp_epsilon": 0.1},
    "ema": {"ema_decay": 0.9},
    "layerwise": {"layerwise_lr_decay": 0.5},
    "head_rate": {"head_learning_rate": 5e-2},
    "smote": {"feature_oversample_ratio": 1.0, "feature_oversample_method": "smote"},
    "rose": {"feature_oversample_ratio": 1.0, "feature_oversample_method": "rose"},
    "random_batches": {"batch_by_length": False},
    "token_budget": {"tokens_per_batch": 40},
}


@pytest.fixture(scope="module")
def off(tmp_path_factory):
    torch.set_num_threads(1)
    return weights_of(train(tmp_path_factory.mktemp("off"), lambda: make_bert(dropout=False))[0])


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_changes_what_is_learned(tmp_path, off, name):
    trainer, info = train(tmp_path, lambda: make_bert(dropout=False), OPTIONS[name])
    assert farthest(weights_of(trainer), off) > 1e-4
    assert all(np.isfinite(entry["loss"]) for entry in info["log_history"] if "loss" in entry)


@pytest.mark.parametrize("training", [{"label_smoothing_factor": 0.2}, {"bf16": True}], ids=["label_smoothing", "bf16"])
def test_label_smoothing_and_bf16_change_what_is_learned(tmp_path, off, training):
    trainer, _ = train(tmp_path, lambda: make_bert(dropout=False), **training)
    assert farthest(weights_of(trainer), off) > 1e-4


@pytest.mark.parametrize("options", first(1, [{"lora_r": 4}, {}]), ids=["lora", "full"])
def test_gradient_checkpointing_does_not_change_what_is_learned(tmp_path, options):
    saved = [train(tmp_path / str(on), options=options, gradient_checkpointing=on)[0] for on in (False, True)]
    assert farthest(*map(weights_of, saved)) < 1e-6
    assert (
        farthest(weights_of(saved[0]), weights_of(train(tmp_path / "still", options=options, learning_rate=1e-12)[0]))
        > 1e-3
    )


def test_a_saved_fold_with_lora_is_a_stock_model_with_the_trainers_logits(tmp_path):
    trainer, _ = train(tmp_path, options={"lora_r": 4})
    trainer.model.save_pretrained(tmp_path / "saved")
    loaded, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    accelerator = start_accelerator({})
    parts = [
        predict_logits(model.to("cpu"), make_rows(), collate, accelerator, LABELS).logits
        for model in (trainer.model, loaded)
    ]
    assert np.abs(parts[0] - parts[1]).max() < 1e-5


def test_early_stopping_ends_training_and_takes_the_best_checkpoint(tmp_path):
    trainer, info = train(
        tmp_path,
        options={"early_stopping_patience": 2},
        num_train_epochs=20,
        learning_rate=1e-12,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
    )
    assert sum("eval_accuracy" in entry for entry in info["log_history"]) == 3
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-4")


def test_with_every_option_off_the_loss_is_the_plain_mean_cross_entropy(tmp_path):
    rows, models = make_rows(8), []

    def make_model():
        models.append(make_bert(dropout=False))
        models.append(make_bert())
        models[1].load_state_dict(models[0].state_dict())
        return models[0]

    _, info = train(tmp_path, make_model, rows=rows, num_train_epochs=1)
    batch = collate(list(rows))
    labels = batch.pop("labels")
    expected = F.cross_entropy(models[1].eval()(**batch).logits, labels).item()
    assert info["log_history"][0]["loss"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("rows", [32, 29], ids=["whole batches", "a rest"])
def test_four_micro_batches_of_two_rows_give_the_weights_of_one_of_eight(tmp_path, rows):
    one, _ = train(tmp_path / "one", lambda: make_bert(dropout=False), rows=make_rows(rows), **SGD)
    four, _ = train(
        tmp_path / "four",
        lambda: make_bert(dropout=False),
        rows=make_rows(rows),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        **SGD,
    )
    assert (
        farthest(
            weights_of(one),
            weights_of(train(tmp_path / "still", lambda: make_bert(dropout=False), learning_rate=1e-12)[0]),
        )
        > 1e-2
    )
    assert one.state.global_step == four.state.global_step == 8
    assert farthest(weights_of(one), weights_of(four)) < 1e-5


def test_every_epoch_has_all_rows_in_batches_of_its_own(tmp_path):
    seen = []

    def make_model():
        model = make_bert()
        model.register_forward_pre_hook(
            lambda _, args, kwargs: seen.append(kwargs["input_ids"].tolist()), with_kwargs=True
        )
        return model

    train(tmp_path, make_model)
    epochs = [sorted([i for i in row if i] for batch in part for row in batch) for part in (seen[:4], seen[4:])]
    assert epochs[0] == epochs[1] == sorted(make_rows()["input_ids"])
    assert seen[:4] != seen[4:]


def test_training_speed_counts_only_the_steps_of_this_start(tmp_path):
    train(tmp_path, save_strategy="epoch")
    _, info = train(tmp_path, save_strategy="epoch")  # nothing is left to train
    assert info["train_samples_per_second"] == 0


def test_the_scratch_tokenizer_is_the_same_each_time_it_is_trained():
    """A resumed run and every process of a run train it again."""
    lines = json.loads((Path(__file__).parents[2] / "friends/sample/train.json").read_text())
    texts = [line["utterance"] for dialogue in lines for line in dialogue] + LINES
    first, second = (load_tokenizer(TextTaskArguments(), texts) for _ in range(2))
    assert first.get_vocab() == second.get_vocab()
    assert len(first) > 1000 and first.unk_token_id not in first("Wow, where is the car?")["input_ids"]
    assert sorted(first.get_vocab().values()) == list(range(len(first)))


# Model families

SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
FAMILIES = {
    "bert": (BertConfig, BertTokenizerFast, {}),
    "roberta": (RobertaConfig, RobertaTokenizerFast, {}),
    "electra": (ElectraConfig, BertTokenizerFast, {}),
    "deberta": (
        DebertaV2Config,
        BertTokenizerFast,
        {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 8,
            "norm_rel_ebd": "layer_norm",
        },
    ),
    "modernbert": (ModernBertConfig, RobertaTokenizerFast, {}),
    "xlm-roberta": (XLMRobertaConfig, XLMRobertaTokenizerFast, {}),
    "albert": (AlbertConfig, BertTokenizerFast, {"embedding_size": 8}),
}
LINES = [
    "Where is the car?",
    "In the garage, where it was.",
    "Wow!",
    "나는 몰랐어",
    "Oh no, not the red one...",
    "그래, 좋아!",
] * 4


@pytest.mark.parametrize("name", FAMILIES)
def test_every_model_family_trains_is_saved_and_predicts_its_own_logits(tmp_path, name):
    config_class, tokenizer_class, extra = FAMILIES[name]
    tokenizer = tokenizer_class().train_new_from_iterator([LINES], vocab_size=400)
    tokenizer.model_max_length = 48
    special = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = config_class(vocab_size=len(tokenizer), max_position_embeddings=64, **TINY, **special, **extra)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")

    args = TextTaskArguments(model_name_or_path=str(tmp_path / "base"))
    tokenizer = load_tokenizer(args, [])
    examples = [TextExample(str(i), ["before", text], i % 3, group=str(i), main=1) for i, text in enumerate(LINES)]
    rows = tokenize(examples, tokenizer, 16, tmp_path / "rows.arrow")
    # this DeBERTa has no embedding of token types, so that they are left out
    has_types = tokenizer_class is BertTokenizerFast and name != "deberta"
    assert ("token_type_ids" in rows.column_names) == has_types
    training_args = TrainingArguments(
        str(tmp_path / "out"),
        max_steps=2,
        per_device_train_batch_size=4,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    fold = make_fold(tmp_path / "fold", args, training_args, rows)
    trainer, _ = train_fold(fold, lambda: load_model(args, LABELS, tokenizer), Collator(tokenizer), TextTrainer)
    trainer.model.save_pretrained(tmp_path / "saved")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", dtype=torch.float32)
    accelerator = start_accelerator({})
    logits = [
        predict_logits(model.cpu(), rows, Collator(tokenizer), accelerator, LABELS) for model in (trainer.model, loaded)
    ]
    assert logits[0].ids.tolist() == [str(i) for i in range(len(LINES))]
    assert np.abs(logits[0].logits - logits[1].logits).max() < 1e-5


@pytest.mark.parametrize("option", ["output_hidden_states", "output_attentions"])
def test_a_model_that_gives_more_than_logits_is_measured_by_its_logits(tmp_path, option):
    def make_model():
        model = make_bert()
        model.set_attn_implementation("eager")  # because the others have no attentions to give
        setattr(model.config, option, True)
        return model

    _, info = train(tmp_path, make_model, num_train_epochs=1, eval_strategy="epoch")
    assert any(0 <= entry.get("eval_accuracy", -1) <= 1 for entry in info["log_history"])
