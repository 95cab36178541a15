"""The doctor's lines, their marks and exit codes, offline; what it extrapolates of measured steps."""

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from common.console import InputError
from common.doctor import __main__ as command
from common.doctor import hub as hub_module
from common.doctor import measure, packages, preset
from common.doctor.findings import Finding, fatal_names
from common.doctor.hub import Hub
from common.doctor.machine import is_built_for
from common.doctor.steps import Measured, step_seconds
from common.files import read_json
from tests.tools.scripts import ENVIRONMENT, ROOT

MEASURED = Measured(
    start=6, setup=1, row_first=0.02, row=0.01, evaluation=2, checkpoint=0.5, prediction=3, save=1, rows=100, epochs=5,
    folds=3, workers=1, evaluations=5, checkpoints=5, memory=10**9, gpu_memory=0,
)  # fmt: skip


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(hub_module.constants, "HF_HUB_OFFLINE", True)
    return Hub()


@pytest.fixture
def here(monkeypatch):
    """In the repository, where friends has no data of the competition."""
    monkeypatch.chdir(ROOT)


def run(monkeypatch, *argv):
    """Exit code of the command in this process."""
    monkeypatch.setattr(sys, "argv", ["common.doctor", *map(str, argv)])
    try:
        command.main()
    except SystemExit as end:
        return end.code
    return 0


def preset_of(folder, **values):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return preset.read(ROOT / "friends", str(path))


DATA = {key: f"sample/{name}" for key, name in {"train_file": "train.json", "test_file": "test.csv"}.items()}


# The whole command


def test_the_demo_can_run_here_and_each_line_says_what_its_value_and_whether_it_is_fine(
    monkeypatch, capsys, offline, here
):
    assert run(monkeypatch, "friends", "--config", "friends/configs/demo.yaml") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "friends/configs/demo.yaml can run here"
    found = {line.split()[1]: line for line in lines if line.split()[0] in ("ok", "note", "no")}
    assert {"python", "packages", "GPU", "bf16", "fp16", "cores", "memory", "video", "fonts", "hub"} <= found.keys()
    assert found["data"].startswith("ok") and "friends/sample/train.json" in found["data"]
    assert found["model"].startswith("ok") and found["room"].startswith("ok") and found["disk"].startswith("ok")
    assert found["hub"].startswith("note") and "HF_HUB_OFFLINE is set" in found["hub"] and "; " in found["hub"]


def test_a_preset_that_cannot_run_ends_with_1_and_names_the_nearest_that_can(monkeypatch, capsys, offline, here):
    assert run(monkeypatch, "friends", "--config", "friends/configs/final.yaml") == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("no ")] == ["data", "model"]
    last = "friends/configs/final.yaml cannot run here (data, model); the nearest preset that can: --config "
    assert lines[-1] == last + "friends/configs/demo.yaml"


def test_the_nearest_preset_differs_in_the_fewest_fields(tmp_path, offline):
    task = shutil.copytree(ROOT / "friends", tmp_path / "friends")
    near = yaml.safe_load((task / "configs/final.yaml").read_text()) | DATA | {"model_name_or_path": "scratch"}
    (task / "configs/near.yaml").write_text(yaml.safe_dump(near))
    final = preset.read(task, str(task / "configs/final.yaml"))
    assert preset.nearest(final, offline).name == "near.yaml"


@pytest.mark.parametrize(
    ("values", "fragment"),
    [
        ({"learning_rate": -1}, "learning_rate: -1"),
        ({"lerning_rate": 1}, "did you mean learning_rate?"),
        ({"num_folds": "many"}, "num_folds"),
    ],
)
def test_a_preset_that_no_machine_could_run_is_bad_input(values, fragment, tmp_path, monkeypatch, offline, here):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**DATA, "model_name_or_path": "scratch", **values}))
    with pytest.raises(InputError, match=fragment.replace("?", r"\?")):
        run(monkeypatch, "friends", "--config", path)


@pytest.mark.parametrize(
    ("argv", "fragment"),
    [
        (["no_such_folder"], "no_such_folder: is not a task folder, it has no data.py\n"),
        (["frends"], "frends: is not a task folder, it has no data.py (nearest: 'friends')\n"),
        (["friends", "--config", "none.yaml"], "none.yaml"),
        (["--measure"], "need a task folder"),
        (["friends", "--measured"], "--measured"),
    ],
)
def test_bad_input_ends_with_2_and_one_sentence(argv, fragment):
    command = [sys.executable, "-m", "common.doctor", *argv]
    result = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert result.returncode == 2 and fragment in result.stderr and len(result.stderr.splitlines()) == 1


