"""What accelerate launch and accelerate config ask for holds in all five folders alike, or is said, or is refused."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState

from common.console import InputError
from common.guards import precision
from common.guards.launcher import SHARDING, launch_record, launcher_settings, precision_of_run
from common.inference import start_accelerator
from common.options import parse_predict_args
from common.options.args import parse_train_args, resolved_config
from common.options.task_module import arguments_of, load_data_module
from tests.tools.scripts import ENVIRONMENT, ROOT

TASKS = ("friends", "nsmc", "klue_re", "reon_face", "hand_signal")
# What accelerate launch sets where it was given nothing.
NOTHING = {
    "ACCELERATE_USE_CPU": "False",
    "ACCELERATE_MIXED_PRECISION": "no",
    "ACCELERATE_DYNAMO_BACKEND": "NO",
    "ACCELERATE_DYNAMO_MODE": "default",
}


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """No launcher before the test, no trace of its device after it; a CPU that has bf16."""
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    for name in os.environ:
        if name.startswith("ACCELERATE_"):
            monkeypatch.delenv(name)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """launched(task, *words, **variables): the arguments of the folder's demo under a launcher with these variables."""
    monkeypatch.chdir(tmp_path)

    def launched(task, *words, **variables):
        for name, value in {**NOTHING, **variables}.items():
            monkeypatch.setenv(name, value)
        data = load_data_module(ROOT / task)
        argv = ["--config", str(ROOT / task / "configs/demo.yaml"), *words]
        return parse_train_args(arguments_of(data), ROOT / task, data.COMPETITION_FILES, "", argv)

    return launched


OBEYED = {
    "bf16": ({"ACCELERATE_MIXED_PRECISION": "bf16"}, {"bf16": True, "fp16": False}),
    "cpu": ({"ACCELERATE_USE_CPU": "True"}, {"use_cpu": True}),
    "accumulation": ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "3"}, {"gradient_accumulation_steps": 3}),
    "dynamo": (
        {"ACCELERATE_DYNAMO_BACKEND": "EAGER", "ACCELERATE_DYNAMO_MODE": "reduce-overhead"},
        {"torch_compile": True, "torch_compile_backend": "eager", "torch_compile_mode": "reduce-overhead"},
    ),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("variables", "wanted"), OBEYED.values(), ids=OBEYED)
def test_what_the_launcher_asks_for_holds_as_if_it_were_an_option(launched, capsys, task, variables, wanted):
    args, training_args = launched(task, **variables)
    assert {name: getattr(training_args, name) for name in wanted} == wanted
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("preset ")
    config = resolved_config(args, training_args)
    for name, value in wanted.items():
        if value and name != "use_cpu":  # which is of a machine, not of a run
            assert config[name] == value  # so --resume compares it, and predict.py follows it
            assert any(line.startswith("accelerate launch: ") and f"{name} {value}" in line for line in lines)


def test_a_launcher_that_was_given_nothing_changes_and_says_nothing(launched, capsys, monkeypatch):
    with_launcher = resolved_config(*launched("nsmc"))
    said = capsys.readouterr().out
    for name in NOTHING:
        monkeypatch.delenv(name)
    data = load_data_module(ROOT / "nsmc")
    argv = ["--config", str(ROOT / "nsmc/configs/demo.yaml")]
    without = parse_train_args(data.TaskArguments, ROOT / "nsmc", data.COMPETITION_FILES, "", argv)
    assert resolved_config(*without) == with_launcher
    assert "accelerate launch" not in said
    assert launched("nsmc", "--bf16")[1].bf16  # "no" is what the launcher says where nobody has asked


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("variables", "words", "fragments"),
    [
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, ["--bf16", "false"], ["bf16", "True", "False", "once"]),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, ["--fp16"], ["fp16", "once"]),
        ({"ACCELERATE_MIXED_PRECISION": "fp16"}, ["--bf16"], ["bf16", "once"]),
        ({"ACCELERATE_USE_CPU": "True"}, ["--use_cpu", "false"], ["use_cpu", "once"]),
        (
            {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"},
            ["--gradient_accumulation_steps", "2"],
            ["gradient_accumulation_steps", "4", "2", "once"],
        ),
        ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, ["--torch_compile", "false"], ["torch_compile", "once"]),
        ({"ACCELERATE_MIXED_PRECISION": "fp8"}, [], ["fp8", "not supported", "bf16"]),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "x"}, [], ["gradient_accumulation_steps", "x"]),
        *(({name: "true"}, [], [option, "not supported", "--multi_gpu"]) for name, option in SHARDING.items()),
    ],
)
def test_a_contradiction_and_what_is_not_supported_are_one_sentence(launched, task, variables, words, fragments):
    with pytest.raises(InputError) as refused:
        launched(task, *words, **variables)
    assert all(fragment in str(refused.value) for fragment in fragments), refused.value


