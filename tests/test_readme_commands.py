"""Every command line of every README, with the real parsers, as far as it goes without training.

Where all files that it names are there (empty ones, made here), a command must be accepted: options, presets, values. Where they are not,
its script must end with exit code 2 and one sentence. What would train, the demos on the bundled samples, is run by tests/test_<task>_*.py;
the copied folder's commands by tests/test_template.py.
"""

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser

from common import search
from common.args import parse_predict_args, parse_train_args
from common.errors import run_main
from common.search_space import arguments_of, load_data_module
from tests.scripts import ROOT, Worker

READMES = [path for pattern in ("README*.md", "*/README.md", "*/sample/README.md", "tests/benchmarks/*/README.md") for path in sorted(ROOT.glob(pattern))]
PROGRAMS = ("accelerate", "python", "torchrun", "pip", "pytest", "cp", "rm", "mkdir", "sed")
FENCE = re.compile(r"^```(?:bash)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:python|torchrun) [^`\n]+)`")
TASKS = ("friends", "nsmc", "klue_re", "hand_signal")
BENCHMARK_TASKS = {"kill_and_resume": "friends"}  # the others begin with the name of the folder whose train.py they start
# prints what a script's own parser leaves to train.py, and stops there
PARSE_ONLY = """
import argparse, json, runpy, sys
known = argparse.ArgumentParser.parse_known_args
def parse(strict):
    def parse(self):
        _, rest = known(self)
        if strict and rest:
            self.error(f"unrecognized arguments: {rest}")
        print(json.dumps(rest))
        sys.exit(0)
    return parse
argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args = parse(True), parse(False)
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def commands():
    """(where, words) of the command lines of all READMEs; a block of code is one of commands if its first line is one."""
    for readme in READMES:
        text = readme.read_text(encoding="utf-8")
        blocks = [block for block in FENCE.findall(text) if is_command(block.split())]
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()] + INLINE.findall(text)
        for line in lines:
            for command in line.split("&&"):
                words = shlex.split(command, comments=True)
                if words:
                    yield f"{readme.relative_to(ROOT)}: {command.strip()[:100]}", [word for word in words if word != "..."]


def is_command(words):
    return words and (words[0] in PROGRAMS or "=" in words[0] and is_command(words[1:]))


COMMANDS = dict(commands())


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """(a checkout with all files that the commands name, one without): copies, so that no data of this checkout is found."""
    folders = []
    for name in ("full", "bare"):
        folder = tmp_path_factory.mktemp(name)
        for task in TASKS:
            shutil.copytree(ROOT / task, folder / task, ignore=shutil.ignore_patterns("data", "file_*", "__pycache__"))
        for entry in ("README.md", "requirements.txt", "tests"):
            (folder / entry).symlink_to(ROOT / entry)
        for words in COMMANDS.values():
            if words[0] in ("cp", "rm", "mkdir", "sed"):
                subprocess.run(words, cwd=folder, check=True)
        folders.append(folder)
    full = folders[0]
    for task in [*TASKS, "my_contest"]:
        (full / task / "data").mkdir(exist_ok=True)
        for name in load_data_module(full / task).COMPETITION_FILES.values():
            (full / task / "data" / name).touch()
    return folders


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    worker = Worker(Path("/"), tmp_path_factory.mktemp("worker"))
    yield worker
    worker.close()


def script_of(words):
    """(script or module, its arguments) behind a launcher; the launcher's own options go through its own parser."""
    while "=" in words[0]:
        words = words[1:]
    if words[:2] == ["accelerate", "launch"]:
        launcher = launch_command_parser().parse_args(words[2:])
        return launcher.training_script, launcher.training_script_args
    if words[0] == "torchrun":
        launcher = get_args_parser().parse_args(words[1:])
        return launcher.training_script, launcher.training_script_args
    assert words[0] == "python", words
    return (words[2], words[3:]) if words[1] == "-m" else (words[1], words[2:])


def parse_train(folder, task, argv):
    """train.py's arguments, once the data files that argv names are there."""
    for option, value in zip(argv, argv[1:], strict=False):
        if option in ("--train_file", "--eval_file", "--test_file", "--sample_submission_file", "--ner_file", "--label_file"):
            (folder / value).parent.mkdir(parents=True, exist_ok=True)
            (folder / value).touch()
    data = load_data_module(folder / task)
    return parse_train_args(arguments_of(data), folder / task, data.COMPETITION_FILES, "", argv)


def assert_one_sentence(code, errors):
    assert code == 2, errors
    lines = errors.strip().splitlines()
    assert lines[-1].startswith("error: ") and "command line" not in lines[-1] and "Traceback" not in errors, errors


def run_module(module, argv, monkeypatch, capsys):
    """Exit code and stderr of `python -m module argv`."""
    monkeypatch.setattr(sys, "argv", [module, *argv])
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=False)
    except SystemExit as end:
        return end.code, capsys.readouterr().err
    return 0, capsys.readouterr().err


def check(words, places, worker, monkeypatch, capsys):
    full, bare = places
    monkeypatch.chdir(full)
    if words[0] in ("cp", "rm", "mkdir", "sed"):
        return  # `places` has run it
    if words[0] in ("pip", "pytest"):
        assert all((full / word).exists() for word in words if word.endswith((".txt", ".py", "tests"))), words
        return
    if words == ["accelerate", "config"]:
        return
    script, argv = script_of(words)
    folder, _, name = script.rpartition("/")
    if name == "train.py":
        parse_train(full, folder, argv)
        monkeypatch.chdir(bare)
        config = argv[argv.index("--config") + 1] if "--config" in argv else f"{folder}/configs/demo.yaml"
        if not (config.endswith("/demo.yaml") and (bare / config).exists()) or "--train_file" in argv:
            assert_one_sentence(*worker.run(bare, bare / script, *argv))
    elif name == "predict.py":
        parser_of = {"friends": "TextPredictArguments", "nsmc": "TextPredictArguments", "my_contest": "TextPredictArguments"}
        assert folder in (*TASKS, *parser_of)
        assert_one_sentence(*worker.run(bare, bare / script, *argv))
    elif script.startswith("tests/benchmarks/"):
        (full / "parse_only.py").write_text(PARSE_ONLY)
        code, errors = worker.run(full, full / "parse_only.py", full / script, *argv)
        assert code == 0, errors
        rest = [word for word in json.loads(worker.printed) if word != "--"]
        task = next((task for task in TASKS if name.startswith(task)), BENCHMARK_TASKS.get(name.removesuffix(".py")))
        assert not rest or task
        if rest:
            parse_train(full, task, rest)
    elif script == "common.search":
        if "--recommend" not in argv:
            monkeypatch.setattr(search, "search", lambda args, space, defaults, options: None)
            parse_train(full, argv[0], [])
            for option, value in zip(argv, argv[1:], strict=False):
                if option in ("--train_file", "--eval_file"):
                    (full / value).touch()
            monkeypatch.setattr(sys, "argv", ["search", *argv])
            search.main()
        monkeypatch.chdir(bare)
        assert_one_sentence(*run_module(script, argv, monkeypatch, capsys))
    elif script.startswith("common."):
        monkeypatch.chdir(bare)
        assert_one_sentence(*run_module(script, argv, monkeypatch, capsys))
    else:
        assert (ROOT / (script.replace(".", "/") + ".py")).is_file() and not argv, words
