"""Tiny videos for the tests of hand_signal/: frame k of a clip is a plain grey that says k, so that a decoded frame
shows its number."""

import json
import struct
import wave
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

FOURCC = {".mp4": "mp4v", ".mov": "mp4v", ".avi": "MJPG"}
STEP = 10  # grey levels from one frame to the next


def grey(number, height=48, width=64):
    return np.full((height, width, 3), STEP * number + 20, dtype=np.uint8)


def numbers_of(frames):
    """The numbers that plain frames (T, H, W, 3) say."""
    return np.rint((frames.mean(axis=(1, 2, 3)) - 20) / STEP).astype(int).tolist()


def write_clip(path, frames=12, height=48, width=64, images=None):
    """A video file or, without a suffix, a folder of images 0.jpg, 1.jpg, ...; returns its path."""
    path = Path(path)
    images = [grey(k, height, width) for k in range(frames)] if images is None else images
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gif":
        first, *rest = [Image.fromarray(image) for image in images]
        first.save(path, save_all=True, append_images=rest, duration=100)
    elif path.suffix:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*FOURCC[path.suffix]), 8, images[0].shape[1::-1])
        for image in images:
            writer.write(image[..., ::-1])
        writer.release()
    else:
        path.mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(path / f"{number}.jpg", quality=95)
    return path


def moving_square(direction, seed, frames=12, size=48):
    """A square that moves to the right (1) or to the left (-1) over noise."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 90, (frames, size, size, 3)).astype(np.uint8)
    top, start = random.integers(4, size - 20), random.integers(2, 8)
    for k in range(frames):
        x = start + 2 * (k if direction > 0 else frames - 1 - k)
        images[k, top : top + 14, x : x + 10] = (240, 220, 60)
    return list(images)


def write_competition(folder, actions, boxes=None, suffix="", frames=12):
    """The competition's layout: file_N/*.jpg (or file_N<suffix>) with file_N.json; action None: a test clip."""
    for number, action in enumerate(actions):
        path = write_clip(
            folder / f"file_{number}{suffix}", images=moving_square(1 if action == 0 else -1, number, frames)
        )
        sequence = {} if boxes is None else {"bounding_box": boxes}
        record = {"sequence": sequence} if action is None else {"action": action, "sequence": sequence}
        (folder / f"file_{number}.json" if suffix else path / f"file_{number}.json").write_text(json.dumps(record))
    return folder


