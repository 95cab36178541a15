"""reon_face/mirrored.py: --test_time_flip, in the model, in a run and its predictions, in an export."""

from dataclasses import asdict

import cv2
import numpy as np
import pytest
import torch

from common.files import read_json
from common.logits import Logits
from reon_face.faces import FaceCrop
from reon_face.model import load_fold, load_image_model, preprocessing_of
from tests.tools.faces import NAMES, TASK, TINY, drawn_crops, task_path, write_images
from tests.tools.scripts import predict, succeed, worker_of

CROP = asdict(FaceCrop())
worker = worker_of(TASK)


@pytest.fixture(scope="module")
def run(worker, tmp_path_factory):
    """A folder with images and run/, which was trained with --test_time_flip."""
    folder = tmp_path_factory.mktemp("mirrored")
    write_images(folder / "train", range(4))
    write_images(folder / "eval", range(10, 12))
    files = ["--train_file", folder / "train", "--eval_file", folder / "eval"]
    succeed(worker, folder, "train.py", *TINY, *files, "--test_time_flip", "--output_dir", "run")
    return folder / "run"


def test_logits_are_the_mean_of_an_image_and_its_mirror_image_in_evaluation_alone(tmp_path):
    with task_path():
        torch.manual_seed(0)
        plain = load_image_model("scratch", NAMES, CROP, image_size=32).eval()
        plain.save_pretrained(tmp_path / "plain")
        flipped = load_image_model(str(tmp_path / "plain"), NAMES, CROP, test_time_flip=True).eval()
        flipped.save_pretrained(tmp_path / "flipped")
        loaded = load_fold(tmp_path / "flipped", torch.device("cpu"), NAMES)
    x = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        straight = plain(pixel_values=x).logits
        expected = (straight + plain(pixel_values=x.flip(3)).logits) / 2
        assert (straight - expected).abs().max() > 1e-4
        for model in (flipped, loaded):
            torch.testing.assert_close(model(pixel_values=x).logits, expected)
        # dropout apart, training sees each image as its collator shows it
        for model in (plain, flipped):
            model.train()
        torch.testing.assert_close(flipped(pixel_values=x).logits, plain(pixel_values=x).logits)


def test_a_run_evaluates_predicts_and_exports_flipped(worker, run, tmp_path):
    """The log loss of the last epoch, eval_logits.npz, predict.py and the exported model all know of it."""
    written = Logits.load(run / "eval_logits.npz")
    again = predict(worker, tmp_path, "--run_dir", run, "--test_file", run.parent / "eval")
    assert again.logits == pytest.approx(written.logits, abs=1e-5)
    succeed(worker, tmp_path, "export.py", run / "fold0", "--output_dir", "exported", "--torch_num_threads", "1")
    assert read_json(tmp_path / "exported" / "export.json")["precisions"]["fp32"]["max_probability_difference"] < 1e-4
    crops = np.stack([cv2.resize(crop, (32, 32)) for crop in drawn_crops(3)[0]])
    with task_path():
        from scoring.watch import load_onnx
    probabilities = load_onnx(tmp_path / "exported" / "fp32").probabilities
    x = preprocessing_of(run / "fold0").pixel_values(crops)
    mirrored = np.ascontiguousarray(x[..., ::-1])
    assert probabilities(x) == pytest.approx(probabilities(mirrored), abs=1e-5)
    # the evaluation of an epoch, too: the best of them is chosen as it will predict
    losses = [entry["eval_loss"] for entry in read_json(run / "fold0/fold.json")["log_history"] if "eval_loss" in entry]
    held_out = Logits.load(run / "fold0" / "held_out_logits.npz")
    rows = np.arange(len(held_out.labels))
    loss = (np.logaddexp.reduce(held_out.logits, axis=1) - held_out.logits[rows, held_out.labels]).mean()
    assert min(abs(loss - logged) for logged in losses) < 1e-4
