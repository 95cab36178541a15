"""From a video file to a performance: the frames on a grid of time, the face followed from one to the next, and a
model's probabilities.

classifier = load_classifier(RUN)                            # or a model's folder, or what export.py wrote
performance, looks = watch(Path("actor.mp4"), load_detector("haar"), classifier)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from scipy.special import softmax
from transformers import TimmWrapperForImageClassification

from common.console import InputError, first_line
from common.files import read_json
from common.guards.breaks import refuse_cut
from common.guards.videos import orientation, promised_frames, promised_seconds, upright_pixels
from common.run import finished_folds

from faces import Detector, Face, choose_face, crop_face, moved
from model import Preprocessing, class_names_of, load_fold, preprocessing_of
from scoring.performance import FACE_PIXELS, RATE, VIEWS, Performance

EPSILON = 1e-3  # seconds: the frame that begins at a moment is on display at that moment
BATCH = 32  # crops
LONGEST = 3600  # seconds of a video: what is seen at its moments is in memory
WHOLE = 0.9  # of the frames or seconds that a file promises; edit lists of phones leave some out


@dataclass(frozen=True)
class Classifier:
    """label_names: C. probabilities: pixel_values (N, 3, S, S) float32 -> (N, C) float64, that sum to 1."""

    label_names: list[str]
    preprocessing: Preprocessing
    probabilities: Callable[[np.ndarray], np.ndarray]


def load_classifier(path: str | Path) -> Classifier:
    """The models of a run (the logits of its folds are averaged), one saved model, or an exported model.onnx with its
    model.json.

    Raises InputError where there is none, or where the folds of a run expect other crops.
    """
    path = Path(path)
    if (path / "model.json").is_file():
        return load_onnx(path)
    if exported := sorted(path.glob("*/model.json")):
        raise InputError(f"{path}: holds several models, name one of them, such as {exported[0].parent}")
    folds = [path] if (path / "config.json").is_file() else finished_folds(path)
    label_names = class_names_of(folds[0])
    preprocessing = preprocessing_of(folds[0])
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    for fold in folds:
        if preprocessing_of(fold) != preprocessing:
            raise InputError(f"{fold}: expects other crops than {folds[0]}")
    models = [load_fold(fold, device, label_names) for fold in folds]
    return Classifier(label_names, preprocessing, of_models(models))


def of_models(models: Sequence[TimmWrapperForImageClassification]) -> Callable[[np.ndarray], np.ndarray]:
    """The probabilities of a Classifier: the softmax of the mean of the models' logits."""

    @torch.inference_mode()
    def logits(pixel_values: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(pixel_values).to(models[0].device)
        return torch.stack([model(pixel_values=batch).logits for model in models]).mean(dim=0).double().cpu().numpy()

    return in_batches(logits)


def load_onnx(folder: Path) -> Classifier:
    """What export.py wrote. Raises InputError where it is damaged."""
    import onnxruntime

    description = read_json(folder / "model.json")
    try:
        preprocessing = Preprocessing(**{key: description[key] for key in Preprocessing.__dataclass_fields__})
        preprocessing.checked(folder / "model.json")
        label_names = list(description["label_names"])
        file = folder / Path(description["model"]).name
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder}/model.json: has no {error}, expected the file that export.py writes") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class of their own
        raise InputError(f"{file}: cannot be loaded as an ONNX model ({first_line(error)})") from error
    logits = lambda pixel_values: session.run(["logits"], {"pixel_values": pixel_values})[0].astype(np.float64)  # noqa: E731
    return Classifier(label_names, preprocessing, in_batches(logits))


def in_batches(logits: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Softmax of the logits of all rows, BATCH at a time."""

    def probabilities(pixel_values: np.ndarray) -> np.ndarray:
        parts = [logits(pixel_values[start : start + BATCH]) for start in range(0, len(pixel_values), BATCH)]
        return softmax(np.concatenate(parts), axis=1)

    return probabilities


def read_frames(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """(number, image (H, W, 3) uint8 RGB) of the frame on display at the moments 0, 1 / RATE, ... of a video; a frame
    that stays on display has the same number. The last moment is the last before the end of the last frame.

    Raises InputError that names the file where it is no video, is damaged, breaks off, or is longer than LONGEST.
    """
    refuse_cut(path)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError("it holds no video stream")
            stream = container.streams.video[0]
            check_length((container.duration or 0) / av.time_base)
            moment = 0
            number = 0
            shown = None
            how = None
            start = None
            end = 0.0
            for frame in container.decode(stream):
                if frame.time is None:
                    raise ValueError("its frames have no times")
                how = how or orientation(frame)
                start = frame.time if start is None else start
                time = frame.time - start
                while shown is not None and moment / RATE + EPSILON < time:
                    yield number, upright_pixels(shown, how)
                    moment += 1
                    check_length(moment / RATE)
                interval = frame.duration * stream.time_base if frame.duration else 1 / (stream.average_rate or RATE)
                number = number + 1
                shown = frame
                end = time + float(interval)
            check_length(end)
            if shown is None:
                raise ValueError("it holds no frames")
            if number < WHOLE * stream.frames and number < WHOLE * (total := promised_frames(path)):
                raise ValueError(f"{number} of {total} frames are there, is the file truncated?")
            if end < WHOLE * (promised := promised_seconds(stream)):
                raise ValueError(f"{end:.1f} of {promised:.1f} seconds are there, is the file truncated?")
            for _ in range(moment, max(moment + (moment == 0), round(end * RATE))):
                yield number, upright_pixels(shown, how)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise InputError(f"{path}: cannot be decoded as a video ({first_line(error)})") from error


def check_length(seconds: float) -> None:
    """Raise ValueError where a video has more than LONGEST."""
    if seconds > LONGEST:
        raise ValueError(f"it is longer than {LONGEST // 60} minutes; cut the scene out of it")


def watch(
    path: Path, detector: Detector, classifier: Classifier, face_pixels: int = FACE_PIXELS
) -> tuple[Performance, list[Face | None]]:
    """The performance in a video, and the face at each of its moments.

    The probabilities of a frame are the mean over VIEWS of its face. face_pixels: a crop shows no more than so many
    pixels a side. What a classifier says changes with the sharpness of a face, so both videos are compared at the size
    of the coarser. A frame without a face has probabilities of NaN. Raises InputError where the file cannot be decoded.
    """
    crop = classifier.preprocessing.face_crop
    size = classifier.preprocessing.image_size
    whole = Face((0, 0, face_pixels, face_pixels), 1.0)
    faces = []
    rows = []
    last = 0
    previous = None
    for number, image in read_frames(path):
        if number != last:
            probabilities = np.full(len(classifier.label_names), np.nan)
            found = choose_face(
                detector(np.ascontiguousarray(image[..., ::-1])), *image.shape[:2], crop["choose"], previous
            )
            if found is not None:
                previous = found
                views = [
                    crop_face(image, moved(found, *v), min(size, face_pixels), crop["padding"], crop["align"])
                    for v in VIEWS
                ]
                if size > face_pixels:
                    views = [crop_face(view, whole, size, padding=0, align=False) for view in views]
                probabilities = classifier.probabilities(classifier.preprocessing.pixel_values(np.stack(views))).mean(
                    axis=0
                )
        last = number
        faces.append(found)
        rows.append(probabilities)
    return Performance(np.arange(len(rows)) / RATE, np.array(rows), len(rows) / RATE), faces
