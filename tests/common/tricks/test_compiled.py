"""torch.compile: few graphs for any number of lengths, and the same training and logits but for rounding."""

import os
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch._dynamo.utils import counters
from transformers import BertConfig, BertForSequenceClassification

import tests.common.test_training as t
from common.console import InputError
from common.guards.options import OWN, TEXTS, TRAINER
from common.inference import predict_logits
from common.options import TextPredictArguments
from common.tricks.compiled import Compiled, check_compiler, set_shapes

VARIABLE = "ACCELERATE_DYNAMO_USE_DYNAMIC"
LABELS = ["a", "b", "c"]


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    """As `accelerate launch --dynamo_backend` leaves the environment; no graph of another test."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv(VARIABLE, "False")
    torch._dynamo.reset()
    counters.clear()
    yield
    torch.set_num_threads(threads)
    torch._dynamo.reset()


def graphs():
    return counters["stats"]["unique_graphs"]


def rows_of_lengths(lengths):
    ids = [[2, 5 + n % 3, *[8] * (n - 3), 3] for n in lengths]
    columns = {"id": [str(i) for i in range(len(ids))], "input_ids": ids, "labels": [n % 3 for n in lengths]}
    return datasets.Dataset.from_dict(columns)


def make_model():
    torch.manual_seed(0)
    tiny = {**t.TINY, "num_hidden_layers": 1}
    return BertForSequenceClassification(BertConfig(vocab_size=30, initializer_range=0.2, **tiny, **t.NO_DROPOUT))


def learn(folder, backend):
    rows = rows_of_lengths(range(4, 16))  # 3 batches, of 3 lengths, two epochs with an evaluation each
    compiled = {"torch_compile": True, "torch_compile_backend": backend} if backend else {}
    how = {"per_device_train_batch_size": 4, "eval_strategy": "epoch", **t.SGD, **compiled}
    return t.weights_of(t.train(folder, make_model, rows=rows, **how)[0])


def test_texts_of_several_lengths_are_one_graph_and_train_to_the_same_weights(tmp_path):
    plain = learn(tmp_path / "plain", None)
    assert graphs() == 0
    set_shapes(TEXTS, SimpleNamespace(use_cpu=True, torch_compile_backend="eager"))
    assert t.farthest(learn(tmp_path / "compiled", "eager"), plain) < 1e-5
    assert graphs() == 1


@pytest.mark.slow
def test_without_it_each_length_is_a_graph(tmp_path):
    learn(tmp_path, "eager")
    assert graphs() == 3


@pytest.mark.parametrize("loop, value", [(TEXTS, "true"), (TRAINER, None), (OWN, None)])
def test_only_texts_have_variable_shapes_from_the_first_batch_on(loop, value):
    set_shapes(loop, SimpleNamespace(use_cpu=True, torch_compile_backend="eager"))
    assert os.environ.get(VARIABLE) == value


@pytest.mark.slow
def test_folds_predict_rows_of_all_lengths_with_two_graphs_also_where_batches_have_threads():
    torch.set_num_threads(2)
    rows = rows_of_lengths([*range(4, 20), 40])
    accelerator = Accelerator(cpu=True)
    how = rows, t.collate, accelerator, LABELS, 50
    compiled = Compiled(accelerator.device, predict_logits, "eager")
    for _ in range(2):
        model = make_model()
        torch.nn.init.normal_(model.classifier.weight)
        exact = predict_logits(model, *how)
        ours = compiled(model, *how)
        assert ours.ids.tolist() == exact.ids.tolist()
        np.testing.assert_allclose(ours.logits, exact.logits, atol=1e-5)
    assert 1 <= graphs() <= 2  # a batch of one row, and all others
    assert torch.get_num_threads() == 2


def test_what_inductor_lacks_is_said_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(InputError, match=r"^torch_compile: on a CPU it needs a C\+\+ compiler"):
        check_compiler(on_cpu=True)
    check_compiler(on_cpu=True, backend="aot_eager")


def test_8_bits_and_torch_compile_do_not_go_together():
    with pytest.raises(InputError, match="torch_compile: does not go with int8"):
        TextPredictArguments(run_dir=["r"], test_file="t", int8=True, torch_compile=True).check()


@pytest.mark.slow
def test_inductor_trains_and_predicts_the_same(tmp_path):
    plain = learn(tmp_path / "plain", None)
    set_shapes(TEXTS, SimpleNamespace(use_cpu=True, torch_compile_backend="inductor"))
    assert t.farthest(learn(tmp_path / "compiled", "inductor"), plain) < 1e-3
    assert graphs() == 1
    rows = rows_of_lengths(range(4, 20))
    accelerator = Accelerator(cpu=True)
    how = rows, t.collate, accelerator, LABELS, 50
    ours = Compiled(accelerator.device, predict_logits)(make_model(), *how)
    np.testing.assert_allclose(ours.logits, predict_logits(make_model(), *how).logits, atol=1e-4)
