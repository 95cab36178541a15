"""Every command line of every README, with the real parsers, as far as it goes without training.

Where all files that it names are there (empty ones, made here), a command must be accepted: options, presets, values.
Where they are not, its script must end with exit code 2 and one sentence. What would train, the demos on the bundled
samples, is run by tests/test_<task>_*.py; the copied folder's commands by tests/test_template.py.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser
from transformers import TrainingArguments

from common import search
from common.options.args import arguments_of, load_data_module, parse_train_args
from tests.tools.scripts import ROOT, Worker

PATTERNS = (
    "README*.md",
    "*/README.md",
    "*/sample/README.md",
    "tests/benchmarks/README.md",
    "tests/benchmarks/*/README.md",
)
READMES = [path for pattern in PATTERNS for path in sorted(ROOT.glob(pattern))]
RUN = ("cp", "rm", "mkdir", "sed")  # are simply run
PROGRAMS = ("accelerate", "python", "torchrun", "pip", "pytest", *RUN)
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:python|torchrun) [^`\n]+)`")
PRESET = re.compile(r"^```yaml\n# (\S+\.yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)  # a file that the reader writes
TASKS = ("friends", "nsmc", "klue_re", "reon_face", "hand_signal")
COPIES = {"my_contest": "friends", "my_videos": "hand_signal", "my_images": "reon_face"}
# the others begin with the name of the folder whose train.py they start
BENCHMARK_TASKS = {"kill_and_resume.py": "friends", "fold_memory.py": "nsmc"}
BENCHMARK_OPTIONS = {
    "kill_and_resume.py": ["--save_strategy", "steps", "--save_steps", "5"]
}  # that it gives train.py itself
FILES = ("--train_file", "--eval_file", "--test_file", "--sample_submission_file", "--ner_file", "--label_file")
# prints what a script's own parser leaves to train.py, and stops there
PARSE_ONLY = """
import argparse, json, runpy, sys
from unittest.mock import patch
known = argparse.ArgumentParser.parse_known_args
def parse_args(self):
    _, rest = known(self)
    if rest:
        self.error(f"unrecognized arguments: {rest}")
    sys.exit(print("[]"))
def parse_known_args(self):
    sys.exit(print(json.dumps(known(self)[1])))
sys.argv = sys.argv[1:]
sys.path[0] = sys.argv[0].rpartition("/")[0]
with patch.multiple(argparse.ArgumentParser, parse_args=parse_args, parse_known_args=parse_known_args):
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def commands():
    """(where, words) of the command lines of all READMEs; a block of code is one of commands if its first line is
    one."""
    for readme in READMES:
        text = readme.read_text(encoding="utf-8")
        blocks = [block for block in BLOCK.findall(text) if is_command(block.split())]
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()] + INLINE.findall(text)
        for line in lines:
            for command in line.split("&&"):
                words = shlex.split(command, comments=True)
                if words:
                    yield f"{readme.relative_to(ROOT)}: {' '.join(words)}", [word for word in words if word != "..."]


def is_command(words):
    return words and (words[0] in PROGRAMS or "=" in words[0] and is_command(words[1:]))


COMMANDS = dict(commands())


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """(a checkout with all files that the commands name, one without): copies, so that no data of this checkout is
    found."""
    folders = []
    for name in ("full", "bare"):
        folder = tmp_path_factory.mktemp(name)
        for task in TASKS:
            shutil.copytree(
                ROOT / task, folder / task, ignore=shutil.ignore_patterns("data", "file_*", "__pycache__", "web")
            )
        for entry in ("README.md", "requirements.txt", "tests"):
            (folder / entry).symlink_to(ROOT / entry)
        for words in dict.fromkeys(tuple(words) for words in COMMANDS.values() if words[0] in RUN):
            subprocess.run(words, cwd=folder, check=True)
        for path, text in [
            preset for readme in READMES for preset in PRESET.findall(readme.read_text(encoding="utf-8"))
        ]:
            (folder / path).write_text(text, encoding="utf-8")
        folders.append(folder)
    full = folders[0]
    for task in [*TASKS, *COPIES]:
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
    """train.py's arguments, once the files that argv names are there."""
    for option, value in options_of(argv):
        if option in FILES:
            (folder / value).parent.mkdir(parents=True, exist_ok=True)
            (folder / value).touch()
        if option == "--config" and "/configs/" not in value:  # made by an earlier command
            (folder / value).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / task / "configs" / "final.yaml", folder / value)
    data = load_data_module(folder / task)
    return parse_train_args(arguments_of(data), folder / task, data.COMPETITION_FILES, "", argv)


def options_of(argv):
    return zip(argv, argv[1:], strict=False)


def is_demo(folder, task, argv):
    """Whether train.py finds all that it needs in the task folder."""
    config = dict(options_of(argv)).get("--config", f"{task}/configs/demo.yaml")
    return config.endswith("/demo.yaml") and (folder / config).exists() and "--train_file" not in argv


