"""common.search on a real task folder: kills, two workers, what it leaves behind, and what it refuses."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

import common.search.__main__ as search
import common.search.runs as runs_module
import common.search.space as space_module
from common.console import InputError
from common.files import write_json
from common.search.casual import Prior
from common.search.space import check_options, read_space
from common.search.trials import Search
from common.targets import Classes, Metric
from common.targets.registry import METRICS
from tests.tools.decoders import make_decoder
from tests.tools.scripts import ENVIRONMENT, ROOT

SPACE = {
    "preset": str(ROOT / "nsmc" / "configs" / "demo.yaml"),
    "independent": {"weight_decay": [0.01, 0.1]},
    "coupled": {"learning_rate": ["2e-4", "1e-3", 4e-3], "num_train_epochs": 3},
    "coupled_options": {"ema_decay": 0.5},
    "finalists": 1,
    "seeds": [1],
    "final": {"preset": str(ROOT / "nsmc" / "configs" / "final.yaml"), "learning_rate_scale": 0.5},
}
OPTIONS = ["--max_train_samples", "96", "--num_train_epochs", "1", "--num_folds", "1", "--torch_num_threads", "1"]


def write_space(folder, **changes):
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump({**SPACE, **changes}))
    return path


def start(folder, *options):
    command = [
        sys.executable,
        "-m",
        "common.search",
        ROOT / "nsmc",
        "--config",
        folder / "space.yaml",
        "--output_dir",
        folder / "out",
    ]
    command = [str(word) for word in [*command, *OPTIONS, *options]]
    with open(folder / "printed.txt", "a") as file:
        return subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )


def finish(folder, *processes):
    for process in processes:
        assert process.wait(timeout=240) == 0, (folder / "printed.txt").read_text()


def studies(folder):
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / "out" / "journal.log"))
    )
    return {
        name.split("-")[-1]: optuna.load_study(study_name=name, storage=storage)
        for name in optuna.get_all_study_names(storage)
    }


def trained_epochs(folder):
    """How often each (trial, epoch) was evaluated."""
    lines = [
        (path.stem, line)
        for path in (folder / "out" / "trials").glob("*.log")
        for line in path.read_text().splitlines()
    ]
    return Counter(
        (trial, match[1])
        for trial, line in lines
        if (match := re.match(r" +\d+ +(\d+)/\d+ ", line))  # fold, epoch
    )


def reported_epochs(folder):
    return {
        (f"{stage}-{trial.number}", str(epoch))
        for stage, study in studies(folder).items()
        for trial in study.get_trials(deepcopy=False)
        for epoch in trial.intermediate_values
    }


def wait_for_epochs(folder, count):
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if (folder / "out" / "journal.log").exists() and len(found := reported_epochs(folder)) >= count:
            return found
        time.sleep(0.1)
    raise AssertionError((folder / "printed.txt").read_text())


@pytest.mark.slow
def test_a_search_that_is_killed_trains_no_finished_epoch_twice(tmp_path):
    write_space(tmp_path)
    process = start(tmp_path)
    before = wait_for_epochs(tmp_path, 1)
    os.kill(process.pid, signal.SIGKILL)  # alone: what it had started trains on to its stop, beside the next start
    process.wait()
    process = start(tmp_path)
    before |= wait_for_epochs(tmp_path, len(before) + 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finish(tmp_path, start(tmp_path))

    counts = trained_epochs(tmp_path)
    assert len(before) >= 3 and {counts[cell] for cell in before} == {1}
    again = [cell for cell, count in counts.items() if count > 1]
    assert len(again) <= 1 and all(counts[cell] == 2 for cell in again)  # the epoch that the second kill broke off
    assert reported_epochs(tmp_path) <= set(counts)


@pytest.mark.slow
def test_two_workers_share_a_search_and_run_no_trial_twice(tmp_path):
    write_space(tmp_path)
    finish(tmp_path, start(tmp_path), start(tmp_path))

    assert set(trained_epochs(tmp_path).values()) == {1}
    found = studies(tmp_path)
    for study in found.values():
        trials = study.get_trials(deepcopy=False)
        assert all(trial.state.is_finished() for trial in trials)
        assert len({str(trial.params) for trial in trials}) == len(trials)
    assert len(found["independent"].trials) == 2 and len(found["finalists"].trials) == 1

    # what it leaves: the table holds what the study holds, and the recommended preset is a finalist's
    rows = list(csv.reader((tmp_path / "out" / "grid.csv").open()))
    assert rows[0] == ["learning_rate", "1", "2", "3"]
    scores = {f"{t.params['learning_rate']:g}": list(t.intermediate_values.values()) for t in found["coupled"].trials}
    assert {row[0]: [float(cell) for cell in row[1:] if cell] for row in rows[1:] if any(row[1:])} == {
        rate: [round(score, 4) for score in curve] for rate, curve in scores.items()
    }
    final = yaml.safe_load((tmp_path / "out" / "final.yaml").read_text())
    winner = found["finalists"].trials[0].params
    assert final["learning_rate"] == pytest.approx(winner["learning_rate"] / 2)
    assert final["num_train_epochs"] == winner["num_train_epochs"]
    assert final["weight_decay"] == winner["weight_decay"]
    assert final["model_name_or_path"] == "bert-base-multilingual-uncased"
    report = (tmp_path / "out" / "report.md").read_text()
    assert f"num_train_epochs {winner['num_train_epochs']}**, carried to final.yaml" in report
    assert (tmp_path / "out" / "grid.png").stat().st_size > 5000


@pytest.mark.slow
def test_optunas_sampler_and_pruner_search_the_same_space(tmp_path):
    write_space(tmp_path, independent={})
    finish(tmp_path, start(tmp_path, "--sampler", "tpe", "--max_epochs", "4"))
    assert set(trained_epochs(tmp_path).values()) == {1}
    assert 4 <= sum(len(trial.intermediate_values) for trial in studies(tmp_path)["coupled"].trials) <= 6


@pytest.mark.slow
def test_two_axes_with_a_budget_that_grows_and_options_that_must_not_change(tmp_path):
    coupled = {"learning_rate": [2e-4, 2e-3], "per_device_train_batch_size": [16, 32], "num_train_epochs": 2}
    write_space(tmp_path, independent={}, coupled=coupled)
    finish(tmp_path, start(tmp_path, "--max_epochs", "2"))
    before = {cell for cell in reported_epochs(tmp_path) if cell[0].startswith("coupled")}
    finish(tmp_path, start(tmp_path, "--max_epochs", "4"))
    after = reported_epochs(tmp_path)
    assert len(before) == 2 and before < after
    assert set(trained_epochs(tmp_path).values()) == {1}
    rows = list(csv.reader((tmp_path / "out" / "grid.csv").open()))
    assert rows[0] == ["learning_rate", "per_device_train_batch_size", "1", "2"]
    assert sum(cell != "" for row in rows[1:] for cell in row[2:]) == len(
        [cell for cell in after if cell[0].startswith("coupled")]
    )

    process = start(tmp_path, "--max_epochs", "4", "--weight_decay", "0.2")
    assert process.wait(timeout=240) == 2
    assert "started with other fields (weight_decay)" in (tmp_path / "printed.txt").read_text().splitlines()[-1]


@pytest.mark.slow
def test_a_grid_is_trained_in_order_and_a_run_that_diverges_ends_nothing(tmp_path):
    write_space(tmp_path, independent={}, coupled={"learning_rate": [1e-3, 1e30], "num_train_epochs": 1})
    finish(tmp_path, start(tmp_path, "--sampler", "grid"))
    trials = studies(tmp_path)["coupled"].trials
    assert [trial.params["learning_rate"] for trial in trials] == [1e-3, 1e30]
    assert trials[1].value == 0 < trials[0].value
    assert yaml.safe_load((tmp_path / "out" / "final.yaml").read_text())["learning_rate"] == pytest.approx(5e-4)


@pytest.mark.slow
def test_adapters_are_searched_as_whole_weights_are(tmp_path):
    base = make_decoder("llama", tmp_path / "base")
    coupled = {"learning_rate": [1e-3, 1e-2], "num_train_epochs": 2}
    write_space(tmp_path, independent={"lora_r": [2, 4]}, coupled=coupled, coupled_options={})
    finish(tmp_path, start(tmp_path, "--model_name_or_path", str(base)))
    found = studies(tmp_path)
    assert {trial.params["lora_r"] for trial in found["independent"].trials} == {2, 4}
    assert all(trial.state.is_finished() for study in found.values() for trial in study.trials)
    winner = found["finalists"].trials[0].params["lora_r"]
    trained = yaml.safe_load((tmp_path / "out" / "trials" / "finalists-0" / "config.yaml").read_text())
    assert trained["lora_r"] == yaml.safe_load((tmp_path / "out" / "final.yaml").read_text())["lora_r"] == winner
    assert "whole models" not in (tmp_path / "out" / "trials" / "finalists-0.log").read_text()


@pytest.mark.parametrize(
    "changes, fragments",
    [
        ({"sampler": "tpe"}, ["key sampler", "is not one of preset, metric"]),
        ({"presett": "x"}, ["key presett", "did you mean preset?"]),
        ({"coupled": {"num_train_epochs": 3}}, ["key coupled", "learning_rate"]),
        ({"coupled": {"learning_rate": [1e-3, 2e-3]}}, ["num_train_epochs None", "whole number"]),
        ({"coupled": {"learning_rate": [1e-3], "num_train_epochs": 3}}, ["key learning_rate", "two different values"]),
        (
            {"coupled": {"learning_rate": [1e-3, "fast"], "num_train_epochs": 3}},
            ["key learning_rate", "'fast' is not a number"],
        ),
        ({"coupled": {"learning_rate": [0, 1e-3], "num_train_epochs": 3}}, ["key learning_rate", "above 0"]),
        ({"independent": {"output_dir": ["a", "b"]}}, ["key output_dir", "cannot be searched"]),
        ({"independent": {"max_length": "64"}}, ["key max_length", "is not a list"]),
        ({"independent": {"max_length": [64, [32]]}}, ["key max_length", "is not a number, a word"]),
        ({"independent": {"learning_rate": [1e-3, 2e-3]}}, ["key learning_rate", "cannot be searched"]),
        ({"independent": {"num_train_epochs": [1, 2]}}, ["key num_train_epochs", "cannot be searched"]),
        ({"coupled": {"learning_rate": ["1e-3", 0.001, 2e-3], "num_train_epochs": 3}}, ["key learning_rate", "twice"]),
        ({"metric": "rmse"}, ["key metric", "'rmse'", "the same scale in every contest"]),
        ({"seeds": [1, 1]}, ["key seeds", "different"]),
        ({"seeds": [True]}, ["key seeds"]),
        ({"finalists": 0}, ["key finalists", "1 or more"]),
        ({"final": {}}, ["key final", "preset"]),
        ({"final": {"preset": "x", "scale": 1}}, ["key scale", "learning_rate_scale"]),
    ],
)
def test_a_wrong_space_is_refused_in_one_sentence(tmp_path, changes, fragments):
    with pytest.raises(InputError) as error:
        read_space(write_space(tmp_path, **changes))
    for fragment in ["space.yaml", *fragments]:
        assert fragment in str(error.value)


@pytest.mark.parametrize(
    "changes, options, fragments",
    [
        ({}, ["--sampler", "casual", "--pruner", "median"], ["casual goes with casual"]),
        ({}, ["--max_epochs", "0"], ["max_epochs: 0"]),
        ({}, ["--resume"], ["--resume is set by the search itself"]),
        ({}, ["--stop-after-epoch=1"], ["--stop-after-epoch=1 is set by the search itself"]),
        ({}, ["--early_stopping_patience", "1"], ["early stopping"]),
        ({}, ["--sampler_seed", "-1"], ["sampler_seed: -1"]),
        ({}, ["--learning_rat", "1"], ["--learning_rat is not an option", "did you mean --learning_rate?"]),
        ({}, ["--train_file", "nowhere.txt"], ["nowhere.txt: no such file"]),
        (
            {"independent": {"max_lenght": [32, 64]}},
            [],
            ["--max_lenght is not an option", "did you mean --max_length?"],
        ),
        ({"independent": {"lora_r": [0, "many"]}}, [], ["lora_r"]),
        (
            {"independent": {"label_smoothing_factor": [0.0, 2.0]}},
            [],
            ["label_smoothing_factor: 2.0 is not between 0 and 1"],
        ),
        ({"preset": "nowhere.yaml"}, [], ["nowhere.yaml: cannot be read"]),
        ({"final": {"preset": "nowhere.yaml"}}, [], ["nowhere.yaml: cannot be read"]),
        ({"coupled_options": {"ema_decay": 2}}, [], ["ema_decay: 2.0 is not between 0 and 1"]),
    ],
)
def test_what_train_py_would_refuse_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, changes, options, fragments
):
    out = tmp_path / "out"
    argv = [
        "search",
        str(ROOT / "nsmc"),
        "--config",
        str(write_space(tmp_path, **changes)),
        "--output_dir",
        str(out),
        *options,
    ]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        search.main()
    for fragment in fragments:
        assert fragment in str(error.value)
    assert not out.exists()


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"mae", "mse", "rmse"}))  # which no search takes
def test_a_run_that_diverged_is_worse_than_any_that_learned_nothing(tmp_path, name):
    space = read_space(write_space(tmp_path, metric=name))
    metric = METRICS[name]
    random = np.random.default_rng(0)
    for _ in range(20):
        if "number" in metric.kinds and "classes" not in metric.kinds:
            labels, logits = random.normal(size=30), 3 * random.normal(size=(30, 1))  # r2 far below 0
        else:
            labels, logits = random.integers(0, 2, 30), 3 * random.normal(size=(30, 2))
        assert space.sign * (metric.function(labels, logits) - space.worst) >= 0


def test_a_run_that_diverged_is_worse_by_a_folders_own_metric_too(tmp_path, monkeypatch):
    for greater, honest in ((True, -5e4), (False, 5e4)):  # an error with its sign turned, and as it is
        own = SimpleNamespace(METRIC=Metric("mine", lambda labels, logits: 0.0, greater_is_better=greater))
        monkeypatch.setitem(sys.modules, "data", own)
        space = read_space(write_space(tmp_path, metric="mine"))
        assert space.sign * (honest - space.worst) > 0


def test_a_folders_own_metric_by_the_name_of_another_keeps_its_direction_and_scale(tmp_path, monkeypatch):
    own = Metric("accuracy", lambda labels, logits: 0.0, greater_is_better=False)
    monkeypatch.setitem(sys.modules, "data", SimpleNamespace(METRIC=own))
    space = read_space(write_space(tmp_path, metric="accuracy"))
    assert space.sign == -1 and space.worst > 1000


def test_the_metric_is_the_command_lines_then_the_spaces_then_the_presets(tmp_path):
    preset = tmp_path / "preset.yaml"
    preset.write_text((ROOT / "nsmc" / "configs" / "demo.yaml").read_text() + "\nmetric: log_loss\n")
    file = ["--train_file", str(ROOT / "nsmc" / "sample" / "train.txt")]
    for changes, options, name in (
        ({}, [], "accuracy"),
        ({"preset": str(preset)}, [], "log_loss"),
        ({"preset": str(preset), "metric": "macro_f1"}, [], "macro_f1"),
        ({"preset": str(preset), "metric": "macro_f1"}, ["--metric", "mcc"], "mcc"),
        ({"metric": "macro_f1"}, ["--metric=mcc"], "mcc"),
    ):
        space = read_space(write_space(tmp_path, **changes))
        check_options(ROOT / "nsmc", space, [*file, *options])
        assert space.metric == name and space.sign == (-1 if name == "log_loss" else 1)


def test_a_metric_in_the_labels_units_is_refused_where_data_py_names_it(tmp_path, monkeypatch):
    data = space_module.load_data_module(ROOT / "nsmc")
    monkeypatch.setattr(data, "METRIC", Metric("rmse", lambda labels, logits: 0.0), raising=False)
    monkeypatch.setattr(space_module, "load_data_module", lambda folder: data)
    space = read_space(write_space(tmp_path))
    with pytest.raises(InputError, match="key metric: 'rmse': a name of a metric that has the same scale"):
        check_options(ROOT / "nsmc", space, ["--train_file", str(ROOT / "nsmc" / "sample" / "train.txt")])


def test_a_score_that_is_no_number_is_the_worst(tmp_path, monkeypatch):
    space = read_space(write_space(tmp_path, metric="mcc"))
    args = SimpleNamespace(test_file=None), SimpleNamespace(warmup_steps=0.1)
    monkeypatch.setattr(runs_module, "task_target", lambda args: Classes(["a", "b"]))
    runs = runs_module.Runs(tmp_path, ROOT / "nsmc", space, args, [], None)
    monkeypatch.setattr(runs, "train", lambda stage, number, options: True)
    (tmp_path / "finalists-0").mkdir()
    write_json(tmp_path / "finalists-0" / "metrics.json", {"eval": {"mcc": float("nan")}})
    assert runs.whole("finalists", 0, {}) == space.worst
    (tmp_path / "coupled-0" / "fold0").mkdir(parents=True)
    log = [{"eval_mcc": 0.5}, {"loss": 1.0}, {"eval_mcc": float("nan")}]
    write_json(tmp_path / "coupled-0" / "fold0" / "fold.json", {"log_history": log})
    assert runs.epochs(0, {}, 2) == [0.5, space.worst]


def test_a_trial_that_was_drawn_twice_is_one_of_the_finalists_once(tmp_path):
    coupled = {"learning_rate": [1e-4, 1e-3], "per_device_train_batch_size": [16, 32], "num_train_epochs": 3}
    search = object.__new__(Search)
    search.space = read_space(write_space(tmp_path, coupled=coupled, finalists=3))
    search.casual = SimpleNamespace(prior=Prior())
    study = optuna.create_study(direction="maximize")
    search.studies = {"coupled": study}
    distributions = {
        "learning_rate": FloatDistribution(1e-4, 1e-3, log=True),
        "per_device_train_batch_size": CategoricalDistribution([16, 32]),
    }
    for rate, batch, scores in ((3e-4, 16, [0.7, 0.8]), (3e-4, 16, [0.7]), (1e-4, 32, [0.5])):
        params = {"learning_rate": rate, "per_device_train_batch_size": batch}
        known = dict(enumerate(scores, start=1))
        trial = create_trial(
            state=TrialState.PRUNED, params=params, distributions=distributions, intermediate_values=known
        )
        study.add_trial(trial)
    assert [len(trial.intermediate_values) for trial in search.scored()] == [2, 1]
    cells = [tuple(cell[name] for name in search.space.axes) for cell in search.best_cells()]
    assert len(set(cells)) == 3 and cells[0] == (3e-4, 16)


def test_stages_which_have_settings_of_their_own_are_refused_before_anything_is_trained(tmp_path, monkeypatch):
    (tmp_path / "faces").mkdir()
    argv = ["search", str(ROOT / "reon_face"), "--output_dir", str(tmp_path / "out"), "--model_name_or_path", "scratch"]
    argv += ["--train_file", str(tmp_path / "faces"), "--stages", "part=1/2 learning_rate=0.1", "part=2/2"]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(InputError, match="a run in stages does not go with a search"):
        search.main()
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_task_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["search", str(tmp_path)])
    with pytest.raises(InputError, match="is not a task folder"):
        search.main()


@pytest.mark.parametrize(
    "task, sample",
    [("friends", "train.json"), ("nsmc", "train.txt"), ("klue_re", "train.tsv"), ("hand_signal", "train")],
)
def test_every_tasks_space_holds_values_that_its_train_py_takes(task, sample):
    folder = ROOT / task
    task_args, training_args = check_options(
        folder, read_space(folder / "configs" / "search.yaml"), ["--train_file", str(folder / "sample" / sample)]
    )
    assert task_args.num_folds == 1 and training_args.learning_rate > 0
