"""Frames cropped to the person of the key points (--crop_to_person): a square that follows him and keeps its size.

prepare = Cropper(boxes, size, lambda square: square)
read_frames(path, prepare.choose_sorted(choose), prepare)
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

Prepare = Callable[[np.ndarray], np.ndarray]


class Cropper:
    """What read_frames() calls with frames (T, H, W, 3): each is cut to a square around its box.

    boxes: (F, 4) x1, y1, x2, y2 as of poses.person_boxes(), matched by time, since F need not be the number of frames;
    size: the width and height of a frame that they are of. The squares of a clip are all as large as the largest box,
    so that only the person moves; where one leaves the frame, the frame's border is repeated. then: what becomes of
    the squares.
    """

    def __init__(self, boxes: np.ndarray, size: Sequence[float], then: Prepare):
        self.boxes = boxes
        self.size = size
        self.then = then
        self.numbers: list[int] = []
        self.total = 0

    def choose_sorted(self, choose: Callable[[int], Sequence[int]]) -> Callable[[int], list[int]]:
        """choose, each number once and in order: every decoder then gives the frames in this order. The numbers as
        chosen are kept for restore()."""

        def choose_some(total: int) -> list[int]:
            self.chosen = np.asarray(choose(total))
            self.numbers = sorted(set(self.chosen.tolist()))
            self.total = total
            self.queue = list(self.numbers)
            return list(self.numbers)

        return choose_some

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        now = [self.queue.pop(0) for _ in frames]
        return self.then(np.concatenate([self.square(frame, k) for frame, k in zip(frames, now, strict=True)]))

    def restore(self, frames: np.ndarray) -> np.ndarray:
        """The frames in the order in which they were chosen, repeated where they were."""
        return frames[np.searchsorted(self.numbers, self.chosen)]

    def square(self, frame: np.ndarray, number: int) -> np.ndarray:
        """(1, S, S, 3) of frame `number`."""
        height, width = frame.shape[:2]
        scale = np.array([width, height] * 2) / [*self.size, *self.size]
        boxes = self.boxes * scale
        side = max(2, int(np.ceil(min((boxes[:, 2:] - boxes[:, :2]).max(), 2 * max(height, width)))))
        moment = min(int((number + 0.5) / self.total * len(boxes)), len(boxes) - 1)
        box = boxes[moment]
        left, top = np.rint((box[:2] + box[2:]) / 2 - side / 2).astype(int).tolist()
        before = max(0, -left, -top, left + side - width, top + side - height)
        if before:
            frame = cv2.copyMakeBorder(frame, *[before] * 4, cv2.BORDER_REPLICATE)
        return frame[None, top + before : top + before + side, left + before : left + before + side]
