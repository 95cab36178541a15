"""Key points of one person in a frame, by an ONNX model that the user names, followed from frame to frame.

tracker = Tracker(Estimator("rtmpose.onnx"))
read_frames(path, tracker.choose, tracker)
tracker.poses                   # of each frame (K, 3): x, y in pixels, confidence; None where nobody was found

No detector: the first frame is looked at as a whole, where nobody is found in windows over it, the others around the
points of the frame before. So of several people it follows whom the model finds in the whole frame, as a rule the
largest, else who gives the most confident points.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from common.console import InputError, first_line
from common.guards.special import refuse_special

MEAN = np.array([123.675, 116.28, 103.53], np.float32)  # of ImageNet's RGB, as mmpose's models have it
STD = np.array([58.395, 57.12, 57.375], np.float32)
MARGIN = 1.5  # of the box around the points: mmpose's 1.25 of a person's box, of which the points span some 0.85
SEEN = 0.25  # share of the points that are confident where somebody is there: hands and face in a close-up
WINDOWS = (1.0, 0.6)  # sides over the shorter one of the frame, in which somebody is looked for
SEARCHED_EVERY = 5  # frames, at most: some 18 windows cost as much as that many frames
PRESENT = 0.5  # BlazePose's own threshold for the probability that somebody is there
PER_LANDMARK = 5  # x, y, z, visibility, presence
BODY = 33  # of BlazePose's 39 landmarks; the others are for its own tracking
LAYOUTS = "(1, K, W * s) and (1, K, H * s) as of RTMPose, (1, K, h, w) of heat maps, or (1, 195) of BlazePose"
Box = tuple[float, float, float, float]  # x, y of the left upper corner, width, height


class Estimator:
    """A model as a function of a frame and a box.

    path: an ONNX file of one input, (1, 3, H, W) or (1, H, W, 3) float32 RGB. Its layout is what its outputs' shapes
    say: simcc (RTMPose, arXiv 2303.07399), heatmaps (arXiv 1804.06208), both fed with ImageNet's mean and deviation, or
    landmarks (BlazePose, arXiv 2006.10204), fed with values from 0 to 1. min_confidence: of a point that counts as
    found. num_threads: 0: one per core. Raises InputError for any other model.
    """

    def __init__(self, path: str, min_confidence: float = 0.3, num_threads: int = 0):
        self.path = path
        self.min_confidence = min_confidence
        self.session = open_session(path, num_threads)
        inputs = self.session.get_inputs()
        shape = inputs[0].shape
        fixed = len(shape) == 4 and all(isinstance(size, int) for size in shape[1:]) and 3 in (shape[1], shape[3])
        if len(inputs) != 1 or not fixed or inputs[0].type != "tensor(float)":
            given = ", ".join(f"{i.shape} {i.type}" for i in inputs)
            raise InputError(f"{path}: takes {given}; one float input of (1, 3, H, W) or (1, H, W, 3) was expected")
        self.name = inputs[0].name
        self.channels_first = shape[1] == 3
        self.width, self.height = (shape[3], shape[2]) if self.channels_first else (shape[2], shape[1])
        blank = np.zeros((self.height, self.width, 3), np.uint8)
        self.layout = ""
        outputs = self.run(blank)
        self.layout = layout_of([output.shape for output in outputs], self.width, self.height)
        if not self.layout:
            shapes = ", ".join(str(output.shape) for output in outputs)
            raise InputError(f"{path}: gives {shapes} for {shape}; expected {LAYOUTS}")
        self.num_points = len(self.points(blank, (0, 0, self.width, self.height))[0])

    def run(self, crop: np.ndarray) -> list[np.ndarray]:
        """The outputs for a crop (H, W, 3), uint8 RGB, of the input's size. Raises InputError."""
        values = crop.astype(np.float32)
        values = values / 255 if self.layout == "landmarks" else (values - MEAN) / STD
        if self.channels_first:
            values = values.transpose(2, 0, 1)
        try:
            outputs = self.session.run(None, {self.name: np.ascontiguousarray(values[None], np.float32)})
        except Exception as error:  # onnxruntime has an exception class for each of its error codes
            raise InputError(f"{self.path}: does not run on one frame ({first_line(error)})") from error
        return [np.asarray(output) for output in outputs]

    def points(self, frame: np.ndarray, box: Box) -> tuple[np.ndarray, float]:
        """(K, 3) x, y in the frame's pixels and confidence, and how sure the model is of somebody, 0 where it is not.
        frame: (H, W, 3) uint8 RGB, black beyond its border."""
        x, y, width, height = box
        scale = min(self.width / width, self.height / height)
        left = x + width / 2 - self.width / scale / 2
        top = y + height / 2 - self.height / scale / 2
        matrix = np.array([[scale, 0, -scale * left], [0, scale, -scale * top]])
        outputs = self.run(cv2.warpAffine(frame, matrix, (self.width, self.height), flags=cv2.INTER_LINEAR))
        points, probability = DECODERS[self.layout](outputs, self.width, self.height)
        if not np.isfinite(points).all():
            raise InputError(f"{self.path}: gives points that are no numbers; expected finite ones (exported as fp16?)")
        points[:, :2] = points[:, :2] / scale + [left, top]
        points[:, 2] = points[:, 2].clip(0, 1)
        seen = probability >= PRESENT and self.confident(points).sum() >= max(2, SEEN * len(points))
        return points, probability * float(points[:, 2].mean()) if seen else 0.0

    def confident(self, points: np.ndarray) -> np.ndarray:
        """(K,) bool."""
        return points[:, 2] >= self.min_confidence


