"""What `accelerate launch --use_fsdp` is given: obeyed, or one sentence."""

from types import SimpleNamespace

import pytest
from transformers import TrainingArguments

import common.pretrain.__main__ as pretrain
from common.console import InputError
from common.guards.launcher import launcher_settings, say_idle
from common.options import TextPredictArguments, TextTaskArguments, parse_predict_args
from common.options.task_module import arguments_of, load_data_module
from common.sharded.options import check_sharded
from tests.tools.scripts import ROOT

FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
    "WORLD_SIZE": "2",
}


@pytest.fixture
def launched(monkeypatch):
    """launched(**variables): the settings of a launcher with FSDP2 on and these variables."""

    def launched(**variables):
        for name, value in {**FSDP2, **variables}.items():
            monkeypatch.setenv(name, value)
        return launcher_settings()

    return launched


@pytest.mark.parametrize("reshard", [True, False])
def test_fsdp2_becomes_the_training_arguments_that_mean_it(launched, reshard):
    settings = launched(FSDP_RESHARD_AFTER_FORWARD=str(reshard).lower())
    assert settings == {"fsdp": True, "fsdp_config": {"version": 2, "reshard_after_forward": reshard}}


@pytest.mark.parametrize(
    ("variables", "fragments"),
    [
        ({"FSDP_VERSION": "1"}, ["--use_fsdp", "--fsdp_version 2"]),
        ({"WORLD_SIZE": "1"}, ["--use_fsdp", "--num_processes 2"]),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, ["--fsdp_offload_params", "not supported"]),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, ["--fsdp_activation_checkpointing", "--gradient_checkpointing"]),
        ({"FSDP_IGNORED_MODULES": "lm_head"}, ["--fsdp_ignored_modules", "not supported"]),
        ({"FSDP_RESHARD_AFTER_FORWARD": "FULL_SHARD"}, ["--fsdp_reshard_after_forward", "full_shard", "true, false"]),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, ["--use_deepspeed", "not supported", "--use_fsdp --fsdp_version 2"]),
    ],
)
def test_what_is_not_done_is_one_sentence(launched, variables, fragments):
    with pytest.raises(InputError) as refused:
        launched(**variables)
    assert all(fragment in str(refused.value) for fragment in fragments), refused.value


def test_programs_that_hold_the_whole_model_say_so(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match="--use_fsdp: predict.py holds the whole model in each process"):
        parse_predict_args(TextPredictArguments, ROOT / "nsmc", "", ["--run_dir", "r", "--test_file", "t"])
    with pytest.raises(InputError, match="--use_fsdp: common.pretrain holds the whole model"):
        pretrain.check(SimpleNamespace())


def test_what_nothing_reads_is_said(launched, capsys):
    launched()
    say_idle({"use_fsdp": True, "fsdp_version": "2", "fsdp_state_dict_type": "SHARDED_STATE_DICT", "zero_stage": 3})
    lines = capsys.readouterr().out.splitlines()
    assert ["--fsdp_state_dict_type: not read, each block" in line for line in lines] == [True, False]
    assert lines[1] == "accelerate launch: --zero_stage: not read, because what it belongs to is not on"


OPTIONS = {
    "ema_decay": {"ema_decay": 0.9},
    "fgm_epsilon": {"fgm_epsilon": 0.5},
    "awp_epsilon": {"awp_epsilon": 0.1},
    "feature_oversample_ratio": {"feature_oversample_ratio": 0.5},
    "auto_batch_size": {"auto_batch_size": True},
    "average_adapters": {"average_adapters": True, "lora_r": 4, "num_folds": 2},
    "quantization": {"quantization": "4bit", "lora_r": 4},
    "torch_compile": {"torch_compile": True},
    "fp16": {"fp16": True},
    "optim": {"optim": "sgd"},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_cannot_go_with_it_is_one_sentence_that_names_it(tmp_path, name):
    options = OPTIONS[name]
    training = {key: options[key] for key in ("torch_compile", "fp16", "optim") if key in options}
    training_args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, **training)
    args = TextTaskArguments(**{key: value for key, value in options.items() if key not in training})
    with pytest.raises(InputError, match=f"^{name}: .*--use_fsdp, "):
        check_sharded(args, training_args)


def test_a_vocabulary_that_would_be_cut_is_not_and_that_is_said(tmp_path, capsys):
    training_args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    for options in ({}, {"freeze_word_embeddings": True}, {"lora_r": 4}):
        args = TextTaskArguments(**options)
        check_sharded(args, training_args)
        assert not args.cuts_vocabulary
        assert ("full_vocabulary" in capsys.readouterr().out) == args.full_vocabulary == (not options)


@pytest.mark.parametrize("task", ["reon_face", "hand_signal"])
def test_a_task_that_is_not_of_texts_is_one_sentence(tmp_path, task):
    training_args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    training_args.fsdp = True
    args = arguments_of(load_data_module(ROOT / task))()
    with pytest.raises(InputError, match="--use_fsdp: is for models of texts"):
        args.check(training_args)
