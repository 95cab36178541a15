"""Frames of a video file or of image files: only the chosen ones are decoded, upright, as uint8 RGB.

    frames = read_frames(Path("clip.mp4"), lambda total: np.arange(0, total, 4))      # (T, H, W, 3)

decord reads video files, PyAV those in which decord does not find its way, common.guards.images images. A clip has
MAX_FRAMES frames at most; only a few that are not prepared yet are in memory.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from common.console import InputError, first_line, print_once
from common.guards.breaks import refuse_cut
from common.guards.images import image_size, open_image
from common.guards.surroundings import explain
from common.guards.videos import (
    AS_IT_IS,
    EIGHT,
    MAX_FRAME_PIXELS,
    Orientation,
    orientation,
    shown_frames,
    upright,
    upright_pixels,
)

if TYPE_CHECKING:
    from clip_folders import ClipExample

os.environ.setdefault("DECORD_EOF_RETRY_MAX", "128")  # because its 10240 tries on a truncated file take minutes
try:
    import decord
except ImportError:  # wheels for Linux x86-64 only
    decord = None
else:
    decord.logging.set_level(decord.logging.QUIET)  # a damaged file has 19,000 lines to say; the error names it in one

MAX_FRAMES = 2**16  # of a clip: 36 minutes at 30 a second
# codecs in which decord finds every frame; those in which it does where frames are stored in the order in which they
# are shown
SOUGHT_WELL = ("h264", "vp8", "vp9")
SOUGHT_WELL_IN_ORDER = ("mpeg4", "hevc", "mjpeg")
CHUNK = 8  # frames held as they were decoded, because those of a long video in full size do not fit into memory
FAR_BEYOND = 1.25  # of the frame's width and height: detectors' boxes reach beyond them, too
SKIP = "--skip_broken looks at every frame first and leaves such clips out"
Choose = Callable[[int], Sequence[int]]  # number of frames of a video -> numbers of the frames to decode
# (T, H, W, 3) uint8 -> (T, h, w, 3), each frame without a look at the others
Prepare = Callable[[np.ndarray], np.ndarray]


def unchanged(frames: np.ndarray) -> np.ndarray:
    return frames


def read_frames(source: Path | Sequence[Path], choose: Choose, prepare: Prepare = unchanged) -> np.ndarray:
    """The chosen frames, upright and prepared (T, h, w, 3), uint8 RGB, of a video file or of image files; only they are
    decoded, all readers are closed, and only a few frames are held that are not prepared yet.

    Raises InputError that names the file where there is no video stream, no frame, more than MAX_FRAMES, where it
    breaks off, or where a chosen frame cannot be decoded.
    """

    def choose_some(total: int) -> list[int]:
        if total > MAX_FRAMES:
            raise InputError(f"{source}: has {total:,} frames, more than the {MAX_FRAMES:,} of a clip; cut it; {SKIP}")
        return list(choose(total))

    if not isinstance(source, Path):
        return read_images(source, choose_some, prepare)
    if source.is_dir():
        raise InputError(f"{source}: holds no frames; {SKIP}")
    decoded(refuse_cut, source)
    if decord is not None:
        try:
            return read_with_decord(source, choose_some, prepare)
        except (decord.DECORDError, IndexError, RuntimeError):  # PyAV knows more formats, and says what is wrong
            pass
    try:
        return read_with_av(source, choose_some, prepare)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise InputError(f"{source}: cannot be decoded as a video ({first_line(error)}); {SKIP}") from error


def read_with_decord(path: Path, choose: Choose, prepare: Prepare) -> np.ndarray:
    """Raises RuntimeError where decord is not to be trusted."""
    first, tagged = trusted_start(path)
    # one reader per clip, freed when this function ends, because the memory of one that goes on grows
    reader = decord.VideoReader(str(path), num_threads=1)
    chosen = choose(len(reader))
    left = left_by_decord(reader, first, tagged)
    chunks = [chosen[start : start + CHUNK] for start in range(0, len(chosen), CHUNK)]
    return np.concatenate([prepare(upright(reader.get_batch(chunk).asnumpy(), left)) for chunk in chunks])


def trusted_start(path: Path) -> tuple[av.VideoFrame, bool]:
    """The first frame, by PyAV, and whether the stream has an entry named rotate, of a video in which decord finds the
    frames that it is asked for. In others it takes frames that are a second away for them, and says nothing: wherever
    frames are stored in another order than they are shown, but for three codecs, and in most old containers. Of a
    video that an edit list cuts it repeats the last frame in place of those that are not shown.

    Raises RuntimeError for those, and where the frames are larger than 8K.
    """
    try:
        with av.open(str(path)) as container:
            first = next(container.decode(video=0))
            stream = container.streams.video[0]
            tagged = any(key.lower() == "rotate" for key in stream.metadata)
            kind = container.format.name.split(",")[0]
            codec = stream.codec_context.name
            reordered = stream.codec_context.has_b_frames
            starts = codec != "h264" or starts_anew(container, stream)
            cut = kind == "mov" and holds_hidden(container, stream)
    except (av.FFmpegError, IndexError, StopIteration) as error:
        raise RuntimeError("has no first frame") from error
    if cut:
        raise RuntimeError("holds frames that are not shown")
    trusted = codec in SOUGHT_WELL or codec in SOUGHT_WELL_IN_ORDER and not reordered
    if not (starts and trusted and kind in ("mov", "matroska") or codec == "mjpeg" and kind == "avi"):
        raise RuntimeError(f"{codec} in {kind}")
    if first.width * first.height > MAX_FRAME_PIXELS:
        raise RuntimeError("too large")
    return first, tagged


def holds_hidden(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Whether a stream has frames that its edit list hides: a phone's trimmed video, one cut without decoding it."""
    container.seek(0)
    return any(packet.is_discard for packet in container.demux(stream))


