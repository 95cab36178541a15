"""No file of a run, checkpoint, cache or weights folder runs code: one file is planted at a time, because one that is
refused first hides the next."""

import io
import json
import os
import pickle
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

import tests.common.test_training as t
from common.console import InputError
from common.guards.manifest import MANIFEST, write_manifest, write_sealed
from common.guards.pickles import load_tensors
from tests.common.guards.test_manifest import OPTIONS, SAVES, stopped_at
from tests.tools.scripts import ROOT, succeed, worker_of
from tests.tools.videos import write_competition

worker = worker_of(ROOT / "friends")
clips_worker = worker_of(ROOT / "hand_signal")
faces_worker = worker_of(ROOT / "reon_face")


class Touch:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mknod, (str(self.path),)


def plain(path, marker):
    path.write_bytes(pickle.dumps({"a": Touch(marker)}, protocol=2))


def of_torch(path, marker):
    """As torch.save() writes it."""
    torch.save({"a": Touch(marker)}, path)


def of_torch_before_1_6(path, marker):
    torch.save({"a": Touch(marker)}, path, _use_new_zipfile_serialization=False)


def of_numpy(path, marker):
    """An array of objects, as .npy, or as every array of an .npz."""
    content = io.BytesIO()
    np.save(content, np.array([Touch(marker)], dtype=object), allow_pickle=True)
    if path.suffix != ".npz":
        path.write_bytes(content.getvalue())
        return
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("ids", "logits", "labels", "label_names"):
            archive.writestr(f"{name}.npy", content.getvalue())


PLANTS = (plain, of_torch, of_torch_before_1_6, of_numpy)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_what_is_planted_runs_where_pickle_reads_it_and_not_where_load_tensors_does(tmp_path, plant):
    path = tmp_path / "states.pt"
    plant(path, tmp_path / "marker")
    with pytest.raises(
        InputError, match=r"states\.pt: holds something else than tensors and numbers; nothing of it was"
    ):
        load_tensors(path)
    assert not (tmp_path / "marker").exists()
    if plant is of_numpy:
        np.load(path, allow_pickle=True)
    else:
        with suppress(RuntimeError):  # when it has run, a plain pickle is no file of torch's
            torch.load(path, weights_only=False)
    assert (tmp_path / "marker").exists()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("stopped")
    stopped_at(folder, 2)
    return folder


OF_TRAINER = ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]
OF_TRAINER += ["ema.safetensors", "config.json", "training_args.bin", "scaler.pt", "pytorch_model.bin", "optimizer.bin"]


@pytest.mark.parametrize("name", OF_TRAINER)
@pytest.mark.parametrize(
    ("plant", "forged"),
    [(plain, False), *((plant, True) for plant in PLANTS)],
    ids=lambda value: getattr(value, "__name__", "forged" if value else "left"),
)
def test_a_planted_file_of_the_trainers_checkpoint_does_not_run(stopped, tmp_path, capsys, name, plant, forged):
    shutil.copytree(stopped, tmp_path / "run")
    checkpoint = tmp_path / "run/checkpoints/checkpoint-8"
    plant(checkpoint / name, tmp_path / "marker")
    if name == "pytorch_model.bin":
        (checkpoint / "model.safetensors").unlink()
    if name == "optimizer.bin":
        (checkpoint / "optimizer.pt").unlink()
    if forged:
        write_manifest(checkpoint)
    try:
        t.train(tmp_path / "run", options=OPTIONS, **SAVES)
    except InputError as refused:
        assert str(checkpoint / name) in str(refused)
        assert forged
    assert not (tmp_path / "marker").exists()


def forge(fold):
    """A fold.json that fits what was planted."""
    record = json.loads((fold / "fold.json").read_text())
    write_sealed(fold / "fold.json", {key: value for key, value in record.items() if key not in ("files", "seal")})


def refused_or_done(worker, folder, *argv):
    """Exit code 0, or 2 with one sentence."""
    code, errors = worker.run(folder, *argv)
    assert code in (0, 2) and "Traceback" not in errors, errors
    if code == 2:
        assert len([line for line in errors.splitlines() if line.startswith("error: ")]) == 1
    return code


TINY = ["--config", ROOT / "friends/configs/demo.yaml", "--max_train_samples", "60", "--num_folds", "2"]
TINY += ["--num_train_epochs", "1", "--torch_num_threads", "1", "--disable_tqdm", "true"]


