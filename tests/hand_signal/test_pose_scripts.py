"""hand_signal/train.py and predict.py with key points, as a user runs them: tiny people made here, one CPU thread."""

import json
import shutil

import numpy as np
import pytest

from common.files import read_json
from common.logits import Logits, average
from common.submission import check_submission
from hand_signal.model import VideoClassifier
from tests.tools.poses import PARENTS, POINTS, entry, person, write_json, write_posed_clips
from tests.tools.scripts import ROOT, assert_same_folds, predict, succeed, worker_of
from tests.tools.videos import moving_square, write_clip

TASK = ROOT / "hand_signal"
COMMON = ["--torch_num_threads", "1", "--disable_tqdm", "true"]
TUNE = ["--config", TASK / "configs" / "pose_tune.yaml", *COMMON, "--num_folds", "2", "--num_frames", "8"]
FINAL = ["--config", TASK / "configs" / "pose_final.yaml", *COMMON, "--num_folds", "2", "--num_frames", "8"]

worker = worker_of(TASK)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """clips/: 12 clips of each of two classes that no decoder could read, test/: 4 more; poses.json: of both."""
    folder = tmp_path_factory.mktemp("posed")
    entries = write_posed_clips(folder / "clips", [0, 1], 12)
    entries |= write_posed_clips(folder / "test", [0, 1], 2, start=50)
    write_json(folder / "poses.json", entries)
    write_json(folder / "names.json", {"names": POINTS, "parents": PARENTS})
    return folder


@pytest.fixture(scope="module")
def trained(worker, clips, tmp_path_factory):
    """run/: the preset pose_final, two streams, two folds, ten epochs."""
    folder = tmp_path_factory.mktemp("trained")
    files = ["--train_file", clips / "clips", "--pose_file", clips / "poses.json"]
    worker.draws = True
    succeed(worker, folder, "train.py", *FINAL, *files, "--num_train_epochs", "10", "--output_dir", "run")
    worker.draws = False
    return folder / "run"


def test_the_preset_learns_and_its_folds_say_how_to_read_a_clip(trained):
    oof = Logits.load(trained / "oof_logits.npz")
    assert (oof.logits.argmax(1) == oof.labels).mean() > 0.9
    model = VideoClassifier.from_pretrained(trained / "fold0")
    assert model.backbone.streams == ["joint", "bone"] and model.config.preprocessing["num_points"] == 9
    assert read_json(trained / "run.json")["data"]["pose_file"]["sha256"]
    assert 0 < read_json(trained / "calibration.json")["log_loss_cross_fitted"] < 0.5


def test_a_metric_that_the_target_does_not_watch_is_measured_shown_and_chooses_the_weights(worker, clips, tmp_path):
    files = ["--train_file", clips / "clips", "--pose_file", clips / "poses.json", "--fold", "0"]
    options = [*TUNE, *files, "--num_train_epochs", "3", "--metric", "mcc", "--load_best_model_at_end"]
    succeed(worker, tmp_path, "train.py", *options, "--output_dir", "run")
    info = read_json(tmp_path / "run/fold0/fold.json")
    assert info["best_metric"] == max(entry["eval_mcc"] for entry in info["log_history"])
    assert "eval_mcc" in worker.printed


def test_the_report_shows_mean_poses_and_the_clips_with_most_loss(trained):
    page = (trained / "report.md").read_text()
    assert page.count("## Key points: oof") == 1 and "mean_poses.png" in page and "highest_loss.png" in page
    assert all((trained / "plots" / f"{name}.png").stat().st_size > 5000 for name in ("mean_poses", "highest_loss"))


def test_prediction_averages_the_folds_and_an_empty_clip_gets_equal_probabilities(worker, trained, clips, tmp_path):
    entries = json.loads((clips / "poses.json").read_text())
    entries["k1/k1_51.mp4"]["2d_pos"] = [None] * 12
    files = ["--test_file", clips / "test", "--pose_file", write_json(tmp_path / "p.json", entries)]
    logits = predict(worker, tmp_path, "--run_dir", trained, *files)
    assert (logits.logits.argmax(1) == logits.labels)[:3].all()
    empty = logits.probabilities()[logits.ids.tolist().index("k1/k1_51.mp4")]
    assert empty == pytest.approx([0.5, 0.5])
    assert "12 of 48 frames have no key points" in worker.printed


def test_a_clip_with_few_frames_of_a_person_is_predicted_with_less_confidence(worker, trained, clips, tmp_path):
    entries = json.loads((clips / "poses.json").read_text())
    whole = predict(
        worker, tmp_path, "--run_dir", trained, "--test_file", clips / "test", "--pose_file", clips / "poses.json"
    )
    for value in entries.values():
        value["2d_pos"][1:] = [None] * 11
    files = ["--test_file", clips / "test", "--pose_file", write_json(tmp_path / "p.json", entries)]
    part = predict(worker, tmp_path, "--run_dir", trained, *files)
    assert part.probabilities().max(1).mean() < whole.probabilities().max(1).mean()


