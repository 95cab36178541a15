"""Bad input of friends/train.py and friends/predict.py: one sentence that names the place, and nothing is written.

What is refused before a model is loaded is tested in this process; what damages a run, or needs a model, in a worker
that runs one command line after the other; a few commands run for themselves.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.guards.manifest import read_sealed, write_sealed
from friends import data
from tests.tools.params import first
from tests.tools.refusals import assert_refused_here, read_and_split
from tests.tools.scripts import ENVIRONMENT, ROOT, assert_refused, worker_of

FRIENDS = ROOT / "friends"
SAMPLE = FRIENDS / "sample"
TEST, SUBMISSION, TRAIN = (str(SAMPLE / name) for name in ("test.csv", "sample_submission.csv", "train.json"))
SMALL = ["--max_train_samples", "60", "--num_train_epochs", "1", "--num_folds", "1", "--output_dir", "run"]
DEMO = ["--config", str(FRIENDS / "configs" / "demo.yaml"), *SMALL]
HEADER = "id,i_dialog,i_utterance,speaker,utterance"


worker = worker_of(FRIENDS)


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Asserts that train.py refuses options in tmp_path with a sentence that holds the fragments."""
    return lambda argv, fragments: assert_refused_here(
        lambda: read_and_split(data, "friends", argv), tmp_path, monkeypatch, fragments
    )


