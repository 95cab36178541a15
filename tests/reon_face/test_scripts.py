"""reon_face/crop.py, train.py and predict.py as a user runs them, on tiny images made here, one CPU thread."""

import csv
import json
import re
import shutil
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForImageClassification

from common.files import read_json
from common.logits import Logits
from common.submission import check_submission
from reon_face.model import preprocessing_of
from reon_face.sample.draw import EMOTIONS, draw_images, draw_video
from tests.tools.faces import NAMES, TASK, TINY, write_images
from tests.tools.scripts import assert_same_folds, help_without_torch, launch, predict, succeed, worker_of

FORMAT = {"label_names": NAMES, "label_columns": ["Predicted"], "probability_columns": True}
worker = worker_of(TASK)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """data/: train, eval, test (without labels) and a sample submission in an order of its own."""
    data = tmp_path_factory.mktemp("contest") / "data"
    write_images(data / "train", range(4))
    write_images(data / "eval", range(10, 12))
    write_images(data / "test", range(20, 22), labelled=False)
    with open(data / "sample_submission.csv", "w", newline="") as file:
        ids = sorted((path.name for path in (data / "test").iterdir()), reverse=True)
        csv.writer(file).writerows([("Id", "Predicted", *NAMES), *((row_id, "dark", 0, 1) for row_id in ids)])
    return data


@pytest.fixture(scope="module")
def trained(worker, data, tmp_path_factory):
    """run/: two folds, two epochs, all files of a run."""
    folder = tmp_path_factory.mktemp("trained")
    files = [
        "--train_file",
        data / "train",
        "--test_file",
        data / "test",
        "--sample_submission_file",
        data / "sample_submission.csv",
    ]
    succeed(worker, folder, "train.py", *TINY, *files, "--output_dir", "run")
    return folder / "run"


def assert_same_bits(a, b):
    """The weights and logits of all folds of two runs, and what they logged (but for times)."""
    assert_same_folds(a, b)
    for fold in a.glob("fold*"):
        logs = [
            [entry.get("eval_loss") for entry in read_json(path / fold.name / "fold.json")["log_history"]]
            for path in (a, b)
        ]
        assert [loss for loss in logs[0] if loss] == [loss for loss in logs[1] if loss] != []


# The run folder


def test_a_run_fills_its_folder_in_the_order_of_the_training_images_and_keeps_people_together(trained):
    files = {path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()}
    assert {
        "config.yaml", "run.json", "metrics.json", "oof_logits.npz", "test_logits.npz", "submission.csv", "report.md",
        *(f"fold{k}/{name}" for k in range(2) for name in ("config.json", "model.safetensors", "fold.json", "README.md")),
    } <= files  # fmt: skip
    assert not list(trained.glob("fold*/checkpoints")) and not list(trained.glob("fold*/stages"))
    oof = Logits.load(trained / "oof_logits.npz")
    assert oof.ids.tolist()[:3] == ["bright/s0_0.png", "dark/s0_0.png", "bright/s0_1.png"] and len(oof.ids) == 16
    people = [
        {row.partition("/s")[2][0] for row in Logits.load(trained / f"fold{k}/held_out_logits.npz").ids}
        for k in range(2)
    ]
    assert not people[0] & people[1] and len(people[0] | people[1]) == 4
    report = (trained / "report.md").read_text()
    assert "fold 1: " in report and "images/s" in report and "of the time waiting for data" in report
    assert "16 images in 4 groups" in report


def test_the_submission_fits_the_sample_and_predict_gives_the_same(worker, trained, data, tmp_path):
    check_submission(trained / "submission.csv", data / "sample_submission.csv", **FORMAT)
    files = ["--test_file", data / "test", "--sample_submission_file", data / "sample_submission.csv"]
    predict(worker, tmp_path, "--run_dir", trained, *files)
    rows = [
        np.genfromtxt(path, delimiter=",", skip_header=1)[:, 2:]
        for path in (trained / "submission.csv", tmp_path / "s.csv")
    ]
    assert rows[0] == pytest.approx(rows[1], abs=1e-6)
    assert not (tmp_path / "s.metrics.json").exists()


def test_a_fold_is_a_model_of_transformers_that_says_how_a_frame_becomes_its_input(trained):
    model = AutoModelForImageClassification.from_pretrained(trained / "fold0")
    assert model.config.id2label == {0: "bright", 1: "dark"}
    preprocessing = preprocessing_of(trained / "fold0")
    assert preprocessing.image_size == 32 and preprocessing.face_crop["detector"] == "haar"
    assert "image-classification" in (trained / "fold1" / "README.md").read_text()


def test_labelled_images_give_metrics_and_two_runs_are_averaged(worker, trained, data, tmp_path):
    one = predict(worker, tmp_path, "--run_dir", trained, "--test_file", data / "eval")
    assert read_json(tmp_path / "s.metrics.json")["accuracy"] == pytest.approx(
        (one.logits.argmax(1) == one.labels).mean()
    )
    two = predict(worker, tmp_path, "--run_dir", trained, trained, "--weights", "3", "1", "--test_file", data / "eval")
    assert two.logits == pytest.approx(one.logits, abs=1e-6)


