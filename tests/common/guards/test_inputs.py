"""Inputs that change between two starts, and paths that are no files."""

import os
import shutil
import socket

import pytest

from common.console import ArgumentParser, InputError
from common.examples import TextExample
from common.files import read_text, sha256, write_json
from common.guards.inputs import compare_data, rows_fingerprint, weights_fingerprints, weights_paths
from common.guards.special import refuse_special, refuse_special_values
from common.logits import Logits
from tests.tools.faces import TINY as TINY_FACES
from tests.tools.faces import write_images
from tests.tools.scripts import ROOT, assert_refused, succeed, worker_of
from tests.tools.videos import write_competition

worker = worker_of(ROOT / "friends")
faces_worker = worker_of(ROOT / "reon_face")
clips_worker = worker_of(ROOT / "hand_signal")
TINY = ["--config", ROOT / "friends/configs/demo.yaml", "--max_train_samples", "60", "--num_folds", "2"]
TINY += ["--num_train_epochs", "1", "--torch_num_threads", "1", "--disable_tqdm", "true"]
TINY_CLIPS = ["--config", ROOT / "hand_signal/configs/demo.yaml", "--torch_num_threads", "1", "--num_frames", "4"]
TINY_CLIPS += ["--crop_size", "32", "--num_train_epochs", "1", "--num_folds", "2", "--disable_tqdm", "true"]


class Options:
    """What of a script's options counts here."""

    def __init__(self, **values):
        vars(self).update(values)


# What is no file


@pytest.fixture(params=["pipe", "socket", "device", "link to a pipe", "stream", "descriptor"])
def special(request, tmp_path):
    path = tmp_path / "special"
    if request.param == "socket":
        os.chdir(tmp_path)  # a socket's path is short
        socket.socket(socket.AF_UNIX).bind("special")
    elif request.param == "device":
        path = "/dev/zero"
    elif request.param == "stream":
        path = "/dev/stdin"
    elif request.param == "descriptor":
        path = "/dev/fd/0"
    else:
        target = path if request.param == "pipe" else tmp_path / "target"
        os.mkfifo(target)
        if target != path:
            path.symlink_to(target)
    return str(path)


def test_what_is_no_file_is_refused_at_once_by_every_reader(special):
    for read in (refuse_special, read_text, sha256, Logits.load):
        with pytest.raises(InputError, match=r"special|/dev/.*: is a .*, a file was expected"):
            read(special)
    for values in ({"test_file": special}, {"run_dir": ["x", special]}, {"pretrained_weights": special}):
        with pytest.raises(InputError, match=next(iter(values))):
            refuse_special_values(values)
    parser = ArgumentParser("prog", "doc")
    parser.add_argument("file", nargs="+")
    with pytest.raises(InputError, match="is a "):
        parser.parse_args(["x", special])


def test_files_folders_links_and_what_is_not_there_are_not_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for value in (tmp_path, __file__, str(tmp_path / "link"), "no such file", "", "a\0b", "x" * 5000):
        refuse_special(value)
    refuse_special_values({"test_file": str(tmp_path), "num_folds": 3, "start": None, "label_names": ["a"]})


def test_a_run_does_not_go_on_with_other_rows_than_data_py_read_when_it_started(tmp_path):
    def rows(**changes):
        return {"train": [TextExample(**{"id": "1", "segments": ["a", "b"], "label": 0, "group": "g"} | changes)]}

    folder = tmp_path / "run"
    (folder / "fold0").mkdir(parents=True)
    write_json(folder / "fold0" / "run.json", {"data": rows_fingerprint(rows())})
    compare_data(folder, rows_fingerprint(rows()))
    for changes in ({"segments": ["a", "B"]}, {"label": 1}, {"group": "h"}, {"id": "2"}, {"main": 1}):
        with pytest.raises(InputError, match="data.py reads other ids, labels, groups or texts now"):
            compare_data(folder, rows_fingerprint(rows(**changes)))
    write_json(folder / "fold0" / "run.json", {"data": {}})  # of a run of before
    compare_data(folder, rows_fingerprint(rows()))


