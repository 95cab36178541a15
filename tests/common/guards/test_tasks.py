"""Runs that another folder made."""

from common.files import write_json
from common.guards.tasks import note_other_tasks, note_repeated


def test_a_run_of_another_folder_is_said_and_an_own_one_or_an_unknown_one_not(tmp_path, capsys):
    for name, record in (("a", {"task": "own"}), ("b", {"task": "other"}), ("c", {})):
        write_json(tmp_path / name / "run.json", record)
    note_other_tasks([tmp_path / name for name in "abcd"], tmp_path / "own")
    assert capsys.readouterr().out == f"{tmp_path}/b: is a run of other, its rows are read by data.py of own\n"


def test_a_run_that_is_named_twice_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    note_repeated(["run", "other", "./run"])
    assert capsys.readouterr().out == "./run: is given twice and counts twice in the average\n"
