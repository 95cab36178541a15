"""reon_face/export.py: ONNX of every precision against PyTorch, what goes with it, and what it refuses."""

import json

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from reon_face.faces import FaceCrop
from reon_face.model import load_fold, preprocessing_of
from reon_face.sample.draw import EMOTIONS
from tests.tools.faces import SIZE, TASK, acted, assert_raised, drawn_crops, save_model, script_of
from tests.tools.scripts import assert_refused, worker_of

PRECISIONS = ("fp32", "fp16", "int8")


worker = worker_of(TASK)
script = script_of("export")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, worker):
    """A model, drawn crops, and exported/ with all precisions."""
    folder = tmp_path_factory.mktemp("export")
    save_model(folder / "model")
    for seed, name in ((1, "calibration"), (2, "eval")):
        for number, (crop, label) in enumerate(zip(*drawn_crops(21, seed=seed), strict=True)):
            path = folder / name / EMOTIONS[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), crop[..., ::-1])
    (folder / "run" / "fold0").mkdir(parents=True)
    (folder / "run" / "fold0" / "config.json").write_text("{}")
    (folder / "none").mkdir()
    options = ["--calibration_file", "calibration", "--eval_file", "eval", "--torch_num_threads", "1"]
    code, errors = worker.run(
        folder, "export.py", "model", "--output_dir", "exported", "--precision", *PRECISIONS, *options
    )
    assert code == 0, errors
    return folder


def probabilities(path, pixel_values):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = torch.from_numpy(session.run(["logits"], {"pixel_values": pixel_values})[0])
    return logits.softmax(dim=1).numpy()


@pytest.fixture(scope="module")
def expected(folder):
    """pixel_values of drawn crops and PyTorch's probabilities."""
    crops, labels = drawn_crops(21, seed=2)
    pixel_values = preprocessing_of(folder / "model").pixel_values(crops)
    model = load_fold(folder / "model", torch.device("cpu"), EMOTIONS)
    with torch.inference_mode():
        return pixel_values, model(pixel_values=torch.from_numpy(pixel_values)).logits.softmax(dim=1).numpy(), labels


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("fp16", 0.02), ("int8", 0.5)])
def test_an_export_has_the_probabilities_of_pytorch(folder, expected, precision, most):
    pixel_values, wanted, labels = expected
    found = probabilities(folder / "exported" / precision / "model.onnx", pixel_values)
    reported = json.loads((folder / "exported" / "export.json").read_text())["precisions"][precision]
    difference = np.abs(found - wanted)
    assert difference.max() <= most
    assert difference.mean() <= most / 5
    assert reported["max_probability_difference"] == pytest.approx(difference.max(), abs=2e-3)
    assert reported["accuracy"] == pytest.approx((found.argmax(axis=1) == labels).mean())
    assert reported["same_label"] == pytest.approx((found.argmax(axis=1) == wanted.argmax(axis=1)).mean())
    assert reported["bytes"] == (folder / "exported" / precision / "model.onnx").stat().st_size


def test_smaller_precisions_are_smaller_and_do_what_they_say(folder):
    models = {precision: onnx.load(folder / "exported" / precision / "model.onnx") for precision in PRECISIONS}
    sizes = [models[precision].ByteSize() for precision in PRECISIONS]
    assert sizes == sorted(sizes, reverse=True)

    def share(precision, kind):
        """Of the numbers in the weights."""
        counts = [(np.prod(weight.dims), weight.data_type == kind) for weight in models[precision].graph.initializer]
        return sum(count for count, same in counts if same) / sum(count for count, _ in counts)

    assert share("fp32", onnx.TensorProto.FLOAT) > 0.99
    assert share("fp16", onnx.TensorProto.FLOAT16) > 0.99
    assert share("int8", onnx.TensorProto.INT8) > 0.9


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_batch_has_any_size_and_rows_do_not_touch(folder, expected, precision):
    pixel_values, _, _ = expected
    path = folder / "exported" / precision / "model.onnx"
    alone = np.concatenate([probabilities(path, pixel_values[i : i + 1]) for i in range(3)])
    assert alone == pytest.approx(probabilities(path, pixel_values)[:3], abs=1e-4)