@pytest.mark.parametrize(
    "every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["a_file_a_format", "every_file"]
)
def test_no_planted_file_of_a_run_runs_when_it_is_resumed_predicted_reported_or_started_from(worker, tmp_path, every):
    succeed(worker, tmp_path, "train.py", *TINY, "--output_dir", "whole")
    names = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    names = [name for name in names if name.parts[0] not in ("plots", "fold1") and name.suffix not in (".md", ".csv")]
    assert len(names) > 10
    if not every:
        names = list({name.suffix: name for name in names}.values())
    test = ["--test_file", ROOT / "friends/sample/test.csv", "--submission_file", "s.csv"]
    for name in [*names, Path("fold0/pytorch_model.bin")]:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "run")
        plant = of_numpy if name.suffix == ".npz" else of_torch if name.suffix in (".bin", ".safetensors") else plain
        plant(tmp_path / "run" / name, tmp_path / "marker")
        if name.name == "pytorch_model.bin":
            (tmp_path / "run/fold0/model.safetensors").unlink()
        if name.name != "fold.json":
            forge(tmp_path / "run/fold0")
        code = refused_or_done(worker, tmp_path, "predict.py", "--run_dir", "run", *test)
        assert code == (0 if str(name) in OUT_OF_PREDICT else 2), name
        refused_or_done(worker, tmp_path, "train.py", *TINY, "--output_dir", "run", "--resume")
        assert not (tmp_path / "marker").exists(), name
    weights = tmp_path / "weights"
    files = ["pytorch_model.bin", "model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json"]
    for name in files if every else files[:3]:
        shutil.rmtree(weights, ignore_errors=True)
        shutil.copytree(tmp_path / "whole/fold0", weights)
        for file in (weights / "fold.json", weights / "model.safetensors"):
            file.unlink()
        if name != "pytorch_model.bin":
            shutil.copy(tmp_path / "whole/fold0/model.safetensors", weights)
        (of_torch if name.endswith("bin") else plain)(weights / name, tmp_path / "marker")
        options = [*TINY, "--model_name_or_path", "weights", "--output_dir", "other"]
        assert refused_or_done(worker, tmp_path, "train.py", *options) == 2, name
        assert not (tmp_path / "marker").exists() and not (tmp_path / "other").exists()


# what predict.py does not read, or can do without
OUT_OF_PREDICT = ["run.json", "metrics.json", "features.json", "oof_logits.npz", "test_logits.npz"]
OUT_OF_PREDICT += ["fold0/held_out_logits.npz", "fold0/test_logits.npz"]


@pytest.mark.slow
def test_no_planted_file_of_a_loop_without_the_trainer_runs(clips_worker, tmp_path):
    write_competition(tmp_path / "train", [0, 1] * 6)
    options = ["--config", ROOT / "hand_signal/configs/demo.yaml", "--torch_num_threads", "1", "--disable_tqdm", "true"]
    options += ["--num_frames", "4", "--crop_size", "32", "--num_train_epochs", "2", "--num_folds", "2"]
    options += ["--train_file", tmp_path / "train", "--cache_dir", tmp_path / "cache"]
    stop = ["--stop_after_epoch", "1", "--fold", "0"]
    succeed(clips_worker, tmp_path, "train.py", *options, "--output_dir", "stopped", *stop)
    (newest,) = (tmp_path / "stopped/fold0/checkpoints").glob("checkpoint-*")
    checkpoint = newest.relative_to(tmp_path / "stopped")
    names = [path.name for path in newest.iterdir() if path.name != MANIFEST]
    names += ["custom_checkpoint_0.pkl", "random_states_0.pkl", "optimizer.bin", "scheduler.bin", "pytorch_model.bin"]
    for name in names:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(tmp_path / "stopped", tmp_path / "run")
        of_torch(tmp_path / "run" / checkpoint / name, tmp_path / "marker")
        write_manifest(tmp_path / "run" / checkpoint)
        resume = ["--output_dir", "run", "--resume", *stop]
        code = refused_or_done(clips_worker, tmp_path, "train.py", *options, *resume)
        assert code == (2 if name in ("model.safetensors", "states.pt") else 0), name
        assert not (tmp_path / "marker").exists(), name
    for path in (tmp_path / "cache").iterdir():
        of_numpy(path, tmp_path / "marker")
    assert refused_or_done(clips_worker, tmp_path, "train.py", *options, "--output_dir", "other") == 0  # decoded anew
    for suffix, plant in ((".pyth", of_torch), (".pt", plain), (".safetensors", of_torch_before_1_6)):
        plant(tmp_path / f"weights{suffix}", tmp_path / "marker")
        wanted = ["--pretrained_weights", f"weights{suffix}", "--output_dir", "third"]
        assert refused_or_done(clips_worker, tmp_path, "train.py", *options, *wanted) == 2
    assert not (tmp_path / "marker").exists() and not (tmp_path / "third").exists()
