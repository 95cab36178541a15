"""8-bit predictions, and what is said of them."""

from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch

from common.console import InputError
from common.logits import Logits
from common.tricks.int8 import Int8, Int8Model

NAMES = ["a", "b"]


class Classifier(torch.nn.Module):
    """Sixteen numbers -> two logits."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.GELU(), torch.nn.Linear(64, 2))

    def forward(self, x):
        return self.layers(x)


def predict(model, rows):
    """As predict_logits() does."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = model(x=torch.tensor(rows["x"])).float().numpy()
    return Logits(np.array(rows["id"]), logits, np.array(rows["labels"]), NAMES)


@pytest.fixture
def rows():
    x = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    labels = [-1] * 10 + [0, 1] * 15
    return datasets.Dataset.from_dict({"id": [f"r{i}" for i in range(40)], "x": x.tolist(), "labels": labels})


def test_linear_layers_are_rounded_to_256_values_in_a_copy_of_the_model():
    model = Classifier()
    before = model.layers[0].weight.clone()
    weight = Int8Model(model).model.layers[0].weight()
    assert weight.dtype == torch.qint8
    error = (weight.dequantize() - before).abs().max()
    assert 0 < error <= before.abs().max() / 127
    assert torch.equal(model.layers[0].weight, before)


def predict_all(rows, folds):
    """What so many folds of one model say."""
    ensemble = SimpleNamespace(device=torch.device("cpu"), weights=[1 / folds] * folds, parts=[])
    int8 = Int8(ensemble, predict)
    for _ in range(folds):
        ensemble.parts.append(int8(Classifier().eval(), rows))
    return ensemble.parts


def test_all_rows_are_predicted_in_8_bits_and_the_labelled_ones_a_second_time_to_say_what_that_changes(rows, capsys):
    parts = predict_all(rows, 2)
    float32 = Classifier()(torch.tensor(rows["x"])).detach().numpy()
    assert 0 < np.abs(parts[0].logits - float32).max() < 0.05
    said = capsys.readouterr().out
    assert said.startswith("int8: accuracy 0.") and "on 30 labelled rows" in said and said.count("int8") == 1


def test_without_labels_nothing_is_compared(rows, capsys):
    predict_all(rows.select(range(10)), 1)
    assert not capsys.readouterr().out


def test_a_gpu_is_refused():
    with pytest.raises(InputError, match="int8: is for CPUs"):
        Int8(SimpleNamespace(device=torch.device("cuda")), predict)
