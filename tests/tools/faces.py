"""Images, models and videos for the tests of reon_face/: noise in two shades, random weights that tell drawn
expressions apart, performances."""

import importlib
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from common.console import InputError
from reon_face.faces import FaceCrop
from reon_face.model import load_image_model, preprocessing_of
from reon_face.sample.draw import EMOTIONS, draw_face, draw_video
from tests.tools.scripts import ROOT, siblings_of, snapshot

TASK = ROOT / "reon_face"
SIZE = 64
NAMES = ["bright", "dark"]  # labels of write_images()
TINY = ["--config", TASK / "configs" / "demo.yaml", "--torch_num_threads", "1", "--disable_tqdm", "true"]
TINY += ["--image_size", "32", "--num_train_epochs", "2", "--num_folds", "2", "--per_device_train_batch_size", "4"]


def task_path():
    """Modules of reon_face/ can be imported as its scripts import them."""
    return siblings_of(TASK)


def script_of(name):
    """A module's fixture `script`: train.py, predict.py, crop.py, score.py or export.py as a module."""

    @pytest.fixture(scope="module")
    def script():
        with task_path():
            yield importlib.import_module(name)

    return script


def assert_raised(start, folder, fragments):
    """An InputError that holds the fragments, and nothing written in the folder."""
    before = snapshot(folder)
    with pytest.raises(InputError) as caught:
        start()
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert snapshot(folder) == before


def write_images(folder, people, labelled=True, size=24):
    """Noise around 170 (bright) and around 80 (dark), two images of each person and label."""
    for person in people:
        for label, level in zip(NAMES, (170, 80), strict=True):
            for number in range(2):
                random = np.random.default_rng([person, level, number])
                image = (level + random.normal(0, 30, (size, size, 3))).clip(0, 255).astype(np.uint8)
                name = f"{label}/s{person}_{number}.png" if labelled else f"image_{person}_{label[0]}{number}.png"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / name), image)
    return folder


def drawn_crops(count, seed=0, size=SIZE):
    """Crops (count, size, size, 3) uint8 RGB of drawn people, and their emotions as numbers."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % len(EMOTIONS)
    drawn = [draw_face(int(random.integers(50)), EMOTIONS[label], 1.0, 2 * size) for label in labels]
    return np.stack([image[size // 2 : -size // 2, size // 2 : -size // 2, ::-1] for image in drawn]), labels


def save_model(folder, seed=0, detector="haar"):
    """A model of random weights whose logits over drawn faces have mean 0 and standard deviation 1.5; returns the
    folder."""
    torch.manual_seed(seed)
    model = load_image_model("scratch", EMOTIONS, asdict(FaceCrop(detector=detector)), start="scratch").eval()
    classifier = model.timm_model.get_classifier()
    torch.nn.init.normal_(classifier.weight)
    model.save_pretrained(folder)
    crops, _ = drawn_crops(28)
    with torch.inference_mode():
        logits = model(pixel_values=torch.from_numpy(preprocessing_of(folder).pixel_values(crops))).logits
        scale = 1.5 / logits.std(dim=0)
        classifier.weight *= scale[:, None]
        classifier.bias.copy_((classifier.bias - logits.mean(dim=0)) * scale)
    model.save_pretrained(folder)
    return folder


def read_video(path):
    """Frames, each (H, W, 3) uint8 RGB, and the frame rate."""
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate)
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(container.streams.video[0])], rate


def write_video(path, frames, rate, codec="libvpx"):
    """A file that browsers play."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def reencode(source, target, size, rate, codec="libvpx"):
    """The same video at another size (width, height) and frame rate."""
    frames, old_rate = read_video(source)
    count = round(len(frames) / old_rate * rate)
    chosen = [frames[min(len(frames) - 1, int(k / rate * old_rate + 1e-6))] for k in range(count)]
    return write_video(target, [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in chosen], rate, codec)


def acted(path, script, subject, seconds=2.0):
    """A drawn person's performance in a file that browsers play."""
    drawn = Path(path).with_suffix(".mp4")
    draw_video(drawn, script, subject, seconds=seconds)
    return write_video(path, *read_video(drawn))


def write_y4m(path, frames, rate=12):
    """What Chromium's fake camera plays, over and over."""
    height, width = frames[0].shape[:2]
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path


def watched(videos, model, detector=None):
    """watch() of each video by the scripts' own modules: [(performance, faces)]."""
    with task_path():
        from faces import load_detector
        from scoring.watch import load_classifier, watch

        classifier = load_classifier(model)
        found = load_detector(detector or classifier.preprocessing.face_crop["detector"])
        return [watch(Path(video), found, classifier) for video in videos]