def test_without_any_package_it_says_what_to_install():
    command = [sys.executable, "-S", "-m", "common.doctor"]
    result = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    assert result.stderr.strip() == "packages are missing: pip install -r requirements.txt"


# Packages


def test_a_package_that_is_too_old_or_missing_is_named_and_fatal_where_every_training_needs_it(tmp_path, monkeypatch):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(
        "numpy>=999\nno-such-package>=1\npillow>=1\nruff>=999\nother>1; python_version < '3'\n-e .\n"
    )
    monkeypatch.setattr(packages, "REQUIREMENTS", requirements)
    found = {finding.what: finding for finding in packages.find_packages()}
    assert found["numpy"].fatal and found["numpy"].value == np.__version__ and ">=999" in found["numpy"].advice
    assert found["no-such-package"].value == "not installed" and found["no-such-package"].advice
    assert not found["no-such-package"].fatal
    assert not {"ruff", "other", "pillow"} & found.keys()


def test_the_marks():
    lines = [str(Finding("a", "1")), str(Finding("a", "1", "do this")), str(Finding("a", "1", "do this", True))]
    assert [line.split()[0] for line in lines] == ["ok", "note", "no"] and lines[1].endswith("1; do this")
    assert fatal_names([Finding("a", "1"), Finding("b", "1", "x", True), Finding("b", "2", "x", True)]) == ["b"]


# GPU


@pytest.mark.parametrize(
    ("capability", "known", "fits"),
    [
        ((7, 5), ["sm_70", "sm_75"], True),
        ((8, 9), ["sm_80", "sm_86"], True),  # of the same major version and an earlier minor one
        ((7, 0), ["sm_75", "sm_80"], False),
        ((12, 0), ["sm_80", "sm_90"], False),
        ((12, 0), ["sm_80", "compute_90"], True),  # compiled when it is loaded
        ((9, 0), ["sm_80", "sm_90a"], True),
        ((9, 0), ["gfx90a"], True),  # ROCm
    ],
)
def test_a_gpu_that_torch_has_no_code_for_is_found(capability, known, fits):
    assert is_built_for(capability, known) == fits


# Hub


def test_a_hub_that_does_not_answer_is_left_after_seconds_and_not_asked_again(monkeypatch):
    asked = []

    def hang(*_, **__):
        asked.append(1)
        time.sleep(30)

    monkeypatch.setattr(hub_module.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_module, "get_hf_file_metadata", hang)
    monkeypatch.setattr(hub_module, "TIMEOUT", 0.2)
    began = time.monotonic()
    hub = Hub()
    assert hub.finding().advice and "no answer within 0.2 s" in hub.ask("a/b")
    assert time.monotonic() - began < 2 and len(asked) == 1


def test_a_model_in_the_cache_needs_no_hub(tmp_path, monkeypatch, offline, here):
    mine = preset_of(tmp_path, model_name_or_path="someone/model", **DATA)
    assert preset.find_model(mine, offline).fatal
    monkeypatch.setattr(preset, "is_cached", lambda name: name == "someone/model")
    assert not preset.find_model(mine, offline).fatal


# Memory and disk


def test_memory_is_that_of_common_memory(tmp_path, monkeypatch, offline):
    values = {
        "model_name_or_path": "Qwen/Qwen2.5-1.5B",
        "lora_r": 8,
        "max_length": 64,
        "per_device_train_batch_size": 2,
    }
    found = preset.needed(preset_of(tmp_path, **values, **DATA), False)
    assert found.how == "2 rows of 64 tokens" and 6e9 < found.whole < 12e9 and found.weights < 1e8
    monkeypatch.setattr(preset, "free_of_device", lambda use_cpu: 1e9)
    room = preset.find_room(preset_of(tmp_path, **values, **DATA), found)
    assert room.fatal and "1.0 GB are free" in room.value


def test_disk_is_that_of_the_folds_and_of_one_folds_checkpoints(tmp_path, monkeypatch):
    mine = preset_of(
        tmp_path, model_name_or_path="scratch", num_folds=4, num_train_epochs=9, save_total_limit=2, **DATA
    )
    need = preset.Needed(0, 1e9, 2e9, None, "")
    assert "needs 13.0 GB" in preset.find_disk(mine, need).value  # 4 folds of 1 GB, 3 checkpoints of 3 GB
    monkeypatch.setattr(preset.shutil, "disk_usage", lambda _: SimpleNamespace(free=12.9e9))
    assert preset.find_disk(mine, need).fatal


