"""bf16 becomes float32 on a CPU that would emulate it, and that is said; elsewhere it stays."""

import pytest
from accelerate.state import AcceleratorState

from common.guards import precision
from common.guards.launcher import precision_of_run
from common.inference import start_accelerator
from common.options.args import parse_train_args, resolved_config
from common.options.task_module import arguments_of, load_data_module
from tests.tools.scripts import ROOT

FLAGS = {
    "milan": ("flags\t\t: fpu avx avx2 fma", False),
    "genoa": ("flags\t\t: fpu avx512f avx512_bf16 clflush", True),
    "sapphire rapids": ("flags\t\t: avx512f amx_tile amx_bf16", True),
    "graviton 3": ("Features\t: fp asimd sve bf16 i8mm", True),
    "graviton 2": ("Features\t: fp asimd asimdhp", False),
}


@pytest.fixture
def cpu(monkeypatch, tmp_path):
    """cpu(text): a CPU of which Linux says so."""

    def say(text):
        monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "cpuinfo")
        (tmp_path / "cpuinfo").write_text(text)

    yield say
    AcceleratorState._reset_state(reset_partial_state=True)


def parse(task, *words):
    data = load_data_module(ROOT / task)
    argv = ["--config", str(ROOT / task / "configs/demo.yaml"), "--use_cpu", *words]
    return parse_train_args(arguments_of(data), ROOT / task, data.COMPETITION_FILES, "", argv)


@pytest.mark.parametrize(("text", "wanted"), FLAGS.values(), ids=FLAGS)
def test_a_cpus_own_flags_say_whether_it_has_bf16(cpu, text, wanted):
    cpu(text)
    assert precision.has_bf16("cpu") is wanted


def test_where_nothing_tells_bf16_stays(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "none")
    assert precision.has_bf16("cpu") is None and precision.has_bf16("mps") is None
    assert parse("nsmc", "--bf16")[1].bf16
    assert precision.INSTEAD not in capsys.readouterr().out


@pytest.mark.parametrize("task", ["friends", "nsmc", "klue_re", "reon_face", "hand_signal"])
def test_a_cpu_without_bf16_trains_in_float32_and_says_so_in_a_line(cpu, capsys, task):
    cpu(FLAGS["milan"][0])
    args, training_args = parse(task, "--bf16")
    assert (training_args.bf16, training_args.mixed_precision) == (False, "no")
    assert "bf16" not in resolved_config(args, training_args)  # what --resume compares and predict.py follows
    assert capsys.readouterr().out.splitlines().count(precision.INSTEAD) == 1
    cpu(FLAGS["genoa"][0])
    _, training_args = parse(task, "--bf16")
    assert (training_args.bf16, training_args.mixed_precision) == (True, "bf16")
    assert precision.INSTEAD not in capsys.readouterr().out


def test_nothing_is_said_where_bf16_was_not_asked_for(cpu, capsys):
    cpu(FLAGS["milan"][0])
    parse("nsmc")
    assert precision.INSTEAD not in capsys.readouterr().out


def test_the_launchers_bf16_becomes_float32_too(cpu, monkeypatch):
    cpu(FLAGS["milan"][0])
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert parse("nsmc")[1].mixed_precision == "no"


def test_a_run_of_bf16_is_predicted_in_float32_there(cpu, capsys):
    cpu(FLAGS["milan"][0])
    assert precision_of_run({"bf16": True}, use_cpu=True) == "no"
    assert capsys.readouterr().out == f"{precision.INSTEAD}\n"
    assert start_accelerator({"bf16": True}).mixed_precision == "no"


@pytest.mark.parametrize(
    ("text", "slow"),
    [
        (FLAGS["milan"][0], {"bfloat16", "float16"}),
        (FLAGS["genoa"][0], {"float16"}),
        (FLAGS["graviton 2"][0], {"bfloat16"}),
    ],
)
def test_weights_that_a_cpu_would_emulate_keep_their_type_and_a_line_says_it(cpu, capsys, text, slow):
    cpu(text)
    for model_dtype in ("float32", "bfloat16", "float16"):
        precision.say_slow_weights(model_dtype, use_cpu=True)
        assert (f"no instructions for {model_dtype}" in capsys.readouterr().out) == (model_dtype in slow)
        precision.say_slow_weights(model_dtype, use_cpu=False)
        assert capsys.readouterr().out == ""


def test_on_a_gpu_without_bf16_it_is_only_said(monkeypatch, capsys):
    import torch

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert not precision.emulates_bf16(use_cpu=False)
    assert capsys.readouterr().out == f"{precision.SLOW}\n"
