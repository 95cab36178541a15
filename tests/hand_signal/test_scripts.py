"""hand_signal/train.py and predict.py as a user runs them, on tiny clips made here, each case in a folder of its own,
one CPU thread."""

import csv
import shutil
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from common.files import read_json
from common.logits import Logits
from common.submission import check_submission
from hand_signal.model import VideoClassifier
from hand_signal.slowfast import SlowFast
from tests.tools.scripts import ROOT, assert_same_folds, help_without_torch, launch, predict, succeed, worker_of
from tests.tools.videos import moving_square, write_broken, write_clip, write_competition

TASK = ROOT / "hand_signal"
TINY = ["--config", TASK / "configs" / "demo.yaml", "--torch_num_threads", "1", "--disable_tqdm", "true"]
TINY += ["--num_frames", "4", "--crop_size", "32", "--num_train_epochs", "2", "--num_folds", "2"]
LABELLED = [0, 1] * 6


worker = worker_of(TASK)


@pytest.fixture(scope="module")
def competition(tmp_path_factory):
    """data/: train, test and sample submission as the competition has them, squares that move right (0) or left (1)."""
    data = tmp_path_factory.mktemp("competition") / "data"
    write_competition(data / "train", LABELLED, boxes=[["2", "2", "46", "46"]] * 12)
    write_competition(data / "test", [None] * 3)
    with open(data / "sample_submission.csv", "w", newline="") as file:
        rows = [(f"./test\\file_{n}", 0, 0) for n in (2, 0, 1)]
        csv.writer(file).writerows([("file_path", "Label_0", "Label_1"), *rows])
    return data


@pytest.fixture(scope="module")
def trained(worker, competition, tmp_path_factory):
    """run/: two folds, two epochs, all files of a run."""
    folder = tmp_path_factory.mktemp("trained")
    files = ["--train_file", competition / "train", "--test_file", competition / "test"]
    files += ["--sample_submission_file", competition / "sample_submission.csv"]
    succeed(worker, folder, "train.py", *TINY, *files, "--output_dir", "run")
    return folder / "run"


def assert_same_bits(a, b):
    """The weights and logits of all folds of two runs, and where their loss was."""
    assert_same_folds(a, b)
    for fold in a.glob("fold*"):
        assert read_json(fold / "fold.json")["log_history"] == read_json(b / fold.name / "fold.json")["log_history"]


# The run folder


def test_a_run_fills_its_folder_in_the_order_of_the_training_clips(trained, competition):
    files = {path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()}
    assert {
        "config.yaml", "run.json", "metrics.json", "calibration.json", "oof_logits.npz", "test_logits.npz", "submission.csv", "report.md",
        *(f"fold{k}/{name}" for k in range(2) for name in ("config.json", "model.safetensors", "fold.json", "README.md")),
    } <= files  # fmt: skip
    assert not list(trained.glob("fold*/checkpoints"))
    assert read_json(trained / "run.json")["status"] == "done"
    oof = Logits.load(trained / "oof_logits.npz")
    assert oof.ids.tolist() == [f"./train\\file_{n}" for n in range(12)] and oof.labels.tolist() == LABELLED
    history = read_json(trained / "fold0" / "fold.json")["log_history"]
    assert [entry["epoch"] for entry in history] == [1, 2] and {"loss", "eval_loss", "eval_accuracy"} <= set(history[0])


def test_the_submission_has_the_samples_order_and_calibrated_probabilities(trained, competition):
    check_submission(trained / "submission.csv", competition / "sample_submission.csv", probability_columns=True)
    calibration = read_json(trained / "calibration.json")
    assert len(calibration["fold_temperatures"]) == 2
    test = Logits.load(trained / "test_logits.npz").reorder([f"./test\\file_{n}" for n in (2, 0, 1)])
    test.logits = test.logits / calibration["temperature"]
    rows = np.genfromtxt(trained / "submission.csv", delimiter=",", skip_header=1)[:, 1:]
    assert rows == pytest.approx(test.probabilities(), abs=1e-6)


def test_a_fold_is_a_model_that_says_its_labels_and_preprocessing(trained):
    model = VideoClassifier.from_pretrained(trained / "fold1")
    assert isinstance(model.backbone, SlowFast) and model.config.id2label == {0: "0", 1: "1"}
    assert model.config.preprocessing["crop_size"] == 32 and model.config.preprocessing["num_frames"] == 4
    assert "video-classification" in (trained / "fold1" / "README.md").read_text()


