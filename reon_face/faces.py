"""From a frame to a face: detection, choice and crop. No torch; the page in web/ does the same geometry in JavaScript.

    detector = load_detector("haar")
    face = choose_face(detector(image), *image.shape[:2])
    crop = crop_face(image, face, size=112, padding=0.1, align=True)

The crop: a square around the centre (cx, cy) of the box, side = max(width, height) * (1 + 2 * padding). Where landmarks
are known and align
is on, it is turned by angle = atan2(dy, dx) of the line from the left to the right eye of the image, so that the eyes
are level; else
angle = 0. Each output pixel is the mean of k x k bilinear samples, k = max(1, ceil(side / size)), of which number (i,
j), counted from 0
over the whole grid of size * k by size * k, lies at

    u = ((i + 0.5) / (size * k) - 0.5) * side,    v = ((j + 0.5) / (size * k) - 0.5) * side
    x = cx + u * cos(angle) - v * sin(angle),     y = cy + u * sin(angle) + v * cos(angle)

where (0.5, 0.5) is the centre of the image's first pixel, and pixels beyond the border repeat it.
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from common.console import InputError, first_line

LONGEST_SIDE = 640  # pixels; detectors look at larger images reduced to this
SMALLEST_FACE = 0.08  # of the image's shorter side; smaller faces are not looked for by Haar's detector
SAME_FACE = 0.2  # intersection over union with the face of the frame before


@dataclass(frozen=True)
class Face:
    """box: x1, y1, x2, y2 in pixels (the first pixel reaches from 0 to 1). score: the detector's own, higher is surer.

    landmarks: (5, 2) pixels or None; eye on the image's left, eye on its right, nose, mouth corner on the left, on the
    right.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: np.ndarray | None = None

    @property
    def area(self) -> float:
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


@dataclass(frozen=True)
class FaceCrop:
    """How a frame becomes a crop; travels with crops (crop.json) and with a model (config.json, key face_crop).

    detector: as in load_detector; choose: as in choose_face; padding, align: as in crop_face. A model that was trained
    on faces that others cropped gets the defaults.
    """

    detector: str = "haar"
    choose: str = "largest"
    padding: float = 0.1
    align: bool = True


Detector = Callable[[np.ndarray], list[Face]]  # image (H, W, 3) uint8 BGR -> faces, the surest first


def load_detector(name_or_path: str) -> Detector:
    """`haar` (the frontal cascade that OpenCV 4 brings), `none` (the whole frame is the face), or YuNet's ONNX file.

    Raises InputError where it is none of these or cannot be loaded.
    """
    if name_or_path == "haar":
        return HaarDetector()
    if name_or_path == "none":
        return lambda image: [Face((0.0, 0.0, float(image.shape[1]), float(image.shape[0])), 1.0)]
    if not name_or_path.endswith(".onnx"):
        raise InputError(f"detector: {name_or_path!r} is not haar, none or YuNet's .onnx file")
    if not os.path.isfile(name_or_path):
        raise InputError(f"{name_or_path}: no such file (detector); name YuNet's file with --detector")
    return YuNetDetector(name_or_path)


class HaarDetector:
    """Viola and Jones 2001. A face's score is the margin by which it passed the last stage of the cascade."""

    def __init__(self) -> None:
        self.cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt2.xml"))

    def __call__(self, image: np.ndarray) -> list[Face]:
        small, scale = shrink(image)
        gray = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))
        least = max(20, round(SMALLEST_FACE * min(gray.shape)))
        boxes, _, scores = self.cascade.detectMultiScale3(gray, 1.1, 3, minSize=(least, least), outputRejectLevels=True)
        faces = [
            Face(tuple(float(value * scale) for value in (x, y, x + w, y + h)), float(score))
            for (x, y, w, h), score in zip(boxes, np.ravel(scores), strict=True)
        ]
        return sorted(faces, key=lambda face: -face.score)


