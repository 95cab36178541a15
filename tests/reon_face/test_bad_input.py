"""What reon_face/train.py and predict.py refuse: exit code 2, one sentence, nothing written."""

import json

import pytest

from common.options import parse_predict_args, parse_train_args
from tests.tools.faces import TASK, TINY, assert_raised, script_of, write_images
from tests.tools.scripts import assert_refused, succeed, worker_of

worker = worker_of(TASK)
train = script_of("train")
predict = script_of("predict")


@pytest.fixture(scope="module")
def place(worker, tmp_path_factory):
    """A folder with images, a run and things that are wrong."""
    folder = tmp_path_factory.mktemp("place")
    write_images(folder / "train", range(4))
    write_images(folder / "one_label", range(2))
    for path in (folder / "one_label" / "dark").iterdir():
        path.unlink()
    write_images(folder / "test", range(20, 21), labelled=False)
    write_images(folder / "mixed", range(2))
    (folder / "mixed" / "lost.png").write_bytes((folder / "train/dark/s0_0.png").read_bytes())
    write_images(folder / "broken", range(4))
    (folder / "broken" / "dark" / "s2_1.png").write_bytes(b"no image")
    write_images(folder / "others", range(2))
    (folder / "others" / "dark").rename(folder / "others" / "gloomy")
    write_images(folder / "columns", range(2))
    (folder / "columns" / "dark").rename(folder / "columns" / "Predicted")
    (folder / "unfinished").mkdir()
    (folder / "unfinished" / "crop.json").write_text(json.dumps({"status": "running"}))
    done = {"status": "done", "label_names": ["a", "b"], "shards": ["shard-00000.parquet"], "face_crop": {}}
    (folder / "damaged").mkdir()
    (folder / "damaged" / "crop.json").write_text(json.dumps(done))
    (folder / "damaged" / "shard-00000.parquet").write_bytes(b"PAR1 no parquet")
    (folder / "empty").mkdir()
    (folder / "sample.csv").write_text("Id,Predicted,bright,dark\nother.png,dark,0,1\n")
    options = ["--train_file", "train", "--num_train_epochs", "1", "--output_dir", "run", "--fold", "0"]
    succeed(worker, folder, "train.py", *TINY, *options)
    return folder


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (["--train_file", "empty"], ["empty", "holds no images"]),
        (["--train_file", "sample.csv"], ["sample.csv: is not a folder of images or shards"]),
        (["--train_file", "one_label"], ["all 4 rows have the same label"]),
        (["--train_file", "test"], ["4 of 4 rows have no label"]),
        (["--train_file", "mixed"], ["holds images (lost.png) beside folders of labels (bright)"]),
        (["--train_file", "broken"], ["s2_1.png: cannot be decoded as an image", "crop.py"]),
        (
            ["--train_file", "train", "--eval_file", "others"],
            ["gloomy is not one of the labels of train_file (bright, dark)"],
        ),
        (["--train_file", "unfinished"], ["crop.py has not finished"]),
        (["--train_file", "damaged"], ["shard-00000.parquet: cannot be read"]),
        (["--train_file", "columns"], ["another column of the submission has the name of the label Predicted"]),
        (
            ["--train_file", "train", "--test_file", "test", "--sample_submission_file", "sample.csv"],
            ["sample.csv", "other.png"],
        ),
        (["--train_file", "train", "--subject_pattern", "s("], ["subject_pattern", "regular expression"]),
        (["--train_file", "train", "--subject_pattern", r"s\d+"], ["subject_pattern", "has 0 groups, expected one"]),
        (["--train_file", "train", "--num_folds", "9"], ["num_folds: 9 is larger than the number of groups (4)"]),
        (
            ["--train_file", "train", "--model_name_or_path", "efficientnet_bo"],
            ["efficientnet_bo is neither a folder nor a model"],
        ),
        (["--train_file", "train", "--model_name_or_path", "empty"], ["config.json"]),
        (
            ["--train_file", "train", "--start", "nowhere"],
            ["start: 'nowhere' is neither imagenet, scratch nor a run's folder"],
        ),
        (["--train_file", "train", "--start", "empty"], ["holds no finished fold"]),
        (["--train_file", "train", "--start", "run"], ["has no finished fold1, expected one for each fold here"]),
        (["--train_file", "train", "--image_size", "8"], ["image_size: 8 is not between 32 and 2048"]),
        (["--train_file", "train", "--min_crop_scale", "0"], ["min_crop_scale: 0"]),
        (["--train_file", "train", "--horizontal_flip", "2"], ["horizontal_flip: 2.0 is not between 0 and 1"]),
        (["--train_file", "train", "--auto_augment", "rand-x9"], ["auto_augment"]),
        (
            ["--train_file", "train", "--stages", "part=5/4"],
            ["stages, stage 1: part '5/4' is neither all nor one of several"],
        ),
        (
            ["--train_file", "train", "--stages", "part=all", "rate=1"],
            ["stages, stage 2: rate is not one of part, start, momentum"],
        ),
        (
            ["--train_file", "train", "--stages", "learning_rate=fast"],
            ["stages, stage 1, learning_rate: 'fast' is not a float"],
        ),
        (["--train_file", "train", "--stages", "learning_rate=-1"], ["stages, stage 1", "must be above 0"]),
        (["--train_file", "train", "--stages", "optim=sgdd"], ["stages, stage 1, optim", "sgdd"]),
        (["--train_file", "train", "--stages", "momentum=big optim=sgd"], ["stages, stage 1", "big"]),
        (["--train_file", "train", "--stages", "part=1/40"], ["stages: the rows cannot be split into 40 parts"]),
        (
            ["--train_file", "train", "--stages", "part=all", "--fold", "0", "--stop_after_epoch", "1"],
            ["stop_after_epoch"],
        ),
    ],
)
def test_train_refuses(options, fragments, train, place, monkeypatch):
    monkeypatch.chdir(place)
    argv = [*map(str, TINY), "--output_dir", "new", *options]
    parsed = train.TaskArguments, TASK, train.COMPETITION_FILES, ""
    assert_raised(lambda: train.main(*parse_train_args(*parsed, argv)), place, fragments)


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (["--test_file", "broken"], ["s2_1.png: cannot be decoded"]),
        (["--test_file", "others"], ["gloomy is not one of the labels"]),
        (["--test_file", "empty"], ["holds no images"]),
        (
            ["--test_file", "test", "--per_device_eval_batch_size", "0"],
            ["per_device_eval_batch_size: 0 is not 1 or more"],
        ),
        (["--test_file", "test", "--sample_submission_file", "sample.csv"], ["sample.csv", "other.png"]),
    ],
)
def test_predict_refuses(options, fragments, predict, place, monkeypatch):
    monkeypatch.chdir(place)
    argv = ["--run_dir", "run", *options]
    parsed = predict.TaskPredictArguments, TASK, ""
    assert_raised(lambda: predict.main(parse_predict_args(*parsed, argv)), place, fragments)


def test_the_scripts_say_so_in_one_line_and_end_with_exit_code_2(worker, place):
    options = [*map(str, TINY), "--output_dir", "new", "--train_file", "broken"]
    assert_refused(worker, place, "train.py", options, ["s2_1.png: cannot be decoded as an image", "crop.py"])
    options = ["--run_dir", "run", "--test_file", "others"]
    assert_refused(worker, place, "predict.py", options, ["gloomy is not one of the labels"])
