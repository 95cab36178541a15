"""Weights of an earlier run that have seen what is held out here."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from datasets import Dataset

from common.examples import TextExample
from common.guards.seen import note_copies, note_seen
from common.logits import Logits

IDS = [f"r{number}" for number in range(8)]
ROWS = [SimpleNamespace(id=row_id) for row_id in IDS]


def write_run(folder, held_out, **config):
    """A run whose folds held out these rows; None: a fold that held out none."""
    for fold, ids in enumerate(held_out):
        (folder / f"fold{fold}").mkdir(parents=True)
        (folder / f"fold{fold}" / "fold.json").write_text("{}")
        if ids is not None:
            logits = Logits(np.array(ids), np.zeros((len(ids), 2)), np.zeros(len(ids), int), ["a", "b"])
            logits.save(folder / f"fold{fold}" / "held_out_logits.npz")
    (folder / "config.yaml").write_text(yaml.safe_dump({"train_file": "t", **config}))
    return folder


def seen(source, *held_out, train_file="t", rows=ROWS):
    """(fold, rows that were seen) of each fold that holds these out."""
    notes = []
    splits = [(np.arange(0), None if held is None else np.array([IDS.index(i) for i in held])) for held in held_out]
    note_seen(SimpleNamespace(config={"train_file": train_file}, note=notes.append), source, splits, rows)
    return [tuple(map(int, re.search(r"fold (\d): .* was trained on (\d+) of", note).groups())) for note in notes]


def test_a_fold_that_begins_with_the_same_fold_of_a_run_has_seen_what_the_others_held_out(tmp_path):
    run = str(write_run(tmp_path / "run", [IDS[:4], IDS[4:]]))
    assert seen(run, IDS[:4], IDS[4:]) == []
    assert seen(run, IDS[2:6], IDS[6:] + IDS[:2]) == [(0, 2), (1, 2)]
    assert seen(run, None) == []  # an eval_file is measured
    assert seen(run, IDS[2:6], IDS[6:], rows=Dataset.from_dict({"id": IDS})) == [(0, 2)]


@pytest.mark.parametrize("what", ["fold0", "fold0/model.safetensors"])
def test_one_folds_weights_in_all_folds_have_seen_all_rows_but_its_own(tmp_path, what):
    run = write_run(tmp_path / "run", [IDS[:4], IDS[4:]])
    (run / "fold0" / "model.safetensors").touch()
    assert seen(str(run / what), IDS[:4], IDS[4:]) == [(1, 4)]


def test_a_run_without_folds_has_seen_its_training_file_but_for_what_it_held_back(tmp_path):
    held_back = write_run(tmp_path / "one", [IDS[:2]])
    assert seen(str(held_back), IDS[:2]) == [] and seen(str(held_back / "fold0"), IDS[1:3]) == [(0, 1)]
    assert seen(str(write_run(tmp_path / "two", [None])), IDS[:2]) == [(0, 2)]  # it was measured on an eval_file
    assert seen(str(held_back), IDS[2:4], train_file="another") == []
    assert seen(str(write_run(tmp_path / "part", [None], max_train_samples=3)), IDS[:2]) == []  # not known which


def test_texts_of_eval_file_that_read_as_training_rows_are_counted(capsys):
    def rows(*texts):
        return [TextExample(str(number), [text]) for number, text in enumerate(texts)]

    note_copies({"train": rows("a b", "c", "d"), "eval": rows("A  b", "new", "c")})
    assert "eval_file: 2 of 3 rows read as a row of train_file does" in capsys.readouterr().out
    note_copies({"train": rows("a b"), "eval": rows("x", "new")})
    note_copies({"train": rows("a b")})
    assert capsys.readouterr().out == ""


def test_other_models_say_nothing_of_rows(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for source in (None, "hub", "efficientnet_b0", str(tmp_path), str(tmp_path / "config.json")):
        assert seen(source, IDS[:4]) == []
