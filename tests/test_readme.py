"""Every command line of every README, of docs/ and its notebooks and of the scripts' docstrings, with the real parsers,
as far as it goes without training.

Where all files that it names are there (empty ones, made here), a command must be accepted: options, presets, values.
Where they are not, its script must end with exit code 2 and one sentence. What would train, the demos on the bundled
samples, is run by tests/test_<task>_*.py; the copied folder's commands by tests/test_template.py.
"""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import nbformat
import pytest
import torch
from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser
from transformers import TrainingArguments

import common.search.__main__ as search
from common.guards.options import refusal
from common.options.args import parse_train_args
from common.options.task_module import arguments_of, load_data_module
from tests.tools.scripts import ROOT, Worker

PATTERNS = (
    "README.md",  # README.ko.md has the same commands, below
    "docs/*.md",
    "docs/notebooks/*.ipynb",
    "docs/studies/*.md",
    "*/README.md",
    "*/sample/README.md",
    "tests/benchmarks/README.md",
    "tests/benchmarks/*/README.md",
)
READMES = [path for pattern in PATTERNS for path in sorted(ROOT.glob(pattern))]
RUN = ("cp", "rm", "mkdir")  # are simply run
PROGRAMS = ("accelerate", "python", "torchrun", "pip", "pytest", *RUN)
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:python|torchrun|accelerate launch \w+/\w+\.py) [^`\n]+)`")
PRESET = re.compile(r"^```yaml\n# (\S+\.yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)  # a file that the reader writes
SHELL = re.compile(r"^ *(?:!|%(?=pip ))(.*)$", re.MULTILINE)  # a notebook's line that is a command
LINK = re.compile(r"\]\(([^)\s]+)\)")
# of the table of results in a folder's README
COLUMNS = ("the original team", "here", "model", "trained on", "measured on", "minutes", "command")
CELLS = re.compile(r"(?<=\|)([^|]*)(?=\|)")  # of a row of a table
NUMBER = re.compile(r"\d+\.\d+|`[^`]+`")
TASKS = ("friends", "nsmc", "klue_re", "reon_face", "hand_signal")
COPIES = {"my_contest": "friends", "my_videos": "hand_signal", "my_images": "reon_face"}
# the others begin with the name of the folder whose train.py they start
BENCHMARK_TASKS = {"kill_and_resume.py": "friends", "unlabelled.py": "friends", "fold_memory.py": "nsmc"}
BENCHMARK_OPTIONS = {
    "kill_and_resume.py": ["--save_strategy", "steps", "--save_steps", "5"]
}  # that it gives train.py itself
FILES = (
    "--train_file",
    "--pose_file",
    "--eval_file",
    "--test_file",
    "--sample_submission_file",
    "--ner_file",
    "--label_file",
    "--pseudo_file",
)
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


def text_of(path):
    """The text of a page; of a notebook its text, and each command of its code as a block."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    parts = []
    for cell in nbformat.read(path, as_version=4).cells:
        commands = SHELL.findall(cell.source.replace("\\\n", " ")) if cell.cell_type == "code" else []
        parts += [f"```\n{command}\n```" for command in commands] or [cell.source] * (cell.cell_type == "markdown")
    return "\n".join(parts)


def commands():
    """(where, words) of the command lines of all READMES and pages; a block of code is one of commands if its first line is
    one."""
    for readme in READMES:
        text = text_of(readme)
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
        for readme in READMES:
            for path, text in PRESET.findall(text_of(readme)):
                (folder / path).write_text(text, encoding="utf-8")
        folders.append(folder)
    full = folders[0]
    for task in [*TASKS, *COPIES]:
        (full / task / "data").mkdir(exist_ok=True)
        for name in load_data_module(full / task).COMPETITION_FILES.values():
            (full / task / "data" / name).touch()
    return folders


@pytest.fixture(scope="module")
def worker():
    return Worker(Path("/"))


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
    if not torch.accelerator.is_available():  # where fp16 is refused
        argv = [word for word in argv if word != "--fp16"]
    data = load_data_module(folder / task)
    return parse_train_args(arguments_of(data), folder / task, data.COMPETITION_FILES, "", argv)


def file_of(module):
    """What `python -m module` runs."""
    path = ROOT / module.replace(".", "/")
    return path / "__main__.py" if path.is_dir() else path.with_suffix(".py")


def options_of(argv):
    return zip(argv, argv[1:], strict=False)


def is_demo(folder, task, argv):
    """Whether train.py finds all that it needs in the task folder."""
    config = dict(options_of(argv)).get("--config", f"{task}/configs/demo.yaml")
    return config.endswith("demo.yaml") and (folder / config).exists() and "--train_file" not in argv


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
    elif task in ("tests/benchmarks", "tests/tools") or name == "draw.py":
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
            monkeypatch.setattr(search, "run_stages", lambda *args: None)  # what comes after all checks
            search.main()
        assert script != "common.offline" or Path(argv[0]).exists()
        if script == "common.download":  # the rest would reach for a network
            code, errors = worker.run(bare, file_of(script), *argv, "--list")
            assert code == 0, errors
            return
        if script == "common.doctor":  # bad input would be 2; what it measures, its own tests do
            code, errors = worker.run(bare, file_of(script), *[word for word in argv if word != "--measure"])
            assert code in (0, 1), errors
            return
        code, errors = worker.run(bare, file_of(script), *argv)
        if script != "common.memory" or code != 0:  # which knows the sizes of some models, and needs no file then
            assert_one_sentence(code, errors)
    else:
        assert file_of(script).is_file()
        assert not argv


@pytest.mark.parametrize("task", TASKS)
def test_no_script_or_preset_names_its_folder_so_that_a_copy_needs_no_edits(task):
    for path in [*(ROOT / task).rglob("*.py"), *(ROOT / task).rglob("*.yaml")]:
        if not {"node_modules", "data"} & {*path.relative_to(ROOT).parts}:
            assert not re.search(rf"(?<!tests/)\b{task}\b", path.read_text(encoding="utf-8")), path.relative_to(ROOT)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("script", ["train.py", "predict.py"])
def test_the_docstring_is_commands_of_the_folders_own_scripts_and_presets(task, script):
    text = ast.get_docstring(ast.parse((ROOT / task / script).read_text(encoding="utf-8")))
    lines = [line.replace("{task}", task) for line in text.splitlines() if line.startswith("accelerate launch ")]
    assert len(lines) >= 3
    for line in lines:
        found, argv = script_of(shlex.split(line, comments=True))
        assert found == f"{task}/{script}"
        for word in argv:
            assert not word.endswith(".yaml") or (ROOT / word).exists()


def test_the_table_of_options_says_which_folders_have_them():
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    table = page.partition("## Options of training\n")[2].partition("\n##")[0]
    words = {"all": TASKS, "texts": TASKS[:3], "all but hand_signal": TASKS[:4]}
    names_of = {}
    for task in TASKS:
        data = load_data_module(ROOT / task)
        loop = arguments_of(data).LOOP
        of_trainer = [item.name for item in fields(TrainingArguments) if refusal(item.name, loop) is None]
        names_of[task] = {*(item.name for item in fields(arguments_of(data))), *of_trainer}
    rows = re.findall(r"^\| (`.*) \|.*\| ([\w ]+) \|$", table, re.MULTILINE)
    assert len(rows) > 10
    for options, folders in rows:
        for name in re.findall(r"`--(\w+)", options):
            assert [task for task in TASKS if name in names_of[task]] == list(words[folders]), name


def test_the_korean_readme_has_the_code_commands_links_and_numbers_of_the_english_one():
    english, korean = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))
    code = [
        [re.sub(r" *#.*", "", block) for block in BLOCK.findall(text) if is_command(block.split())]
        for text in (english, korean)
    ]
    assert code[0] == code[1]
    assert len(code[0]) == 3
    assert len(BLOCK.findall(english)) == len(BLOCK.findall(korean))
    assert LINK.findall(english)[1:] == LINK.findall(korean)[1:]  # the first is that to the other language
    for what in (r"^#+ ", r"^\|", r"^\* "):  # headings, rows of tables, items
        assert len(re.findall(what, english, re.MULTILINE)) == len(re.findall(what, korean, re.MULTILINE)), what
    tables = [[line.split("|") for line in text.splitlines() if line.startswith("|")] for text in (english, korean)]
    for row, other in zip(*tables, strict=True):
        assert [NUMBER.findall(cell) for cell in row] == [NUMBER.findall(cell) for cell in other]


def results_of(task):
    """(rows of the table of results, their cells by the names of the columns; number -> command) of a folder's README."""
    text = (ROOT / task / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Results\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    names, _, *rows = [[cell.strip() for cell in CELLS.findall(line)] for line in table]
    numbered = {}
    for block in BLOCK.findall(section):
        for line in block.replace("\\\n", " ").splitlines():
            command, number = re.fullmatch(r"(.*?) *# (\d+)\b.*", line).groups()
            assert number not in numbered, line
            numbered[number] = " ".join(command.split())
    return [dict(zip(names, row, strict=True)) for row in rows], numbered


@pytest.mark.parametrize("task", TASKS)
def test_a_folders_readme_is_short_and_every_number_has_its_command(task):
    lines = (ROOT / task / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    headings = [line[3:] for line in lines if line.startswith("## ")]
    assert headings[:2] == ["Data", "Presets and commands"]
    assert headings[-3:] == ["Results", "The original team", "What was not run"]
    rows, numbered = results_of(task)
    for row in rows:
        assert {*COLUMNS} <= row.keys()
        assert re.search(r"\d", row["here"]) and row["model"] and row["minutes"], row
    assert {row["command"] for row in rows} == numbered.keys()


def test_the_readme_has_a_row_a_competition_with_a_command_of_its_folder():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [CELLS.findall(line) for line in lines if re.match(r"\| \[\w+\]\(\w+/README\.md#results\)", line)]
    assert sorted(re.findall(r"\w+", row[0])[0] for row in rows) == sorted(TASKS)
    for row in rows:
        task = re.findall(r"\w+", row[0])[0]
        assert row[-1].strip("` ") in results_of(task)[1].values()


def test_the_readmes_way_to_a_new_competition_is_that_of_its_page():
    page = (ROOT / "docs" / "new_competition.md").read_text(encoding="utf-8")
    (way,) = [block for block in BLOCK.findall((ROOT / "README.md").read_text("utf-8")) if "my_contest" in block]
    assert len(way.splitlines()) == 6
    for line in way.splitlines():
        assert line.partition("#")[0].strip() in page


@pytest.mark.parametrize("readme", READMES, ids=[str(path.relative_to(ROOT)) for path in READMES])
def test_every_link_leads_to_a_file_and_a_heading(readme):
    for target in LINK.findall(BLOCK.sub("", text_of(readme))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (readme.parent / path) if path else readme
        assert file.exists(), target
        headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", file.read_text("utf-8")), re.MULTILINE) if anchor else []
        assert not anchor or anchor in map(anchor_of, headings), target


def anchor_of(heading):
    """How GitHub names a heading in a link."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_the_page_of_files_has_every_module_and_no_other():
    page = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    for section in page.split("\n## ")[1:]:
        folder, _, text = section.partition("\n")
        known = {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob("*.py")}
        known = {path for path in known if not path.endswith("__init__.py") and not path.startswith("data/")}
        first_cells = " ".join(re.findall(r"^\| (.*?) \|", text, re.MULTILINE))
        assert set(re.findall(r"[\w/]+\.py\b", first_cells)) == known, folder
    assert set(re.findall(r"^## (\w+)", page, re.MULTILINE)) == {*TASKS, "common"}