@pytest.mark.slow
def test_the_demo_draws_its_sample_and_writes_the_competitions_format(worker, tmp_path):
    succeed(
        worker, tmp_path, "train.py", *TINY, "--max_train_samples", "32", "--num_train_epochs", "1", "--num_clips", "1"
    )
    run_dir = tmp_path / "runs" / "hand_signal" / "demo"
    check_submission(run_dir / "submission.csv", TASK / "sample" / "sample_submission.csv", probability_columns=True)
    held_out = [Logits.load(run_dir / f"fold{k}" / "held_out_logits.npz").ids.tolist() for k in range(2)]
    pairs = [{int(row.rpartition("_")[2]) // 2 for row in ids} for ids in held_out]
    assert (
        not pairs[0] & pairs[1] and sum(map(len, pairs)) == 16
    )  # an officer's strokes forwards and backwards stay together


# Prediction


def test_predict_gives_the_runs_own_submission(worker, trained, competition, tmp_path):
    files = ["--test_file", competition / "test", "--sample_submission_file", competition / "sample_submission.csv"]
    predict(worker, tmp_path, "--run_dir", trained, *files)
    submissions = trained / "submission.csv", tmp_path / "s.csv"
    rows = [np.genfromtxt(path, delimiter=",", skip_header=1)[:, 1:] for path in submissions]
    assert rows[0] == pytest.approx(rows[1], abs=1e-6)
    assert not (tmp_path / "s.metrics.json").exists()


def test_a_labelled_folder_gives_metrics_and_more_views_other_logits(worker, trained, competition, tmp_path):
    options = ["--test_file", competition / "train", "--no_calibrate"]
    one = predict(worker, tmp_path, "--run_dir", trained, *options)
    assert one.labels.tolist() == LABELLED
    assert read_json(tmp_path / "s.metrics.json")["accuracy"] == pytest.approx(
        (one.logits.argmax(1) == one.labels).mean()
    )
    more = predict(worker, tmp_path, "--run_dir", trained, *options, "--num_clips", "3", "--num_crops", "3")
    assert 0 < np.abs(more.logits - one.logits).max() < 5
    two = predict(worker, tmp_path, "--run_dir", trained, trained, *options)
    assert two.logits == pytest.approx(one.logits, abs=1e-6)


def test_a_broken_test_clip_is_skipped_counted_and_gets_equal_probabilities(worker, trained, tmp_path):
    write_clip(tmp_path / "clips" / "good.mp4", images=moving_square(1, 0))
    write_broken(tmp_path / "clips", "truncated-mp4")
    predict(worker, tmp_path, "--run_dir", trained, "--test_file", "clips", "--skip_broken")
    header, broken, good = list(csv.reader(open(tmp_path / "s.csv")))
    assert header == ["Id", "Predicted", "0", "1"]
    assert broken[0] == "broken.mp4" and broken[2:] == ["0.50000000"] * 2 and good[2] != "0.50000000"
    assert "1 of 2 clips cannot be decoded" in worker.printed


# Resuming


def test_stopped_after_each_epoch_and_resumed_gives_the_bits_of_a_run_that_was_not(worker, competition, tmp_path):
    options = [
        *TINY,
        "--train_file",
        competition / "train",
        "--ema_decay",
        "0.9",
        "--mixup_alpha",
        "0.4",
        "--dropout",
        "0.3",
    ]
    options += [
        "--gradient_accumulation_steps",
        "2",
        "--per_device_train_batch_size",
        "2",
        "--max_grad_norm",
        "1",
        "--cache_dir",
        "cache",
    ]
    succeed(worker, tmp_path, "train.py", *options, "--output_dir", "whole")
    for epoch in ("0", "1"):
        succeed(
            worker,
            tmp_path,
            "train.py",
            *options,
            "--output_dir",
            "pieces",
            "--fold",
            "0",
            "--stop_after_epoch",
            epoch,
            "--resume",
        )
        assert f"stopped after epoch {epoch} of 2" in worker.printed
    assert len(list((tmp_path / "pieces/fold0/checkpoints").glob("*/trainer_state.json"))) == 1
    succeed(worker, tmp_path, "train.py", *options, "--output_dir", "pieces", "--fold", "0")
    succeed(worker, tmp_path, "train.py", *options, "--output_dir", "pieces", "--resume")
    assert_same_bits(tmp_path / "whole", tmp_path / "pieces")
    assert len(list((tmp_path / "cache").iterdir())) == 12
    history = read_json(tmp_path / "whole" / "fold0" / "fold.json")["log_history"]
    assert history[-1]["step"] == 4  # 6 clips in 3 micro-batches: 2 steps an epoch


def test_early_stopping_watches_the_validation_loss_where_nothing_else_is_named(worker, competition, tmp_path):
    options = [
        "--config",
        TASK / "configs" / "tune.yaml",
        *TINY[2:],
        "--train_file",
        competition / "train",
        "--num_train_epochs",
        "1",
    ]
    options += ["--fold", "0", "--early_stopping_patience", "2", "--model_name_or_path", "slow_small"]
    succeed(worker, tmp_path, "train.py", *options, "--output_dir", "run")
    info = read_json(tmp_path / "run/fold0/fold.json")
    assert info["best_metric"] == info["log_history"][0]["eval_loss"]


def test_a_run_does_not_go_on_with_other_labels_in_the_same_folder(worker, competition, tmp_path):
    shutil.copytree(competition / "train", tmp_path / "train")
    options = [*TINY, "--train_file", "train", "--num_train_epochs", "1", "--output_dir", "run"]
    succeed(worker, tmp_path, "train.py", *options, "--fold", "0")
    for number, action in enumerate(LABELLED):
        record = tmp_path / f"train/file_{number}/file_{number}.json"
        record.write_text(record.read_text().replace(f'"action": {action}', f'"action": {1 - action}'))
    for more in (["--fold", "1"], ["--resume"]):
        code, errors = worker.run(tmp_path, "train.py", *options, *more)
        assert code == 2 and "train: has changed since the run in" in errors, errors


def test_accumulated_micro_batches_take_the_steps_of_whole_batches_also_where_the_last_has_fewer_rows(
    worker, competition, tmp_path
):
    files = ["--train_file", competition / "train", "--eval_file", competition / "train"]
    options = [*TINY, *files, "--num_folds", "1", "--calibrate", "false", "--num_train_epochs", "1"]
    options += ["--model_name_or_path", "timm/test_vit", "--crop_size", "160", "--dropout", "0"]  # no batch norm
    options += ["--max_grad_norm", "0"]  # which would hide the scale of a gradient
    succeed(worker, tmp_path, "train.py", *options, "--per_device_train_batch_size", "8", "--output_dir", "whole")
    micro = ["--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "2"]
    succeed(worker, tmp_path, "train.py", *options, *micro, "--output_dir", "micro")
    whole, micro = (load_file(tmp_path / name / "fold0/model.safetensors") for name in ("whole", "micro"))
    assert max(np.abs(whole[key] - micro[key]).max() for key in whole) < 1e-5
    losses = [read_json(tmp_path / name / "fold0/fold.json")["log_history"][0]["loss"] for name in ("whole", "micro")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.slow
def test_a_fold_begins_without_the_models_of_the_folds_before_it(competition, tmp_path):
    argv = [*TINY, "--train_file", competition / "train", "--num_train_epochs", "1", "--output_dir", "run"]
    program = f"""
import gc, runpy, sys, weakref
sys.path.insert(0, {str(TASK)!r})
import model
load, made = model.load_video_model, []
def load_and_watch(*args, **options):
    gc.collect()
    print("models:", sum(reference() is not None for reference in made))
    new = load(*args, **options)
    made.append(weakref.ref(new))
    return new
model.load_video_model = load_and_watch
sys.argv = {[str(TASK / "train.py"), *map(str, argv)]!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    output = launch(sys.executable, "-c", program, cwd=tmp_path)
    assert [line for line in output.splitlines() if line.startswith("models:")] == [
        "models: 0"
    ] * 3  # a look at the input, two folds


def test_early_stopping_keeps_the_weights_of_the_lowest_validation_loss(worker, competition, tmp_path):
    options = [*TINY, "--train_file", competition / "train", "--eval_file", competition / "train", "--num_folds", "1"]
    options += [
        "--calibrate",
        "false",
        "--num_train_epochs",
        "30",
        "--learning_rate",
        "0.02",
        "--early_stopping_patience",
        "1",
    ]
    succeed(worker, tmp_path, "train.py", *options, "--output_dir", "run")
    info = read_json(tmp_path / "run/fold0/fold.json")
    losses = [entry["eval_loss"] for entry in info["log_history"]]
    assert len(losses) < 30 and losses[-1] > min(losses) == losses[-2]
    assert info["best_metric"] == min(losses)
    # the same clips through the saved model: one view of each, as while it trained
    predict(worker, tmp_path, "--run_dir", "run", "--test_file", competition / "train", "--num_clips", "1")
    assert read_json(tmp_path / "s.metrics.json")["log_loss"] == pytest.approx(min(losses), abs=1e-4)


# Layouts, broken clips, a copied folder


def test_folders_of_classes_train_with_a_skipped_clip_that_is_counted_and_flips_that_swap(worker, tmp_path):
    for k in range(8):
        write_clip(
            tmp_path / "clips" / ("right" if k % 2 else "left") / f"{k}.mp4",
            images=moving_square(1 if k % 2 else -1, k),
        )
    write_broken(tmp_path / "clips" / "left", "truncated-mp4")
    options = [
        "--train_file",
        "clips",
        "--skip_broken",
        "--flip_pairs",
        "left:right",
        "--num_train_epochs",
        "1",
        "--calibrate",
        "false",
    ]
    succeed(worker, tmp_path, "train.py", *TINY, *options, "--num_folds", "1", "--output_dir", "run")
    note = "train: 1 of 9 clips cannot be decoded and were skipped: left/broken.mp4"
    assert note in worker.printed and note in (tmp_path / "run/report.md").read_text()
    assert VideoClassifier.from_pretrained(tmp_path / "run/fold0").config.id2label == {0: "left", 1: "right"}


@pytest.mark.parametrize("name", ["slow_small", "timm/test_efficientnet"])
def test_other_architectures_train_and_predict(name, worker, competition, tmp_path):
    options = [
        "--model_name_or_path",
        name,
        "--num_folds",
        "1",
        "--calibrate",
        "false",
        "--num_train_epochs",
        "1",
        "--output_dir",
        "run",
    ]
    options += ["--temporal_head", "lstm"] if name.startswith("timm") else []
    succeed(worker, tmp_path, "train.py", *TINY, "--train_file", competition / "train", *options)
    got = predict(worker, tmp_path, "--run_dir", "run", "--test_file", competition / "test")
    assert got.logits.shape == (3, 2)


@pytest.mark.slow
def test_a_copied_folder_takes_the_competitions_files_from_its_own_data_folder(competition, tmp_path):
    shutil.copytree(TASK, tmp_path / "my_contest", ignore=shutil.ignore_patterns("data", "__pycache__", "file_*"))
    shutil.copytree(competition, tmp_path / "my_contest" / "data")
    tiny = [
        "--model_name_or_path",
        "scratch",
        "--num_frames",
        "4",
        "--crop_size",
        "32",
        "--num_train_epochs",
        "1",
        "--num_folds",
        "2",
    ]
    tiny += ["--dataloader_num_workers", "0", "--num_clips", "1", "--torch_num_threads", "1", "--disable_tqdm", "true"]
    output = launch(sys.executable, "my_contest/train.py", *tiny, cwd=tmp_path)
    assert "preset my_contest/configs/final.yaml (my_contest/data/train is there)" in output
    check_submission(
        tmp_path / "runs/my_contest/final/submission.csv",
        competition / "sample_submission.csv",
        probability_columns=True,
    )


@pytest.mark.parametrize(("script", "option"), [("train.py", "--flip_pairs"), ("predict.py", "--num_crops")])
def test_help_lists_the_options_without_importing_torch(script, option, tmp_path):
    assert option in help_without_torch(TASK / script, tmp_path)


# The demo as the README has it


@pytest.mark.slow
def test_the_readmes_demo_is_far_above_chance_and_writes_the_competitions_submission(worker, tmp_path):
    succeed(
        worker,
        tmp_path,
        "train.py",
        "--config",
        TASK / "configs" / "demo.yaml",
        "--torch_num_threads",
        "1",
        "--output_dir",
        "run",
    )
    oof = read_json(tmp_path / "run" / "metrics.json")["oof"]
    assert oof["accuracy"] > 0.8 and oof["majority_share"] == 0.25
    sample = TASK / "sample" / "sample_submission.csv"
    check_submission(tmp_path / "run" / "submission.csv", sample, probability_columns=True)


def test_a_teacher_of_weight_0_changes_nothing_and_one_of_weight_1_what_is_learned(
    worker, competition, trained, tmp_path
):
    options = [
        *TINY,
        "--train_file",
        competition / "train",
        "--fold",
        "0",
        "--calibrate",
        "false",
        "--teacher",
        trained,
    ]
    for weight in ("0", "1"):
        succeed(worker, tmp_path, "train.py", *options, "--teacher_weight", weight, "--output_dir", weight)
    before, same, other = (
        Logits.load(run / "fold0" / "held_out_logits.npz").logits for run in (trained, tmp_path / "0", tmp_path / "1")
    )
    assert np.allclose(before, same, atol=1e-4) and not np.allclose(before, other, atol=1e-3)
    for clash in (["--mixup_alpha", "0.2"], ["--flip_pairs", "0:1"]):
        code, errors = worker.run(tmp_path, "train.py", *options, *clash, "--output_dir", "refused")
        assert code == 2 and "a soft label belongs to one row" in errors and not (tmp_path / "refused").exists()
