"""The README's ten minutes: copies of friends/, hand_signal/ and reon_face/ elsewhere, of which only data.py and
configs/ are edited.

The code, the presets and the commands are the README's own; the tests add options that make the runs small.
"""

import ast
import csv
import re
import shlex
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from common.logits import Logits
from common.submission import check_submission
from tests.tools.scripts import ROOT, Worker, succeed
from tests.tools.videos import moving_square, write_clip

FENCES = re.findall(r"^```\w*\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
QUIET = ["--torch_num_threads", "1", "--disable_tqdm", "true"]


def code_of(path):
    """The README's block whose first line is the comment `path`."""
    (found,) = [fence for fence in FENCES if re.match(rf"# {re.escape(path)}\b", fence)]
    return found


def commands_of(script):
    """The README's block of commands that runs `script`, a list of words each."""
    (found,) = [fence for fence in FENCES if f"accelerate launch {script} " in fence and "common.search" in fence]
    return [shlex.split(line, comments=True) for line in found.replace("\\\n", " ").splitlines()]


def copy_task(task, folder, configs):
    """A copy of the task folder without what the README removes, whose presets are `configs`: name -> YAML text."""
    shutil.copytree(ROOT / task, folder, ignore=shutil.ignore_patterns("data", "sample", "configs", "__pycache__"))
    (folder / "configs").mkdir()
    (folder / "data").mkdir()
    for name, text in configs.items():
        (folder / "configs" / name).write_text(text)


def write_csv(path, header, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def worker(tmp_path_factory, request):
    """Runs the scripts of the copy my_contest/, my_videos/ or my_images/ in the test's tmp_path."""
    worker = Worker(request.getfixturevalue("tmp_path"), tmp_path_factory.mktemp("worker"))
    yield worker
    worker.close()


def test_a_copy_of_friends_with_the_readmes_data_py_does_everything_on_a_csv_with_text_and_label(worker, tmp_path):
    presets = {name: code_of(f"my_contest/configs/{name}") for name in ("tune.yaml", "final.yaml", "search.yaml")}
    presets["search.yaml"] += "finalists: 1\nseeds: [1]\n"
    contest = tmp_path / "my_contest"
    copy_task("friends", contest, presets)
    (contest / "data.py").write_text(code_of("my_contest/data.py"), encoding="utf-8")
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
    train = [
        *small,
        "--num_folds",
        "2",
        "--num_train_epochs",
        "5",
        "--learning_rate",
        "2e-3",
        "--per_device_train_batch_size",
        "8",
    ]
    predict = ["--torch_num_threads", "1", "--submission_file", "s.csv"]
    for words in commands_of("my_contest/train.py"):
        if words[0] == "accelerate":
            succeed(worker, tmp_path, words[2], *words[3:], *(train if words[2].endswith("train.py") else predict))
        elif words[:3] == ["python", "-m", "common.search"]:
            options = ["--max_epochs", "2", "--max_train_samples", "24", "--num_train_epochs", "1"]
            succeed(worker, tmp_path, ROOT / "common" / "search.py", *words[3:], *options, *small)
        else:
            assert words[:3] == ["python", "-m", "common.report"]
            succeed(worker, tmp_path, ROOT / "common" / "report.py", *words[3:])
            table = worker.printed

    final = tmp_path / "runs" / "my_contest" / "final"
    oof = Logits.load(final / "oof_logits.npz")
    assert oof.label_names == ["ham", "spam"] and oof.labels.tolist() == [0, 1, 0] * 20
    assert (oof.logits.argmax(1) == oof.labels).mean() > 0.9
    assert len(list(final.glob("fold*/model.safetensors"))) == 2
    check_submission(final / "submission.csv", contest / "data" / "sample_submission.csv", label_names=["ham", "spam"])
    assert (tmp_path / "s.csv").read_bytes() == (final / "submission.csv").read_bytes()
    given = dict(list(csv.reader((tmp_path / "s.csv").read_text().splitlines()))[1:])
    assert list(given) == order and sum(given[f"m{i}"] == rows[i][1] for i in range(12)) >= 11
    assert "| 1 | spam |" in (final / "report.md").read_text()
    assert re.search(r"^my_contest +my_contest/final +final +scratch +oof", table, re.MULTILINE)
    winner = yaml.safe_load((tmp_path / "runs/my_contest/search/final.yaml").read_text())
    assert winner["model_name_or_path"] == "bert-large-uncased" and winner["num_folds"] == 5
    assert float(winner["learning_rate"]) in (5e-6, 1e-5, 2e-5, 4e-5, 8e-5)


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


def test_a_copy_of_hand_signal_does_everything_on_folders_of_videos_with_a_label_per_clip(worker, tmp_path):
    contest = tmp_path / "my_videos"
    presets = {name: (ROOT / "hand_signal" / "configs" / name).read_text() for name in ("tune.yaml", "final.yaml")}
    search = {
        "preset": "tune.yaml",
        "coupled": {"learning_rate": [1e-3, 4e-3], "num_train_epochs": 2},
        "finalists": 1,
        "seeds": [1],
    }
    copy_task(
        "hand_signal",
        contest,
        {**presets, "search.yaml": yaml.safe_dump({**search, "final": {"preset": "final.yaml"}})},
    )
    source = (contest / "data.py").read_text(encoding="utf-8")
    (contest / "data.py").write_text(replace_names(source, code_of("my_videos/data.py")), encoding="utf-8")
    for number in range(12):
        direction = ("left", "right")[number % 2]
        write_clip(
            contest / "data" / "train" / direction / f"{number}.avi", images=moving_square(2 * (number % 2) - 1, number)
        )
    for number in range(4):
        write_clip(
            contest / "data" / "test" / f"{number}.avi", images=moving_square(2 * (number % 2) - 1, 100 + number)
        )
    sample = contest / "data" / "sample_submission.csv"
    write_csv(sample, ["id", "label"], [(f"{number}.avi", "left") for number in (2, 0, 3, 1)])

    small = ["--num_frames", "4", "--crop_size", "32", "--num_clips", "1", "--dataloader_num_workers", "0", *QUIET]
    tiny = ["--model_name_or_path", "slowfast_small", "--num_crops", "1", "--num_folds", "2", "--num_train_epochs", "2"]
    succeed(worker, tmp_path, "my_videos/train.py", *small, *tiny, "--gradient_accumulation_steps", "1")
    final = tmp_path / "runs" / "my_videos" / "final"
    test = ["--run_dir", final, "--test_file", contest / "data" / "test", "--sample_submission_file", sample]
    succeed(worker, tmp_path, "my_videos/predict.py", *test, "--submission_file", "s.csv", "--torch_num_threads", "1")
    succeed(
        worker,
        tmp_path,
        ROOT / "common" / "search.py",
        "my_videos",
        *small,
        "--num_train_epochs",
        "1",
        "--max_epochs",
        "1",
    )

    oof = Logits.load(final / "oof_logits.npz")
    assert oof.label_names == ["left", "right"]
    assert sorted(oof.ids.tolist()) == sorted(f"{('left', 'right')[number % 2]}/{number}.avi" for number in range(12))
    check_submission(final / "submission.csv", sample, label_names=["left", "right"])
    assert (tmp_path / "s.csv").read_bytes() == (final / "submission.csv").read_bytes()
    assert "| 1 | right |" in (final / "report.md").read_text()
    assert yaml.safe_load((tmp_path / "runs/my_videos/search/final.yaml").read_text())["num_folds"] == 5
    succeed(worker, tmp_path, ROOT / "common" / "report.py", "runs")
    assert re.search(r"^my_videos +my_videos/final +final +slowfast_small +oof", worker.printed, re.MULTILINE)


def test_a_copy_of_reon_face_does_everything_on_folders_of_images(worker, tmp_path):
    contest = tmp_path / "my_images"
    presets = {name: (ROOT / "reon_face" / "configs" / name).read_text() for name in ("tune.yaml", "final.yaml")}
    search = {
        "preset": "tune.yaml",
        "coupled": {"learning_rate": [1e-3, 4e-3], "num_train_epochs": 2},
        "finalists": 1,
        "seeds": [1],
    }
    copy_task(
        "reon_face", contest, {**presets, "search.yaml": yaml.safe_dump({**search, "final": {"preset": "final.yaml"}})}
    )
    source = (contest / "data.py").read_text(encoding="utf-8")
    (contest / "data.py").write_text(replace_names(source, code_of("my_images/data.py")), encoding="utf-8")
    for number in range(12):
        write_stripes(contest / "data" / "train" / ("across", "down")[number % 2] / f"{number}.png", number)
    for number in range(4):
        write_stripes(contest / "data" / "test" / f"{number}.png", 100 + number)
    sample = contest / "data" / "sample_submission.csv"
    write_csv(sample, ["image", "class"], [(f"{number}.png", "down") for number in (2, 0, 3, 1)])

    small = [
        "--model_name_or_path",
        "scratch",
        "--image_size",
        "32",
        "--dataloader_num_workers",
        "0",
        "--per_device_train_batch_size",
        "8",
        *QUIET,
    ]
    succeed(worker, tmp_path, "my_images/train.py", *small, "--num_folds", "2", "--num_train_epochs", "2")
    final = tmp_path / "runs" / "my_images" / "final"
    test = ["--run_dir", final, "--test_file", contest / "data" / "test", "--sample_submission_file", sample]
    succeed(worker, tmp_path, "my_images/predict.py", *test, "--submission_file", "s.csv", "--torch_num_threads", "1")
    succeed(
        worker,
        tmp_path,
        ROOT / "common" / "search.py",
        "my_images",
        *small,
        "--num_train_epochs",
        "1",
        "--max_epochs",
        "1",
    )

    oof = Logits.load(final / "oof_logits.npz")
    assert oof.label_names == ["across", "down"]
    assert sorted(oof.ids.tolist()) == sorted(f"{('across', 'down')[number % 2]}/{number}.png" for number in range(12))
    check_submission(final / "submission.csv", sample, label_names=["across", "down"])
    assert (tmp_path / "s.csv").read_bytes() == (final / "submission.csv").read_bytes()
    assert yaml.safe_load((tmp_path / "runs/my_images/search/final.yaml").read_text())["num_folds"] == 5
    succeed(worker, tmp_path, ROOT / "common" / "report.py", "runs")
    assert re.search(r"^my_images +my_images/final +final +scratch +oof", worker.printed, re.MULTILINE)


def write_stripes(path, number):
    """A grey image of 32 x 32 pixels with stripes across (even numbers) or down, noise on top."""
    waves = 128 + 100 * np.sin(np.arange(32))[:, None] + np.random.default_rng(number).normal(0, 10, (32, 32))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((waves.T if number % 2 else waves).clip(0, 255).astype(np.uint8)).save(path)