class YuNetDetector:
    """YuNet (Wu et al. 2023) through OpenCV; finds eyes, nose and mouth corners, too."""

    def __init__(self, path: str, least_score: float = 0.6) -> None:
        try:
            self.network = cv2.FaceDetectorYN.create(path, "", (320, 320), least_score)
            self.network.detect(np.zeros((320, 320, 3), np.uint8))  # any network can be loaded
        except cv2.error as error:
            raise InputError(f"{path}: is not a YuNet that OpenCV can load ({first_line(error)})") from error

    def __call__(self, image: np.ndarray) -> list[Face]:
        small, scale = shrink(image)
        self.network.setInputSize(small.shape[1::-1])
        _, rows = self.network.detect(small)
        faces = []
        for x, y, w, h, *points, score in [] if rows is None else (rows * np.array([scale] * 14 + [1.0])).tolist():
            faces.append(Face((x, y, x + w, y + h), score, np.array(points, dtype=np.float32).reshape(5, 2)))
        return sorted(faces, key=lambda face: -face.score)


def shrink(image: np.ndarray) -> tuple[np.ndarray, float]:
    """The image with its longer side at most LONGEST_SIDE, and by how much its pixels must be multiplied to be those of
    the original."""
    scale = max(1.0, max(image.shape[:2]) / LONGEST_SIDE)
    if scale == 1.0:
        return image, scale
    size = (max(1, round(image.shape[1] / scale)), max(1, round(image.shape[0] / scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale


def choose_face(
    faces: Sequence[Face], height: int, width: int, how: str = "largest", previous: Face | None = None
) -> Face | None:
    """One face of an image, None where there is none.

    how: "largest" or "central" (its centre nearest to the image's). previous: the face of the frame before; the face
    that overlaps it most is taken, if any does by an intersection over union of SAME_FACE.
    """
    if not faces:
        return None
    if previous is not None:
        nearest = max(faces, key=lambda face: overlap(face, previous))
        if overlap(nearest, previous) >= SAME_FACE:
            return nearest
    if how == "central":
        return min(
            faces, key=lambda face: math.hypot(face.box[0] + face.box[2] - width, face.box[1] + face.box[3] - height)
        )
    return max(faces, key=lambda face: face.area)


def moved(face: Face, right: float, down: float, size: float) -> Face:
    """The face with its box moved by shares of its width and height, and made larger or smaller about its centre."""
    x1, y1, x2, y2 = face.box
    x = (x1 + x2) / 2 + right * (x2 - x1)
    y = (y1 + y2) / 2 + down * (y2 - y1)
    half_width = (x2 - x1) / 2 * size
    half_height = (y2 - y1) / 2 * size
    return replace(face, box=(x - half_width, y - half_height, x + half_width, y + half_height))


def overlap(a: Face, b: Face) -> float:
    """Intersection over union of two boxes."""
    width = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    height = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / (a.area + b.area - common)


def crop_face(image: np.ndarray, face: Face, size: int, padding: float, align: bool) -> np.ndarray:
    """The square around a face, (size, size, 3) uint8 in the image's own order of colours; the geometry is this
    module's docstring.

    image: (H, W, 3) uint8. padding: share of the box's longer side that is added on each of the four sides.
    """
    x1, y1, x2, y2 = face.box
    side = max(x2 - x1, y2 - y1) * (1 + 2 * padding)
    angle = 0.0
    if align and face.landmarks is not None:
        (left_x, left_y), (right_x, right_y) = face.landmarks[:2]
        angle = math.atan2(right_y - left_y, right_x - left_x)
    samples = size * max(1, math.ceil(side / size))
    step = side / samples  # pixels of the image from one sample to the next
    cos = step * math.cos(angle)
    sin = step * math.sin(angle)
    middle = (samples - 1) / 2
    # OpenCV's coordinates: 0 is the centre of the first pixel
    x = (x1 + x2) / 2 - 0.5
    y = (y1 + y2) / 2 - 0.5
    to_image = np.array([[cos, -sin, x - middle * (cos - sin)], [sin, cos, y - middle * (sin + cos)]])
    crop = cv2.warpAffine(
        image,
        to_image,
        (samples, samples),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return crop if samples == size else cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
