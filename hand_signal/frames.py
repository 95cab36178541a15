"""Which frames of a video make a clip, and how large they are: sampling, the person's square, the shorter side."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from upscaling import super_resolution

RESIZE = 8 / 7  # short side of the frames over crop_size: 256 to 224
BOX_MARGIN = 0.1  # of width and height, on each side: arms leave the box between two frames


def choose_frames(
    total: int, num_frames: int, frame_stride: int, clip: int = 0, num_clips: int = 1, jitter: bool = False
) -> list[int]:
    """Numbers (num_frames,) of the frames of one clip of a video with `total` frames, ascending; short videos repeat
    frames.

    A clip is a window of num_frames * frame_stride frames (the whole video where it is shorter, or frame_stride is 0),
    cut into num_frames equal parts with one frame from each. jitter, for training: a random window, a random frame of
    each part (from torch's generator). Else the windows of the num_clips clips are spread evenly from the start to the
    end (section 4 of the SlowFast paper); where the window is the whole video they differ in the frame that they take
    of each part.
    """
    length = min(total, num_frames * frame_stride) if frame_stride else total
    if jitter:
        start = torch.randint(total - length + 1, ()).item()
        inside = torch.rand(num_frames, dtype=torch.float64).numpy()
    else:
        start = (total - length) * (0.5 if num_clips == 1 else clip / (num_clips - 1))
        inside = 0.5 if length < total else (clip + 0.5) / num_clips
    return (start + (np.arange(num_frames) + inside) * length / num_frames).astype(int).clip(0, total - 1).tolist()


def prepare_frames(frames: np.ndarray, box: Sequence[float] | None, upscale: str, crop_size: int) -> np.ndarray:
    """Crop to the person (all frames alike, so that only the person moves), upscale where small, shorter side to
    crop_size * 8 / 7."""
    if box is not None:
        frames = crop_square(frames, box)
    short = round(crop_size * RESIZE)
    if upscale not in ("none", "bicubic") and min(frames.shape[1:3]) < short:
        frames = np.stack([super_resolution(frame, upscale) for frame in frames])
    height, width = frames.shape[1:3]
    scale = short / min(height, width)
    size = max(short, round(width * scale)), max(short, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC if upscale == "bicubic" else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, size, interpolation=how) for frame in frames])


def crop_square(frames: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """The square (T, S, S, 3) that holds a box with its margin, moved into the frame: the model sees squares, and the
    middle square of a box would be a person without arms. Where the frame is smaller than the square, its border is
    repeated."""
    height, width = frames.shape[1:3]
    dx = BOX_MARGIN * (box[2] - box[0])
    dy = BOX_MARGIN * (box[3] - box[1])
    x1 = max(0, int(box[0] - dx))
    y1 = max(0, int(box[1] - dy))
    x2 = min(width, int(box[2] + dx) + 1)
    y2 = min(height, int(box[3] + dy) + 1)
    if x2 - x1 <= 1 or y2 - y1 <= 1:  # the box is of other frames
        return frames
    side = max(x2 - x1, y2 - y1)
    left, top = (
        max(0, min((low + high - side) // 2, size - side)) for low, high, size in ((x1, x2, width), (y1, y2, height))
    )
    frames = frames[:, top : top + side, left : left + side]
    above = (side - frames.shape[1]) // 2
    before = (side - frames.shape[2]) // 2
    border = (above, side - frames.shape[1] - above), (before, side - frames.shape[2] - before)
    return np.pad(frames, ((0, 0), *border, (0, 0)), mode="edge")
