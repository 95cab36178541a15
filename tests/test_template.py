"""docs/new_competition.md word by word: copies of friends/, hand_signal/ and reon_face/, of which only data.py and
configs/ are edited.

The commands, the code and the presets are the page's own; the tests add options that make the runs small.
"""

import ast
import csv
import re
import shlex
import shutil
import subprocess

import numpy as np
import pytest
import yaml
from PIL import Image

from common import submission
from common.logits import Logits
from common.submission import SubmissionFormat, check_submission
from tests.tools.scripts import ROOT, Worker, succeed
from tests.tools.videos import moving_square, write_clip

PAGE = (ROOT / "docs" / "new_competition.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ONE_THREAD = ["--torch_num_threads", "1"]
QUIET = [*ONE_THREAD, "--disable_tqdm", "true"]
SHORT_SEARCH = {
    "preset": "tune.yaml",
    "coupled": {"learning_rate": [1e-3, 4e-3], "num_train_epochs": 2},
    "finalists": 1,
    "seeds": [1],
    "final": {"preset": "final.yaml"},
}


def code_of(path):
    """The page's block whose first line is the comment `path`."""
    (found,) = [fence for fence in FENCES if re.match(rf"# {re.escape(path)}\b", fence)]
    return found


def copy_recipe(task, copy, folder):
    """Run the page's commands that copy a recipe, in a folder that holds the recipe as a fresh clone has it."""
    shutil.copytree(
        ROOT / task, folder / task, ignore=shutil.ignore_patterns("data", "file_*", "__pycache__", "node_modules")
    )
    (commands,) = [fence for fence in FENCES if fence.startswith(f"cp -r {task} {copy} ")]
    subprocess.run(commands, shell=True, cwd=folder, check=True)
    shutil.rmtree(folder / task)  # because a copy must not need it
    return folder / copy


def run_commands(worker, folder, copy, train, predict, search):
    """Run the page's commands for a copy, each with options that make it small."""
    (block,) = [fence for fence in FENCES if f"accelerate launch {copy}/train.py " in fence]
    for line in block.replace("\\\n", " ").splitlines():
        program, command, script, *options = shlex.split(line, comments=True)
        if (program, command) == ("accelerate", "launch"):
            small = train if script == f"{copy}/train.py" else predict
            succeed(worker, folder, script, *options, *small)
        else:
            assert (program, command) == ("python", "-m")
            small = search if script == "common.search" else []
            succeed(worker, folder, ROOT / script.replace(".", "/") / "__main__.py", *options, *small)


def write_csv(path, header, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def worker(tmp_path):
    """Runs the scripts of the copy my_contest/, my_videos/ or my_images/ in the test's tmp_path."""
    return Worker(tmp_path)


@pytest.mark.slow
def test_a_copy_of_friends_with_the_pages_data_py_does_everything_on_a_csv_with_text_and_label(worker, tmp_path):
    contest = copy_recipe("friends", "my_contest", tmp_path)
    for name in ("data.py", "configs/tune.yaml", "configs/final.yaml", "configs/search.yaml"):
        (contest / name).write_text(code_of(f"my_contest/{name}"), encoding="utf-8")
    with open(contest / "configs" / "search.yaml", "a") as file:
        file.write("finalists: 1\nseeds: [1]\n")
    words = {"spam": ["win", "cash", "click", "prize"], "ham": ["lunch", "meeting", "train", "garden"]}
    random = np.random.default_rng(0)
    rows = [
        (" ".join(random.choice(words[label], 5)) + f" {i}", label)
        for i, label in enumerate(["ham", "spam", "ham"] * 20)
    ]
    write_csv(contest / "data" / "train.csv", ["text", "label"], rows)
    write_csv(contest / "data" / "test.csv", ["id", "text"], [(f"m{i}", text) for i, (text, _) in enumerate(rows[:12])])
    order = [f"m{i}" for i in random.permutation(12)]
    write_csv(contest / "data" / "sample_submission.csv", ["id", "label"], [(row_id, "ham") for row_id in order])

    small = ["--model_name_or_path", "scratch", *QUIET]
    training = "--num_folds 2 --num_train_epochs 5 --learning_rate 2e-3 --per_device_train_batch_size 8"
    search = "--max_epochs 2 --max_train_samples 24 --num_train_epochs 1"
    predict = [*ONE_THREAD, "--submission_file", "s.csv"]
    run_commands(worker, tmp_path, "my_contest", [*small, *training.split()], predict, [*search.split(), *small])

    table = worker.printed
    final = tmp_path / "runs" / "my_contest" / "final"
    oof = Logits.load(final / "oof_logits.npz")
    assert oof.label_names == ["ham", "spam"]
    assert oof.labels.tolist() == [0, 1, 0] * 20
    assert (oof.logits.argmax(1) == oof.labels).mean() > 0.9
    assert len(list(final.glob("fold*/model.safetensors"))) == 2
    check_submission(final / "submission.csv", contest / "data" / "sample_submission.csv", label_names=["ham", "spam"])
    assert (tmp_path / "s.csv").read_bytes() == (final / "submission.csv").read_bytes()
    given = dict(list(csv.reader((tmp_path / "s.csv").read_text().splitlines()))[1:])
    assert list(given) == order
    assert sum(given[f"m{i}"] == rows[i][1] for i in range(12)) >= 11
    assert "| 1 | spam |" in (final / "report.md").read_text()
    assert re.search(r"^my_contest +my_contest/final +final +scratch +accuracy .* 60 oof ", table, re.MULTILINE)
    winner = yaml.safe_load((tmp_path / "runs/my_contest/search/final.yaml").read_text())
    assert winner["model_name_or_path"] == "bert-large-uncased"
    assert winner["num_folds"] == 5
    assert float(winner["learning_rate"]) in (5e-6, 1e-5, 2e-5, 4e-5, 8e-5)


def test_every_submission_format_of_the_page_gives_a_cell_per_row():
    table = re.search(r"^\| the competition wants .*?\n\n", PAGE, re.MULTILINE | re.DOTALL)[0]
    formats = re.findall(r"`(SubmissionFormat\(.*?\))`", table)
    assert len(formats) == 13
    logits = Logits(
        np.array(["a", "b"]), np.array([[0.0, 1.0], [2.0, 0.0]], np.float32), np.array([-1, -1]), ["x", "y"]
    )
    for text in formats:
        made = eval(text, vars(submission))
        assert isinstance(made, SubmissionFormat)
        assert all(len(cells) == 2 for cells in made.cells(logits).values())


def replace_names(source, changes):
    """Python source in which what has a name of `changes` at its top level is what `changes` says."""
    new = {name_of(node): ast.get_source_segment(changes, node) for node in ast.parse(changes).body}
    lines = source.splitlines(keepends=True)
    for node in reversed(ast.parse(source).body):
        if name_of(node) in new:
            lines[node.lineno - 1 : node.end_lineno] = [new.pop(name_of(node)) + "\n"]
    assert not new, f"not in data.py: {', '.join(new)}"
    return "".join(lines)


def name_of(node):
    return node.targets[0].id if isinstance(node, ast.Assign) else getattr(node, "name", None)


def edit_folder(contest):
    """What the page changes of a copy of hand_signal or reon_face, and a search that is over soon."""
    source = (contest / "data.py").read_text(encoding="utf-8")
    (contest / "data.py").write_text(replace_names(source, code_of(f"{contest.name}/data.py")), encoding="utf-8")
    (contest / "configs" / "search.yaml").write_text(yaml.safe_dump(SHORT_SEARCH))


def check_folder_run(worker, tmp_path, contest, names, suffix, model):
    """The run of 12 rows of two classes, and predict.py's file of it."""
    final = tmp_path / "runs" / contest.name / "final"
    oof = Logits.load(final / "oof_logits.npz")
    assert oof.label_names == names
    assert sorted(oof.ids.tolist()) == sorted(f"{names[number % 2]}/{number}{suffix}" for number in range(12))
    check_submission(final / "submission.csv", contest / "data" / "sample_submission.csv", label_names=names)
    assert (tmp_path / "s.csv").read_bytes() == (final / "submission.csv").read_bytes()
    assert f"| 1 | {names[1]} |" in (final / "report.md").read_text()
    assert yaml.safe_load((tmp_path / f"runs/{contest.name}/search/final.yaml").read_text())["num_folds"] == 5
    succeed(worker, tmp_path, ROOT / "common" / "report" / "__main__.py", "runs")
    assert re.search(rf"^{contest.name} +{contest.name}/final +final +{model} +oof", worker.printed, re.MULTILINE)


@pytest.mark.slow
def test_a_copy_of_hand_signal_does_everything_on_folders_of_videos_with_a_label_per_clip(worker, tmp_path):
    contest = copy_recipe("hand_signal", "my_videos", tmp_path)
    edit_folder(contest)
    for number in range(12):
        direction = ("left", "right")[number % 2]
        images = moving_square(2 * (number % 2) - 1, number)
        write_clip(contest / "data" / "train" / direction / f"{number}.avi", images=images)
    for number in range(4):
        images = moving_square(2 * (number % 2) - 1, 100 + number)
        write_clip(contest / "data" / "test" / f"{number}.avi", images=images)
    sample = contest / "data" / "sample_submission.csv"
    write_csv(sample, ["id", "label"], [(f"{number}.avi", "left") for number in (2, 0, 3, 1)])

    small = "--num_frames 4 --crop_size 32 --num_clips 1 --dataloader_num_workers 0".split()
    tiny = "--model_name_or_path slowfast_small --num_crops 1 --num_folds 2 --num_train_epochs 2".split()
    run_commands(
        worker,
        tmp_path,
        "my_videos",
        [*small, *tiny, *QUIET, "--gradient_accumulation_steps", "1"],
        [*ONE_THREAD, "--submission_file", "s.csv"],
        [*small, *QUIET, "--num_train_epochs", "1", "--max_epochs", "1"],
    )

    check_folder_run(worker, tmp_path, contest, ["left", "right"], ".avi", "slowfast_small")


@pytest.mark.slow
def test_a_copy_of_reon_face_does_everything_on_folders_of_images(worker, tmp_path):
    contest = copy_recipe("reon_face", "my_images", tmp_path)
    edit_folder(contest)
    for number in range(12):
        write_stripes(contest / "data" / "train" / ("across", "down")[number % 2] / f"{number}.png", number)
    for number in range(4):
        write_stripes(contest / "data" / "test" / f"{number}.png", 100 + number)
    sample = contest / "data" / "sample_submission.csv"
    write_csv(sample, ["image", "class"], [(f"{number}.png", "down") for number in (2, 0, 3, 1)])

    small = "--model_name_or_path scratch --image_size 32 --dataloader_num_workers 0 --per_device_train_batch_size 8"
    run_commands(
        worker,
        tmp_path,
        "my_images",
        [*small.split(), *QUIET, "--num_folds", "2", "--num_train_epochs", "2"],
        [*ONE_THREAD, "--submission_file", "s.csv"],
        [*small.split(), *QUIET, "--num_train_epochs", "1", "--max_epochs", "1"],
    )

    check_folder_run(worker, tmp_path, contest, ["across", "down"], ".png", "scratch")


def write_stripes(path, number):
    """A grey image of 32 x 32 pixels with stripes across (even numbers) or down, noise on top."""
    waves = 128 + 100 * np.sin(np.arange(32))[:, None] + np.random.default_rng(number).normal(0, 10, (32, 32))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((waves.T if number % 2 else waves).clip(0, 255).astype(np.uint8)).save(path)