def test_model_json_holds_what_the_page_and_score_py_need(folder):
    found = json.loads((folder / "exported" / "int8" / "model.json").read_text())
    wanted = preprocessing_of(folder / "model")
    assert found["label_names"] == EMOTIONS
    assert (found["image_size"], found["precision"], found["model"]) == (SIZE, "int8", "model.onnx")
    assert (tuple(found["mean"]), tuple(found["std"])) == (wanted.mean, wanted.std)
    assert FaceCrop(**found["face_crop"]) == FaceCrop()


def test_score_py_takes_an_export_for_the_model(worker, folder, tmp_path):
    acted(folder / "actor.webm", [("happy", 1.0)], 2, seconds=1.0)
    acted(folder / "user.webm", [("angry", 1.0)], 5, seconds=1.0)
    scores = []
    for model in ("model", "exported/fp32"):
        argv = ["actor.webm", "user.webm", "--model", model, "--output_dir", tmp_path, "--torch_num_threads", "1"]
        code, errors = worker.run(folder, "score.py", *argv)
        assert code == 0, errors
        scores.append(json.loads((tmp_path / "score.json").read_text())["score"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_without_images_parity_is_measured_on_noise_and_said(worker, folder, tmp_path):
    code, errors = worker.run(
        folder, "export.py", "model", "--output_dir", tmp_path / "out", "--torch_num_threads", "1"
    )
    assert code == 0, errors
    assert "parity is measured on 16 crops of noise, accuracy is not" in worker.printed
    report = json.loads((tmp_path / "out" / "export.json").read_text())
    assert list(report["precisions"]) == ["fp32"] and "accuracy" not in report["precisions"]["fp32"]
    assert report["precisions"]["fp32"]["max_probability_difference"] < 1e-4


REFUSED = {
    "no-folder": (["no"], ["no: no such file or folder"]),
    "no-model": (["none"], ["none", "config.json"]),
    "a-run": (["run"], ["one model is exported at a time", "fold0"]),
    "precision": (["model", "--precision", "int4"], ["int4", "fp32, fp16, int8"]),
    "int8-without-images": (["model", "--precision", "int8"], ["--calibration_file"]),
    "images-without-int8": (["model", "--calibration_file", "calibration"], ["only int8 is calibrated"]),
    "no-eval": (["model", "--eval_file", "nothing"], ["nothing: no such file or folder"]),
    "eval-without-images": (["model", "--eval_file", "none"], ["none", "holds no images"]),
    "samples": (["model", "--max_calibration_samples", "0"], ["max_calibration_samples", "0"]),
}


@pytest.mark.parametrize(("argv", "fragments"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_named(script, folder, tmp_path, argv, fragments, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [str(folder / word) if (folder / word).exists() else word for word in argv]
    argv = [*paths, "--output_dir", "out", "--torch_num_threads", "1"]
    assert_raised(lambda: script.main(*script.parse_args(argv)), tmp_path, fragments)


def test_int8_that_is_measured_on_its_own_calibration_is_said(script, tmp_path, capsys):
    one, other = (str(tmp_path / name) for name in ("one", "other"))
    for calibration, measured in ((None, None), (None, one), (one, None), (one, other)):
        script.say_same_rows(script.ExportArguments(calibration_file=calibration, eval_file=measured))
    assert capsys.readouterr().out == ""
    script.say_same_rows(script.ExportArguments(calibration_file=one, eval_file=f"{other}/../one"))
    assert "eval_file: is the calibration_file" in capsys.readouterr().out


def test_a_damaged_model_is_named(worker, folder, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text((folder / "model" / "config.json").read_text())
    (tmp_path / "m" / "model.safetensors").write_text("damaged")
    assert_refused(worker, tmp_path, "export.py", ["m", "--output_dir", "out"], ["m", "cannot be loaded"])
