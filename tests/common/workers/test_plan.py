"""How many folds at a time."""

import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from common.console import InputError
from common.options.fields import DataArguments, ModelArguments
from common.workers import plan


@dataclass
class Arguments(ModelArguments):
    pass


CPU = SimpleNamespace(
    device=torch.device("cpu"),
    num_train_epochs=1.0,
    max_steps=-1,
    per_device_train_batch_size=8,
    gradient_accumulation_steps=1,
)
SPLITS = [(np.arange(800), np.arange(200))] * 5
CLIPS = {"train": [None] * 1000}


def weights(folder, *shapes):
    """A folder whose file of weights has no weights, only its header."""
    folder.mkdir(exist_ok=True)
    tensors = {f"w{i}": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for i, shape in enumerate(shapes)}
    header = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return str(folder)


@pytest.fixture(autouse=True)
def two_cores_and_100_gb(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(plan, "free_memory", lambda devices: 100e9)


def test_threads_are_shared_out_among_the_folds_that_are_trained_at_the_same_time():
    assert plan.threads_of(5, 2, 2, None) == [1, 1, 1, 1, 2]
    assert plan.threads_of(5, 5, 16, None) == [3] * 5
    assert plan.threads_of(5, 4, 4, None) == [1, 1, 1, 1, 4]
    assert plan.threads_of(3, 2, 1, None) == [1] * 3
    assert plan.threads_of(3, 2, 16, 1) == [1] * 3


def test_auto_takes_the_cores_where_it_pays_and_leaves_threads_that_were_counted_out(tmp_path):
    large = weights(tmp_path / "large", [1000, 20000], [10])
    assert plan.parameters_of(Arguments(model_name_or_path=large)) == 20_000_010
    assert plan.make_plan(Arguments(model_name_or_path=large), CPU, SPLITS, CLIPS).workers == 2
    assert plan.make_plan(Arguments(), CPU, SPLITS, CLIPS).workers == 1
    counted = Arguments(model_name_or_path=large, torch_num_threads=1)
    assert plan.make_plan(counted, CPU, SPLITS, CLIPS) == plan.Plan(1, [1] * 5, [])
    counted.fold_workers = "4"
    assert plan.make_plan(counted, CPU, SPLITS, CLIPS) == plan.Plan(4, [1] * 5, [])


def test_a_model_for_which_memory_is_too_small_is_trained_by_fewer_or_refused(tmp_path, capsys):
    huge = weights(tmp_path / "huge", [10**12, 3])
    args = Arguments(model_name_or_path=huge)
    assert plan.make_plan(args, CPU, SPLITS, CLIPS).workers == 1
    assert "fold_workers auto: 1 instead of 2, because they need 48001.5 GB each" in capsys.readouterr().out
    args.fold_workers = "2"
    with pytest.raises(InputError, match="fold_workers: 2 folds at a time need 48001.5 GB each, .* GB are free"):
        plan.make_plan(args, CPU, SPLITS, CLIPS)


def test_free_memory_is_some_of_the_machines(monkeypatch):
    monkeypatch.undo()
    assert 0 < plan.free_memory([]) < psutil.virtual_memory().total


def test_of_a_run_with_folds_one_model_counts(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for fold in range(3):
        weights(run / f"fold{fold}", [100, 7])
    assert plan.parameters_of(Arguments(model_name_or_path=str(run))) == 700


@pytest.mark.parametrize(
    ("options", "environment", "sentence"),
    [
        ({"fold_workers": "two"}, {}, "fold_workers: two is neither auto nor a number above 0"),
        ({"fold_workers": "0"}, {}, "is neither auto nor"),
        ({"fold_workers": "2", "fold": 1}, {}, "but --fold 1 trains one"),
        ({"fold_workers": "2", "num_folds": 1}, {}, "but num_folds is 1"),
        ({"fold_workers": "2"}, {"WORLD_SIZE": "2"}, "several processes of a launcher share each fold"),
    ],
)
def test_workers_that_have_nothing_to_share_out_are_refused(monkeypatch, options, environment, sentence):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=sentence):
        DataArguments(**{"num_folds": 3, **options}).check(None)
