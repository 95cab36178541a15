"""Dataclass default < YAML preset < command line."""

import dataclasses
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import yaml
from transformers import TrainingArguments

from common.console import InputError
from common.options.args import metric_name, parse_predict_args, parse_train_args, resolved_config, trainer_fields
from common.options.decoders import TextTaskArguments
from common.options.fields import PredictArguments
from common.options.machine import git_commit
from common.options.paths import find_data_files
from common.options.presets import read_preset
from tests.tools.scripts import ENVIRONMENT, ROOT


@dataclass
class Arguments(TextTaskArguments):
    """A task's fields."""


FILES = {"train_file": "train.json", "test_file": "test.csv"}


@pytest.fixture
def task(tmp_path):
    (tmp_path / "task" / "configs").mkdir(parents=True)
    (tmp_path / "task" / "sample").mkdir()
    (tmp_path / "task" / "sample" / "a.json").write_text("[]")
    demo = {"train_file": "sample/a.json", "learning_rate": "2e-5", "num_train_epochs": 2}
    (tmp_path / "task" / "configs" / "demo.yaml").write_text(yaml.safe_dump(demo))
    (tmp_path / "task" / "configs" / "final.yaml").write_text("num_folds: 5\n")
    return tmp_path / "task"


def parse(task, *argv):
    return parse_train_args(Arguments, task, FILES, "doc", list(argv))


def preset(task, text):
    path = task / "configs" / "own.yaml"
    path.write_text(text)
    return "--config", str(path)


def test_the_command_line_beats_the_preset_and_the_preset_the_default(task):
    args, training = parse(task)
    assert (training.learning_rate, training.num_train_epochs, training.save_strategy) == (2e-5, 2, "epoch")
    _, training = parse(task, "--learning_rate", "3e-4")
    assert (training.learning_rate, training.num_train_epochs) == (3e-4, 2)


def test_without_config_final_is_taken_where_the_competitions_file_is_and_demo_else(task, capsys):
    args, _ = parse(task)
    assert Path(args.config).name == "demo.yaml" and "demo.yaml (no " in capsys.readouterr().out
    (task / "data").mkdir()
    (task / "data" / "train.json").write_text("[]")
    args, _ = parse(task)
    out = capsys.readouterr().out
    assert Path(args.config).name == "final.yaml" and args.num_folds == 5
    assert out.splitlines()[0].endswith("train.json is there)") and "test.csv: going on without test_file" in out
    assert args.train_file == str(task / "data" / "train.json")


def test_paths_of_a_preset_belong_to_the_task_folder_and_those_of_the_command_line_to_the_current_one(
    task, monkeypatch, tmp_path
):
    assert parse(task)[0].train_file == str(task / "sample" / "a.json")
    (tmp_path / "b.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    assert parse(task, "--train_file", "b.json")[0].train_file == str(tmp_path / "b.json")


def test_what_begins_with_a_dot_in_a_preset_lies_beside_it(task, tmp_path):
    away = tmp_path / "away"
    (away / "bert").mkdir(parents=True)
    (away / "p.yaml").write_text("model_name_or_path: ./bert\ntrain_file: sample/a.json\n")
    args, _ = parse(task, "--config", str(away / "p.yaml"))
    assert (args.model_name_or_path, args.train_file) == (str(away / "bert"), str(task / "sample" / "a.json"))
    assert read_preset(away / "p.yaml") == {"model_name_or_path": str(away / "bert"), "train_file": "sample/a.json"}


def test_what_begins_with_a_dot_in_a_list_or_a_stage_of_a_preset_lies_beside_it_too(tmp_path):
    (tmp_path / "p.yaml").write_text("teacher: [./a, b]\nstages: [{start: ./a, part: 1/2}]\n")
    beside = str(tmp_path / "a")
    assert read_preset(tmp_path / "p.yaml") == {
        "teacher": [beside, "b"],
        "stages": [{"start": beside, "part": "1/2"}],
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"train_file"}, "train_file is given: going on without the preset's test_file, sample_submission_file,"),
        ({"train_file", "test_file"}, "train_file is given: going on without the preset's sample_submission_file,"),
        ({"test_file"}, "test_file is given: going on without the preset's sample_submission_file,"),
        ({"train_file", "test_file", "sample_submission_file"}, None),
    ],
)
def test_files_of_a_preset_that_another_file_leaves_out_are_named(task, capsys, given, said):
    own = "train_file: sample/a.json\ntest_file: sample/a.json\nsample_submission_file: sample/a.json\n"
    file = str(task / "sample" / "a.json")
    args, _ = parse(task, *preset(task, own), *(word for name in sorted(given) for word in (f"--{name}", file)))
    lines = [line for line in capsys.readouterr().out.splitlines() if "is given" in line]
    assert [line.partition(" which")[0] for line in lines] == ([said] if said else [])
    assert args.sample_submission_file == (file if "sample_submission_file" in given else None)


