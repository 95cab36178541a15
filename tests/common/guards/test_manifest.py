"""Damaged checkpoints and folds: a resume ends in the bits of the run that was not damaged, or says what is wrong."""

import json
import os
import shutil
from pathlib import Path

import pytest

import tests.common.test_training as t
from common.console import InputError, Stopped
from common.guards.checkpoints import finish_checkpoint, last_whole_checkpoint
from common.guards.manifest import check_fold, fold_problem, problem_of, read_sealed, write_manifest, write_sealed
from common.logits import Logits
from common.run import finished_folds
from tests.tools.faces import TINY as TINY_FACES
from tests.tools.faces import write_images
from tests.tools.scripts import ROOT, succeed, worker_of
from tests.tools.videos import write_competition

SAVES = {"save_strategy": "epoch", "eval_strategy": "epoch", "num_train_epochs": 3, "save_total_limit": 2}
OPTIONS = {"ema_decay": 0.9}
worker = worker_of(ROOT / "friends")
faces_worker = worker_of(ROOT / "reon_face")
clips_worker = worker_of(ROOT / "hand_signal")


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def remove(path):
    path.unlink()


def swap(path):
    """With another file of the folder."""
    other = next(p for p in sorted(path.parent.iterdir()) if p != path and p.is_file())
    aside = path.with_name("aside")
    for source, target in ((path, aside), (other, path), (aside, other)):
        os.rename(source, target)


DAMAGES = (cut, empty, flip, remove, swap)


# Manifests


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ["a.bin", "sub/b.bin", "manifest.json"])
def test_every_damage_of_every_file_is_seen(tmp_path, damage, name):
    folder = tmp_path / "checkpoint-1"
    (folder / "sub").mkdir(parents=True)
    for file, content in {"a.bin": b"1234", "c.bin": b"4321", "sub/b.bin": b"99", "sub/d.bin": b"98"}.items():
        (folder / file).write_bytes(content)
    assert problem_of(folder) == "was not finished"
    write_manifest(folder)
    assert problem_of(folder) is None
    damage(folder / name)
    assert problem_of(folder)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ["model.safetensors", "held_out_logits.npz", "fold.json"])
def test_a_damaged_fold_is_refused_with_the_file_and_what_people_edit_is_not(tmp_path, damage, name):
    for file in ("config.json", "model.safetensors", "held_out_logits.npz", "README.md"):
        (tmp_path / file).write_text(f"content of {file}")
    write_sealed(tmp_path / "fold.json", {"metrics": {1: 0.1, "b": float("nan")}})
    (tmp_path / "README.md").write_text("edited")
    check_fold(tmp_path)
    assert set(read_sealed(tmp_path / "fold.json")) == {"metrics"}
    damage(tmp_path / name)
    with pytest.raises(InputError, match=rf"{'' if damage is swap else name}.*--resume, which trains this fold again"):
        check_fold(tmp_path)


def test_each_changed_number_of_fold_json_is_seen(tmp_path):
    write_sealed(tmp_path / "fold.json", {"metrics": {"accuracy": 0.51}, "train_class_counts": [3, 4]})
    text = (tmp_path / "fold.json").read_text()
    for i, character in enumerate(text):
        if character.isdigit():
            (tmp_path / "fold.json").write_text(text[:i] + str((int(character) + 1) % 10) + text[i + 1 :])
            assert fold_problem(tmp_path), text[i - 20 : i + 20]


# The Trainer's checkpoints