@pytest.fixture(scope="module")
def trained(worker, tmp_path_factory):
    """A folder with run/: one fold of the demo, an epoch on 60 rows of train.json, a copy of the sample's."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(TRAIN, folder / "train.json")
    code, errors = worker.run(folder, "train.py", *DEMO, "--train_file", "train.json")
    assert code == 0, errors
    return folder


# Data files: each is written as it stands and given as train_file.

ROWS = [["0", "0", "0", "Ann", "Hello."], ["1", "0", "1", "Bob", "Hi."], ["2", "1", "0", "Ann", "Bye."]]


def table(*rows: list[str] | str, header: str = HEADER) -> str:
    return "\n".join([header, *(row if isinstance(row, str) else ",".join(row) for row in rows)]) + "\n"


def dialogue(**changes: object) -> str:
    """Two dialogues; `changes` replace fields of the second line of the first, a value of ... removes one."""
    line = {"speaker": "Bob", "utterance": "Hi.", "emotion": "joy", **changes}
    line = {key: value for key, value in line.items() if value is not ...}
    first = {"speaker": "Ann", "utterance": "Hello.", "emotion": "neutral"}
    return json.dumps([[first, line], [first]])


GOOD = dialogue()
PLACE = ["train.json", "dialogue 0, utterance 1"]
DATA_FILES = {
    # id: (file name, content, fragments of the message)
    "utf16": ("train.json", GOOD.encode("utf-16"), ["train.json, row 1", "UTF-8"]),
    "utf16-without-mark": ("train.json", GOOD.encode("utf-16-le"), ["train.json, row 1", "NUL", "UTF-16"]),
    "cp949": ("train.json", GOOD.replace("Hello.", "안녕").encode("cp949"), ["train.json, row 1", "UTF-8"]),
    "id-with-carriage-return": (
        "train.csv",
        table(*ROWS[:2], ['"2\rx"', *ROWS[2][1:]]),
        ["train.csv", "carriage return"],
    ),
    "damaged-csv": (
        "train.csv",
        table(ROWS[0], ["1", "0", "1", "앤", "안녕"]).encode().replace("앤".encode(), b"\xec\xff\xa4"),
        ["train.csv, row 3", "UTF-8"],
    ),
    "not-json": ("train.json", "hello", ["train.json, row 1, column 1", "JSON"]),
    "truncated-json": ("train.json", GOOD[:-40], ["train.json, row 1, column", "JSON"]),
    "json-of-a-dict": ("train.json", '{"a": []}', ["train.json", "a list of dialogues"]),
    "json-of-a-number": ("train.json", "3", ["train.json", "a list of dialogues"]),
    "json-of-dicts": ("train.json", '[{"speaker": "Ann"}]', ["train.json", "a list of dialogues"]),
    "json-of-numbers": ("train.json", "[1, 2]", ["train.json", "a list of dialogues"]),
    "json-of-lists-of-numbers": ("train.json", "[[1, 2]]", ["dialogue 0, utterance 0", "an object"]),
    "json-nested-too-deeply": ("train.json", "[" * 100_000, ["train.json", "nested"]),
    "json-with-a-5000-digit-number": ("train.json", '[[{"speaker": ' + "1" * 5000 + "}]]", ["train.json", "digits"]),
    "json-empty-list": ("train.json", "[]", ["train.json", "no rows"]),
    "json-empty-dialogue": ("train.json", "[[]]", ["train.json", "no rows"]),
    "missing-key-utterance": ("train.json", dialogue(utterance=...), [*PLACE, "column utterance", "missing"]),
    "missing-key-speaker": ("train.json", dialogue(speaker=...), [*PLACE, "column speaker", "missing"]),
    "missing-key-emotion": ("train.json", dialogue(emotion=...), ["train.json", "1 of 3 rows", "0_1", "no label"]),
    "null-utterance": ("train.json", dialogue(utterance=None), [*PLACE, "column utterance", "NoneType"]),
    "number-utterance": ("train.json", dialogue(utterance=5), [*PLACE, "column utterance", "int", "a string"]),
    "empty-utterance": ("train.json", dialogue(utterance=" \t"), [*PLACE, "column utterance", "empty"]),
    "half-a-surrogate-pair": (
        "train.json",
        dialogue(utterance="\ud83d"),
        ["train.json, row 1, column", "\\ud83d", "surrogate"],
    ),
    "unknown-label": ("train.json", dialogue(emotion="hoy"), [*PLACE, "column emotion", "'hoy'", "surprise"]),
    "label-of-other-case": ("train.json", dialogue(emotion="Joy"), [*PLACE, "column emotion", "'Joy'"]),
    "label-number": ("train.json", dialogue(emotion=3), [*PLACE, "column emotion", "3"]),
    "label-list": ("train.json", dialogue(emotion=["joy"]), [*PLACE, "column emotion", "['joy']"]),
    "one-class": ("train.json", dialogue(emotion="neutral"), ["train.json", "same label", "two classes"]),
    "train-file-without-labels": ("train.csv", table(*ROWS), ["train.csv", "3 of 3 rows", "no label"]),
    "repeated-id": (
        "train.csv",
        table(*ROWS, ["1", "1", "1", "Ann", "Yes."]),
        ["train.csv, row 5, column id", "'1'", "row 3"],
    ),
    "wrong-columns": ("train.csv", table(header="a,b"), ["train.csv, row 1", "a,b", HEADER]),
    "missing-column": ("train.csv", table(header="id,i_dialog,i_utterance,speaker"), ["row 1", HEADER]),
    "column-name-over-two-lines": ("train.csv", table(header='"id\nx",i_dialog'), ["row 1", HEADER]),
    "extra-field": ("train.csv", table(ROWS[0], [*ROWS[1], "more"]), ["train.csv, row 3", "6 fields", "expected 5"]),
    "too-few-fields": ("train.csv", table(ROWS[0], ROWS[1][:4]), ["train.csv, row 3", "4 fields", "expected 5"]),
    "empty-file-json": ("train.json", "", ["train.json", "empty"]),
    "empty-file-csv": ("train.csv", "", ["train.csv", "empty"]),
    "byte-order-mark-only": ("train.csv", b"\xef\xbb\xbf", ["train.csv", "empty"]),
    "white-space-only": ("train.csv", " \n\t\n", ["train.csv", "empty"]),
    "header-only": ("train.csv", table(), ["train.csv", "no rows"]),
    "empty-id": ("train.csv", table(["", *ROWS[0][1:]]), ["train.csv, row 2, column id", "empty"]),
    "open-quote": ("train.csv", table(ROWS[0], '1,0,1,Bob,"Hi.', ROWS[2]), ["train.csv, row", "CSV"]),
    "stray-quote": ("train.csv", table(ROWS[0], '1,0,1,Bob,"Hi." he said'), ["train.csv, row 3", "CSV"]),
    "nul-byte": ("train.csv", table(ROWS[0], ["1", "0", "1", "Bob", "H\0i"]), ["train.csv, row 3", "NUL"]),
    "dialogue-torn-apart": (
        "train.csv",
        table(*ROWS, ["3", "0", "2", "Ann", "Yes."]),
        ["train.csv, row 5, column i_dialog", "together"],
    ),
    "utterances-out-of-order": (
        "train.csv",
        table(ROWS[0], ["1", "0", "0", "Bob", "Hi."]),
        ["train.csv, row 3, column i_utterance", "order"],
    ),
    "i_dialog-not-a-number": (
        "train.csv",
        table(["0", "one", *ROWS[0][2:]]),
        ["train.csv, row 2, column i_dialog", "'one'", "number"],
    ),
    "i_dialog-superscript": (
        "train.csv",
        table(["0", "²", *ROWS[0][2:]]),
        ["train.csv, row 2, column i_dialog", "number"],
    ),
    "i_utterance-negative": (
        "train.csv",
        table(["0", "0", "-1", *ROWS[0][3:]]),
        ["train.csv, row 2, column i_utterance", "number"],
    ),
    "i_utterance-of-5000-digits": (
        "train.csv",
        table(["0", "0", "9" * 5000, *ROWS[0][3:]]),
        ["row 2, column i_utterance", "number"],
    ),
    "wrong-suffix": ("train.txt", GOOD, ["train.txt, row 1", "i_dialog", ".json"]),
    "no-suffix": ("train", GOOD, ["train, row 1", "i_dialog", ".json"]),
}


@pytest.mark.parametrize(("name", "content", "fragments"), DATA_FILES.values(), ids=DATA_FILES)
def test_a_malformed_data_file_is_refused_at_its_place(refused, tmp_path, name, content, fragments):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    refused([*DEMO, "--train_file", name], fragments)


@pytest.mark.parametrize("field", ["eval_file", "test_file"])
@pytest.mark.parametrize("case", ["truncated-json", "damaged-csv", "extra-field", "unknown-label", "header-only"])
def test_eval_and_test_file_are_checked_before_training_as_the_train_file_is(refused, tmp_path, field, case):
    name, content, fragments = DATA_FILES[case]
    other = name.replace("train", field)
    (tmp_path / other).write_bytes(content if isinstance(content, bytes) else content.encode())
    fragments = [fragment.replace("train.", f"{field}.") for fragment in fragments]
    refused([*DEMO, f"--{field}", other], fragments)


@pytest.mark.parametrize("name", first(1, ["long.csv", "long.json", "one_line.csv"]))
def test_an_utterance_or_a_line_of_50_megabytes_is_refused(refused, tmp_path, name):
    text = "x" * 50_000_000
    content = {
        "long.json": f'[[{{"speaker": "Ann", "utterance": "{text}", "emotion": "joy"}}]]',
        "long.csv": table(["0", "0", "0", "Ann", text]),
        "one_line.csv": text,
    }[name]
    (tmp_path / name).write_text(content)
    refused([*DEMO, "--train_file", name], [name])
    (tmp_path / name).unlink()


def test_paths_that_cannot_be_read_are_refused(refused, tmp_path):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file.json").write_text(GOOD)
    (tmp_path / "dangling.json").symlink_to("nowhere.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    for path, fragment in {
        "folder.json": "is a folder",
        "file.json/x.json": "no such file",
        "missing.json": "no such file",
        "dangling.json": "no such file",
        "loop.json": "no such file",
        "x" * 300 + ".json": "no such file",
        "": "no such file",
    }.items():
        refused([*DEMO, "--train_file", path], [path, fragment])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_refused(refused, tmp_path):
    (tmp_path / "secret.json").write_text(GOOD)
    (tmp_path / "secret.json").chmod(0)
    refused([*DEMO, "--train_file", "secret.json"], ["secret.json", "cannot be read"])


def sample_rows() -> list[list[str]]:
    with open(SUBMISSION, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


SAMPLE_SUBMISSIONS = {
    "other-ids": (lambda rows: [rows[0], *[["x" + row[0], row[1]] for row in rows[1:]]], ["row 2, column Id", "'x0'"]),
    "missing-id": (lambda rows: rows[:50] + rows[51:], ["column Id", "1 ids are missing", "'49'"]),
    "extra-id": (lambda rows: [*rows, ["999", "joy"]], ["row 105, column Id", "'999'"]),
    "repeated-id": (lambda rows: [*rows, rows[1]], ["row 105, column Id", "'0'", "row 2"]),
    "wrong-header": (lambda rows: [["Id", "Label"], *rows[1:]], ["row 1", "Id,Label", "Id,Expected"]),
    "header-only": (lambda rows: rows[:1], ["column Id", "103 ids are missing"]),
    "too-few-fields": (lambda rows: [*rows[:9], ["8"], *rows[10:]], ["row 10", "1 fields", "expected 2"]),
    "empty": (lambda rows: [], ["sample.csv", "empty"]),
}


@pytest.mark.parametrize(("change", "fragments"), SAMPLE_SUBMISSIONS.values(), ids=SAMPLE_SUBMISSIONS)
def test_a_sample_submission_that_does_not_fit_is_refused_before_training(refused, tmp_path, change, fragments):
    (tmp_path / "sample.csv").write_text("".join(",".join(row) + "\n" for row in change(sample_rows())))
    refused([*DEMO, "--sample_submission_file", "sample.csv"], ["sample.csv", *fragments])


PRESETS = {
    "not-yaml": ("learning_rate: [1", ["p.yaml, row 1", "YAML"]),
    "tab": ("num_folds: 1\n\tlearning_rate: 1", ["p.yaml, row 2", "YAML"]),
    "control-character": ("seed: \x07", ["p.yaml", "YAML"]),
    "no-date": ("seed: 2024-99-99", ["p.yaml", "YAML"]),
    "5000-digit-number": ("seed: " + "1" * 5000, ["p.yaml", "YAML"]),
    "nested-too-deeply": ("seed: " + "[" * 3000, ["p.yaml", "YAML"]),
    "python-object": ("seed: !!python/object:os.system x", ["p.yaml, row 1", "YAML"]),
    "list": ("- seed", ["p.yaml", "mapping"]),
    "empty": ("", ["p.yaml", "empty"]),
    "unknown-key": ("learnin_rate: 1", ["p.yaml, key learnin_rate", "did you mean learning_rate?"]),
    "number-as-key": ("1: 2", ["p.yaml, key 1", "not a field"]),
    "word-for-number": ("num_folds: three", ["p.yaml, key num_folds", "'three'", "int"]),
    "fraction-for-int": ("num_folds: 2.5", ["p.yaml, key num_folds", "2.5", "int"]),
    "list-for-number": ("learning_rate: [1, 2]", ["p.yaml, key learning_rate", "float"]),
    "mapping-for-number": ("learning_rate: {a: 1}", ["p.yaml, key learning_rate", "float"]),
    "mapping-for-path": ("train_file: {a: b}", ["p.yaml, key train_file", "str"]),
    "bool-for-number": ("num_folds: true", ["p.yaml, key num_folds", "int"]),
    "nothing-for-number": ("num_folds:", ["p.yaml, key num_folds", "empty"]),
    "nothing-for-choice": ("context: null", ["p.yaml, key context", "empty"]),
    "choice": ("context: all", ["p.yaml, key context", "'all'", "current_previous"]),
    "choice-of-transformers": ("eval_strategy: true", ["p.yaml, key eval_strategy", "True", "epoch"]),
    "bool-expected": ("repair_text: perhaps", ["p.yaml, key repair_text", "'perhaps'", "bool"]),
    "missing-file-in-preset": ("train_file: nowhere.json", ["nowhere.json", "no such file", "train_file"]),
    "very-long-path": ("train_file: " + "a" * 1500, ["aaa", "no such file", "train_file"]),
}


@pytest.mark.parametrize(("content", "fragments"), PRESETS.values(), ids=PRESETS)
def test_a_malformed_preset_is_refused_at_its_key(refused, tmp_path, content, fragments):
    (tmp_path / "p.yaml").write_text(content)
    refused(["--config", "p.yaml"], fragments)


OPTIONS = {
    "missing-config": (["--config", "no.yaml"], ["no.yaml", "cannot be read"]),
    "empty-config": (["--config", ""], ["is a folder"]),
    "config-without-value": (["--config"], ["--config", "expected one argument"]),
    "config-is-a-folder": (["--config", "."], ["is a folder"]),
    "config-is-a-search": (
        ["--config", str(FRIENDS / "configs" / "search.yaml")],
        ["search.yaml", "is a search", "common.search"],
    ),
    "unknown-option": (["--learnin_rate", "1"], ["--learnin_rate", "did you mean --learning_rate?"]),
    "abbreviation": (["--learning", "1"], ["--learning ", "not an option", "did you mean"]),
    "positional": (["train.json"], ["train.json", "not an option"]),
    "missing-value": (["--num_folds"], ["num_folds", "expected one argument"]),
    "word-for-number": (["--num_folds", "three"], ["num_folds", "int", "'three'"]),
    "choice": (["--context", "all"], ["context", "'all'", "current_previous"]),
    "bool-expected": (["--repair_text", "perhaps"], ["repair_text", "perhaps"]),
    "negative-ratio": (["--oversample_ratio", "-0.1"], ["oversample_ratio", "-0.1", "between 0 and 1"]),
    "ratio-above-1": (["--undersample_ratio", "1.5"], ["undersample_ratio", "1.5", "between 0 and 1"]),
    "ratio-not-a-number": (["--oversample_ratio", "nan"], ["oversample_ratio", "nan", "between 0 and 1"]),
    "num_folds-0": (["--num_folds", "0"], ["num_folds", "0", "1 or more"]),
    "more-folds-than-dialogues": (["--num_folds", "85"], ["num_folds", "85"]),
    "fold-outside": (["--fold", "1"], ["fold", "1", "num_folds 1"]),
    "fold-negative": (["--fold", "-1"], ["fold", "-1"]),
    "fold_workers-more-than-memory": (
        ["--num_folds", "99999", "--fold_workers", "99999"],
        ["fold_workers", "99999 folds at a time need", "GB are free"],
    ),
    "max_length-word": (["--max_length", "long"], ["max_length", "'long'", "auto"]),
    "max_length-2": (["--max_length", "2"], ["max_length", "'2'", "above"]),
    "max_length-100000": (["--max_length", "100000"], ["max_length", "100000", "512"]),
    "max_train_samples-0": (["--max_train_samples", "0"], ["max_train_samples", "0", "1 or more"]),
    "max_train_samples-3": (["--max_train_samples", "3"], ["one group", "eval_file"]),
    "learning_rate-negative": (["--learning_rate", "-1"], ["learning_rate", "-1", "above 0"]),
    "learning_rate-infinite": (["--learning_rate", "inf"], ["learning_rate", "inf", "above 0"]),
    "epochs-0": (["--num_train_epochs", "0"], ["num_train_epochs", "0", "above 0"]),
    "max_steps-0": (["--max_steps", "0"], ["max_steps", "0"]),
    "batch-0": (["--per_device_train_batch_size", "0"], ["per_device_train_batch_size", "0"]),
    "tokens_per_batch-0": (["--tokens_per_batch", "0"], ["tokens_per_batch", "0", "1 or more"]),
    "seed-negative": (["--seed", "-1"], ["seed", "-1", "between 0"]),
    "seed-too-large": (["--fold_seed", "99999999999"], ["fold_seed", "99999999999", "between 0"]),
    "threads-too-many": (["--torch_num_threads", "99999999999"], ["torch_num_threads", "99999999999"]),
    "dropout-2": (["--lora_r", "2", "--lora_dropout", "2"], ["lora_dropout", "2", "between 0 and 1"]),
    "label-smoothing-2": (["--label_smoothing_factor", "2"], ["label_smoothing_factor", "2"]),
    "adam_beta1-2": (["--adam_beta1", "2"], ["adam_beta1", "2"]),
    "workers-negative": (["--dataloader_num_workers", "-1"], ["dataloader_num_workers", "-1"]),
    "two-attacks": (["--fgm_epsilon", "1", "--awp_epsilon", "1"], ["fgm_epsilon", "awp_epsilon"]),
    "early-stopping-without-evaluations": (
        ["--early_stopping_patience", "2", "--eval_strategy", "no"],
        ["early_stopping_patience", "no"],
    ),
    "unknown-metric": (
        ["--load_best_model_at_end", "--metric_for_best_model", "f1"],
        ["metric_for_best_model", "'f1'", "macro_f1"],
    ),
    "best-without-metric": (["--save_strategy", "best"], ["save_strategy", "metric_for_best_model"]),
    "strategies-that-differ": (
        ["--load_best_model_at_end", "--save_strategy", "steps"],
        ["training arguments", "strategy"],
    ),
    "both-precisions": (["--bf16", "--fp16"], ["training arguments", "bf16"]),
    "scheduler-options-not-json": (["--lr_scheduler_kwargs", "{bad"], ["training arguments"]),
    "scheduler-options-a-list": (["--lr_scheduler_kwargs", "[1]"], ["lr_scheduler_kwargs", "mapping"]),
    "accelerator_config": (["--accelerator_config", "no.json"], ["accelerator_config", "per_device_train_batch_size"]),
    "report_to-unknown": (["--report_to", "paper"], ["report_to", "paper", "not installed"]),
    "output_dir-not-empty": (["--output_dir", "full"], ["full", "not empty", "--resume"]),
    "output_dir-a-file": (["--output_dir", "full/file.json"], ["full/file.json", "is a file", "output_dir"]),
    "output_dir-below-a-file": (["--output_dir", "full/file.json/run"], ["full/file.json", "is a file", "output_dir"]),
    "output_dir-name-too-long": (["--output_dir", "x" * 300], ["xxx", "cannot be written"]),
    "argument-not-utf8": (["--run_name", "caf\udce9"], ["caf", "UTF-8"]),
    "warmup_steps-nan": (["--warmup_steps", "nan"], ["warmup_steps", "nan"]),
    "fsdp": (["--fsdp", "full_shard"], ["fsdp", "not read", "--use_fsdp --fsdp_version 2"]),
    "batch_eval_metrics": (["--batch_eval_metrics"], ["batch_eval_metrics"]),
    "optim_args-unknown": (["--optim", "sgd", "--optim_args", "a"], ["optim"]),
    "optim-not-installed": (["--optim", "galore_adamw"], ["optim"]),
    "lr_scheduler_kwargs-unknown": (["--lr_scheduler_kwargs", '{"bogus": 1}'], ["lr_scheduler_kwargs", "bogus"]),
    "class_weight_strength-above-1": (["--class_weight_strength", "3"], ["class_weight_strength", "between 0 and 1"]),
    "min_speaker_share-above-1": (["--min_speaker_share", "7"], ["min_speaker_share", "between 0 and 1"]),
    "early-stopping-without-checkpoints": (
        ["--early_stopping_patience", "1", "--save_strategy", "no"],
        ["early_stopping_patience", "checkpoint"],
    ),
    "adversarial_validation-of-two-dialogues": (
        ["--adversarial_validation", "--max_predict_samples", "10"],
        ["test rows", "2 groups"],
    ),
    "adversarial_validation-without-test_file": (
        ["--train_file", TRAIN, "--adversarial_validation"],
        ["adversarial_validation", "test_file"],
    ),
    "model-missing": (["--model_name_or_path", "no/model"], ["model_name_or_path", "no/model", "folder"]),
    "model-folder-without-model": (["--model_name_or_path", "full"], ["model_name_or_path", "full"]),
}


# These need a tokenizer, a model or the run folder.
LATE = [
    name
    for name in OPTIONS
    if name.startswith(("max_length", "output_dir-not", "output_dir-a", "output_dir-below", "model-", "adversarial"))
]


@pytest.mark.parametrize("name", [name for name in OPTIONS if name not in LATE])
def test_an_option_that_cannot_be_used_is_refused_by_name(refused, name):
    argv, fragments = OPTIONS[name]
    refused([*DEMO, *argv], fragments)


@pytest.mark.parametrize("name", LATE)
def test_what_only_a_model_or_a_folder_can_say_is_refused_by_name(worker, tmp_path, name):
    argv, fragments = OPTIONS[name]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file.json").write_text("[]")
    assert_refused(worker, tmp_path, "train.py", [*DEMO, *argv], fragments)


# Runs: what is asked of one that is there, and one that is damaged.


def remove(name: str):
    return lambda folder: (folder / name).unlink()


def cut(name: str):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:100])


def write(name: str, content: str):
    return lambda folder: (folder / name).write_text(content)


def forget_preprocessing(folder: Path) -> None:
    path = folder / "run/fold0/config.json"
    path.write_text(
        json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "preprocessing"})
    )
    reseal(folder)


def reverse_labels(folder: Path) -> None:
    path = folder / "run/fold0/config.json"
    config = json.loads(path.read_text())
    config["id2label"] = dict(zip(config["id2label"], reversed(config["id2label"].values()), strict=True))
    path.write_text(json.dumps(config))
    reseal(folder)


def reseal(folder: Path) -> None:
    """As if the fold had been written so."""
    path = folder / "run/fold0/fold.json"
    write_sealed(path, read_sealed(path))


def nothing(folder: Path) -> None:
    pass


def started_by_two(folder: Path) -> None:
    """A run that two processes had begun, with its only fold not done."""
    (folder / "run/fold0/fold.json").unlink()
    path = folder / "run/run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_processes": 2}))


PREDICT = ["--run_dir", "run", "--test_file", TEST]
RESUME = [*DEMO, "--train_file", "train.json", "--resume"]
RUNS = {
    # id: (script, arguments, what happens to the run before, fragments)
    "predict-run_dir-missing": (
        "predict.py",
        ["--run_dir", "no", "--test_file", TEST],
        nothing,
        ["no:", "no such file or folder"],
    ),
    "predict-run_dir-without-folds": (
        "predict.py",
        ["--run_dir", ".", "--test_file", TEST],
        nothing,
        ["no finished fold"],
    ),
    "predict-run_dir-a-file": (
        "predict.py",
        ["--run_dir", "train.json", "--test_file", TEST],
        nothing,
        ["train.json", "no finished fold"],
    ),
    "predict-without-test_file": ("predict.py", ["--run_dir", "run"], nothing, ["test_file", "required"]),
    "predict-test_file-missing": (
        "predict.py",
        ["--run_dir", "run", "--test_file", "no.csv"],
        nothing,
        ["no.csv", "no such file"],
    ),
    "predict-test_file-a-folder": (
        "predict.py",
        ["--run_dir", "run", "--test_file", "run"],
        nothing,
        ["run: is a folder", "save_to_disk"],
    ),
    "predict-test_file-malformed": (
        "predict.py",
        ["--run_dir", "run", "--test_file", "t.csv"],
        write("t.csv", "a,b\n"),
        ["t.csv, row 1"],
    ),
    "predict-weights-count": ("predict.py", [*PREDICT, "--weights", "1", "2"], nothing, ["weights", "2", "1 runs"]),
    "predict-weights-zero": ("predict.py", [*PREDICT, "--weights", "0"], nothing, ["weights", "0"]),
    "predict-weights-nan": ("predict.py", [*PREDICT, "--weights", "nan"], nothing, ["weights", "nan"]),
    "predict-sample-of-another-test": (
        "predict.py",
        ["--run_dir", "run", "--test_file", TRAIN, "--sample_submission_file", SUBMISSION],
        nothing,
        ["sample_submission.csv, row 2, column Id", "'0'"],
    ),
    "predict-into-a-folder": ("predict.py", [*PREDICT, "--submission_file", "run"], nothing, ["run", "is a folder"]),
    "predict-into-nothing": (
        "predict.py",
        [*PREDICT, "--submission_file", ""],
        nothing,
        ["is a folder", "submission_file"],
    ),
    "predict-below-a-file": (
        "predict.py",
        [*PREDICT, "--submission_file", "train.json/s.csv"],
        nothing,
        ["train.json", "is a file"],
    ),
    "predict-over-its-input": (
        "predict.py",
        ["--run_dir", "run", "--test_file", "train.json", "--submission_file", "train.json"],
        nothing,
        ["train.json", "overwrite"],
    ),
    "predict-model-cut": (
        "predict.py",
        PREDICT,
        cut("run/fold0/model.safetensors"),
        ["run/fold0/model.safetensors", "damaged"],
    ),
    "predict-model-missing": (
        "predict.py",
        PREDICT,
        remove("run/fold0/model.safetensors"),
        ["run/fold0/model.safetensors", "damaged"],
    ),
    "predict-model-config-cut": (
        "predict.py",
        PREDICT,
        cut("run/fold0/config.json"),
        ["run/fold0/config.json", "damaged"],
    ),
    "predict-model-of-another-project": ("predict.py", PREDICT, forget_preprocessing, ["run/fold0", "preprocessing"]),
    "predict-model-of-other-labels": (
        "predict.py",
        PREDICT,
        reverse_labels,
        ["run/fold0", "labels are surprise, sadness"],
    ),
    "predict-tokenizer-cut": (
        "predict.py",
        PREDICT,
        cut("run/fold0/tokenizer.json"),
        ["run/fold0/tokenizer.json", "damaged"],
    ),
    "predict-tokenizer-a-list": (
        "predict.py",
        PREDICT,
        write("run/fold0/tokenizer.json", "[1]"),
        ["run/fold0/tokenizer.json", "damaged"],
    ),
    "predict-config-missing": ("predict.py", PREDICT, remove("run/config.yaml"), ["run", "config.yaml"]),
    "predict-config-damaged": (
        "predict.py",
        PREDICT,
        write("run/config.yaml", "a: [1"),
        ["run/config.yaml, row 1", "YAML"],
    ),
    "predict-config-empty": ("predict.py", PREDICT, write("run/config.yaml", ""), ["run/config.yaml", "empty"]),
    "resume-with-another-learning-rate": (
        "train.py",
        [*RESUME, "--learning_rate", "3e-3"],
        nothing,
        ["run/config.yaml", "learning_rate", "0.001", "0.003"],
    ),
    "resume-with-a-changed-train-file": (
        "train.py",
        RESUME,
        write("train.json", GOOD[:-1] + " ]"),
        ["train.json", "has changed", "run"],
    ),
    "run-again-without-resume": ("train.py", RESUME[:-1], nothing, ["run", "not empty", "--resume"]),
    "resume-with-fewer-processes": (
        "train.py",
        RESUME,
        started_by_two,
        ["run/run.json", "2 processes", "effective batch"],
    ),
    "model-weights-cut": (
        "train.py",
        [*DEMO, "--output_dir", "other", "--train_file", "train.json", "--model_name_or_path", "run/fold0"],
        cut("run/fold0/model.safetensors"),
        ["model_name_or_path", "run/fold0"],
    ),
    "resume-config-damaged": (
        "train.py",
        RESUME,
        write("run/config.yaml", "a: [1"),
        ["run/config.yaml, row 1", "YAML"],
    ),
    "resume-config-a-list": ("train.py", RESUME, write("run/config.yaml", "- a"), ["run/config.yaml", "mapping"]),
    "resume-record-damaged": ("train.py", RESUME, cut("run/run.json"), ["run/run.json", "damaged"]),
    "resume-record-a-list": ("train.py", RESUME, write("run/run.json", "[1]"), ["run/run.json", "list"]),
}


@pytest.mark.parametrize(
    ("script", "argv", "damage", "fragments"),
    [pytest.param(*case, id=name) for name, case in RUNS.items()],
)
def test_a_run_that_cannot_be_used_is_refused_and_left_as_it_is(
    worker, trained, tmp_path, script, argv, damage, fragments
):
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    record = json.loads((folder / "run/run.json").read_text())
    path = record["data"]["train_file"]["path"]  # config.yaml and run.json hold absolute paths
    record["data"]["train_file"]["path"] = path.replace(str(trained), str(folder))
    (folder / "run/run.json").write_text(json.dumps(record))
    config = folder / "run/config.yaml"
    config.write_text(config.read_text().replace(str(trained), str(folder)))
    damage(folder)
    assert_refused(worker, folder, script, argv, fragments)


def test_a_runs_own_config_is_a_preset_that_resumes_it(worker, trained):
    code, errors = worker.run(trained, "train.py", "--config", "run/config.yaml", "--output_dir", "run", "--resume")
    assert code == 0, errors


@pytest.mark.parametrize(
    ("damaged", "damage"),
    [("fold.json", cut), ("held_out_logits.npz", cut), ("held_out_logits.npz", remove)],
    ids=["fold-cut", "logits-cut", "logits-missing"],
)
def test_a_damaged_fold_is_named_and_trained_again(worker, trained, tmp_path, damaged, damage):
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    config = folder / "run/config.yaml"
    config.write_text(config.read_text().replace(str(trained), str(folder)))
    before = (folder / "run/eval_logits.npz").read_bytes()
    damage(f"run/fold0/{damaged}")(folder)
    code, errors = worker.run(folder, "train.py", *RESUME)
    assert code == 0, errors
    assert f"run/fold0/{damaged}: is damaged" in worker.printed and "fold 0 is trained again" in worker.printed
    assert (folder / "run/eval_logits.npz").read_bytes() == before


def test_another_test_file_is_not_held_against_the_presets_sample(worker, tmp_path):
    lines = Path(TEST).read_text().splitlines(keepends=True)
    (tmp_path / "test.csv").write_text("".join(lines[:20]))
    (tmp_path / "scratch").mkdir()  # a folder of this name is no model
    code, errors = worker.run(tmp_path, "train.py", *DEMO, "--test_file", "test.csv")
    assert code == 0, errors
    assert len((tmp_path / "run/submission.csv").read_text().splitlines()) == 20


def test_rows_too_few_to_share_out_by_class_are_refused(refused, tmp_path):
    (tmp_path / "train.json").write_text(
        json.dumps(
            [
                [{"speaker": "Ann", "utterance": f"Line {i}.", "emotion": name}]
                for i, name in enumerate(["joy", "fear", "anger"])
            ]
        )
    )
    refused([*DEMO, "--train_file", "train.json"], ["train_file"])


@pytest.mark.parametrize(
    ("script", "argv", "fragments"),
    [
        pytest.param("train.py", ["--train_file", "bad.json"], ["bad.json, row 1, column 1"], id="data"),
        pytest.param("train.py", ["--learning", "1"], ["--learning"], id="option"),
        pytest.param(
            "predict.py",
            ["--run_dir", ".", "--test_file", "bad.json"],
            ["no finished fold"],
            id="predict",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_command_itself_ends_with_2_and_one_line(tmp_path, script, argv, fragments):
    (tmp_path / "bad.json").write_text("hello")
    result = subprocess.run(
        [sys.executable, FRIENDS / script, *argv],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = result.stderr.splitlines()
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    for fragment in fragments:
        assert fragment in lines[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.json"]