class Tracker:
    """What read_frames() calls with frames (T, H, W, 3), in their order: poses gets one of each."""

    def __init__(self, estimator: Estimator):
        self.estimator = estimator
        self.choose(0)

    def choose(self, total: int) -> Sequence[int]:
        """All frames. A decoder that begins anew begins here, and so does the person."""
        self.poses: list[np.ndarray | None] = []
        self.size: tuple[int, int] | None = None
        self.box: Box | None = None
        self.searched = -SEARCHED_EVERY  # the last frame whose windows were looked at
        return range(total)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        for frame in frames:
            self.poses.append(self.follow(frame))
        return np.zeros((len(frames), 1, 1, 1), np.uint8)  # the frames themselves need no memory

    def follow(self, frame: np.ndarray) -> np.ndarray | None:
        """(K, 3) in the box of the frame before; where nobody is in it, in the whole frame or a window of it, and then
        once more in the box that this gives. The windows of the next SEARCHED_EVERY - 1 frames are not looked at."""
        height, width = frame.shape[:2]
        self.size = width, height
        score = 0.0
        if self.box is not None:
            points, score = self.estimator.points(frame, self.box)
        if not score:
            points, score = self.estimator.points(frame, (0, 0, width, height))
            number = len(self.poses)
            if not score and number - self.searched >= SEARCHED_EVERY:
                found = [self.estimator.points(frame, box) for box in windows(width, height, self.estimator)]
                points, score = max(found, key=lambda one: one[1])
                self.searched = number
            if score:
                closer, still_seen = self.estimator.points(frame, self.around(points))
                points = closer if still_seen else points
        self.box = self.around(points) if score else None
        return points if score else None

    def around(self, points: np.ndarray) -> Box:
        """The box of the confident points that are inside the frame (of all confident ones where none is)."""
        xy = points[self.estimator.confident(points), :2]
        inside = ((xy >= 0) & (xy <= np.array(self.size))).all(axis=1)
        xy = xy[inside] if inside.sum() >= 2 else xy
        low = xy.min(axis=0)
        size = np.maximum(xy.max(axis=0) - low, 1)  # pixels
        middle = low + size / 2
        left, top = middle - MARGIN * size / 2
        width, height = MARGIN * size
        return float(left), float(top), float(width), float(height)