def test_a_preset_can_contradict_the_launcher_too(launched, tmp_path):
    (tmp_path / "p.yaml").write_text((ROOT / "nsmc/configs/demo.yaml").read_text() + "\nbf16: false\n")
    with pytest.raises(InputError, match="bf16: .*once"):
        launched("nsmc", "--config", str(tmp_path / "p.yaml"), ACCELERATE_MIXED_PRECISION="bf16")
    path = tmp_path / "config.yaml"
    path.write_text((ROOT / "nsmc/configs/demo.yaml").read_text() + "\nbf16: true\n")
    assert launched("nsmc", "--config", str(path), ACCELERATE_MIXED_PRECISION="bf16")[1].bf16


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", SHARDING)
def test_predict_refuses_a_launcher_that_shares_out_the_weights(task, name, monkeypatch):
    monkeypatch.setenv(name, "true")
    arguments = getattr(load_data_module(ROOT / task), "TaskPredictArguments", None)
    if arguments is None:
        from common.options import TextPredictArguments as arguments
    with pytest.raises(InputError, match="not supported"):
        parse_predict_args(arguments, ROOT / task, "", ["--run_dir", "r", "--test_file", "t"])


def test_predict_has_the_precision_of_the_run_and_says_so(monkeypatch, capsys):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert start_accelerator({"bf16": True}).mixed_precision == "bf16"
    assert capsys.readouterr().out == ""
    AcceleratorState._reset_state(reset_partial_state=True)
    assert start_accelerator({}).mixed_precision == "no"
    assert "mixed_precision bf16 is not read, the run's is taken: no" in capsys.readouterr().out
    assert (precision_of_run({"fp16": True}, True), precision_of_run({"fp16": True}, False)) == ("no", "fp16")


def test_run_json_says_what_held(launched):
    _, training_args = launched("nsmc", ACCELERATE_MIXED_PRECISION="bf16", ACCELERATE_GRADIENT_ACCUMULATION_STEPS="4")
    record = launch_record(training_args, PartialState().num_processes)
    assert (
        record.items()
        >= {
            "launcher": "accelerate launch",
            "num_processes": 1,
            "mixed_precision": "bf16",
            "gradient_accumulation_steps": 4,
            "torch_compile_backend": None,
        }.items()
    )


# With accelerate launch itself: what its command line has and its environment has not.

PROBE = """
import json
from common.guards.launcher import check_settings, launcher_settings
settings = launcher_settings()
check_settings(settings, settings, set())
print(json.dumps(settings))
"""
CONFIG = """
compute_environment: LOCAL_MACHINE
distributed_type: MULTI_CPU
mixed_precision: bf16
num_machines: 1
num_processes: 3
use_cpu: true
"""


def probe(folder, *words):
    """The settings and the lines of a script that accelerate starts with these words."""
    (folder / "probe.py").write_text(PROBE)
    command = [Path(sys.executable).parent / "accelerate", "launch", *words, "probe.py", "--num_processes", "9"]
    result = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    *lines, settings = result.stdout.splitlines()
    return json.loads(settings), lines


@pytest.mark.slow
def test_what_only_the_launchers_command_line_has_is_read_there(tmp_path):
    words = (
        "--num-processes=2 --gradient_accumulation_steps 4 --gradient_clipping 1 --zero_stage 3 --dynamo_mode default"
    )
    settings, lines = probe(tmp_path, "--cpu", "--mixed_precision", "bf16", *words.split())
    assert settings == {"bf16": True, "fp16": False, "use_cpu": True, "gradient_accumulation_steps": 4}
    assert lines[0] == "accelerate launch: bf16 True, gradient_accumulation_steps 4"
    for fragment in ("one process was started, not 2", "use max_grad_norm", "--dynamo_mode, --zero_stage: not read"):
        assert sum(fragment in line for line in lines[1:]) == 1


@pytest.mark.slow
def test_the_answers_of_accelerate_config_are_read_as_its_options_are(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    settings, lines = probe(tmp_path, "--config_file", "config.yaml")
    assert settings["bf16"] is True
    assert re.search("one process was started, not 3", "\n".join(lines))


def test_a_process_that_accelerate_has_not_started_asks_for_nothing():
    assert launcher_settings() == {}
