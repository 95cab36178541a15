import re
import sys

import pytest
import yaml

import common.report.__main__ as report
from common.console import InputError
from common.files import write_json

METRICS = {"accuracy": 0.5, "standard_error": 0.025, "majority_share": 0.25, "macro_f1": 0.25, "log_loss": 1.5}


def make_run(folder, metrics=None, folds=1, done=1, task="friends"):
    record = {"task": task, "preset": "tune", "commit": "0123456789", "seconds": {"total": 3723.4}}
    for k in range(done):
        write_json(folder / f"fold{k}" / "fold.json", {})
    write_json(folder / "run.json", record)
    (folder / "config.yaml").write_text(yaml.safe_dump({"model_name_or_path": "models/mini<lm>", "num_folds": folds}))
    if metrics:
        write_json(folder / "metrics.json", metrics)
        (folder / "plots").mkdir()
        (folder / "plots" / "folds.png").write_bytes(b"\x89PNG")
    return folder


def call(monkeypatch, capsys, folder):
    monkeypatch.setattr(sys, "argv", ["report", str(folder)])
    report.main()
    return capsys.readouterr().out.splitlines()


def test_each_run_is_a_row_with_its_metric_and_the_page_holds_its_plots(tmp_path, monkeypatch, capsys):
    make_run(tmp_path / "friends" / "tune", {"oof": METRICS, "eval": {**METRICS, "accuracy": 0.9}})
    make_run(tmp_path / "friends" / "half", folds=5, done=2)
    make_run(tmp_path / "friends" / "search" / "trials" / "coupled-0", {"eval": METRICS})
    write_json(tmp_path / "friends" / "search" / "search.json", {})
    alone = make_run(tmp_path / "nsmc" / "one_fold", folds=3, done=0, task="nsmc")
    (alone / "fold1").mkdir()
    for name in ("run.json", "config.yaml"):  # where --fold 1 leaves them
        (alone / name).rename(alone / "fold1" / name)
    broken = make_run(tmp_path / "nsmc" / "broken", {"eval": METRICS})
    (broken / "run.json").write_text("{")

    header, *rows, last = call(monkeypatch, capsys, tmp_path)
    rows = {row[1]: row for row in (re.split(r"  +", line.strip()) for line in rows)}
    assert re.split(r"  +", header) == list(report.COLUMNS)
    assert rows["friends/tune"] == [
        *(
            "friends",
            "friends/tune",
            "tune",
            "mini<lm>",
            "oof",
            "0.5000 ± 0.0250",
            "0.2500",
            "1.5000",
            "1:02:03",
            "0123456",
            "done",
        )
    ]
    assert rows["friends/half"][-1] == "2 of 5 folds" and rows["nsmc/one_fold"][-1] == "0 of 3 folds"
    assert rows["unreadable"] == ["nsmc/broken", "unreadable"] and last.endswith("4 runs")
    page = (tmp_path / "index.html").read_text()
    assert page.count("data:image/png;base64,iVBORw==") == 2  # of tune and of the run whose run.json is damaged
    assert "mini&lt;lm&gt;" in page and "mini<lm>" not in page and "unreadable" in page


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_without_runs_is_refused(tmp_path, monkeypatch, capsys, name):
    with pytest.raises(InputError, match="is not a folder|holds no run"):
        call(monkeypatch, capsys, tmp_path / name)