def windows(width: int, height: int, estimator: Estimator) -> list[Box]:
    """Boxes of the model's proportions that cover a frame, each by half over the next, of each size of WINDOWS."""
    boxes = []
    for share in WINDOWS:
        scale = share * min(width / estimator.width, height / estimator.height)
        sides = [scale * estimator.width, scale * estimator.height]
        starts = []
        for side, whole in zip(sides, (width, height), strict=True):
            steps = int(np.ceil((whole - side) / (side / 2) - 1e-6))
            starts.append(np.linspace(0, whole - side, steps + 1).tolist())
        boxes += [(x, y, *sides) for y in starts[1] for x in starts[0]]
    return boxes


def open_session(path: str, num_threads: int) -> Any:
    """The onnxruntime session, on the CPU. Raises InputError."""
    refuse_special(path, "model")
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file (model); an ONNX file was expected, see docs/key_points.md")
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("model: an ONNX file needs the package onnxruntime (pip install onnxruntime)") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception class for each of its error codes
        raise InputError(f"{path}: cannot be loaded as ONNX ({first_line(error)})") from error


def layout_of(shapes: Sequence[tuple[int, ...]], width: int, height: int) -> str:
    """landmarks, simcc or heatmaps, by the shapes of the outputs for an input of width x height; empty: none of them.
    BlazePose gives heat maps beside its landmarks, so these come first."""
    if any(is_landmarks(shape) for shape in shapes):
        return "landmarks"
    if len(shapes) == 2 and all(len(shape) == 3 and shape[0] == 1 for shape in shapes):
        (_, points, across), (_, others, down) = shapes
        if points == others and across * height == down * width and across >= width:
            return "simcc"
    if len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][0] == 1 and shapes[0][1] > 1:
        _, _, down, across = shapes[0]
        if down * width == across * height and across <= width:
            return "heatmaps"
    return ""


def is_landmarks(shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and shape[0] == 1 and np.prod(shape) in (39 * PER_LANDMARK, BODY * PER_LANDMARK)


def decode_simcc(outputs: list[np.ndarray], width: int, height: int) -> tuple[np.ndarray, float]:
    """The largest of K rows of bins across and down, s to a pixel; the lower of the two values is the confidence."""
    across, down = outputs[0][0], outputs[1][0]
    split = across.shape[1] / width
    confidence = np.minimum(across.max(axis=1), down.max(axis=1))
    return np.stack([across.argmax(axis=1) / split, down.argmax(axis=1) / split, confidence], axis=1), 1.0


def decode_heatmaps(outputs: list[np.ndarray], width: int, height: int) -> tuple[np.ndarray, float]:
    """The largest value of each of K maps (h, w), a quarter of a cell towards its higher neighbour (arXiv 1603.06937,
    section 3.1)."""
    maps = outputs[0][0]
    _, rows, columns = maps.shape
    points = np.zeros((len(maps), 3))
    for k, heat in enumerate(maps):
        y, x = np.unravel_index(heat.argmax(), heat.shape)
        shift_x = np.sign(heat[y, x + 1] - heat[y, x - 1]) / 4 if 0 < x < columns - 1 else 0
        shift_y = np.sign(heat[y + 1, x] - heat[y - 1, x]) / 4 if 0 < y < rows - 1 else 0
        points[k] = (x + shift_x) * width / columns, (y + shift_y) * height / rows, heat[y, x]
    return points, 1.0


def decode_landmarks(outputs: list[np.ndarray], width: int, height: int) -> tuple[np.ndarray, float]:
    """The 33 of the body, x and y in the input's pixels; the visibility is a logit. An output of one number is the
    probability that somebody is there."""
    table = next(output for output in outputs if is_landmarks(output.shape)).reshape(-1, PER_LANDMARK)[:BODY]
    probability = [float(output.ravel()[0]) for output in outputs if output.size == 1]
    visibility = 1 / (1 + np.exp(-table[:, 3].astype(np.float64).clip(-50, 50)))
    points = np.concatenate([table[:, :2].astype(np.float64), visibility[:, None]], axis=1)
    return points, min(probability, default=1.0)


DECODERS = {"simcc": decode_simcc, "heatmaps": decode_heatmaps, "landmarks": decode_landmarks}
