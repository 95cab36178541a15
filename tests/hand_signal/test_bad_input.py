"""Bad input of hand_signal/train.py and predict.py: one sentence that names the place, and nothing is written.

Most sentences are asked of main() in this process; a start of each script says it in one `error:` line, with exit code
2. What all folders share (presets, options, run folders) is tested in tests/common/options and tests/friends.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from tests.tools.scripts import ENVIRONMENT, ROOT, assert_refused, succeed, worker_of
from tests.tools.videos import BROKEN, grey, moving_square, write_broken, write_clip, write_competition

TASK = ROOT / "hand_signal"
DEMO = ["--config", str(TASK / "configs" / "demo.yaml"), "--output_dir", "run", "--torch_num_threads", "1"]
ONE = ["--num_folds", "1", "--calibrate", "false"]


worker = worker_of(TASK)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """train/ with two clips of each of two classes, test/ with two clips."""
    folder = tmp_path_factory.mktemp("clips")
    write_competition(folder / "train", [0, 1] * 3, suffix=".mp4")
    write_competition(folder / "test", [None] * 2, suffix=".mp4")
    return folder


def record(folder, content):
    (folder / "train" / "file_1.json").write_text(content if isinstance(content, str) else json.dumps(content))


def boxes(*values):
    return {"action": 1, "sequence": {"bounding_box": list(values)}}


RECORDS = {
    "not-json": ("{", ["file_1.json", "not JSON"]),
    "nested-too-deeply": ("[" * 100_000, ["file_1.json", "nested"]),
    "empty": ("", ["file_1.json", "empty"]),
    "list": ("[1]", ["file_1.json", "JSON object"]),
    "action-a-word": ({"action": "stop"}, ["file_1.json, key action", "'stop'"]),
    "action-a-bool": ({"action": True}, ["file_1.json, key action", "True"]),
    "action-negative": ({"action": -2}, ["file_1.json, key action", "-2"]),
    "action-beyond-the-list": ({"action": 7}, ["file_1.json, key action", "7", "classes 0, 1"]),
    "no-action": ({}, ["train", "1 of 6 rows have no label", "file_1"]),
    "box-of-three": (boxes(["1", "2", "3"]), ["file_1.json, key sequence.bounding_box", "four numbers"]),
    "box-of-words": (boxes(["a", "b", "c", "d"]), ["file_1.json, key sequence.bounding_box", "four numbers"]),
    "box-nan": (boxes(["nan", "1", "2", "3"]), ["file_1.json, key sequence.bounding_box", "four numbers"]),
    "box-inside-out": (boxes([9, 9, 2, 2]), ["file_1.json, key sequence.bounding_box", "larger"]),
    "boxes-of-different-lengths": (
        boxes([1, 2, 3, 4], [1]),
        ["file_1.json, key sequence.bounding_box", "four numbers"],
    ),
}


@pytest.mark.parametrize(("content", "fragments"), RECORDS.values(), ids=RECORDS)
def test_a_record_that_cannot_be_used_is_named(refuse, folder, tmp_path, content, fragments):
    shutil.copytree(folder, tmp_path / "c")
    (tmp_path / "c" / "action_information.csv").write_text("action,Label\na,0\nb,1\n")
    record(tmp_path / "c", content)
    refuse(tmp_path, "train", [*DEMO, "--train_file", "c/train"], fragments)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_clip_is_named(refuse, tmp_path, kind):
    for k in range(4):
        write_clip(tmp_path / "clips" / "ab"[k % 2] / f"{k}.mp4", images=moving_square(1, k))
    write_broken(tmp_path / "clips" / "a", kind)
    refuse(tmp_path, "train", [*DEMO, "--train_file", "clips"], ["clips/a/broken"])


ACTIONS = {
    "actions-columns": "foo,bar\n0,a\n1,b\n",
    "actions-gap": "action,Label\n0,a\n5,b\n",
    "actions-none": "action,Label\n",
}


def make(folder, what):
    """Other folders that cannot be trained on."""
    clips = folder / "clips"
    clips.mkdir()
    if what == "file":
        clips.rmdir()
        clips.write_text("text")
    elif what == "no-clips":
        (clips / "notes.txt").write_text("text")
    elif what == "one-class":
        for k in range(2):
            write_clip(clips / "a" / f"{k}.mp4", images=moving_square(1, k))
    elif what == "unlabelled":
        write_clip(clips / "a.mp4")
    elif what == "mixed":
        write_clip(clips / "a.mp4")
        write_clip(clips / "b" / "c.mp4")
    elif what == "no-frames":
        (clips / "file_0.json").write_text('{"action": 0}')
    elif what == "empty-frame-folder":
        write_competition(clips, [0, 1])
        for image in (clips / "file_0").glob("*.jpg"):
            image.unlink()
    elif what == "frames-without-json":
        write_competition(clips, [0, 1])
        (clips / "file_1" / "file_1.json").unlink()
    elif what == "stray-image":
        write_competition(clips, [0, 1])
        Image.fromarray(grey(0)).save(clips / "file_1" / "thumb0.jpg")
    elif what == "image-beside-videos":
        for name in ("a/0.mp4", "b/0.mp4"):
            write_clip(clips / name, frames=3)
            Image.fromarray(grey(0)).save((clips / name).with_name("thumb.jpg"))
    elif what == "nested-class":
        for name in ("a/0.mp4", "b/0.mp4", "c/monday/0.mp4"):
            write_clip(clips / name, frames=3)
    elif what == "nested-beside-clips":
        for name in ("a/0.mp4", "b/0.mp4", "b/monday/0.mp4"):
            write_clip(clips / name, frames=3)
    elif what == "not-utf8":
        write_clip(clips / "a" / "0.mp4", frames=3)
        os.rename(os.fsencode(clips / "a" / "0.mp4"), os.fsencode(clips / "a") + b"/\xff.mp4")
    elif what == "class-named-as-a-column":
        for name in ("a/0.mp4", "Predicted/0.mp4"):
            write_clip(clips / name, frames=3)
    elif what.startswith("actions-"):
        write_competition(clips, [0, 1])
        (clips / "action_information.csv").write_text(ACTIONS[what])
    elif what == "all-broken":
        for name in "ab":
            write_broken(clips / name, "text")
    elif what == "a-class-broken":
        write_clip(clips / "a" / "0.mp4", frames=3)
        write_broken(clips / "b", "text")


FOLDERS = {
    "file": ["clips", "is a file, a folder"],
    "no-clips": ["clips", "holds no clips", "file_N.json"],
    "one-class": ["clips", "same label"],
    "unlabelled": ["clips", "have no label"],
    "mixed": ["clips", "a.mp4", "folders of classes (b)"],
    "no-frames": ["file_0.json", "has no frames"],
    "empty-frame-folder": ["file_0", "holds no frames"],
    "frames-without-json": ["file_1: has no file_1.json", "1 have none"],
    "stray-image": ["file_1/thumb0.jpg", "12 other frames", "numbers"],
    "image-beside-videos": ["a/thumb.jpg", "beside clips (0.mp4)"],
    "nested-class": ["c/monday/0.mp4: lies deeper"],
    "nested-beside-clips": ["b/monday/0.mp4: lies deeper"],
    "not-utf8": ["not UTF-8"],
    "class-named-as-a-column": ["clips/Predicted", "column"],
    "actions-columns": ["action_information.csv, row 1", "foo,bar", "action,Label"],
    "actions-gap": ["action_information.csv", "numbers 0 to K - 1"],
    "actions-none": ["action_information.csv", "0 classes"],
}


@pytest.mark.parametrize(("what", "fragments"), FOLDERS.items(), ids=FOLDERS)
def test_a_folder_without_clips_to_train_on_is_refused(refuse, tmp_path, what, fragments):
    make(tmp_path, what)
    refuse(tmp_path, "train", [*DEMO, *ONE, "--train_file", "clips"], fragments)


@pytest.mark.parametrize(("what", "said"), {"all-broken": "holds no rows", "a-class-broken": "same label"}.items())
def test_what_is_left_without_broken_clips_is_looked_at_again(refuse, tmp_path, what, said):
    make(tmp_path, what)
    refuse(tmp_path, "train", [*DEMO, "--train_file", "clips", "--skip_broken"], ["clips", said])


OPTIONS = {
    "train-file-missing": (["--train_file", "no"], ["no", "no such file"]),
    "unknown-model": (
        ["--model_name_or_path", "slowfast_r18"],
        ["model_name_or_path", "slowfast_r18", "slowfast_r50_8x8"],
    ),
    "unknown-timm-model": (["--model_name_or_path", "timm/nothing"], ["timm has no model", "nothing"]),
    "head-of-another-model": (["--temporal_head", "lstm"], ["temporal_head", "scratch"]),
    "unknown-head": (["--temporal_head", "gru"], ["temporal_head", "gru"]),
    "frames-and-alpha": (["--num_frames", "6"], ["num_frames: 6", "alpha"]),
    "crops": (["--num_crops", "2"], ["num_crops: 2"]),
    "stride": (["--frame_stride", "-1"], ["frame_stride: -1"]),
    "dropout": (["--dropout", "1"], ["dropout: 1.0"]),
    "groups": (["--group_by_number", "0"], ["group_by_number: 0"]),
    "crop-size": (["--crop_size", "8"], ["crop_size: 8"]),
    "crop-scale": (["--min_crop_scale", "0"], ["min_crop_scale"]),
    "color-jitter": (["--color_jitter", "2"], ["color_jitter: 2"]),
    "upscale": (["--upscale", "cubic"], ["upscale", "cubic", "bicubic"]),
    "weights-missing": (["--pretrained_weights", "no.pyth"], ["no.pyth", "cannot be read"]),
    "weights-no-weights": (["--pretrained_weights", "text.pyth"], ["text.pyth", "cannot be read"]),
    "weights-pickle-with-code": (["--pretrained_weights", "code.pyth"], ["code.pyth", "cannot be read"]),
    "flip-pairs": (["--flip_pairs", "0:9"], ["flip_pairs", "0:9"]),
    "calibrate-without-folds": (["--num_folds", "1"], ["calibrate", "num_folds"]),
    "folds": (["--num_folds", "7"], ["num_folds: 7"]),
    "schedule-that-follows-a-metric": (
        ["--lr_scheduler_type", "reduce_lr_on_plateau"],
        ["lr_scheduler_type", "reduce_lr_on_plateau"],
    ),
    "batches-of-one-value": (
        ["--per_device_train_batch_size", "1", "--num_frames", "4", "--crop_size", "32"],
        ["per_device_train_batch_size: 1", "batch norm"],
    ),
    "half-an-epoch": (["--num_train_epochs", "1.5"], ["num_train_epochs", "whole"]),
    "option-the-loop-does-not-read": (["--max_steps", "5"], ["max_steps", "not read by this loop"]),
    "optimizer-the-loop-does-not-read": (["--optim", "adafactor"], ["optim", "not read by this loop"]),
    "option-of-text": (["--max_length", "64"], ["--max_length", "not an option"]),
    "cache-dir-a-file": (["--cache_dir", "text.pyth"], ["text.pyth", "cache_dir"]),
    "test-without-clips": (["--test_file", "empty"], ["empty", "holds no clips"]),
    "sample-of-another-competition": (
        ["--test_file", "c/test", "--sample_submission_file", "other.csv"],
        ["other.csv, row 1", "file_path"],
    ),
    "sample-with-missing-ids": (
        ["--test_file", "c/test", "--sample_submission_file", "short.csv"],
        ["short.csv", "1 ids are missing"],
    ),
}


@pytest.mark.parametrize(("argv", "fragments"), OPTIONS.values(), ids=OPTIONS)
def test_an_option_that_cannot_be_used_is_refused_by_name(refuse, folder, tmp_path, argv, fragments):
    (tmp_path / "c").symlink_to(folder)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pyth").write_text("no weights")
    (tmp_path / "code.pyth").write_bytes(b"cbuiltins\nprint\n(S'ran'\ntR.")
    (tmp_path / "other.csv").write_text("Id,Expected\n0,joy\n")
    (tmp_path / "short.csv").write_text("file_path,Label_0,Label_1\n./test\\file_0,0,0\n")
    refuse(tmp_path, "train", [*DEMO, "--train_file", "c/train", *argv], fragments)


def test_final_without_the_competitions_files_ends_with_2_and_says_what_to_put_where_and_what_runs(tmp_path):
    shutil.copytree(TASK, tmp_path / "copy", ignore=shutil.ignore_patterns("data", "__pycache__", "file_*"))
    command = [sys.executable, "copy/train.py", "--config", "copy/configs/final.yaml"]
    result = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    lines = result.stderr.splitlines()
    assert result.returncode == 2, result.stderr
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:] and "Traceback" not in result.stderr
    for fragment in (
        "copy/data/train: no such file",
        "copy/README.md",
        "python copy/train.py --config copy/configs/demo.yaml",
    ):
        assert fragment in lines[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


# Prediction


@pytest.fixture(scope="module")
def trained(worker, folder):
    """run/ beside the clips: one epoch of one fold."""
    tiny = [*ONE, "--num_train_epochs", "1", "--num_frames", "4", "--crop_size", "32"]
    succeed(worker, folder, "train.py", *DEMO, *tiny, "--train_file", "train")
    write_broken(folder / "broken", "truncated-mp4")
    (folder / "none").mkdir()
    shutil.copytree(folder / "run", folder / "damaged")
    weights = folder / "damaged/fold0/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    shutil.copytree(folder / "run", folder / "uncalibrated")
    (folder / "uncalibrated/calibration.json").write_text("{}")
    (folder / "other.csv").write_text("Id,Predicted\n0,0\n")
    return folder


PREDICT = {
    "test-file-missing": (["--test_file", "no"], ["no", "no such file"]),
    "test-file-without-clips": (["--test_file", "none"], ["none", "holds no clips"]),
    "broken-clip": (["--test_file", "broken"], ["broken/broken.mp4", "cannot be decoded"]),
    "only-broken-clips": (["--test_file", "broken", "--skip_broken"], ["none of the 1 clips"]),
    "crops": (["--test_file", "test", "--num_crops", "4"], ["num_crops: 4"]),
    "clips": (["--test_file", "test", "--num_clips", "0"], ["num_clips: 0"]),
    "sample-of-another-competition": (
        ["--test_file", "test", "--sample_submission_file", "other.csv"],
        ["other.csv, row 1", "file_path"],
    ),
    "run-with-damaged-weights": (
        ["--test_file", "test", "--run_dir", "damaged"],
        ["damaged/fold0/model.safetensors", "is damaged"],
    ),
    "run-with-damaged-calibration": (
        ["--test_file", "test", "--run_dir", "uncalibrated"],
        ["uncalibrated/calibration.json", "temperature"],
    ),
    "run-of-another-kind": (["--test_file", "test", "--run_dir", "train"], ["train", "no finished fold"]),
}


@pytest.mark.parametrize(("argv", "fragments"), PREDICT.values(), ids=PREDICT)
def test_predict_refuses_what_it_cannot_read_and_leaves_the_run_as_it_is(refuse, trained, argv, fragments):
    run_dir = [] if "--run_dir" in argv else ["--run_dir", "run"]
    refuse(trained, "predict", [*run_dir, *argv], fragments)


def test_the_scripts_say_so_in_one_line_and_end_with_exit_code_2(worker, trained):
    clips = ["--train_file", "train", "--eval_file", "broken", "--output_dir", "new"]
    assert_refused(worker, trained, "train.py", [*DEMO, *clips], ["broken", "have no label"])
    argv = ["--run_dir", "run", "--test_file", "broken"]
    assert_refused(worker, trained, "predict.py", argv, ["broken/broken.mp4", "cannot be decoded"])