def starts_anew(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Whether the second key frame of an H.264 stream needs no frame before it (an IDR picture, NAL unit of type 5 in
    table 7-1 of the standard), or there is none: others are whole only after some frames (intra refresh)."""
    header = stream.codec_context.extradata or b""
    if header[:1] != b"\x01":  # units are not found by their length (ISO 14496-15, section 5.3.3)
        return False
    length = (header[4] & 3) + 1
    container.seek(0)
    starts = (bytes(packet) for packet in container.demux(stream) if packet.is_keyframe and packet.size)
    next(starts, None)
    data = next(starts, None)
    position = 0
    while data and position + length < len(data):
        if data[position + length] & 31 == 5:
            return True
        position += length + int.from_bytes(data[position : position + length])
    return data is None


def left_by_decord(reader: "decord.VideoReader", first: av.VideoFrame, tagged: bool) -> Orientation:
    """What is still to be done to decord's frames: of a display matrix it applies the turn, and leaves the mirror.

    It knows the matrices of MP4 and MOV, not those of Matroska and of H.264 itself, and turns by an entry named rotate,
    which players ignore. So its first frame is held against PyAV's where there is something to turn. Raises
    RuntimeError where decord's is another one.
    """
    how = orientation(first)
    if how == AS_IT_IS and not tagged:
        return AS_IT_IS
    left = Orientation(False, how.mirrors and not how.exchange, how.mirrors and how.exchange)
    found = upright(reader[0].asnumpy(), left)[::2, ::2].astype(np.int16)
    shown = upright(first.to_ndarray(format="rgb24"), how)
    others = [upright(shown, other)[::2, ::2] for other in EIGHT]
    far = [np.abs(found - other).mean() if found.shape == other.shape else np.inf for other in others]
    if far[0] != min(far) or far[0] == np.inf:
        raise RuntimeError("turned otherwise than a player does")
    return left


def read_with_av(path: Path, choose: Choose, prepare: Prepare) -> np.ndarray:
    total = count_shown(path)
    with av.open(str(path)) as container:
        chosen = choose(total)
        wanted = set(chosen)
        frames = {}
        how = None
        for number, frame in enumerate(container.decode(video=0)):
            how = how or orientation(frame)  # H.264 says it with its first frame only
            if number in wanted:
                frames[number] = prepare(upright_pixels(frame, how)[None])[0]
            if len(frames) == len(wanted):
                break
    if missing := sorted(wanted - frames.keys()):
        raise missing_frame(missing[0], total)
    return np.stack([frames[number] for number in chosen])


def count_shown(path: Path) -> int:
    """How many frames a player shows: those of shown_frames() but for the first ones, where they need a frame that was
    cut off and the decoder drops them. Raises ValueError where there are none, or the file breaks off."""
    shown, lost = shown_frames(path)
    if lost:
        raise missing_frame(len(shown), len(shown) + lost)
    with av.open(str(path)) as container:
        matroska = container.format.name.startswith("matroska")
        first = next(container.decode(video=0), None)
    if first is None:
        raise missing_frame(0, len(shown))
    if first.pts is None:
        return len(shown)
    return sum(not matroska if pts is None else pts >= first.pts for pts in shown)


def missing_frame(number: int, total: int) -> ValueError:
    return ValueError(f"frame {number} of {total} is missing, is the file truncated?")


def read_images(files: Sequence[Path], choose: Choose, prepare: Prepare) -> np.ndarray:
    chosen = choose(len(files))
    frames = {}
    size = None
    for number in sorted(set(chosen)):
        pixels = np.asarray(decoded(open_image, files[number]))
        size = same_size(files[number], pixels.shape[1::-1], size)
        frames[number] = prepare(pixels[None])[0]
    return np.stack([frames[number] for number in chosen])


def decoded(read: Callable[[Path], Any], path: Path) -> Any:
    """What `read` gives of a file. Raises InputError with the way out."""
    try:
        return read(path)
    except InputError as error:
        raise InputError(f"{error}; {SKIP}") from error


def same_size(path: Path, size: tuple[int, int], others: tuple[int, int] | None) -> tuple[int, int]:
    """Width and height of a frame. Raises InputError where the frames before it have others."""
    if others not in (None, size):
        known = f"other frames are {others[0]} x {others[1]}"
        raise InputError(f"{path}: is {size[0]} x {size[1]}, {known}; {SKIP}")
    return size


def find_broken(examples: Sequence["ClipExample"], skip_broken: bool) -> list[str]:
    """The ids of clips that cannot be decoded. Raises InputError with the first where none may be skipped.

    The headers of all images are read, and the first, middle and last frame is decoded; with skip_broken every frame,
    because a clip that fails later ends the run. Clips of which only key points are read are not looked at. A line says
    which have a box beyond their frames.
    """
    choose = range if skip_broken else lambda total: sorted({0, total // 2, total - 1})
    broken = []
    beyond = []
    for example in examples:
        if not example.pixels:
            continue
        try:
            size = None
            for path in example.frames:
                size = same_size(path, decoded(image_size, path), size)
            look = Look(example.box)
            read_frames(example.frames or example.path, choose, look)
            beyond += [example.id] if look.beyond else []
        except InputError as error:
            if not skip_broken or explain(error):  # too few file descriptors say nothing of a clip
                raise
            broken.append(example.id)
    if beyond:
        what = f"{len(beyond)} of {len(examples)} clips have a box that reaches far beyond their frames"
        print_once(f"warning: {what} (first: {beyond[0]}); is it of frames of another size? --person_box false")
    return broken


class Look:
    """What read_frames() calls with frames: a pixel of each is kept. beyond: whether the box x1, y1, x2, y2, that the
    person is cropped by, is not of frames of this size."""

    def __init__(self, box: Sequence[float] | None):
        self.box = box
        self.beyond = False

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        if self.box is not None:
            height, width = frames.shape[1:3]
            self.beyond |= self.box[2] > FAR_BEYOND * width or self.box[3] > FAR_BEYOND * height
        return frames[:, :1, :1].copy()
