"""No field of TrainingArguments is accepted and then ignored, in any of the five folders.

Of label_smoothing_factor, bf16, gradient_checkpointing, load_best_model_at_end with early stopping, and of the task's own
options, tests/common/test_training.py shows that something changes.
"""

import re
from dataclasses import MISSING, fields
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainingArguments

import tests.common.test_training as t
from common.console import InputError
from common.guards.options import (
    FIELDS,
    MEANINGLESS,
    NEEDS,
    OBEYED,
    OBEYED_BY_OWN,
    OF_TEXTS,
    OWN,
    REFUSED,
    REFUSED_FALSE,
    TRAINER,
    loader_options,
    refusal,
)
from common.options.args import TRAINING_DEFAULTS, parse_train_args
from common.options.task_module import arguments_of, load_data_module
from tests.tools.scripts import ROOT

TASKS = ("friends", "nsmc", "klue_re", "reon_face", "hand_signal")
RELEASE = {item.name: item for item in fields(TrainingArguments)}
# Another value than the default, for every field that a folder may refuse.
OTHER = {
    "resume_from_checkpoint": "/does/not/exist",
    "data_seed": "7",
    "dataloader_drop_last": "true",
    "dataloader_in_order": "false",
    "train_sampling_strategy": "group_by_length",
    "length_column_name": "len",
    "auto_find_batch_size": "true",
    "average_tokens_across_devices": "false",
    "optim_target_modules": "all-linear",
    "use_liger_kernel": "true",
    "bf16_full_eval": "true",
    "fp16_full_eval": "true",
    "eval_on_start": "true",
    "prediction_loss_only": "true",
    "batch_eval_metrics": "true",
    "label_names": "labels",
    "eval_do_concat_batches": "false",
    "eval_use_gather_object": "true",
    "include_for_metrics": "inputs",
    "save_only_model": "true",
    "ignore_data_skip": "true",
    "restore_callback_states_from_checkpoint": "false",
    "enable_jit_checkpoint": "true",
    "save_on_each_node": "true",
    "hub_strategy": "end",
    "hub_always_push": "true",
    "hub_revision": "main",
    "accelerator_config": '{"split_batches": true}',
    "fsdp": "full_shard",
    "fsdp_config": "{}",
    "deepspeed": "zero3.json",
    "do_train": "false",
    "do_eval": "false",
    "do_predict": "false",
    "neftune_noise_alpha": "5",
    "dataloader_persistent_workers": "true",
    # of hand_signal's loop only
    "max_steps": "5",
    "optim": "adafactor",
    "optim_args": "a=1",
    "tf32": "false",
    "full_determinism": "true",
    "gradient_checkpointing": "true",
    "gradient_checkpointing_kwargs": "{}",
    "activation_checkpointing": "true",
    "activation_checkpointing_kwargs": "{}",
    "eval_strategy": "steps",
    "eval_steps": "5",
    "eval_delay": "1",
    "save_strategy": "steps",
    "save_steps": "5",
    "debug": "underflow_overflow",
    "dataloader_pin_memory": "false",
    "dataloader_prefetch_factor": "4",
    "dataloader_multiprocessing_context": "spawn",
    "ddp_find_unused_parameters": "true",
    "ddp_bucket_cap_mb": "10",
    "ddp_broadcast_buffers": "true",
    "ddp_static_graph": "true",
    "ddp_backend": "gloo",
    "ddp_timeout": "60",
    "logging_strategy": "no",
    "logging_steps": "5",
    "logging_first_step": "true",
    "logging_nan_inf_filter": "false",
    "log_on_each_node": "false",
    "log_level": "info",
    "log_level_replica": "info",
    "include_num_input_tokens_seen": "true",
    "skip_memory_metrics": "false",
    "run_name": "a",
    "project": "a",
    "trackio_space_id": "a",
    "trackio_bucket_id": "a",
    "trackio_static_space_id": "a",
    "torch_empty_cache_steps": "1",
    "eval_accumulation_steps": "1",
    "use_cache": "true",
    "remove_unused_columns": "false",
    "local_rank": "0",
}
NOT_ON_A_COMMAND_LINE = {"parallelism_config", "liger_kernel_config"}  # whose parser takes no text at all