def test_a_stopped_run_goes_on_to_the_same_bits(worker, clips, tmp_path):
    files = ["--train_file", clips / "clips", "--pose_file", clips / "poses.json", "--pose_streams", "motion", "bone"]
    files += ["--pose_names", clips / "names.json", "--flip_labels", "k0:k1", "--num_train_epochs", "3"]
    succeed(worker, tmp_path, "train.py", *TUNE, *files, "--output_dir", "whole")
    for fold in (0, 1):
        part = [*files, "--fold", fold, "--output_dir", "parts"]
        code, errors = worker.run(tmp_path, "train.py", *TUNE, *part, "--stop_after_epoch", "1")
        assert code == 0, errors
        succeed(worker, tmp_path, "train.py", *TUNE, *part, "--resume")
    assert_same_folds(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("name", ["pose_gcn", "pose_c3d"])
def test_the_other_models_train_and_predict(worker, clips, tmp_path, name):
    files = ["--train_file", clips / "clips", "--eval_file", clips / "test", "--pose_file", clips / "poses.json"]
    files += ["--num_folds", "1", "--num_train_epochs", "1", "--num_frames", "4", "--max_train_samples", "6"]
    size = ["--crop_size", "32"] if name == "pose_c3d" else []
    succeed(worker, tmp_path, "train.py", *TUNE, *files, *size, "--model_name_or_path", name, "--output_dir", "run")
    test = ["--test_file", clips / "test", "--pose_file", clips / "poses.json"]
    assert np.isfinite(predict(worker, tmp_path, "--run_dir", tmp_path / "run", *test).logits).all()


def test_the_competitions_json_is_enough_and_averages_with_a_run_of_pixels(worker, tmp_path):
    data = tmp_path / "data"
    for part, numbers in {"train": range(8), "test": range(8, 11)}.items():
        for number in numbers:
            path = write_clip(data / part / f"file_{number}", images=moving_square(1, number, 6))
            flat = [[f"{v:.2f}" for p in f for v in p[:3]] for f in person(number % 2, number, frames=9)]
            action = {"action": number % 2} if part == "train" else {}
            write_json(
                path / f"file_{number}.json",
                {**action, "sequence": {"2d_pos": flat}, "info": {"width": 320, "height": 240}},
            )
    (data / "sample_submission.csv").write_text(
        "file_path,Label_0,Label_1\n" + "".join(f"./test\\file_{n},0,0\n" for n in (9, 8, 10))
    )
    files = [
        "--train_file",
        data / "train",
        "--test_file",
        data / "test",
        "--sample_submission_file",
        data / "sample_submission.csv",
    ]
    succeed(worker, tmp_path, "train.py", *FINAL, *files, "--num_train_epochs", "2", "--output_dir", "poses")
    check_submission(tmp_path / "poses" / "submission.csv", data / "sample_submission.csv", probability_columns=True)
    demo = [
        "--config",
        TASK / "configs" / "demo.yaml",
        *COMMON,
        "--num_frames",
        "4",
        "--crop_size",
        "32",
        "--num_folds",
        "2",
    ]
    demo += ["--num_train_epochs", "1", "--output_dir", "pixels", "--calibrate", "false", "--cache_dir", "cache"]
    succeed(worker, tmp_path, "train.py", *demo, *files)
    test = ["--test_file", data / "test", "--calibrate", "false"]
    both = predict(worker, tmp_path, "--run_dir", "pixels", "poses", *test)
    alone = [predict(worker, tmp_path, "--run_dir", name, *test) for name in ("pixels", "poses")]
    assert both.logits == pytest.approx(average(alone).logits, abs=1e-5)
    crop = [
        *demo[:-6],
        "--num_train_epochs",
        "1",
        "--calibrate",
        "false",
        "--crop_to_person",
        "true",
        "--output_dir",
        "cropped",
    ]
    succeed(worker, tmp_path, "train.py", *crop, *files)
    cropped = predict(worker, tmp_path, "--run_dir", "cropped", "poses", *test)
    assert not np.allclose(cropped.logits, both.logits)


def test_the_drawn_officers_have_key_points_and_auto_takes_them(worker, tmp_path):
    shutil.copytree(TASK / "sample", tmp_path / "sample", ignore=shutil.ignore_patterns("file_*"))
    (tmp_path / "train").mkdir()
    recipe = {"clips_per_signal": 1, "first_number": 0, "seed": 5, "labelled": True}
    write_json(tmp_path / "train" / "drawn.json", recipe)
    write_json(tmp_path / "auto.yaml", {"num_train_epochs": 1, "per_device_train_batch_size": 4, "num_frames": 8})
    files = ["--config", tmp_path / "auto.yaml", "--train_file", tmp_path / "train", "--eval_file", tmp_path / "train"]
    succeed(worker, tmp_path, "train.py", *files, *COMMON, "--output_dir", "run")
    assert read_json(tmp_path / "run" / "fold0" / "config.json")["kind"] == "pose_tcn"
    points = read_json(tmp_path / "train" / "file_0.json")["sequence"]["2d_pos"]
    assert len(points) == 24 and len(points[0]) == 39


# Bad input


DEMO = ["--config", TASK / "configs" / "demo.yaml", "--calibrate", "false", "--num_folds", "1"]
REFUSED = {
    "a-pose-file-for-pixels": (["--model_name_or_path", "slowfast_small"], ["pose_file", "reads no key points"]),
    "no-such-file": (["--pose_file", "nowhere.json"], ["nowhere.json", "pose_file"]),
    "flips-without-names": (["--flip_labels", "k0:k1"], ["flip_labels", "--pose_names"]),
    "no-such-stream": (["--pose_streams", "bones"], ["pose_streams", "'bones'"]),
    "names-of-another-count": (["--pose_names", "coco17"], ["9 key points", "have 17"]),
    "unknown-names": (["--pose_names", "coco18"], ["coco18", "coco17"]),
    "a-cache": (["--cache_dir", "c"], ["cache_dir", "sees no frames"]),
    "two-names-of-flips": (["--flip_labels", "k0:k1", "--flip_pairs", "k0:k1"], ["flip_labels", "only one"]),
    "rotation-beyond": (["--pose_rotation", "200"], ["pose_rotation", "180"]),
    "crop-for-poses": (["--crop_to_person", "true"], ["crop_to_person", "sees no frames"]),
    "color": (["--color_jitter", "0.1"], ["color_jitter", "sees no frames"]),
    "crop-scale": (["--min_crop_scale", "0.9"], ["min_crop_scale", "sees no frames"]),
    "crops": (["--num_crops", "3"], ["num_crops", "sees no frames"]),
    "box": (["--no_person_box"], ["person_box", "sees no frames"]),
    "size": (["--crop_size", "64"], ["crop_size", "sees no frames"]),
    "rotation-of-pixels": (
        ["--model_name_or_path", "slow_small", "--pose_rotation", "5"],
        ["pose_rotation", "reads no"],
    ),
    "flips-of-pixels": (["--model_name_or_path", "slow_small", "--flip_labels", "k0:k1"], ["flip_labels", "reads no"]),
    "what-auto-stands-for": (["--model_name_or_path", "auto", "--num_crops", "3"], ["num_crops", "pose_tcn sees no"]),
    "alpha": (["--alpha", "4"], ["alpha", "pose_tcn has none"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_options_that_do_not_fit_are_one_sentence(clips, refuse, tmp_path, case):
    argv, fragments = REFUSED[case]
    files = ["--train_file", clips / "clips", "--pose_file", clips / "poses.json"]
    if "slow_small" in argv:
        files = files[:2]
    refuse(tmp_path, "train", [*TUNE, "--output_dir", "run", *files, *argv], fragments)


def test_an_option_in_a_preset_that_the_model_does_not_read_is_refused_and_one_at_its_default_is_not(
    refuse, clips, tmp_path
):
    files = ["--train_file", clips / "clips", "--pose_file", clips / "poses.json", "--output_dir", "run"]
    preset = tmp_path / "own.yaml"
    preset.write_text((TASK / "configs" / "pose_tune.yaml").read_text() + "min_crop_scale: 0.8\n")
    refuse(tmp_path, "train", ["--config", preset, *COMMON, *files], ["min_crop_scale", "sees no frames"])
    argv = [*TUNE, *files, "--min_crop_scale", "0.5", "--num_crops", "1", "--alpha", "4"]
    refuse(tmp_path, "train", argv, ["alpha", "pose_tcn has none"])  # which is looked at later


def test_predict_refuses_what_only_frames_have_where_no_run_sees_any(refuse, trained, clips, tmp_path):
    argv = ["--run_dir", trained, "--test_file", clips / "test", "--pose_file", clips / "poses.json"]
    refuse(tmp_path, "predict", [*argv, "--num_crops", "3"], ["num_crops", "none of the runs sees frames"])
    refuse(tmp_path, "predict", [*argv, "--cache_dir", "c"], ["cache_dir", "none of the runs sees frames"])


def test_predicting_another_layout_of_points_is_one_sentence(refuse, trained, clips, tmp_path):
    entries = {key: entry(np.repeat(person(0, 1), 2, axis=1)) for key in json.loads((clips / "poses.json").read_text())}
    files = ["--test_file", clips / "test", "--pose_file", write_json(tmp_path / "p.json", entries)]
    refuse(tmp_path, "predict", ["--run_dir", trained, *files], ["has 18 key points", "have 9"])
    refuse(tmp_path, "predict", ["--run_dir", trained, "--test_file", clips / "test"], ["no clip has key points"])
    files[3] = "nowhere.json"
    refuse(tmp_path, "predict", ["--run_dir", trained, *files], ["nowhere.json: no such file"])
