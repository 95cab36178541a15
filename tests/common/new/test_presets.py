"""The rates and epochs that common.new writes."""

import json

import pytest
import yaml

from common.new.kinds import Target
from common.new.presets import size_of, text_presets

LABELS = Target("labels", ["target"], ["0", "1"], "", {})
SEVERAL = Target("several", ["label"], ["0", "1", "2"], "", {})
MANY = Target("labels", ["relation"], [f"relation{i}" for i in range(19)], "", {})


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2", "shallow"),
        ("sentence-transformers/all-MiniLM-L12-v2", "small"),
        ("intfloat/multilingual-e5-small", "small"),
        ("prajjwal1/bert-tiny", "shallow"),
        ("klue/roberta-base", "base"),
        ("xlm-roberta-large", "large"),
    ],
)
def test_the_size_is_read_off_a_name(name, size):
    assert size_of(name) == size


@pytest.mark.parametrize(
    ("width", "depth", "size"), [(384, 6, "shallow"), (384, 12, "small"), (768, 6, "base"), (1024, 24, "large")]
)
def test_the_size_is_read_off_the_configuration_of_a_folder(tmp_path, width, depth, size):
    folder = tmp_path / "large-or-tiny"  # its name says nothing
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"hidden_size": width, "num_hidden_layers": depth}))
    assert size_of(str(folder)) == size


def presets(target, model="intfloat/multilingual-e5-small", rows=8000):
    made = text_presets("korean", model, "f1", target, rows=rows)
    return {name: yaml.safe_load(text) for name, text in made.items()}


def test_a_deep_small_model_gets_a_rate_at_which_it_does_not_collapse():
    assert presets(LABELS)["tune.yaml"]["learning_rate"] == "5e-5"
    assert presets(LABELS, "all-MiniLM-L6-v2")["tune.yaml"]["learning_rate"] == "1e-4"


@pytest.mark.parametrize(("target", "epochs"), [(LABELS, 3), (SEVERAL, 4), (MANY, 4)])
def test_several_or_many_labels_are_trained_for_longer(target, epochs):
    made = presets(target)
    assert made["tune.yaml"]["num_train_epochs"] == made["final.yaml"]["num_train_epochs"] == epochs


def test_few_rows_and_a_small_model_have_fewer_folds_and_say_what_that_saves():
    made = text_presets("korean", "all-MiniLM-L6-v2", "f1", SEVERAL, rows=2000)["final.yaml"]
    values = yaml.safe_load(made)
    assert (values["num_folds"], values["num_train_epochs"]) == (3, 3) and "2.2 times as long" in made
    assert (
        yaml.safe_load(text_presets("korean", "klue/roberta-base", "f1", SEVERAL, rows=2000)["final.yaml"])["num_folds"]
        == 5
    )