def assert_one_sentence(code, errors):
    """Exit code 2, and last a sentence that is not about the command line."""
    last = errors.strip().splitlines()[-1]
    assert code == 2 and last.startswith("error: ") and "command line" not in last and "Traceback" not in errors, errors


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_command_is_accepted_and_says_in_one_sentence_what_it_lacks(words, places, worker, monkeypatch):
    full, bare = places
    if words[0] in RUN:  # by `places`
        return
    if words[0] in ("pip", "pytest") or words[1:3] == ["-m", "pytest"]:
        assert all((full / word).exists() for word in words if "." in word), words
        return
    if words == ["accelerate", "config"]:
        return
    script, argv = script_of(words)
    task, _, name = script.rpartition("/")
    monkeypatch.chdir(full)
    if name == "train.py":
        parse_train(full, task, argv)
        if not is_demo(bare, task, argv):
            assert_one_sentence(*worker.run(bare, bare / script, *argv))
    elif name == "predict.py" or task in TASKS:
        assert_one_sentence(*worker.run(bare, bare / script, *argv))
    elif task == "tests/benchmarks":
        (full / "parse_only.py").write_text(PARSE_ONLY)
        code, errors = worker.run(full, full / "parse_only.py", full / script, *argv)
        assert code == 0, errors
        if rest := [word for word in json.loads(worker.printed) if word != "--"]:
            task = BENCHMARK_TASKS.get(name) or next(task for task in TASKS if name.startswith(task))
            parse_train(full, task, [*BENCHMARK_OPTIONS.get(name, []), *rest])
    elif script.startswith("common."):
        if script == "common.search" and "--recommend" not in argv:  # that reads the data
            parse_train(full, argv[0], [word for pair in options_of(argv) if pair[0] in FILES for word in pair])
            monkeypatch.setattr(sys, "argv", ["search", *argv])
            monkeypatch.setattr(search, "search", lambda *args: None)  # what comes after all checks
            search.main()
        assert script != "common.offline" or Path(argv[0]).exists()
        assert_one_sentence(*worker.run(bare, ROOT / f"{script.replace('.', '/')}.py", *argv))
    else:
        assert (ROOT / f"{script.replace('.', '/')}.py").is_file() and not argv


@pytest.mark.parametrize("copy", COPIES)
def test_the_commands_at_the_top_of_a_copy_name_the_copy(copy, places):
    for script in ("train.py", "predict.py"):
        source = (places[0] / copy / script).read_text(encoding="utf-8")
        assert f"accelerate launch {copy}/{script}" in source and COPIES[copy] not in source


def test_the_table_of_options_says_which_folders_have_them():
    table = (
        (ROOT / "README.md").read_text(encoding="utf-8").partition("### Options of training\n")[2].partition("\n##")[0]
    )
    words = {"all": TASKS, "texts": TASKS[:3], "all but hand_signal": TASKS[:4]}
    read = re.search(r'READ = """(.*?)"""', (ROOT / "hand_signal" / "train.py").read_text(encoding="utf-8"), re.DOTALL)[
        1
    ].split()
    names_of = {task: {item.name for item in fields(arguments_of(load_data_module(ROOT / task)))} for task in TASKS}
    for task in TASKS:
        names_of[task] |= set(read) if task == "hand_signal" else {item.name for item in fields(TrainingArguments)}
    rows = re.findall(r"^\| (`.*) \|.*\| ([\w ]+) \|$", table, re.MULTILINE)
    assert len(rows) > 10
    for options, folders in rows:
        for name in re.findall(r"`--(\w+)", options):
            assert [task for task in TASKS if name in names_of[task]] == list(words[folders]), name


def test_the_korean_readme_has_the_code_commands_links_and_numbers_of_the_english_one():
    english, korean = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))
    code = [
        [re.sub(r" *#.*", "", block) for block in BLOCK.findall(text) if is_code(block)] for text in (english, korean)
    ]
    assert code[0] == code[1] and len(code[0]) > 10
    assert len(BLOCK.findall(english)) == len(BLOCK.findall(korean))
    for what in (r"^#+ ", r"^\|", r"^\* "):  # headings, rows of tables, items
        assert len(re.findall(what, english, re.MULTILINE)) == len(re.findall(what, korean, re.MULTILINE)), what
    tables = [[line.split("|") for line in text.splitlines() if line.startswith("|")] for text in (english, korean)]
    for row, other in zip(*tables, strict=True):
        assert [re.findall(r"\d+\.\d+|`[^`]+`", cell) for cell in row] == [
            re.findall(r"\d+\.\d+|`[^`]+`", cell) for cell in other
        ]


def is_code(block):
    """Commands, Python or YAML; not a list of files, whose words are translated."""
    return is_command(block.split()) or block.startswith("# my_")
