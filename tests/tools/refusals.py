"""Refusals of a train.py whose outcome is one sentence, in the process of the tests: what it does before a model is loaded."""

from types import ModuleType

import pytest

from common.console import InputError
from common.examples import read_files
from common.folds import make_splits
from common.options import parse_train_args
from tests.tools.scripts import ROOT, snapshot


def read_and_split(data: ModuleType, task: str, argv: list[str]) -> None:
    """The first steps of a text task's main(): options, Read, Split. data: its data.py."""
    args, _ = parse_train_args(data.TaskArguments, ROOT / task, data.COMPETITION_FILES, "", argv)
    preprocessing = data.make_preprocessing(args)
    examples = read_files(args, lambda path: data.read_examples(path, preprocessing))
    data.SUBMISSION.expect(args, examples.get("test"), data.LABEL_NAMES)
    make_splits(examples, data.LABEL_NAMES, args)


def assert_refused_here(run, folder, monkeypatch, fragments) -> None:
    """run() in `folder` raises an InputError of one short sentence that holds the fragments, and writes nothing."""
    monkeypatch.chdir(folder)
    before = snapshot(folder)
    with pytest.raises(InputError) as refused:
        run()
    sentence = " ".join(str(refused.value).splitlines())
    assert 0 < len(sentence) < 2500
    for fragment in fragments:
        assert fragment in sentence
    assert snapshot(folder) == before
