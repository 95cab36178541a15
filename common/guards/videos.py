"""Frames of PyAV as a player shows them: turned, mirrored or both, as the display matrix of the file says.

    how = orientation(first_frame)                 # an av.VideoFrame
    pixels = upright_pixels(frame, how)            # of each frame

Phones write frames that lie on their side, and a matrix; those of selfie cameras may be mirrored. The matrix is that
of ISO 14496-12, section 8.3.2 (tkhd): a pixel (x, y) of the frame is shown at (a x + c y, b x + d y). Eight of them
stand for right angles: four turns, each mirrored or not; another is taken for the nearest of these. frame.rotation of
PyAV tells the turns only.
"""

import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import av

MAX_FRAME_PIXELS = 2**25  # 8K; eight frames of it are 0.8 GB


class Orientation(NamedTuple):
    """What makes a frame upright: first exchange rows and columns, then reverse the order of either."""

    exchange: bool = False
    reverse_rows: bool = False
    reverse_columns: bool = False

    @property
    def mirrors(self) -> bool:
        return sum(self) % 2 == 1


AS_IT_IS = Orientation()
EIGHT = [Orientation(*(bool(number & bit) for bit in (4, 2, 1))) for number in range(8)]  # AS_IT_IS first


def orientation(frame: "av.VideoFrame") -> Orientation:
    """What the display matrix of a decoded frame asks for."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
            exchange = abs(b) + abs(c) > abs(a) + abs(d)
            return Orientation(exchange, (b if exchange else d) < 0, (c if exchange else a) < 0)
    return AS_IT_IS


def upright(pixels: np.ndarray, how: Orientation) -> np.ndarray:
    """(..., H, W, 3) as a player shows it; contiguous."""
    if how.exchange:
        pixels = pixels.swapaxes(-3, -2)
    if how.reverse_rows:
        pixels = pixels[..., ::-1, :, :]
    if how.reverse_columns:
        pixels = pixels[..., ::-1, :]
    return np.ascontiguousarray(pixels)


def upright_pixels(frame: "av.VideoFrame", how: Orientation, colours: str = "rgb24") -> np.ndarray:
    """(H, W, 3) uint8 of a decoded frame, as a player shows it. how: of the clip's first frame, because H.264 says it
    with that one only. Raises ValueError where it is larger than 8K."""
    if frame.width * frame.height > MAX_FRAME_PIXELS:
        raise ValueError(
            f"frames of {frame.width} x {frame.height} pixels, more than the {MAX_FRAME_PIXELS // 10**6} million of 8K"
        )
    return upright(frame.to_ndarray(format=colours), how)


def promised_seconds(stream: "av.VideoStream") -> float:
    """What Matroska and WebM say in place of a number of frames; 0 where they, or other files, say nothing."""
    parts = stream.metadata.get("DURATION", "").split(":")
    return sum(float(part) * 60**i for i, part in enumerate(reversed(parts))) if len(parts) == 3 else 0.0


def shown_frames(path: str | Path) -> tuple[list[int | None], int]:
    """(the times of the frames that a video shows, None where the file says none; how many more it promised).

    A video may hold more than it shows: one that was trimmed or cut without decoding it has an edit list, and begins
    and ends with frames that only others need. An AVI counts moments without a frame, too. Nothing is decoded. Raises
    ValueError where there are none, av.FFmpegError where the file cannot be read.
    """
    import av

    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError("it holds no video stream")
        stream = container.streams.video[0]
        packets = [(p.pts, p.dts, p.duration or 0, p.is_discard) for p in container.demux(stream) if p.size]
        if not packets:
            raise ValueError("it holds no frames")
        times = [(pts if dts is None else dts, duration) for pts, dts, duration, _ in packets]
        known = [(time, time + duration) for time, duration in times if time is not None]
        seconds = max((end for _, end in known), default=0) - min((start for start, _ in known), default=0)
        # an edit list shortens the duration; an AVI's frames are moments, and FFmpeg cuts its duration to what is there
        promised = {"mov": stream.duration, "avi": stream.frames}.get(container.format.name.partition(",")[0])
        whole = known and seconds >= (promised or math.inf)
        lost = 0 if whole else max(0, stream.frames - len(packets))
    return [pts for pts, *_, is_hidden in packets if not is_hidden], lost


def promised_frames(path: str | Path) -> int:
    """How many frames a video says that it shows. Raises as shown_frames() does."""
    shown, lost = shown_frames(path)
    return len(shown) + lost