# Resuming, starting from a run, stages


def test_stopped_after_each_epoch_and_resumed_gives_the_bits_of_a_run_that_was_not(worker, data, tmp_path):
    options = [
        *TINY,
        "--train_file",
        data / "train",
        "--ema_decay",
        "0.9",
        "--mixup_alpha",
        "0.4",
        "--cutmix_alpha",
        "1.0",
        "--drop_rate",
        "0.3",
    ]
    options += ["--random_erasing", "0.5", "--gradient_accumulation_steps", "2", "--label_smoothing_factor", "0.1"]
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
    succeed(worker, tmp_path, "train.py", *options, "--output_dir", "pieces", "--resume")
    assert_same_bits(tmp_path / "whole", tmp_path / "pieces")


def test_stages_go_on_from_each_other_and_are_measured_on_the_earlier_parts(worker, data, tmp_path):
    stages = [
        "part=1/2 start=scratch optim=sgd momentum=0.9 learning_rate=0.05",
        "part=2/2 num_train_epochs=1 learning_rate=1e-30",
    ]
    options = [
        *TINY,
        "--train_file",
        data / "train",
        "--eval_file",
        data / "eval",
        "--num_folds",
        "1",
        "--optim",
        "sgd",
        "--output_dir",
        "run",
    ]
    succeed(worker, tmp_path, "train.py", *options, "--stages", *stages)
    fold = tmp_path / "run" / "fold0"
    first, second = read_json(fold / "fold.json")["stages"]
    assert [first["name"], second["name"]] == ["part 1/2", "part 2/2"] and [first["epoch"], second["epoch"]] == [2, 3]
    assert set(first["accuracy"]) == {"eval", "part 1/2"} and set(second["accuracy"]) == {
        "eval",
        "part 1/2",
        "part 2/2",
    }
    # a stage that changes nothing keeps the first one's weights (but for the running statistics of batch norm)
    weights = [load_file(path / "model.safetensors") for path in (fold / "stages" / "1", fold)]
    learned = [key for key in weights[0] if "running" not in key and "num_batches" not in key]
    assert learned and all(np.allclose(weights[0][key], weights[1][key], atol=1e-6) for key in learned)
    report = (tmp_path / "run" / "report.md").read_text()
    assert "fold 0, stage 2 (part 2/2)" in report and "accuracy after it: eval 0." in report or "eval 1." in report
    # a finished stage is not trained again
    (fold / "fold.json").unlink()
    written = (fold / "stages" / "1" / "model.safetensors").stat().st_mtime_ns
    succeed(worker, tmp_path, "train.py", *options, "--resume", "--stages", *stages)
    assert (fold / "stages" / "1" / "model.safetensors").stat().st_mtime_ns == written
    assert np.array_equal(load_file(fold / "model.safetensors")[learned[0]], weights[1][learned[0]])


def test_a_preset_names_stages_as_mappings(worker, data, tmp_path):
    text = (TASK / "configs" / "source_stages.yaml").read_text()
    assert text.count("- {part: ") == 4
    small = text.replace("efficientnet_b0", "scratch").replace("image_size: 224", "image_size: 32")
    for epochs in ("10", "30", "50"):
        small = small.replace(f"num_train_epochs: {epochs}", "num_train_epochs: 1")
    (tmp_path / "stages.yaml").write_text(small)
    write_images(tmp_path / "more", range(8))
    options = [
        "--config",
        "stages.yaml",
        "--train_file",
        "more",
        "--eval_file",
        data / "eval",
        "--torch_num_threads",
        "1",
    ]
    succeed(worker, tmp_path, "train.py", *options, "--disable_tqdm", "true", "--output_dir", "run")
    stages = read_json(tmp_path / "run/fold0/fold.json")["stages"]
    assert [stage["name"] for stage in stages] == [f"part {k}/4" for k in (1, 2, 3, 4)] and stages[3]["epoch"] == 4


def test_start_takes_each_fold_from_the_same_fold_of_a_run(worker, trained, data, tmp_path):
    options = [*TINY, "--train_file", data / "train", "--start", trained, "--optim", "sgd", "--learning_rate", "1e-30"]
    succeed(worker, tmp_path, "train.py", *options, "--output_dir", "run")
    for k in range(2):
        weights = [load_file(path / f"fold{k}" / "model.safetensors") for path in (trained, tmp_path / "run")]
        assert np.allclose(*(part["timm_model.classifier.weight"] for part in weights), atol=1e-7)
    assert "optimistic" not in worker.printed
    succeed(
        worker, tmp_path, "train.py", *options, "--fold_seed", "5", "--num_train_epochs", "1", "--output_dir", "other"
    )
    seen = re.findall(r"warning: fold \d: .* was trained on (\d+) of its (\d+) held-out rows", worker.printed)
    held_out = [
        [set(Logits.load(path / f"fold{k}" / "held_out_logits.npz").ids) for k in range(2)]
        for path in (trained, tmp_path / "other")
    ]
    expected = [len(held_out[1][k] & held_out[0][1 - k]) for k in range(2)]
    assert [int(count) for count, _ in seen] == [count for count in expected if count] != []


