"""Frames of a video file or of image files: only the chosen ones are decoded, upright, as uint8 RGB.

    frames = read_frames(Path("clip.mp4"), lambda total: np.arange(0, total, 4))      # (T, H, W, 3)

decord reads video files, PyAV those that decord cannot, Pillow images.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from PIL import Image

from common.console import InputError, first_line

if TYPE_CHECKING:
    from data import ClipExample

os.environ.setdefault("DECORD_EOF_RETRY_MAX", "128")  # because its 10240 tries on a truncated file take minutes
try:
    import decord
except ImportError:  # wheels for Linux x86-64 only
    decord = None
else:
    decord.logging.set_level(decord.logging.QUIET)  # a damaged file has 19,000 lines to say; the error names it in one

CHUNK = 8  # frames held as they were decoded, because those of a long video in full size do not fit into memory
SKIP = "--skip_broken looks at every frame first and leaves such clips out"
Choose = Callable[[int], Sequence[int]]  # number of frames of a video -> numbers of the frames to decode
# (T, H, W, 3) uint8 -> (T, h, w, 3), each frame without a look at the others
Prepare = Callable[[np.ndarray], np.ndarray]


def unchanged(frames: np.ndarray) -> np.ndarray:
    return frames


def read_frames(source: Path | Sequence[Path], choose: Choose, prepare: Prepare = unchanged) -> np.ndarray:
    """The chosen frames, upright and prepared (T, h, w, 3), uint8 RGB, of a video file or of image files; only they are
    decoded, all readers are closed, and only a few frames are held that are not prepared yet.

    Raises InputError that names the file where there is no video stream, no frame, or where a chosen frame cannot be
    decoded.
    """
    if not isinstance(source, Path):
        return read_images(source, choose, prepare)
    if source.is_dir():
        raise InputError(f"{source}: holds no frames; {SKIP}")
    if decord is not None:
        try:
            return read_with_decord(source, choose, prepare)
        except (decord.DECORDError, IndexError, RuntimeError):  # PyAV knows more formats, and says what is wrong
            pass
    try:
        return read_with_av(source, choose, prepare)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise InputError(f"{source}: cannot be decoded as a video ({first_line(error)}); {SKIP}") from error


def read_with_decord(path: Path, choose: Choose, prepare: Prepare) -> np.ndarray:
    # one reader per clip, freed when this function ends, because the memory of one that goes on grows
    reader = decord.VideoReader(str(path), num_threads=1)
    chosen = list(choose(len(reader)))
    degrees = rotation(path)
    chunks = [chosen[start : start + CHUNK] for start in range(0, len(chosen), CHUNK)]
    return np.concatenate([prepare(upright(reader.get_batch(chunk).asnumpy(), degrees)) for chunk in chunks])


def rotation(path: Path) -> int:
    """What PyAV says of the first frame, in degrees: decord does not tell. 0 where PyAV cannot read the file."""
    try:
        with av.open(str(path)) as container:
            return next(container.decode(video=0)).rotation
    except (av.FFmpegError, IndexError, StopIteration):
        return 0


def upright(frames: np.ndarray, degrees: int) -> np.ndarray:
    """(T, H, W, 3) as a player shows them: phones write frames that lie on their side, and say so."""
    return np.ascontiguousarray(np.rot90(frames, degrees // 90, axes=(1, 2)))


def read_with_av(path: Path, choose: Choose, prepare: Prepare) -> np.ndarray:
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError("it holds no video stream")
        stream = container.streams.video[0]
        total = stream.frames
        if total == 0:  # the container does not say
            total = sum(packet.size > 0 for packet in container.demux(stream))
            container.seek(0)
        if total == 0:
            raise ValueError("it holds no frames")
        chosen = list(choose(total))
        wanted = set(chosen)
        frames = {}
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                frames[number] = prepare(upright(frame.to_ndarray(format="rgb24")[None], frame.rotation))[0]
            if len(frames) == len(wanted):
                break
    if missing := sorted(wanted - frames.keys()):
        raise ValueError(f"frame {missing[0]} of {total} is missing, is the file truncated?")
    return np.stack([frames[number] for number in chosen])


def read_images(files: Sequence[Path], choose: Choose, prepare: Prepare) -> np.ndarray:
    chosen = list(choose(len(files)))
    frames = {}
    size = None
    for number in sorted(set(chosen)):
        with open_image(files[number], size) as image:
            size = image.size
            pixels = np.asarray(image.convert("RGB"))
        frames[number] = prepare(pixels[None])[0]
    return np.stack([frames[number] for number in chosen])


@contextmanager
def open_image(path: Path, size: tuple[int, int] | None) -> Iterator[Image.Image]:
    """An image of which only the header is read yet. size: (width, height) of the frames before it. Raises
    InputError."""
    try:
        with Image.open(path) as image:
            if size not in (None, image.size):
                others = f"other frames are {size[0]} x {size[1]}"
                raise InputError(f"{path}: is {image.width} x {image.height}, {others}; {SKIP}")
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be decoded as an image ({first_line(error)}); {SKIP}") from error


def find_broken(examples: Sequence["ClipExample"], skip_broken: bool) -> list[str]:
    """The ids of clips that cannot be decoded. Raises InputError with the first where none may be skipped.

    The headers of all images are read, and the first, middle and last frame is decoded; with skip_broken every frame,
    because a clip that fails later ends the run.
    """
    choose = range if skip_broken else lambda total: sorted({0, total // 2, total - 1})
    broken = []
    for example in examples:
        try:
            size = None
            for path in example.frames:
                with open_image(path, size) as image:
                    size = image.size
            read_frames(example.frames or example.path, choose, lambda frames: frames[:, :1, :1].copy())
        except InputError:
            if not skip_broken:
                raise
            broken.append(example.id)
    return broken
