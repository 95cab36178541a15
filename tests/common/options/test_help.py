"""--help of every script and command: at once, what it does first, options in groups, the preset's values."""

import ast
import subprocess
import sys

import pytest

from tests.tools.scripts import ENVIRONMENT, ROOT, launch

HEAVY = {"torch", "transformers", "accelerate", "datasets", "peft", "timm", "scipy", "sklearn", "pandas", "matplotlib"}
SCRIPTS = sorted([*ROOT.glob("*/train.py"), *ROOT.glob("*/predict.py")])
COMMANDS = sorted(path.parent.name for path in ROOT.glob("common/*/__main__.py"))
WAYS = {
    **{f"{path.parent.name}/{path.name}": [str(path)] for path in SCRIPTS},
    **{name: ["-m", f"common.{name}"] for name in [*COMMANDS, "submission"]},
}


def file_of(way):
    name = way[-1]
    module = ROOT / name.replace(".", "/")
    return ROOT / name if way[0] != "-m" else module / "__main__.py" if module.is_dir() else module.with_suffix(".py")


def show(*command, cwd=ROOT):
    """What a command prints, and the names of the packages that it imports."""
    command = [sys.executable, "-X", "importtime", *command]
    result = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout, {line.rpartition("|")[2].strip().partition(".")[0] for line in result.stderr.splitlines()}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_help_imports_nothing_slow_and_begins_with_what_the_command_does(way):
    output, packages = show(*way, "--help")
    assert "numpy" in packages and not packages & HEAVY
    doc = ast.get_docstring(ast.parse(file_of(way).read_text(encoding="utf-8")))
    assert output.startswith(doc.splitlines()[0]) and "usage: " in output


def test_options_stand_in_groups_beside_the_values_of_the_preset():
    output, _ = show("friends/train.py", "--help", "--config", "friends/configs/demo.yaml")
    lines = " ".join(output.split())
    assert "--max_length TEXT tokens per row" in lines and "(demo: auto, default: 64)" in lines
    assert "learning_rate 1e-3" in lines and "preset friends/configs/demo.yaml (given with --config)" in lines
    titles = [line for line in output.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles[:2] == ["data, folds, metric:", "soft labels of other runs:"] and "of this folder alone:" in titles
    own = output.partition("of this folder alone:")[2]
    assert "--speaker_format" in own and "--num_folds" not in own and "--max-length" not in output


def test_help_says_what_must_be_given():
    assert "usage: python klue_re/predict.py --run_dir PATH [PATH ...] --test_file PATH [--option VALUE ...]" in show(
        "klue_re/predict.py", "--help"
    )[0].replace("\n      ", "")


def test_help_all_of_a_predict_py_is_its_help():
    assert show("nsmc/predict.py", "--help_all")[0] == show("nsmc/predict.py", "--help")[0]


def test_a_preset_that_cannot_be_read_does_not_hide_the_options(tmp_path):
    (tmp_path / "broken.yaml").write_text("a: [", encoding="utf-8")
    output, _ = show("nsmc/train.py", "--help", "--config", tmp_path / "broken.yaml")
    assert "--num_folds" in output and "no preset: " in output and "broken.yaml" in output


@pytest.mark.slow
def test_help_all_shows_the_presets_learning_rate_beside_transformers():
    lines = " ".join(launch(sys.executable, "friends/train.py", "--help_all", cwd=ROOT).split())
    assert "transformers.TrainingArguments:" in lines and "(demo: 1e-3, default: 5e-05)" in lines