@pytest.fixture(scope="module")
def data_of():
    """The data.py of each folder."""
    return {task: load_data_module(ROOT / task) for task in TASKS}


@pytest.fixture
def parse(data_of, monkeypatch, tmp_path):
    """parse(task, *words): the arguments of the folder's demo with these words."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()

    def parse(task, *words):
        data = data_of[task]
        argv = ["--config", str(ROOT / task / "configs/demo.yaml"), *words]
        return parse_train_args(arguments_of(data), ROOT / task, data.COMPETITION_FILES, "", argv)

    yield parse
    torch.set_num_threads(threads)


def refused_in(task, data_of):
    """The fields of this release that a folder refuses, but for those that no command line can have."""
    loop = arguments_of(data_of[task]).LOOP
    return [name for name in RELEASE if refusal(name, loop) and name not in NOT_ON_A_COMMAND_LINE]


def test_every_field_of_the_installed_transformers_is_judged_once():
    assert RELEASE.keys() - FIELDS == set()
    kinds = [OBEYED, MEANINGLESS, REFUSED.keys(), REFUSED_FALSE.keys()]
    assert sum(map(len, kinds)) == len(FIELDS)
    assert OF_TEXTS.keys() <= OBEYED
    assert NEEDS.keys() <= OBEYED
    assert OBEYED_BY_OWN <= OBEYED | MEANINGLESS
    assert {TRAINING_DEFAULTS[name] for name in REFUSED.keys() & TRAINING_DEFAULTS} == {True}


@pytest.mark.parametrize("task", TASKS)
def test_each_refused_field_is_one_sentence_that_says_what_to_use_or_to_leave(parse, data_of, task):
    loop = arguments_of(data_of[task]).LOOP
    own_fields = {item.name for item in fields(arguments_of(data_of[task]))} | {"multi_gpu", "use_fsdp", "fsdp_version"}
    names = refused_in(task, data_of)
    assert len(names) > 30
    for name in names:
        with pytest.raises(InputError, match=f"^{name}: ") as refused:
            parse(task, f"--{name}", OTHER[name])
        sentence = str(refused.value)
        assert "\n" not in sentence and len(sentence) < 250
        for word in re.findall(r"\b[a-z]+_\w+\b(?! \(texts\))", sentence.partition(": ")[2]):
            known = word in RELEASE and refusal(word, loop) is None or word in own_fields
            assert known, f"{sentence} names what the folder does not have: {word}"
        assert any(word in sentence for word in ("use ", "leave ", "names ")), sentence


@pytest.mark.parametrize("task", TASKS)
def test_a_field_that_is_given_its_default_is_accepted(parse, data_of, task):
    words = []
    for name in refused_in(task, data_of):
        item = RELEASE[name]
        default = TRAINING_DEFAULTS.get(name, item.default)
        if name not in REFUSED_FALSE and default is not MISSING and default not in (None, ""):
            words += [f"--{name}", str(default)]
    assert len(words) > 20
    parse(task, *words, "--do_train", "true", "--do_eval", "true", "--do_predict", "true")


@pytest.mark.parametrize("task", ["nsmc", "reon_face", "hand_signal"])
def test_a_preset_is_refused_as_the_command_line_is(parse, tmp_path, task):
    demo = (ROOT / task / "configs/demo.yaml").read_text()
    for line in (
        "do_train: false",
        "data_seed: 3",
        "accelerator_config: {split_batches: true}",
        "liger_kernel_config: {rope: true}",
        "label_names: [a]",
    ):
        (tmp_path / "p.yaml").write_text(f"{demo}\n{line}\n")
        name = line.partition(":")[0]
        with pytest.raises(InputError, match=f"^{name}: "):
            parse(task, "--config", str(tmp_path / "p.yaml"))


PARTNERS = {
    "eval_steps": ("5", ["--eval_strategy", "steps"]),
    "eval_delay": ("1", []),
    "save_steps": ("5", ["--save_strategy", "steps"]),
    "warmup_steps": ("3", ["--lr_scheduler_type", "constant_with_warmup"]),
    "lr_scheduler_kwargs": ('{"num_cycles": 1}', ["--lr_scheduler_type", "cosine"]),
    "greater_is_better": ("false", ["--metric_for_best_model", "log_loss"]),
    "hub_model_id": ("a", ["--push_to_hub", "true"]),
    "hub_private_repo": ("true", ["--push_to_hub", "true"]),
    "dataloader_persistent_workers": ("true", ["--dataloader_num_workers", "1"]),
    "dataloader_prefetch_factor": ("4", ["--dataloader_num_workers", "1"]),
    "dataloader_multiprocessing_context": ("spawn", ["--dataloader_num_workers", "1"]),
    "gradient_checkpointing_kwargs": ('{"use_reentrant": false}', ["--gradient_checkpointing", "true"]),
    "activation_checkpointing_kwargs": ('{"use_reentrant": false}', ["--gradient_checkpointing", "true"]),
}
ALONE = {
    "eval_delay": ["--eval_strategy", "no", "--save_strategy", "no"],
    "warmup_steps": ["--lr_scheduler_type", "constant"],
    "lr_scheduler_kwargs": ["--lr_scheduler_type", "constant_with_warmup"],
}


@pytest.mark.parametrize("name", sorted(NEEDS.keys() & RELEASE.keys()))
def test_a_field_without_the_one_that_it_belongs_to_is_refused(parse, name):
    value, partner = PARTNERS[name]
    parse("nsmc", f"--{name}", value, *partner)
    with pytest.raises(InputError, match=f"^{name}: is read with .* only"):
        parse("nsmc", f"--{name}", value, *ALONE.get(name, []))


def test_the_command_line_may_change_one_of_a_presets_pair(parse, tmp_path):
    demo = (ROOT / "nsmc/configs/demo.yaml").read_text()
    (tmp_path / "p.yaml").write_text(f"{demo}\neval_strategy: steps\neval_steps: 5\n")
    parse("nsmc", "--config", str(tmp_path / "p.yaml"), "--eval_strategy", "epoch")
    with pytest.raises(InputError, match="eval_steps"):
        parse("nsmc", "--config", str(tmp_path / "p.yaml"), "--eval_strategy", "epoch", "--eval_steps", "3")


@pytest.mark.parametrize(
    "words",
    [
        "--optim sgd --adam_beta1 0.8",
        "--optim adafactor --adam_beta2 0.9",
        "--optim sgd --adam_epsilon 1e-6",
        "--optim_args momentum=0.9",
        "--optim sgd --optim_args momentum=0.9,bogus=1",
    ],
)
def test_what_the_chosen_optimizer_does_not_read_is_refused(parse, words):
    with pytest.raises(InputError, match="does not read it"):
        parse("nsmc", *words.split())
    parse("nsmc", *"--optim sgd --optim_args momentum=0.9,nesterov=true".split())


@pytest.mark.skipif(torch.accelerator.is_available(), reason="a GPU has fp16")
@pytest.mark.parametrize("task", TASKS)
def test_fp16_on_a_cpu_where_it_would_do_nothing_is_refused(parse, task):
    with pytest.raises(InputError, match="^fp16: needs a GPU"):
        parse(task, "--fp16")


# Obeyed


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return train(tmp_path_factory.mktemp("plain"))


def train(folder, **training):
    torch.set_num_threads(1)
    torch.manual_seed(0)  # of the first weights
    return t.weights_of(t.train(folder, **training)[0])


OBEYED_OTHERWISE = {
    "num_train_epochs": 1,
    "max_steps": 3,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 3,
    "optim": "adafactor",
    "weight_decay": 0.5,
    "adam_beta1": 0.5,
    "adam_beta2": 0.5,
    "adam_epsilon": 1e-3,
    "max_grad_norm": 0.01,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "neftune_noise_alpha": 5.0,
    "seed": 1,
}


@pytest.mark.parametrize("name", OBEYED_OTHERWISE)
def test_an_obeyed_field_changes_what_is_learned(tmp_path, plain, name):
    assert t.farthest(train(tmp_path, **{name: OBEYED_OTHERWISE[name]}), plain) > 1e-5


def test_options_of_schedule_and_optimizer_change_what_is_learned(tmp_path):
    for name, how in {
        "lr_scheduler_kwargs": ({"lr_scheduler_type": "cosine"}, {"num_cycles": 2.0}),
        "optim_args": ({"optim": "sgd", "learning_rate": 0.1}, "momentum=0.9"),
    }.items():
        shared, value = how
        runs = [train(tmp_path / f"{name}{i}", **shared, **more) for i, more in enumerate([{}, {name: value}])]
        assert t.farthest(*runs) > 1e-5


def test_what_is_without_meaning_changes_no_bit(tmp_path):
    without = {
        "logging_strategy": "no",
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "log_on_each_node": False,
        "include_num_input_tokens_seen": "non_padding",
        "skip_memory_metrics": False,
        "run_name": "a",
        "torch_empty_cache_steps": 1,
        "eval_accumulation_steps": 1,
        "use_cache": True,
        "remove_unused_columns": False,
    }
    assert without.keys() <= MEANINGLESS
    runs = [train(tmp_path / str(len(more)), eval_strategy="epoch", **more) for more in ({}, without)]
    assert t.farthest(*runs) == 0


def test_evaluations_and_checkpoints_come_when_they_are_asked_for(tmp_path):
    steps = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 3}
    trainer, info = t.train(tmp_path, **steps, eval_delay=3, save_total_limit=1)
    assert [entry["step"] for entry in info["log_history"] if "eval_loss" in entry] == [4, 6, 8]
    assert [path.name for path in (tmp_path / "checkpoints").glob("checkpoint-*")] == ["checkpoint-8"]  # the last step


def test_full_determinism_is_on_while_a_fold_trains(tmp_path):
    seen = []

    def make_model():
        model = t.make_bert()
        model.register_forward_pre_hook(lambda *_: seen.append(torch.are_deterministic_algorithms_enabled()))
        return model

    try:
        t.train(tmp_path, make_model, full_determinism=True)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False
        torch.backends.cudnn.benchmark = False
    assert seen and all(seen)


@pytest.mark.slow
def test_torch_compile_compiles(tmp_path, plain):
    from torch._dynamo.utils import counters

    counters.clear()
    weights = train(tmp_path, torch_compile_backend="eager")
    assert counters["stats"]["unique_graphs"] > 0
    assert t.farthest(weights, plain) < 1e-4


@pytest.mark.parametrize("workers", [0, 2])
def test_options_of_the_loader_reach_it(workers, tmp_path):
    options = {"dataloader_pin_memory": False}
    if workers:
        options |= {"dataloader_persistent_workers": True, "dataloader_prefetch_factor": 5}
        options |= {"dataloader_multiprocessing_context": "fork"}
    args = TrainingArguments(tmp_path, use_cpu=True, dataloader_num_workers=workers, **options)
    loader = torch.utils.data.DataLoader([0], **loader_options(args))
    assert (loader.num_workers, loader.pin_memory) == (workers, False)
    if workers:
        assert (loader.persistent_workers, loader.prefetch_factor) == (True, 5)
        assert loader.multiprocessing_context.get_start_method() == "fork"
    assert loader_options(SimpleNamespace(**{**vars(args), "use_cpu": False, "dataloader_pin_memory": True}))[
        "pin_memory"
    ]


def test_workers_that_stay_and_fetch_ahead_change_no_bit(tmp_path, plain):
    options = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True, "dataloader_prefetch_factor": 4}
    assert t.farthest(train(tmp_path, **options), plain) == 0


@pytest.mark.parametrize("loop", [TRAINER, OWN])
def test_what_is_obeyed_of_texts_only_is_refused_elsewhere(loop):
    assert all(refusal(name, loop) for name in OF_TEXTS)