def stopped_at(folder, epoch):
    with pytest.raises(Stopped):
        t.train(folder, options={**OPTIONS, "stop_after_epoch": epoch}, **SAVES)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The weights after three epochs, and a folder that stopped after two with a checkpoint of each."""
    t.torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("unbroken")
    weights = t.weights_of(t.train(folder / "whole", options=OPTIONS, **SAVES)[0])
    stopped_at(folder / "stopped", 2)
    return weights, folder / "stopped"


FILES = ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "ema.safetensors"]


@pytest.mark.parametrize("name", [*FILES, "config.json", "training_args.bin", "manifest.json"])
def test_a_resume_from_a_damaged_checkpoint_says_so_and_ends_in_the_bits_of_the_unbroken_run(
    unbroken, tmp_path, capsys, name
):
    weights, stopped = unbroken
    shutil.copytree(stopped, tmp_path / "run")
    damage = DAMAGES[FILES.index(name) % 4] if name in FILES else remove
    damage(tmp_path / "run" / "checkpoints" / "checkpoint-8" / name)
    trainer, _ = t.train(tmp_path / "run", options=OPTIONS, **SAVES)
    assert t.farthest(t.weights_of(trainer), weights) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "is left" in line]
    assert "checkpoint-8: is left, " in line and line.endswith("going on from checkpoint-4")
    assert (name if name != "manifest.json" else "was not finished") in line


def test_where_all_checkpoints_are_damaged_the_fold_starts_afresh(unbroken, tmp_path, capsys):
    weights, stopped = unbroken
    shutil.copytree(stopped, tmp_path / "run")
    for step in (4, 8):
        flip(tmp_path / f"run/checkpoints/checkpoint-{step}/optimizer.pt")
    assert t.farthest(t.weights_of(t.train(tmp_path / "run", options=OPTIONS, **SAVES)[0]), weights) == 0
    assert (
        capsys.readouterr().out.count("optimizer.pt has other bytes than were written; starting the fold afresh") == 2
    )


BEST = {"load_best_model_at_end": True, "metric_for_best_model": "log_loss", "greater_is_better": True}


def test_a_checkpoint_whose_best_is_damaged_is_left_and_a_moved_run_finds_its_best(tmp_path):
    training = {**SAVES, **BEST, "learning_rate": 1e-2}  # the first epoch has the largest loss, so it is kept
    whole = t.weights_of(t.train(tmp_path / "whole", **training)[0])
    with pytest.raises(Stopped):
        t.train(tmp_path / "stopped", options={"stop_after_epoch": 2}, **training)
    state = json.loads((tmp_path / "stopped/checkpoints/checkpoint-8/trainer_state.json").read_text())
    assert state["best_model_checkpoint"].endswith("checkpoint-4")
    shutil.copytree(tmp_path / "stopped", tmp_path / "moved")
    flip(tmp_path / "stopped/checkpoints/checkpoint-4/model.safetensors")
    assert last_whole_checkpoint(tmp_path / "stopped/checkpoints", t.SimpleNamespace(should_save=False)) is None
    shutil.rmtree(tmp_path / "stopped")
    assert t.farthest(t.weights_of(t.train(tmp_path / "moved", **training)[0]), whole) == 0


def test_the_last_whole_checkpoint_is_dropped_only_when_the_new_one_has_its_manifest(tmp_path, monkeypatch):
    seen = []

    def watched(folder):
        seen.append(sorted(path.name for path in folder.parent.glob("checkpoint-*")))
        write_manifest(folder)

    monkeypatch.setattr("common.guards.checkpoints.write_manifest", watched)
    t.train(tmp_path, **{**SAVES, "save_total_limit": 1})
    assert seen == [["checkpoint-4"], ["checkpoint-4", "checkpoint-8"], ["checkpoint-12", "checkpoint-8"]]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-12"]


def test_a_checkpoint_that_is_being_written_meanwhile_drops_no_whole_one(tmp_path):
    for step in (4, 8, 12):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}/trainer_state.json").write_text("{}")
    finish_checkpoint(tmp_path / "checkpoint-8", limit=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-12", "checkpoint-8"]


# Finished folds and the other two loops


TINY = ["--config", ROOT / "friends/configs/demo.yaml", "--max_train_samples", "60", "--num_folds", "2"]
TINY += ["--num_train_epochs", "1", "--torch_num_threads", "1", "--disable_tqdm", "true"]


def bits(run):
    return {
        path.relative_to(run).as_posix(): Logits.load(path).logits.tobytes()
        for path in sorted(run.rglob("*_logits.npz"))
    }


@pytest.mark.slow
def test_a_damaged_finished_fold_is_refused_by_predict_and_trained_again_by_resume(worker, tmp_path):
    succeed(worker, tmp_path, "train.py", *TINY, "--output_dir", "run")
    whole = bits(tmp_path / "run")
    fold = tmp_path / "run" / "fold1"
    for name, damage in {"model.safetensors": cut, "held_out_logits.npz": flip, "fold.json": cut}.items():
        damage(fold / name)
        files = ["--test_file", ROOT / "friends/sample/test.csv", "--submission_file", "s.csv"]
        code, errors = worker.run(tmp_path, "predict.py", "--run_dir", "run", *files)
        assert code == 2 and f"error: run/fold1/{name}: " in errors and "Traceback" not in errors
        assert not (tmp_path / "s.csv").exists()
        succeed(worker, tmp_path, "train.py", *TINY, "--output_dir", "run", "--resume")
        assert f"run/fold1/{name}: " in worker.printed and "fold 1 is trained again" in worker.printed
        assert "fold 0: accuracy" not in worker.printed
        assert bits(tmp_path / "run") == whole
    assert len(finished_folds(tmp_path / "run")) == 2


@pytest.mark.slow
def test_a_loop_without_the_trainer_leaves_a_damaged_checkpoint_too(clips_worker, tmp_path):
    write_competition(tmp_path / "train", [0, 1] * 6)
    options = ["--config", ROOT / "hand_signal/configs/demo.yaml", "--torch_num_threads", "1", "--disable_tqdm", "true"]
    options += ["--num_frames", "4", "--crop_size", "32", "--num_train_epochs", "3", "--num_folds", "1"]
    options += ["--calibrate", "false"]
    options += ["--train_file", tmp_path / "train", "--ema_decay", "0.9", "--load_best_model_at_end", "true"]
    succeed(clips_worker, tmp_path, "train.py", *options, "--output_dir", "whole")
    succeed(clips_worker, tmp_path, "train.py", *options, "--output_dir", "stopped", "--stop_after_epoch", "2")
    newest = sorted((tmp_path / "stopped/fold0/checkpoints").glob("checkpoint-*"))[-1].name
    names = sorted(path.name for path in (tmp_path / "stopped/fold0/checkpoints" / newest).iterdir())
    tensors = ["evaluated.safetensors", "model.safetensors", "states.pt"]
    assert names == [*tensors[:1], "manifest.json", *tensors[1:], "trainer_state.json"]
    for name, damage in zip(names, (cut, remove, flip, empty, flip), strict=True):
        shutil.copytree(tmp_path / "stopped", tmp_path / name)
        damage(tmp_path / name / "fold0/checkpoints" / newest / name)
        succeed(clips_worker, tmp_path, "train.py", *options, "--output_dir", name, "--resume")
        assert f"{newest}: is left, " in clips_worker.printed
        assert bits(tmp_path / name) == bits(tmp_path / "whole")


@pytest.mark.slow
def test_a_damaged_stage_is_trained_again(faces_worker, tmp_path):
    write_images(tmp_path / "train", range(4))
    stages = ["--stages", "part=1/2 num_train_epochs=1", "part=2/2 num_train_epochs=1"]
    options = [*TINY_FACES, "--train_file", tmp_path / "train", "--num_folds", "1", *stages]
    succeed(faces_worker, tmp_path, "train.py", *options, "--output_dir", "run")
    whole = bits(tmp_path / "run")
    fold = Path(tmp_path / "run/fold0")
    (fold / "fold.json").unlink()
    flip(fold / "stages/1/model.safetensors")
    succeed(faces_worker, tmp_path, "train.py", *options, "--output_dir", "run", "--resume")
    assert "model.safetensors has other bytes than were written); the stage is trained again" in faces_worker.printed
    assert bits(tmp_path / "run") == whole
