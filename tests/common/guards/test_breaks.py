"""A half copied video is told from a whole one by the size that its container states."""

import av
import numpy as np
import pytest

from common.console import InputError
from common.guards.breaks import refuse_cut
from hand_signal.decode import read_frames

FORMATS = [("mkv", "matroska", "libx264"), ("webm", "webm", "libvpx"), ("flv", "flv", "flv")]
FORMATS += [("wmv", "asf", "wmv2"), ("ts", "mpegts", "mpeg2video"), ("m2ts", "mpegts", "libx264")]


def write(path, kind, codec, **options):
    if path.suffix == ".m2ts":
        options["mpegts_m2ts_mode"] = "1"
    random = np.random.default_rng(0)
    with av.open(str(path), "w", format=kind, options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(30):
            pixels = random.integers(0, 255, (64, 64, 3)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def count(path):
    totals = []
    read_frames(path, lambda total: totals.append(total) or [0])
    return totals[-1]


@pytest.mark.parametrize(("ending", "kind", "codec"), FORMATS)
def test_a_video_that_breaks_off_is_refused_and_a_whole_one_is_not(ending, kind, codec, tmp_path):
    path = write(tmp_path / f"clip.{ending}", kind, codec)
    assert count(path) == 30
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 19 // 20 + 1])
    with pytest.raises(InputError, match=r"clip.* bytes are there, is the file truncated\?; --skip_broken"):
        count(path)


def test_a_stream_that_was_recorded_as_it_came_states_no_size_and_is_taken_as_it_is(tmp_path):
    path = write(tmp_path / "live.mkv", "matroska", "libx264", live="1")
    refuse_cut(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refuse_cut(path)


@pytest.mark.parametrize(
    "data", [b"", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3" + bytes(99), b"FLV", b"GGGG", bytes(999)]
)
def test_what_is_no_video_is_left_to_the_decoder(data, tmp_path):
    (tmp_path / "a.mkv").write_bytes(data)
    refuse_cut(tmp_path / "a.mkv")
    with pytest.raises(InputError, match="cannot be decoded"):
        count(tmp_path / "a.mkv")
