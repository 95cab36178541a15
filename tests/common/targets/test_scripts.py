"""A copied folder whose data.py names another target: from the files to a submission, resumed and predicted again."""

import csv
import shutil

import numpy as np
import pytest

from common.files import read_json
from common.logits import Logits
from tests.tools.scripts import ROOT, Worker, predict, succeed

DATA = '''"""A contest of one's own."""

from dataclasses import dataclass

from common.examples import TextExample
from common.files import read_rows
from common.options import TextTaskArguments
from common.submission import SubmissionFormat
from common.targets import Metric, Number, Ordered, SeveralLabels

COMPETITION_FILES = {{"train_file": "train.csv"}}
{target}
PREPROCESSING = ("speakers", "special_tokens", "max_length")


@dataclass
class TaskArguments(TextTaskArguments):
    """No options of its own."""


def make_preprocessing(args):
    return {{"speakers": None, "special_tokens": []}}


def read_examples(path, preprocessing):
    rows = read_rows(path)
    _, header = next(rows)
    return [TextExample(row[0], [row[1]], label(*row[2:])) for _, row in rows]
'''
TARGETS = {
    "number": """LABEL_NAMES = Number("y", loss="huber")
METRIC = "spearman"
SUBMISSION = SubmissionFormat("id", {"y": lambda logits: [f"{v:.4f}" for v in logits.logits[:, 0]]})


def label(y=None):
    return LABEL_NAMES.unknown if y is None else float(y)""",
    "several": """LABEL_NAMES = SeveralLabels(["a", "b", "c"])
SUBMISSION = SubmissionFormat("id", {"y": lambda logits: ["".join(map(str, row)) for row in (logits.logits > 0).astype(int)]})


def label(y=None):
    return LABEL_NAMES.unknown if y is None else LABEL_NAMES.encode(y, "a row")""",
    "ordered": """LABEL_NAMES = Ordered(["0", "1", "2"])
METRIC = Metric("near", lambda labels, logits: float(abs(logits.argmax(1) - labels).mean()), greater_is_better=False)
SUBMISSION = SubmissionFormat("id", {"y": lambda logits: logits.logits.argmax(1).tolist()})


def label(y=None):
    return -1 if y is None else int(y)""",
}
WORDS = ["one", "two", "three", "four", "five", "six", "seven"]


def rows_of(kind, number, seed):
    """(id, text, label): a number by two words of a text, which of three it has, or how many of two."""
    generator = np.random.default_rng(seed)
    for k in range(number):
        words = [WORDS[i] for i in generator.integers(0, 7, 6)]
        answers = {
            "number": 1000 + 50 * ("six" in words) + 100 * ("five" in words),
            "several": "".join(name for name, word in zip("abc", WORDS, strict=False) if word in words),
            "ordered": ("six" in words) + ("five" in words),
        }
        yield f"{seed}-{k}", " ".join(words), answers[kind]


@pytest.fixture(scope="module", params=["number", "several", pytest.param("ordered", marks=pytest.mark.slow)])
def contest(request, tmp_path_factory):
    """(kind, folder, its worker, options): friends, copied, with another data.py."""
    folder = tmp_path_factory.mktemp(request.param)
    task = folder / "contest"
    shutil.copytree(ROOT / "friends", task, ignore=shutil.ignore_patterns("sample", "__pycache__", "*.md"))
    (task / "data.py").write_text(DATA.format(target=TARGETS[request.param]))
    for name, number, seed in (("train", 240, 0), ("test", 40, 1)):
        with open(folder / f"{name}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text", "y"])
            writer.writerows(rows_of(request.param, number, seed))
    with open(folder / "blind.csv", "w", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *((i, text) for i, text, _ in rows_of(request.param, 40, 1))])
    (task / "configs" / "demo.yaml").write_text("model_name_or_path: scratch\nlearning_rate: 2e-3\nmax_length: 12\n")
    options = ["--config", task / "configs/demo.yaml", "--train_file", "train.csv", "--test_file", "blind.csv"]
    options += ["--num_folds", 2, "--num_train_epochs", 5, "--torch_num_threads", 1, "--disable_tqdm", "true"]
    return request.param, folder, Worker(task), options


def test_from_the_files_to_a_submission_its_metrics_and_report(contest):
    kind, folder, worker, options = contest
    succeed(worker, folder, "train.py", *options, "--early_stopping_patience", 3, "--output_dir", "run")
    metrics = read_json(folder / "run/metrics.json")["oof"]
    learned = {"number": ("spearman", 0.5), "several": ("micro_f1", 0.7), "ordered": ("accuracy", 0.6)}
    name, least = learned[kind]
    assert metrics[name] > least and (kind != "ordered" or metrics["near"] < 0.4)
    blind = Logits.load(folder / "run/test_logits.npz")
    assert np.isnan(blind.labels).all() if kind == "number" else (blind.labels == -1).all()
    if kind == "number":
        assert 950 < blind.logits.min() and blind.logits.max() < 1400  # in the labels' units
    again = predict(worker, folder, "--run_dir", "run", "--test_file", "test.csv")
    assert np.allclose(again.logits, blind.logits, atol=1e-3 if kind == "number" else 1e-5)
    scores = read_json(folder / "s.metrics.json")
    assert scores[name] > least - 0.2
    assert (folder / "run/submission.csv").read_text().splitlines()[1].startswith("1-0,")
    report = (folder / "run/report.md").read_text()
    assert {"number": "Numbers: oof", "several": "best threshold", "ordered": "How many classes too high"}[
        kind
    ] in report
    chosen = {"number": ("spearman", True), "several": ("micro_f1", True), "ordered": ("near", False)}[kind]
    config = (folder / "run/config.yaml").read_text()
    assert f"metric_for_best_model: {chosen[0]}" in config and f"greater_is_better: {str(chosen[1]).lower()}" in config


def test_a_resumed_run_of_every_target_ends_with_the_same_bits(contest):
    _, folder, worker, options = contest
    fold = ["--fold", 1, "--rdrop_alpha", 0.5]
    succeed(worker, folder, "train.py", *options, *fold, "--output_dir", "whole")
    succeed(worker, folder, "train.py", *options, *fold, "--output_dir", "parts", "--stop_after_epoch", 1)
    succeed(worker, folder, "train.py", *options, *fold, "--output_dir", "parts", "--resume")
    name = "fold1/held_out_logits.npz"
    assert np.array_equal(Logits.load(folder / "whole" / name).logits, Logits.load(folder / "parts" / name).logits)


def test_a_metric_that_does_not_fit_the_target_is_one_sentence(contest):
    kind, folder, worker, options = contest
    wrong = "accuracy" if kind in ("number", "several") else "rmse"
    code, errors = worker.run(folder, "train.py", *options, "--metric", wrong, "--output_dir", "none")
    assert code == 2 and f"error: metric: {wrong!r} is not defined for this target" in errors
    assert not (folder / "none").exists()