def write_broken(folder, kind):
    """A file or folder that is no clip; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "broken.mp4"
    if kind in ("truncated-mp4", "truncated-avi"):
        path = write_clip(folder / f"broken{kind[-4:].replace('-', '.')}", frames=20, images=moving_square(1, 0, 20))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "truncated-stream":  # its index stands in front and promises all frames
        with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("mpeg4", rate=8)
            stream.width, stream.height = 64, 64
            for image in moving_square(1, 0, 20, 64):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not a video\n" * 100)
    elif kind == "audio-only":
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(bytes(16000))
    elif kind == "zero-frames":
        cv2.VideoWriter(str(folder / "broken.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 8, (64, 48)).release()
        path = folder / "broken.avi"
    elif kind == "truncated-image":
        path = write_clip(folder / "broken", frames=3)
        image = path / "2.jpg"
        image.write_bytes(image.read_bytes()[:300])
    elif kind == "images-of-two-sizes":
        path = write_clip(folder / "broken", frames=3)
        Image.fromarray(grey(2, 30, 30)).save(path / "2.jpg")
    return path


BROKEN = ["truncated-mp4", "truncated-avi", "truncated-stream", "empty", "text", "audio-only", "zero-frames"]
BROKEN += ["truncated-image", "images-of-two-sizes"]
CODECS = {".webm": "libvpx", ".wmv": "wmv2", ".asf": "wmv2", ".flv": "flv", ".mpg": "mpeg2video", ".mpeg": "mpeg1video"}
CODECS |= {".ts": "mpeg2video", ".mts": "libx264", ".m2ts": "libx264", ".vob": "mpeg2video", ".ogv": "libvpx"}
CODECS |= {".mkv": "libx264", ".mov": "libx264"}
FORMATS = {".mts": "mpegts", ".m2ts": "mpegts"}
# The eight matrices of a frame of width w and height h (a, b, c, d, x, y of tkhd, ISO 14496-12, section 8.3.2: a pixel (p, q)
# is shown at (a p + c q + x, b p + d q + y)), and the frame as a player shows it.
MATRICES = {
    "as it is": (lambda w, h: (1, 0, 0, 1, 0, 0), lambda f: f),
    "a quarter turn clockwise": (lambda w, h: (0, 1, -1, 0, h, 0), lambda f: np.rot90(f, -1)),
    "upside down": (lambda w, h: (-1, 0, 0, -1, w, h), lambda f: np.rot90(f, 2)),
    "a quarter turn the other way": (lambda w, h: (0, -1, 1, 0, 0, w), lambda f: np.rot90(f)),
    "mirrored": (lambda w, h: (-1, 0, 0, 1, w, 0), lambda f: f[:, ::-1]),
    "mirrored, clockwise": (lambda w, h: (0, 1, 1, 0, 0, 0), lambda f: np.rot90(f[::-1], -1)),
    "mirrored, upside down": (lambda w, h: (1, 0, 0, -1, 0, h), lambda f: f[::-1]),
    "mirrored, the other way": (lambda w, h: (0, -1, -1, 0, h, w), lambda f: np.rot90(f[::-1])),
}


def bits(number, height=48, width=128):
    """A frame that shows a number in eight blocks, bit by bit."""
    row = np.repeat(20 + 210 * (number >> np.arange(8) & 1), width // 8).astype(np.uint8)
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def number_of_bits(frame):
    blocks = frame.reshape(len(frame), 8, -1, 3)[:, :, 4:-4].mean(axis=(0, 2, 3)) > 128
    return int(blocks @ (1 << np.arange(8)))


def write_bits(path, codec, frames=40, options=(), times=None):
    """A video at 10 frames a second, a key frame every ten, of which frame k is bits(k). times: of each frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"g": "10", **dict(options)})
        stream.height, stream.width, stream.pix_fmt = 48, 128, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(bits(number), format="rgb24")
            frame.pts = number if times is None else times[number]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def trimmed(source, path, seconds):
    """A copy of an MP4 whose edit list ends it earlier, as phones trim a video."""
    data = bytearray(source.read_bytes())
    struct.pack_into(">I", data, data.index(b"elst") + 12, round(1000 * seconds))
    path.write_bytes(data)
    return path


def cut_out(source, path, first):
    """The frames from `first` on, not decoded: it begins with the key frame before, which an MP4's edit list hides."""
    with av.open(str(source)) as before, av.open(str(path), "w") as after:
        stream = before.streams.video[0]
        copy = after.add_stream_from_template(stream)
        packets = [packet for packet in before.demux(stream) if packet.size]
        start = sorted(packet.pts for packet in packets)[first]
        for packet in packets[max(k for k in range(first + 1) if packets[k].is_keyframe) :]:
            packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, copy
            after.mux(packet)
    return path


def quarters(height, width):
    """Four colours that tell left from right and up from down."""
    image = np.full((height, width, 3), 60, np.uint8)
    top, left = height // 2, width // 2
    image[:top, :left], image[:top, left:], image[top:, :left] = (230, 20, 20), (20, 230, 20), (20, 20, 230)
    return image


def encode(path, images, codec="mpeg4", rate=8, matrix=None, **options):
    """A video of these frames; matrix: as in MATRICES, written by PyAV."""
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if matrix:
            a, b, c, d, x, y = (value * 2**16 for value in matrix)
            stream.set_display_matrix((a, b, 0, c, d, 0, x, y, 2**30))
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def turn(path, matrix):
    """Write the matrix into the header of an MP4, as phones do."""
    content = bytearray(path.read_bytes())
    place = content.find(b"tkhd") + 44
    a, b, c, d, x, y = (value * 2**16 for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, x, y, 2**30)
    path.write_bytes(content)
    return path


def repeated(path, count, codec, rate=30, pix_fmt="yuv420p"):
    """A video of one encoded frame, `count` times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 16, 16, pix_fmt
        encoded = stream.encode(av.VideoFrame.from_ndarray(grey(3, 16, 16), format="rgb24")) or stream.encode()
        data = bytes(encoded[0])
        for number in range(count):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts, packet.duration = stream, number, number, 1
            packet.time_base, packet.is_keyframe = Fraction(1, rate), True
            container.mux(packet)
    return path
