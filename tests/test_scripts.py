"""The same block in sibling scripts is the same text, so that a fix in one folder cannot be forgotten in another."""

import pytest

from tests.scripts import ROOT

TASKS = ["friends", "nsmc"]  # the folders that train with the Trainer
# (script, where the block begins, where it ends: the beginning of the line after it, or None for the end of the file)
BLOCKS = {
    "train-imports-and-run": ("train.py", "    # torch and transformers are imported only now", "    # Read: "),
    "train-checks": ("train.py", "        for name, rows in examples.items():\n", "    # Split: "),
    "train-split": ("train.py", "    labels, groups = labels_of(", "        splits = [hold_out("),
    "train-folds-and-collect": ("train.py", "    seed = training_args.seed\n", None),
    "predict-imports-and-start": ("predict.py", "    # torch and transformers are imported only now", "                if rows is None:"),
    "predict-average-and-submission": ("predict.py", "    logits = average(parts, weights)", None),
}


def block(task, script, begin, end):
    text = (ROOT / task / script).read_text(encoding="utf-8")
    assert text.count(begin) == 1, f"{task}/{script}: {begin!r} occurs {text.count(begin)} times"
    found = begin + text.partition(begin)[2]
    assert end is None or found.count(end) == 1, f"{task}/{script}: {end!r} occurs {found.count(end)} times after {begin!r}"
    return found if end is None else found.partition(end)[0]


@pytest.mark.parametrize("place", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("task", TASKS[1:])
def test_the_block_is_the_same_in_every_task_folder(task, place):
    assert block(task, *place).splitlines() == block(TASKS[0], *place).splitlines()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("script", ["train.py", "predict.py"])
def test_the_docstring_is_commands_of_the_folders_own_scripts_and_presets(task, script):
    text = (ROOT / task / script).read_text(encoding="utf-8")
    commands = [line for line in text.split('"""')[1].splitlines() if line.startswith("accelerate launch ")]
    assert len(commands) >= 3
    for command in commands:
        assert command.split()[2] == f"{task}/{script}"
        for word in command.split():
            assert not word.endswith(".yaml") or (ROOT / word).exists()
