"""Tokenized rows are made once."""

import pytest

from common.files import write_json
from common.text import write_rows
from common.workers.rows import hand_on, rows_of_fold

ROWS = [{"id": "a", "input_ids": [1, 2]}, {"id": "b", "input_ids": [3]}]


def refuse():
    raise AssertionError("tokenized again")
    yield


def make_fold(folder, vocabulary="a b", max_length=64):
    folder.mkdir()
    (folder / "tokenizer.json").write_text(vocabulary)
    write_json(folder / "config.json", {"preprocessing": {"max_length": max_length}, "weights": folder.name})
    return folder


def test_folds_with_the_same_tokenizer_and_preprocessing_share_their_rows_and_others_do_not(tmp_path):
    first = rows_of_fold(tmp_path, make_fold(tmp_path / "first"))
    write_rows(ROWS, first)
    again = rows_of_fold(tmp_path, make_fold(tmp_path / "again"))
    assert again == first
    assert list(write_rows(refuse(), again)) == ROWS
    for number, other in enumerate([{"vocabulary": "a b c"}, {"max_length": 32}]):
        path = rows_of_fold(tmp_path, make_fold(tmp_path / f"other{number}", **other))
        assert path != first and not path.exists()


def test_a_process_of_the_run_reads_the_rows_that_are_handed_on_and_a_later_start_writes_its_own(tmp_path):
    write_rows(ROWS, tmp_path / "rows" / "train-0.arrow")
    hand_on(tmp_path / "rows", tmp_path / "fold0" / "rows")
    assert list(write_rows(refuse(), tmp_path / "fold0" / "rows" / "train-0.arrow")) == ROWS
    with pytest.raises(AssertionError, match="tokenized again"):
        write_rows(refuse(), tmp_path / "rows" / "train-0.arrow")