def test_a_copied_folder_without_a_demo_asks_for_its_data(task):
    (task / "configs" / "demo.yaml").unlink()
    with pytest.raises(InputError, match=r"data/train.json: no such file; put [^,]*--train_file$"):
        parse(task)


def test_a_preset_without_its_data_says_what_to_put_where_and_what_runs(task):
    with pytest.raises(InputError, match=r"data/train.json: no such file; put .* --config .*demo.yaml"):
        parse(task, "--config", str(task / "configs" / "final.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 1", "key learning_rat: is not a field; did you mean learning_rate?"),
        ("num_folds: many", "key num_folds: 'many' is not a int"),
        ("num_folds: true", "key num_folds: True is not a int"),
        ("resume: maybe", "key resume: 'maybe' is not a bool"),
        ("feature_oversample_method: smoke", "key feature_oversample_method: 'smoke' is not"),
        ("- a", "a mapping of field: value was expected"),
        ("a: [", "row 1: is not YAML"),
    ],
)
def test_a_preset_with_a_fault_names_file_key_and_nearest_field(task, text, message):
    with pytest.raises(InputError) as error:
        parse(task, *preset(task, text))
    assert "own.yaml" in str(error.value) and message in str(error.value)


@pytest.mark.parametrize("name", ["final", "final.yaml"])
def test_a_preset_named_without_its_folder_is_told_where_it_lies(task, monkeypatch, name):
    monkeypatch.chdir(task.parent)
    with pytest.raises(InputError, match=rf"did you mean {task.name}/configs/final\.yaml\?"):
        parse(task, "--config", name)


def test_an_option_that_is_missing_is_named_once(task):
    with pytest.raises(InputError, match=r"are required: --run_dir, --test_file$"):
        parse_predict_args(PredictArguments, task, "", [])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--learning_rat", "1"], "--learning_rat is not an option; did you mean --learning_rate?"),
        (["--num_f", "3"], "--num_f is not an option"),
        (["--num_folds", "x"], "num_folds"),
        (["--num_folds", "0"], "num_folds: 0 is not 1 or more"),
        (["--fold", "3", "--num_folds", "3"], "fold: 3 is not between 0 and 2"),
        (["--learning_rate", "0"], "learning_rate: 0.0 is not a number above 0"),
        (["--focal_gamma", "-1"], "focal_gamma: -1.0 is not 0 or more"),
        (["--lora_r", "4", "--fgm_epsilon", "1"], "fgm_epsilon: does nothing with lora_r"),
        (["--train_file", "nowhere.json"], "nowhere.json: no such file"),
        (["--config"], "--config: expected one argument"),
    ],
)
def test_a_command_line_with_a_fault_is_one_clear_error(task, argv, message):
    with pytest.raises(InputError) as error:
        parse(task, *argv)
    assert message in str(error.value)


def test_the_resolved_config_passed_back_resolves_to_itself(task, tmp_path):
    config = resolved_config(
        *parse(task, "--weight_decay", "0.1", "--num_folds", "3", "--fold", "1", "--output_dir", "x")
    )
    assert config["weight_decay"] == 0.1 and not {"fold", "output_dir", "resume", "config"} & set(config)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert resolved_config(*parse(task, "--config", str(tmp_path / "config.yaml"))) == config


def test_output_dir_is_open_unless_the_user_names_one(task):
    assert parse(task)[1].output_dir is None and parse(task, "--output_dir", "x")[1].output_dir == "x"


def test_early_stopping_chooses_the_best_checkpoint_by_accuracy_unless_a_metric_is_named(task):
    _, training = parse(task, "--early_stopping_patience", "2")
    assert (training.load_best_model_at_end, training.metric_for_best_model, training.greater_is_better) == (
        True,
        "accuracy",
        True,
    )
    _, training = parse(task, "--early_stopping_patience", "2", "--load_best_model_at_end")
    assert (training.metric_for_best_model, training.greater_is_better) == ("loss", False)