FIELDS = ["--train_file", "--eval_file", "--test_file", "--sample_submission_file", "--config"]


def test_a_pipe_is_refused_for_every_file_and_in_weights_and_folds(worker, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    sample = ROOT / "friends/sample"
    files = {"--train_file": sample / "train.json", "--eval_file": sample / "train.json"}
    files |= {"--test_file": sample / "test.csv", "--sample_submission_file": sample / "sample_submission.csv"}
    for field in FIELDS:
        given = {"--config": TINY[1], **files, field: pipe}
        options = [str(part) for pair in given.items() for part in pair]
        assert_refused(
            worker, tmp_path, "train.py", options, [str(pipe), "is a pipe", field[2:]][: 2 + (field != "--config")]
        )
    succeed(worker, tmp_path, "train.py", *TINY, "--output_dir", "run", "--num_folds", "1")
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        shutil.rmtree(tmp_path / "weights", ignore_errors=True)
        shutil.copytree(tmp_path / "run/fold0", tmp_path / "weights")
        for path in (tmp_path / "weights" / name, tmp_path / "weights/fold.json"):
            path.unlink()
        os.mkfifo(tmp_path / "weights" / name)
        options = [*map(str, TINY), "--model_name_or_path", "weights"]
        assert_refused(worker, tmp_path, "train.py", options, [f"weights/{name}: is a pipe"])
    (tmp_path / "run/fold0/model.safetensors").unlink()
    os.mkfifo(tmp_path / "run/fold0/model.safetensors")
    predict = ["--run_dir", "run", "--test_file", str(sample / "test.csv")]
    assert_refused(worker, tmp_path, "predict.py", predict, ["run/fold0/model.safetensors: is a pipe"])
    for field in ("--test_file", "--run_dir", "--sample_submission_file"):
        given = {"--run_dir": "run", "--test_file": sample / "test.csv", field: pipe}
        options = [str(part) for pair in given.items() for part in pair]
        assert_refused(worker, tmp_path, "predict.py", options, [str(pipe), "is a pipe"])


@pytest.mark.parametrize("name", ["clip.mp4", "file_0/90.jpg", "file_0.json", "action_information.csv"])
def test_a_pipe_among_clips_is_refused(clips_worker, tmp_path, name):
    data = tmp_path / "train"
    if name == "clip.mp4":
        (data / "a").mkdir(parents=True)
        (data / "b").mkdir()
        name = "a/clip.mp4"
    else:
        write_competition(data, [0, 1] * 4)
    (data / name).unlink(missing_ok=True)
    os.mkfifo(data / name)
    for extra in ([], ["--skip_broken"]):
        options = [*map(str, TINY_CLIPS), "--train_file", "train", *extra]
        assert_refused(clips_worker, tmp_path, "train.py", options, [f"train/{name}: is a pipe"])


def test_a_pipe_among_images_is_refused(faces_worker, tmp_path):
    write_images(tmp_path / "train", range(3))
    path = tmp_path / "train/dark/s0_9.png"
    os.mkfifo(path)
    options = [*map(str, TINY_FACES), "--train_file", "train"]
    assert_refused(faces_worker, tmp_path, "train.py", options, ["train/dark/s0_9.png: is a pipe"])
    assert_refused(faces_worker, tmp_path, "crop.py", ["--input", "train", "--output_dir", "out"], ["is a pipe"])


# What changes


def test_every_change_of_weights_changes_their_fingerprint_and_what_runs_write_beside_them_does_not(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "vocab.txt", "README.md"):
        (folder / name).write_bytes(b"12345")
    args = Options(model_name_or_path=str(folder))
    before = weights_fingerprints(args)["model_name_or_path"]["sha256"]
    for name in ("README.md", "run.json", ".cache"):
        (folder / name).write_bytes(b"other")
        assert weights_fingerprints(args)["model_name_or_path"]["sha256"] == before
    for name in ("config.json", "model.safetensors", "vocab.txt"):  # of the same size, as weights trained anew are
        (folder / name).write_bytes(b"54321")
        after = weights_fingerprints(args)["model_name_or_path"]["sha256"]
        assert after != before
        before = after


def test_the_weights_of_every_option_and_stage_are_looked_at(tmp_path):
    for name in ("model", "start", "later"):
        (tmp_path / name).mkdir()
    for name in ("weights.pyth", "upscale.onnx"):
        (tmp_path / name).touch()
    args = Options(
        model_name_or_path=str(tmp_path / "model"),
        pretrained_weights=str(tmp_path / "weights.pyth"),
        upscale=str(tmp_path / "upscale.onnx"),
        start=str(tmp_path / "start"),
        stages=["part=1/2", f"part=2/2 start={tmp_path / 'later'}", {"part": "1/2", "start": "scratch"}],
    )
    names = ["model_name_or_path", "pretrained_weights", "start", "upscale", "start of stage 2"]
    assert [name for name, _ in weights_paths(args)] == names
    assert weights_fingerprints(Options(model_name_or_path="scratch", start="imagenet", upscale="none")) == {}
    assert weights_fingerprints(Options(model_name_or_path="test_efficientnet", pretrained_weights="hub")) == {}


def test_a_damaged_record_of_data_is_one_sentence(tmp_path):
    for text in ('{"data": []}', '{"data": {"train_file": 3}}', '{"data": "x"}'):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(InputError, match="run.json: is damaged"):
            compare_data(tmp_path, {})


def test_a_resume_after_the_weights_changed_is_refused(worker, tmp_path):
    succeed(worker, tmp_path, "train.py", *TINY, "--output_dir", "first", "--num_folds", "1")
    shutil.copytree(tmp_path / "first/fold0", tmp_path / "weights")
    (tmp_path / "weights/fold.json").unlink()
    options = [*TINY, "--num_folds", "1", "--model_name_or_path", "weights", "--output_dir", "run"]
    succeed(worker, tmp_path, "train.py", *options)
    succeed(worker, tmp_path, "train.py", *options, "--resume")
    path = tmp_path / "weights/model.safetensors"
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    wanted = [str(tmp_path / "weights"), "has changed since the run in run started", "model_name_or_path"]
    assert_refused(worker, tmp_path, "train.py", [*map(str, options), "--resume"], wanted)


def test_a_resume_after_the_start_changed_is_refused(faces_worker, tmp_path):
    write_images(tmp_path / "train", range(4))
    options = [*map(str, TINY_FACES), "--train_file", "train", "--num_folds", "1", "--num_train_epochs", "1"]
    succeed(faces_worker, tmp_path, "train.py", *options, "--output_dir", "first")
    succeed(faces_worker, tmp_path, "train.py", *options, "--start", "first", "--output_dir", "run")
    shutil.rmtree(tmp_path / "first")
    succeed(faces_worker, tmp_path, "train.py", *options, "--seed", "7", "--output_dir", "first")
    again = [*options, "--start", "first", "--output_dir", "run", "--resume"]
    assert_refused(faces_worker, tmp_path, "train.py", again, ["first: has changed since the run in run started"])


def test_a_resume_after_pretrained_weights_changed_is_refused(clips_worker, tmp_path):
    write_competition(tmp_path / "train", [0, 1] * 4)
    options = [*map(str, TINY_CLIPS), "--train_file", "train"]
    succeed(clips_worker, tmp_path, "train.py", *options, "--output_dir", "first")
    shutil.copy(tmp_path / "first/fold0/model.safetensors", tmp_path / "w.safetensors")
    from_file = [*options, "--pretrained_weights", "w.safetensors", "--output_dir", "run"]
    code, errors = clips_worker.run(tmp_path, "train.py", *from_file)
    if code == 2:  # the names of a fold's weights have the prefix of the model
        pytest.fail(errors)
    shutil.copy(tmp_path / "first/fold1/model.safetensors", tmp_path / "w.safetensors")
    assert_refused(clips_worker, tmp_path, "train.py", [*from_file, "--resume"], ["w.safetensors: has changed since"])