# The whole way


def test_the_samples_frames_are_cropped_trained_on_predicted_exported_and_scored(worker, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    recipe = {
        "subjects": 3,
        "first_subject": 200,
        "images": 1,
        "seed": 8,
        "labelled": True,
        "height": 144,
        "width": 192,
    }
    (folder / "drawn.json").write_text(json.dumps(recipe))
    draw_images(folder)
    draw_video(tmp_path / "actor.mp4", [("happy", 1.0), ("angry", 1.0)], 210, seconds=1.0)
    pattern = ["--subject_pattern", r"s(\d+)_"]
    succeed(
        worker,
        tmp_path,
        "crop.py",
        "--input",
        "frames",
        "--output_dir",
        "crops",
        "--size",
        "48",
        "--padding",
        "0.2",
        *pattern,
    )
    assert read_json(tmp_path / "crops" / "crop.json")["rows"] >= 14
    succeed(
        worker, tmp_path, "train.py", *TINY, "--train_file", "crops", "--num_train_epochs", "1", "--output_dir", "run"
    )
    oof = Logits.load(tmp_path / "run" / "oof_logits.npz")
    assert len(oof.label_names) == 7 and len(oof.ids) == read_json(tmp_path / "crops" / "crop.json")["rows"]
    assert preprocessing_of(tmp_path / "run" / "fold0").face_crop["padding"] == 0.2
    assert len(predict(worker, tmp_path, "--run_dir", "run", "--test_file", "crops").ids) == len(oof.ids)
    succeed(
        worker,
        tmp_path,
        "export.py",
        "run/fold0",
        "--output_dir",
        "exported",
        "--precision",
        "fp32",
        "--torch_num_threads",
        "1",
    )
    succeed(
        worker,
        tmp_path,
        "score.py",
        "actor.mp4",
        "actor.mp4",
        "--model",
        "exported/fp32",
        "--output_dir",
        "score",
        "--torch_num_threads",
        "1",
    )
    assert read_json(tmp_path / "score" / "score.json")["score"] == pytest.approx(100)


@pytest.mark.slow
def test_a_copied_folder_takes_the_contests_files_from_its_own_data_folder(data, tmp_path):
    ignored = shutil.ignore_patterns("data", "__pycache__", "*.jpg", "web", "node_modules")
    shutil.copytree(TASK, tmp_path / "my_contest", ignore=ignored)
    shutil.copytree(data, tmp_path / "my_contest" / "data")
    tiny = ["--model_name_or_path", "scratch", "--image_size", "32", "--num_train_epochs", "1", "--num_folds", "2"]
    tiny += ["--dataloader_num_workers", "0", "--torch_num_threads", "1", "--disable_tqdm", "true"]
    output = launch(sys.executable, "my_contest/train.py", *tiny, cwd=tmp_path)
    assert "preset my_contest/configs/final.yaml (my_contest/data/train is there)" in output
    submission = tmp_path / "runs/my_contest/final/submission.csv"
    check_submission(submission, data / "sample_submission.csv", **FORMAT)


@pytest.mark.parametrize(
    ("script", "option"), [("train.py", "--stages"), ("predict.py", "--run_dir"), ("crop.py", "--detector")]
)
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
    assert oof["accuracy"] > 0.6 and oof["majority_share"] < 0.15
    check_submission(
        tmp_path / "run" / "submission.csv",
        TASK / "sample" / "sample_submission.csv",
        label_names=EMOTIONS,
        label_columns=["Predicted"],
        probability_columns=True,
    )


def test_a_teacher_of_weight_0_changes_nothing_and_one_of_weight_1_what_is_learned(worker, data, trained, tmp_path):
    options = [*TINY, "--train_file", data / "train", "--fold", "0", "--teacher", trained]
    for weight in ("0", "1"):
        succeed(worker, tmp_path, "train.py", *options, "--teacher_weight", weight, "--output_dir", weight)
    before, same, other = (
        Logits.load(run / "fold0" / "held_out_logits.npz").logits for run in (trained, tmp_path / "0", tmp_path / "1")
    )
    assert np.allclose(before, same, atol=1e-4) and not np.allclose(before, other, atol=1e-3)
    code, errors = worker.run(tmp_path, "train.py", *options, "--fold_seed", "7", "--output_dir", "refused")
    assert code == 2 and "none of its folds held out just the rows" in errors and not (tmp_path / "refused").exists()