def test_the_metrics_name_is_the_options_then_data_pys_and_else_none(task, monkeypatch):
    assert metric_name(parse(task)[0]) is None
    monkeypatch.setattr(sys.modules[__name__], "METRIC", "macro_f1", raising=False)
    assert metric_name(parse(task)[0]) == "macro_f1"
    assert metric_name(parse(task, "--metric", "mcc")[0]) == "mcc"


def test_a_linked_data_folder_keeps_its_own_name(tmp_path, monkeypatch):
    (tmp_path / "test_v2").mkdir()
    (tmp_path / "test").symlink_to("test_v2")
    monkeypatch.chdir(tmp_path / "test_v2")
    for given, found in {"../test": "test", ".": "test_v2", "../test/..": ""}.items():
        args = SimpleNamespace(DATA_FIELDS=("train_file",), train_file=given)
        find_data_files(args, tmp_path, {})
        assert args.train_file == str(tmp_path.resolve() / found)


def test_the_commit_is_unknown_where_there_is_no_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_commit() is None


@dataclass
class ArgumentsWithNotes(Arguments):
    """A task that reads one file more."""

    DATA_FIELDS: ClassVar[tuple[str, ...]] = (*Arguments.DATA_FIELDS, "note_file")

    note_file: str | None = None
    terms: list[str] = field(default_factory=lambda: ["a"])


def test_a_list_in_a_preset_is_the_same_list_as_on_the_command_line(task):
    def terms(*argv):
        return parse_train_args(ArgumentsWithNotes, task, FILES, "doc", list(argv))[0].terms

    own = preset(task, "train_file: sample/a.json\nterms: [b, c]\n")
    assert terms() == ["a"] and terms(*own) == ["b", "c"] and terms(*own, "--terms", "d") == ["d"]
    assert terms(*preset(task, "train_file: sample/a.json\nterms: b\n")) == ["b"]


def test_a_tasks_own_file_is_found_and_dropped_with_the_presets_other_files(task):
    def parse_notes(*argv):
        return parse_train_args(ArgumentsWithNotes, task, {**FILES, "note_file": "notes.txt"}, "doc", list(argv))[
            0
        ].note_file

    (task / "sample" / "notes.txt").write_text("x")
    own = preset(task, "train_file: sample/a.json\nnote_file: sample/notes.txt\n")
    assert parse_notes(*own) == str(task / "sample" / "notes.txt")
    assert parse_notes(*own, "--train_file", str(task / "sample" / "a.json")) is None
    with pytest.raises(InputError, match="no such file or folder .note_file"):
        parse_notes(*own, "--note_file", "nowhere.txt")
    (task / "data").mkdir()
    (task / "data" / "train.json").write_text("[]")
    (task / "data" / "notes.txt").write_text("x")
    assert parse_notes() == str(task / "data" / "notes.txt")


def test_the_error_is_the_last_line_of_a_log_of_both_outputs(tmp_path):
    program = (
        "from common.console import InputError, run_main\ndef main():\n    print('epoch 1')\n    raise "
        "InputError('no more')\nrun_main(main)"
    )
    with open(tmp_path / "log.txt", "w") as log:
        assert (
            subprocess.run(
                [sys.executable, "-c", program], stdout=log, stderr=log, env=ENVIRONMENT, check=False
            ).returncode
            == 2
        )
    assert (tmp_path / "log.txt").read_text() == "epoch 1\nerror: no more\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--learnig-rate", "1"], "command line: --learnig-rate is not an option; did you mean --learning_rate?"),
        (["--nonsense=1"], "command line: --nonsense is not an option"),
        (["--config", "configs/dmeo.yaml"], "configs/dmeo.yaml: cannot be read (no such file or directory); did you mean configs/demo.yaml?"),
        (["--config", "configs/bad.yaml"], "configs/bad.yaml, key num_epochs: is not a field; did you mean num_train_epochs?"),
    ],
)  # fmt: skip
def test_a_name_that_there_is_not_is_said_before_the_seconds_that_importing_torch_takes(tmp_path, argv, said):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.yaml").write_text("learning_rate: 1e-3\n")
    (tmp_path / "configs" / "bad.yaml").write_text("num_epochs: 1\n")
    program = (
        "import runpy, sys\nsys.argv = sys.argv[1:]\nsys.path.insert(0, sys.argv[0].rpartition('/')[0])\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\nexcept SystemExit as end:\n"
        "    print(end.code, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, ROOT / "friends" / "train.py", *argv]
    result = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("2 False\n", f"error: {said}\n")


def test_the_fields_that_are_known_without_an_import_are_those_that_are_installed():
    assert {item.name for item in dataclasses.fields(TrainingArguments) if item.init} <= trainer_fields()
