"""A journal that a kill or a disk has damaged."""

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from common.console import InputError
from common.search.journal import mend_journal


@pytest.fixture
def journal(tmp_path):
    """A journal of two finished trials."""
    path = tmp_path / "journal.log"
    study = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(path))), study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    return path


def trials(path):
    return optuna.load_study(storage=JournalStorage(JournalFileBackend(str(path))), study_name="s").trials


def test_a_whole_journal_is_left_as_it_is_and_one_that_is_not_there_is_not_made(journal, tmp_path, capsys):
    before = journal.read_bytes()
    mend_journal(journal)
    mend_journal(tmp_path / "none.log")
    assert journal.read_bytes() == before and not (tmp_path / "none.log").exists() and not capsys.readouterr().out


@pytest.mark.parametrize("cut", [1, 2, 20])
def test_a_torn_last_line_is_cut_off_and_said_and_the_rest_is_read(journal, capsys, cut):
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-cut])
    mend_journal(journal)
    assert journal.read_bytes() == whole[: whole.rstrip(b"\n").rindex(b"\n") + 1]
    assert "half written and is cut off" in capsys.readouterr().out
    assert len(trials(journal)) == 2


@pytest.mark.parametrize("line", [b"{", b"\0\0\n", b"[1]\n", b'{"op": 1}\n'])
def test_damage_in_the_middle_is_one_sentence_that_names_the_line(journal, line):
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = line
    journal.write_bytes(b"".join(lines))
    before = journal.read_bytes()
    with pytest.raises(InputError, match="journal.log, row 3: is damaged"):
        mend_journal(journal)
    assert journal.read_bytes() == before
