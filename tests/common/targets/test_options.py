"""Every option with every target: docs/options.md says whether it works, and what it says is so."""

import re
import shutil
import sys

import pytest

from common.console import InputError
from common.examples import read_files
from common.folds import make_splits
from common.options import parse_train_args
from common.options.task_module import load_data_module
from tests.tools.scripts import ROOT, Worker, succeed

KINDS = ("classes", "several", "number", "ordered")
TARGETS = {
    "classes": 'LABEL_NAMES = ["0", "1", "2"]',
    "several": 'LABEL_NAMES = SeveralLabels(["0", "1", "2"])',
    "number": 'LABEL_NAMES = Number("y")',
    "ordered": 'LABEL_NAMES = Ordered(["0", "1", "2"])',
}
DATA = '''"""A contest of one's own."""

from dataclasses import dataclass

from common.examples import TextExample
from common.options import TextTaskArguments
from common.submission import SubmissionFormat
from common.tables import read_table
from common.targets import Number, Ordered, SeveralLabels, as_target

COMPETITION_FILES = {{"train_file": "train.csv"}}
{target}
TARGET = as_target(LABEL_NAMES)
SUBMISSION = SubmissionFormat("id", {{"y": lambda logits: logits.logits.argmax(1).tolist()}})
PREPROCESSING = ("special_tokens", "max_length")


@dataclass
class TaskArguments(TextTaskArguments):
    """No options of its own."""


def make_preprocessing(args):
    return {{"special_tokens": []}}


def read_examples(path, preprocessing):
    rows = read_table(path).records(["id", "text"])
    return [TextExample(values["id"], [values["text"]], label(values.get("y"))) for _, values in rows]


def label(y):
    if y is None:
        return TARGET.unknown
    return {{"number": float, "several": lambda y: TARGET.encode([y], "y")}}.get(TARGET.kind, int)(y)
'''
# what a row of the page's table stands for: options of train.py on the copy's files
OPTIONS = {
    "class_weight_strength": ["0.5"],
    "focal_gamma": ["2"],
    "label_smoothing_factor": ["0.1"],
    "rdrop_alpha": ["1"],
    "ema_decay": ["0.9"],
    "fgm_epsilon": ["1"],
    "awp_epsilon": ["0.01"],
    "lora_r": ["4"],
    "oversample_ratio": ["1"],
    "undersample_ratio": ["1"],
    "feature_oversample_ratio": ["0.5"],
    "early_stopping_patience": ["1"],
    "metric_bootstrap": ["20"],
    "adversarial_validation": ["true"],
    "teacher": ["first"],
    "pseudo_file": ["test.csv", "--pseudo_run", "first", "--pseudo_min_probability", "0"],
}


def table_of_page():
    """Option or command -> kind -> whether it works, as docs/options.md has it."""
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Options and targets$(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:3] == "| `"]
    assert all(set(cells) <= {"yes", "refused"} for _, *cells in rows)
    return {
        re.match("`-*([^` ]+)", name)[1]: {kind: cell == "yes" for kind, cell in zip(KINDS, cells, strict=True)}
        for name, *cells in rows
    }


TABLE = table_of_page()


@pytest.fixture(scope="module", params=KINDS)
def contest(request, tmp_path_factory):
    """(kind, folder with contest/, train.csv and test.csv; arguments of a small run)."""
    folder = tmp_path_factory.mktemp(request.param)
    shutil.copytree(
        ROOT / "friends", folder / "contest", ignore=shutil.ignore_patterns("sample", "__pycache__", "*.md")
    )
    (folder / "contest" / "data.py").write_text(DATA.format(target=TARGETS[request.param]))
    (folder / "contest" / "configs" / "demo.yaml").write_text("model_name_or_path: scratch\nmax_length: 8\n")
    rows = [(f"r{i}", f"{['sun', 'rain', 'snow'][i * i % 3]} word{i} word{i % 5}", i * i % 3) for i in range(30)]
    (folder / "train.csv").write_text("id,text,y\n" + "".join(f"{i},{text},{y}\n" for i, text, y in rows))
    (folder / "test.csv").write_text("id,text\n" + "".join(f"t{i},{text} too\n" for i, text, _ in rows[:12]))
    argv = [
        "--config",
        str(folder / "contest/configs/demo.yaml"),
        "--train_file",
        "train.csv",
        "--test_file",
        "test.csv",
    ]
    argv += ["--num_folds", "2", "--num_train_epochs", "1", "--per_device_train_batch_size", "8"]
    return request.param, folder, argv + ["--torch_num_threads", "1", "--disable_tqdm", "true", "--fold_workers", "1"]


def test_the_table_has_all_options_that_are_tried():
    assert {*OPTIONS} < {*TABLE}
    assert {*TABLE} - {*OPTIONS} == {"prior_correction", "common.blend", "tune_decision"}


@pytest.mark.parametrize("option", [name for name in OPTIONS if name not in ("teacher", "pseudo_file")])
def test_an_option_is_taken_or_refused_in_a_sentence_as_the_page_says(contest, option, monkeypatch):
    kind, folder, argv = contest
    monkeypatch.chdir(folder)
    monkeypatch.delitem(sys.modules, "data", raising=False)
    data = load_data_module(folder / "contest")

    def start():
        args, _ = parse_train_args(
            data.TaskArguments, folder / "contest", data.COMPETITION_FILES, "", [*argv, f"--{option}", *OPTIONS[option]]
        )
        examples = read_files(args, lambda path: data.read_examples(path, {}))
        make_splits(examples, data.LABEL_NAMES, args)

    if TABLE[option][kind]:
        start()
        return
    with pytest.raises(InputError, match=f"^{option}: "):
        start()


@pytest.mark.slow
def test_what_is_taken_trains_and_predicts_and_what_is_not_leaves_no_run(contest):
    kind, folder, argv = contest
    worker = Worker(folder / "contest")
    succeed(worker, folder, "train.py", *argv, "--output_dir", "first")
    succeed(worker, folder, "train.py", *argv, "--output_dir", "second", "--seed", 1)
    wrong = []
    for option, values in OPTIONS.items():
        extra = [f"--{option}", *values]
        code, errors = worker.run(folder, "train.py", *argv, "--output_dir", option, *extra)
        expected = TABLE[option][kind]
        sentence = errors.strip().splitlines()[-1:] or [""]
        right = code == 0 if expected else code == 2 and sentence[0].startswith(f"error: {option}: ")
        if not right or (folder / option).exists() != expected:
            wrong.append((option, code, sentence[0]))
    predict = [
        "--run_dir",
        "first",
        "--test_file",
        "test.csv",
        "--torch_num_threads",
        "1",
        "--prior_correction",
        "true",
    ]
    code, errors = worker.run(folder, "predict.py", *predict)
    if code != (0 if TABLE["prior_correction"][kind] else 2):
        wrong.append(("prior_correction", code, errors[-300:]))
    blend = [ROOT / "common" / "blend" / "__main__.py", "contest", "first", "second"]
    for option, argv in {"common.blend": [], "tune_decision": ["--tune_decision"]}.items():
        code, errors = worker.run(folder, *blend, *argv)
        if code != (0 if TABLE[option][kind] else 2):
            wrong.append((option, code, errors[-300:]))
    assert not wrong
