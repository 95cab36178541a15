"""--upscale: small frames enlarged by a super-resolution network in an ONNX file."""

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from common.console import InputError, first_line


def check_upscale(upscale: str) -> None:
    """Raise InputError where --upscale is no way to do it."""
    if upscale in ("none", "bicubic"):
        return
    if not Path(upscale).is_file():
        raise InputError(f"upscale: {upscale!r} is neither none, bicubic nor an ONNX file")
    super_resolution(np.zeros((32, 32, 3), dtype=np.uint8), upscale)


def super_resolution(frame: np.ndarray, path: str) -> np.ndarray:
    """One frame (H, W, 3), uint8, through a model of (1, 3, H, W) RGB or (1, 1, H, W) luminance, values 0 to 1, to (1,
    ., kH, kW)."""
    session = open_upscaler(path)
    tensor = session.get_inputs()[0]
    if len(tensor.shape) != 4 or tensor.shape[1] not in (1, 3):
        raise InputError(f"{path}: takes {tensor.shape}, expected (1, 3, height, width) or (1, 1, height, width)")
    planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb) if tensor.shape[1] == 1 else frame
    values = planes[..., : tensor.shape[1]].astype(np.float32).transpose(2, 0, 1)[None] / 255
    try:
        (output, *_) = session.run(None, {tensor.name: values})
    except Exception as error:  # a fixed size, most of all
        raise InputError(
            f"{path}: does not take a frame of {frame.shape[1]} x {frame.shape[0]} ({first_line(error)})"
        ) from error
    if output.ndim != 4 or output.shape[:2] != values.shape[:2]:
        raise InputError(f"{path}: gives {output.shape} for {values.shape}, expected an image of as many channels")
    output = (output[0].transpose(1, 2, 0).clip(0, 1) * 255).round().astype(np.uint8)
    if tensor.shape[1] == 3:
        return output
    colors = cv2.resize(planes[..., 1:], output.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return cv2.cvtColor(np.concatenate([output, colors], axis=2), cv2.COLOR_YCrCb2RGB)


@lru_cache(maxsize=1)
def open_upscaler(path: str):
    """The ONNX session of --upscale, one per process. Raises InputError."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("upscale: an ONNX file needs the package onnxruntime (pip install onnxruntime)") from error

    try:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(path, options)
    except Exception as error:  # onnxruntime has an exception class for each of its error codes
        raise InputError(f"{path}: cannot be loaded as ONNX ({first_line(error)})") from error