def test_fp16_on_a_cpu_stands_in_the_way(tmp_path):
    mine = preset_of(tmp_path, model_name_or_path="scratch", fp16=True, use_cpu=True, **DATA)
    assert fatal_names(preset.find_precision(mine)) == ["precision"]


# Measured steps


def test_the_first_epoch_counts_by_its_own_rows():
    parts = measure.seconds_of_run(MEASURED)
    assert parts["start"] == 6 and parts["training"] == pytest.approx(3 * (1 + 100 * (0.02 + 4 * 0.01)))
    assert parts["evaluation"] == 3 * 5 * 2 and parts["prediction"] == 9 and parts["saving"] == 3 * (5 * 0.5 + 1)
    beside = measure.seconds_of_run(dataclasses.replace(MEASURED, workers=2))
    assert beside["training"] == pytest.approx(parts["training"] * 2 / 3)


def test_steps_with_an_evaluation_between_them_are_not_counted():
    deltas = np.array([9.0, 2, 2, 50, 1, 1, 1])  # of 8 steps, 4 an epoch; the first is slow
    assert step_seconds(deltas, 4) == (2.0, 1.0)


def test_a_train_py_that_was_killed_cannot_run_and_one_that_refuses_is_bad_input():
    ended = subprocess.CompletedProcess([], -9, "", "")
    assert measure.failure(ended).fatal and "signal 9" in measure.failure(ended).value
    with pytest.raises(InputError, match="row 3"):
        measure.failure(subprocess.CompletedProcess([], 2, "", "warning\nerror: row 3: is wrong\n"))


def whole_run(task, config, folder):
    """Seconds and bytes that a run really takes, as measured from outside."""
    argv = [sys.executable, ROOT / task / "train.py", "--config", config, "--output_dir", folder / "run"]
    began = time.monotonic()
    process = subprocess.Popen(argv, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return time.monotonic() - began, 1024 * usage.ru_maxrss


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss")
@pytest.mark.parametrize(
    ("task", "values"),
    [
        ("friends", {}),
        ("nsmc", {}),
        ("klue_re", {}),
        ("reon_face", {"num_train_epochs": 5}),
        ("hand_signal", {"num_train_epochs": 3, "cache_dir": None}),
    ],
)
def test_minutes_and_memory_of_the_run_are_within_30_percent(task, values, tmp_path, monkeypatch):
    demo = yaml.safe_load((ROOT / task / "configs/demo.yaml").read_text())
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({key: value for key, value in (demo | values).items() if value is not None}))
    monkeypatch.setattr(os, "environ", ENVIRONMENT)
    found = {}
    keep = lambda measured, *_: found.update(measured=measured) or Finding("time", "")  # noqa: E731
    monkeypatch.setattr(measure, "time_finding", keep)
    list(measure.measure(preset.read(ROOT / task, str(config)), sample=False))
    seconds, memory = whole_run(task, config, tmp_path)
    guess = sum(measure.seconds_of_run(found["measured"]).values())
    print(task, f"{guess:.1f} s of {seconds:.1f}", f"{found['measured'].memory / 1e9:.2f} GB of {memory / 1e9:.2f}")
    assert guess == pytest.approx(seconds, rel=0.3) and found["measured"].memory == pytest.approx(memory, rel=0.3)


@pytest.mark.slow
def test_measure_trains_some_steps_and_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({**DATA, "model_name_or_path": "scratch", "num_folds": 3, "num_train_epochs": 2}))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**ENVIRONMENT, "TMPDIR": str(temporary)}
    argv = [sys.executable, "-m", "common.doctor", str(ROOT / "friends"), "--config", "mine.yaml", "--measure"]
    result = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (line,) = [line for line in result.stdout.splitlines() if line.split()[1] == "time"]
    assert "3 folds, 2 epochs of " in line and line.startswith("ok")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "temporary"]
    assert not [path for path in temporary.iterdir() if not path.name.startswith(("torchinductor", "pymp"))]


def test_the_numbers_of_a_measurement_are_read_as_they_were_written(tmp_path):
    from common.files import write_json

    write_json(Path(tmp_path, "m.json"), dataclasses.asdict(MEASURED))
    assert Measured(**read_json(Path(tmp_path, "m.json"))) == MEASURED
