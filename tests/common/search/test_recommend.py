import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from transformers import BertConfig, BertForSequenceClassification

from common.console import InputError
from common.examples import TextExample
from common.search.features import measure
from common.search.recommend import DEFAULTS, Record, propose, read_records, recommend
from common.text import tokenize
from common.tricks.scratch import train_tokenizer
from tests.tools.scripts import ENVIRONMENT, ROOT

FEATURES = {
    "rows": 1000, "classes": 2, "imbalance": 0.1, "hangul": 1.0, "latin": 0.0, "tokens": 20.0, "long_tokens": 40.0, "max_tokens": 60,
    "vector_mean": 0.0, "vector_variance": 1e-3, "parameters": 1e7, "layers": 6, "hidden": 384,
}  # fmt: skip
SETTINGS = {"learning_rate": 1e-3, "num_train_epochs": 12.0, "per_device_train_batch_size": 64.0}


def test_features_are_those_of_the_rows_and_of_the_model(tmp_path):
    examples = [
        TextExample("0", ["좋은 영화 ab"], 0),
        TextExample("1", ["나쁜 영화"], 0),
        TextExample("2", ["좋은"], 0),
        TextExample("3", ["영화"], 1),
    ]
    tokenizer = train_tokenizer([row.segments[0] for row in examples])
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32
    )
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(0.5)
    features = measure(examples, tokenize(examples, tokenizer, 32, tmp_path / "rows.arrow"), 2, model)
    assert (features["rows"], features["classes"], features["layers"], features["hidden"]) == (4, 2, 3, 16)
    assert features["imbalance"] == pytest.approx(1 + (0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(2))
    assert features["hangul"] == pytest.approx(12 / 14) and features["latin"] == pytest.approx(2 / 14)
    assert (features["vector_mean"], features["vector_variance"]) == (0.5, 0.0)
    assert features["max_tokens"] == max(len(tokenizer(row.segments[0])["input_ids"]) for row in examples)
    assert features["parameters"] == sum(p.numel() for p in model.parameters()) - len(tokenizer) * 16


def test_without_records_the_literatures_defaults_are_proposed():
    settings, weights = propose(FEATURES, [])
    assert settings == pytest.approx(DEFAULTS) and weights == {"defaults": 1.0}


def test_a_run_on_the_same_data_counts_more_than_the_defaults_and_one_on_other_data_less():
    far = {
        **FEATURES,
        "rows": 150_000,
        "classes": 42,
        "imbalance": 0.8,
        "hangul": 0.0,
        "latin": 1.0,
        "parameters": 3e8,
        "layers": 24,
    }
    settings, weights = propose(FEATURES, [Record("same", FEATURES, SETTINGS), Record("far", far, DEFAULTS)])
    assert weights["same"] > weights["defaults"] > weights["far"]
    assert sum(weights.values()) == pytest.approx(1)
    assert DEFAULTS["learning_rate"] < settings["learning_rate"] < SETTINGS["learning_rate"]
    expected = sum(
        weight * np.log({"same": SETTINGS, "far": DEFAULTS, "defaults": DEFAULTS}[name]["learning_rate"])
        for name, weight in weights.items()
    )
    assert settings["learning_rate"] == pytest.approx(np.exp(expected))


def write_run(folder, accuracy, rate, **features):
    folder.mkdir()
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"train_file": "/t.txt", "model_name_or_path": "m", "learning_rate": rate, "num_folds": 1})
    )
    (folder / "metrics.json").write_text(json.dumps({"eval": {"accuracy": accuracy}}))
    (folder / "features.json").write_text(json.dumps({**FEATURES, **features}))
    return folder


def test_of_several_runs_on_the_same_data_the_best_is_the_record(tmp_path):
    runs = [
        write_run(tmp_path / "a", 0.7, 1e-4),
        write_run(tmp_path / "b", 0.8, 2e-4),
        write_run(tmp_path / "c", 0.75, 3e-4),
    ]
    (record,) = read_records(runs)
    assert record.settings["learning_rate"] == 2e-4 and record.name == str(tmp_path / "b")
    assert len(read_records([*runs, write_run(tmp_path / "d", 0.1, 1e-5, rows=7)])) == 2


def test_of_a_run_on_several_devices_the_whole_batch_counts_and_of_a_search_the_finalists_that_ended(tmp_path):
    (tmp_path / "search" / "trials").mkdir(parents=True)
    (tmp_path / "search" / "search.json").write_text("{}")
    run = write_run(tmp_path / "search" / "trials" / "finalists-0", 0.7, 1e-4)
    (run / "run.json").write_text(json.dumps({"num_processes": 4}))
    (tmp_path / "search" / "trials" / "finalists-1").mkdir()  # diverged
    (record,) = read_records([tmp_path / "search"])
    assert record.settings["per_device_train_batch_size"] == 4 * 8


def test_a_folder_that_is_not_a_finished_runs_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no metrics.json; the folder of a finished run was expected"):
        read_records([tmp_path])


def test_a_folder_that_reads_no_texts_is_refused():
    with pytest.raises(InputError, match="measures texts, and reon_face reads none"):
        recommend(ROOT / "reon_face", None, [], [])


@pytest.mark.slow
def test_the_command_measures_the_data_and_prints_lines_of_a_preset(tmp_path):
    run = write_run(tmp_path / "run", 0.8, 1e-3)
    command = [
        sys.executable,
        "-m",
        "common.search",
        ROOT / "nsmc",
        "--config",
        ROOT / "nsmc" / "configs" / "demo.yaml",
    ]
    command = [str(word) for word in [*command, "--recommend", "--records", run]]
    printed = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
    assert "rows 320," in printed.splitlines()[0] and "hangul 0.9" in printed
    proposal = yaml.safe_load(printed)
    assert set(proposal) == {*DEFAULTS, "max_length"} and 3e-5 < float(proposal["learning_rate"]) < 1e-3
    assert f"from {run}" in printed and sorted(p.name for p in tmp_path.iterdir()) == ["run"]
