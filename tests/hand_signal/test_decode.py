"""hand_signal/decode.py: every clip as a player shows it, by either decoder, whatever its ending, with bounded memory; and
what a folder holds beside its clips is said."""

import os

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from PIL import Image

from common.console import InputError
from common.guards import videos
from hand_signal import clips, decode
from hand_signal.clip_folders import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from hand_signal.clips import ClipDataset
from hand_signal.decode import find_broken, read_frames
from tests.hand_signal.test_data import PLAIN, read
from tests.tools.params import first
from tests.tools.videos import (
    CODECS,
    FORMATS,
    MATRICES,
    STEP,
    cut_out,
    encode,
    grey,
    number_of_bits,
    numbers_of,
    quarters,
    repeated,
    trimmed,
    turn,
    write_bits,
    write_clip,
)

DECORD_FAILS = 64  # pixels: it refuses frames that are narrower when they are upright


@pytest.fixture
def readers(monkeypatch):
    """The decoders that have read, in order."""
    done = []

    def watched(name):
        read = getattr(decode, name)

        def reading(*args):
            frames = read(*args)
            done.append(name.removeprefix("read_with_"))
            return frames

        monkeypatch.setattr(decode, name, reading)

    watched("read_with_decord")
    watched("read_with_av")
    return done


def assert_shown(path, expected, readers, monkeypatch, with_decord=True):
    """Both decoders give what a player shows; decord is asked first and reads where `with_decord`."""
    for decoder, reader in ((decode.decord, "decord" if with_decord else "av"), (None, "av")):
        if decoder is None and reader == "decord":
            continue
        with monkeypatch.context() as patch:
            patch.setattr(decode, "decord", decoder)
            readers.clear()
            frames = read_frames(path, lambda total: [1, 2])
            assert readers == [reader]
            assert frames.shape == (2, *expected.shape) and np.abs(frames.astype(int) - expected).mean() < 12
            part = read_frames(path, lambda total: [1, 2], lambda frames: frames[:, ::2, ::2])
            assert np.array_equal(part, frames[:, ::2, ::2])


needs_decord = pytest.mark.skipif(decode.decord is None, reason="decord has wheels for Linux x86-64 only")


@needs_decord
@pytest.mark.parametrize(
    "size", first(6, [(64, 48), (96, 64), (176, 144), (322, 242), (640, 360), (1920, 1080), (1080, 1920)]), ids=str
)
@pytest.mark.parametrize("how", MATRICES)
def test_a_phones_video_is_as_a_player_shows_it_by_decord_and_by_pyav(how, size, readers, tmp_path, monkeypatch):
    width, height = size
    matrix, shown = MATRICES[how]
    path = encode(tmp_path / "c.mp4", [quarters(height, width)] * 3)
    expected = shown(quarters(height, width))
    with_decord = expected.shape[1] >= DECORD_FAILS
    assert_shown(turn(path, matrix(width, height)), expected, readers, monkeypatch, with_decord)


@needs_decord
@pytest.mark.parametrize("how", MATRICES)
def test_a_matrix_without_its_shift_and_one_of_another_codec_hold_too(how, readers, tmp_path, monkeypatch):
    matrix, shown = MATRICES[how]
    path = encode(tmp_path / "c.mov", [quarters(240, 320)] * 3, "libx264")
    assert_shown(turn(path, (*matrix(320, 240)[:4], 0, 0)), shown(quarters(240, 320)), readers, monkeypatch)


@needs_decord
@pytest.mark.parametrize("how", MATRICES)
def test_a_matrix_that_decord_does_not_know_is_left_to_pyav(how, readers, tmp_path, monkeypatch):
    matrix, shown = MATRICES[how]
    path = encode(tmp_path / "c.mkv", [quarters(240, 320)] * 3, "libx264", matrix=matrix(320, 240))
    turned = how not in ("as it is", "mirrored, upside down")  # a mirror is left to us by decord anyway
    assert_shown(path, shown(quarters(240, 320)), readers, monkeypatch, not turned)


@needs_decord
@pytest.mark.parametrize(
    ("said", "how"),
    [("rotate=90", "a quarter turn the other way"), ("rotate=180", "upside down")]
    + [("flip=horizontal", "mirrored"), ("flip=vertical", "mirrored, upside down")],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_an_orientation_in_the_frames_themselves_holds(said, how, suffix, readers, tmp_path, monkeypatch):
    """Of H.264 (SEI display orientation), which no container says."""
    plain = encode(tmp_path / "plain.mp4", [quarters(240, 320)] * 3, "libx264")
    path = tmp_path / f"c{suffix}"
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        insert = BitStreamFilterContext(f"h264_metadata=display_orientation=insert:{said}", stream, copy)
        for packet in source.demux(stream):
            for part in insert.filter(packet if packet.dts is not None else None):
                part.stream = copy
                target.mux(part)
    with_decord = said == "flip=vertical" and suffix != ".ts"
    assert_shown(path, MATRICES[how][1](quarters(240, 320)), readers, monkeypatch, with_decord)


@needs_decord
def test_an_entry_named_rotate_turns_nothing_as_in_players(readers, tmp_path, monkeypatch):
    plain = encode(tmp_path / "plain.mp4", [quarters(240, 320)] * 3, "libx264")
    with av.open(str(plain)) as source, av.open(str(tmp_path / "c.mkv"), "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        copy.metadata["rotate"] = "180"
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    assert_shown(tmp_path / "c.mkv", quarters(240, 320), readers, monkeypatch, with_decord=False)


# Endings


# decord takes other frames for those that are asked for in what is not among these, in silence
SOUGHT_WELL = {("mp4", "libx264"), ("mp4", "mpeg4"), ("mov", "libx264"), ("mkv", "libx264"), ("mkv", "libvpx-vp9")}


@pytest.mark.parametrize("with_decord", [True, False], ids=["decord", "pyav"])
@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_every_ending_of_clips_is_read_frame_by_frame(suffix, with_decord, tmp_path, monkeypatch):
    images = [grey(k, 144, 176) for k in range(12)]
    folder = tmp_path / "train" / "wave"
    folder.mkdir(parents=True)
    path = folder / f"c{suffix.upper()}"
    if suffix == ".gif":
        write_clip(folder / "c.gif", images=images).rename(path)
    else:
        codec = CODECS.get(suffix, "mpeg4")
        if codec not in av.codecs_available:
            pytest.skip(f"PyAV here does not write {codec}")
        rate = 25 if codec.startswith("mpeg") else 8  # MPEG-1 and MPEG-2 know some rates only
        encode(path, images, codec, rate, format=FORMATS.get(suffix))
    if not with_decord:
        monkeypatch.setattr(decode, "decord", None)
    (clip,) = read(tmp_path / "train")
    assert clip.id == f"wave/{path.name}"
    assert numbers_of(read_frames(clip.path, lambda total: [0, 3, 4, total - 1])) == [0, 3, 4, 11]


@needs_decord
@pytest.mark.parametrize(
    ("kind", "codec", "options"),
    [(kind, codec, {}) for kind in ("mp4", "mov", "mkv", "avi", "flv", "ts") for codec in ("libx264", "mpeg4")]
    + [("mkv", "libvpx-vp9", {}), ("mpg", "mpeg2video", {}), ("wmv", "wmv2", {}), ("mp4", "libx265", {})]
    + [("mp4", "mpeg4", {"bf": "2"}), ("avi", "mpeg4", {"bf": "2"}), ("ts", "mpeg2video", {"bf": "2"})]
    + [("mp4", "libx264", {"x264-params": params}) for params in ("intra-refresh=1", "open-gop=1:bframes=3")],
)
def test_whatever_frames_are_asked_for_are_those_that_come(kind, codec, options, readers, tmp_path):
    """Frame k shows k in eight blocks, bit by bit: decord alone takes others for them, in half of these videos."""
    if codec not in av.codecs_available or kind == "flv" and codec == "mpeg4":
        pytest.skip(f"{codec} is not written to {kind} here")
    images = [np.repeat(20 + 210 * (k >> np.arange(8) & 1), 22).astype(np.uint8) for k in range(60)]
    images = [np.broadcast_to(row[None, :, None], (144, 176, 3)).copy() for row in images]
    options = {"g": "12", **options, **({"x265-params": "log-level=none"} if codec == "libx265" else {})}
    path = tmp_path / f"c.{kind}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = 144, 176, "yuv420p", 2_000_000
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    for chosen in ([0, 1, 2, 3], list(range(0, 60, 7)), [5, 30, 31, 59], [44], [59], list(range(60))):
        frames = read_frames(path, lambda total, chosen=chosen: chosen)
        blocks = frames[:, 40:100].reshape(len(frames), 60, 8, 22, 3)[:, :, :, 6:16].mean(axis=(1, 3, 4)) > 128
        assert (blocks @ (1 << np.arange(8))).tolist() == chosen
    if (kind, codec) in SOUGHT_WELL and set(options) == {"g"}:
        assert set(readers) == {"decord"}


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "libx265"])
@pytest.mark.parametrize("how", ["trimmed", "cut.mp4", "cut.mkv"])
def test_of_a_video_that_was_cut_without_decoding_the_frames_that_are_shown_are_read(codec, how, tmp_path):
    """decord repeats the last frame in place of those that an edit list hides, and PyAV would miss them."""
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV here does not write {codec}")
    options = {"x265-params": "log-level=none:keyint=10"} if codec == "libx265" else {"bf": "2"}
    whole = write_bits(tmp_path / "whole.mp4", codec, options=options)
    path = trimmed(whole, tmp_path / "c.mp4", 2.3) if how == "trimmed" else cut_out(whole, tmp_path / how, 13)
    found = [number_of_bits(frame) for frame in read_frames(path, range)]
    start = {"trimmed": 0, "cut.mp4": 13}.get(how, found[0])  # Matroska has no edit list: from the key frame on
    assert found == list(range(start, 23 if how == "trimmed" else 40)) and 8 <= start + 8 * (how == "trimmed") <= 13


def test_an_avi_with_moments_without_a_frame_is_whole(tmp_path):
    path = write_bits(tmp_path / "c.avi", "mpeg4", times=[k + 3 * (k > 9) for k in range(40)])
    assert [number_of_bits(frame) for frame in read_frames(path, range)] == list(range(40))


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_ending_of_images_is_a_frame(suffix, tmp_path):
    kind = {
        ".apng": "PNG",
        ".jpe": "JPEG",
        ".jfif": "JPEG",
        ".pbm": "PPM",
        ".pgm": "PPM",
        ".pnm": "PPM",
        ".j2k": "JPEG2000",
    }
    folder = tmp_path / "train" / "wave" / "c"
    folder.mkdir(parents=True)
    for k in range(12):
        image = Image.fromarray(grey(k, 24, 32))
        if suffix == ".pbm":  # knows black and white only
            image = Image.new("1", (32, 24), k == 3)
        elif suffix == ".pgm":
            image = image.convert("L")
        image.save(folder / f"{k}{suffix}", kind.get(suffix))
    (clip,) = read(tmp_path / "train")
    assert len(clip.frames) == 12
    frames = read_frames(clip.frames, lambda total: [3, 11])
    assert numbers_of(frames) == ([3, 11] if suffix != ".pbm" else [round((255 - 20) / STEP), -2])


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".gif", ".ts"])
def test_a_clip_of_one_frame_is_read(suffix, tmp_path):
    path = tmp_path / f"c{suffix}"
    if suffix == ".gif":
        write_clip(path, images=[grey(3, 144, 176)])
    else:
        encode(path, [grey(3, 144, 176)], rate=25)
    assert numbers_of(read_frames(path, lambda total: [0] * total)) == [3]


def test_what_is_left_out_beside_clips_is_one_line(tmp_path, capsys):
    folder = tmp_path / "train"
    write_clip(folder / "left" / "a.mp4")
    write_clip(folder / "right" / "b")
    for name in ("left/a.srt", "left/x.heic", "right/b/notes.txt", "right/b/extra.mp4", "right/y.HEIC"):
        (folder / name).touch()
    for name in ("left/._a.mp4", "left/.DS_Store", "__MACOSX/left/._a.mp4", "__MACOSX/left/a.mp4", "right/b/Thumbs.db"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert [clip.id for clip in read(folder)] == ["left/a.mp4", "right/b"]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "train: 2 clips (left 1, right 1)",
        "train: 5 files are left out: 2 .heic, 1 .mp4, 1 .srt, 1 .txt",
    ]


def test_a_folder_whose_clips_cannot_be_read_says_what_it_holds(tmp_path):
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "a.rm").touch()
    with pytest.raises(InputError, match=r"holds no clips \(1 file is left out: 1 .rm\)"):
        read(tmp_path)


def test_nothing_is_said_where_nothing_is_left_out_whatever_the_folder_is_called(tmp_path, monkeypatch, capsys):
    write_clip(tmp_path / "train" / "left" / "a.mp4")
    write_clip(tmp_path / "train" / "left" / "b")
    monkeypatch.chdir(tmp_path / "train")
    for name in (".", "../train", "../train/.", tmp_path / "train"):
        read(name)
    assert "left out" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["left/a.mp4", "left/c/1.jpg"])
def test_a_pipe_among_clips_is_refused_and_not_waited_for(name, tmp_path):
    write_clip(tmp_path / "left" / "b.mp4")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="is a pipe, a file was expected"):
        read(tmp_path)


# Images of a folder


@pytest.mark.parametrize("number", range(1, 9))
def test_frames_of_a_folder_stand_upright_as_their_exif_says(number, tmp_path):
    shown = {1: "as it is", 2: "mirrored", 3: "upside down", 4: "mirrored, upside down", 6: "a quarter turn clockwise"}
    shown |= {5: "mirrored, clockwise", 7: "mirrored, the other way", 8: "a quarter turn the other way"}
    exif = Image.Exif()
    exif[0x0112] = number
    (tmp_path / "c").mkdir()
    for k in range(3):
        Image.fromarray(quarters(48, 64)).save(tmp_path / "c" / f"{k}.jpg", exif=exif, quality=95)
    rows = read(tmp_path)
    expected = MATRICES[shown[number]][1](quarters(48, 64))
    frames = read_frames(rows[0].frames, lambda total: [0, 2])
    assert frames.shape[1:] == expected.shape and np.abs(frames.astype(int) - expected).mean() < 12
    assert find_broken(rows, skip_broken=False) == []
    Image.fromarray(quarters(48, 64)).save(tmp_path / "c" / "1.jpg")  # without EXIF: lying for 5 to 8
    assert find_broken(rows, skip_broken=True) == (["c"] if number > 4 else [])


def test_frames_of_16_bits_keep_their_light(tmp_path):
    ramp = np.tile(np.arange(64, dtype=np.uint16) * 1024, (48, 1))
    (tmp_path / "c").mkdir()
    Image.fromarray(ramp).save(tmp_path / "c" / "1.png")
    assert (read_frames(read(tmp_path)[0].frames, lambda total: [0])[0] == (ramp >> 8)[..., None]).all()


def test_an_image_of_floating_point_values_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "c").mkdir()
    Image.fromarray(np.zeros((48, 64), np.float32)).save(tmp_path / "c" / "1.tif")
    with pytest.raises(InputError, match=r"1.tif: .*floating-point values.* --skip_broken"):
        find_broken(read(tmp_path), skip_broken=False)


# Bounds


@pytest.mark.parametrize("with_decord", [True, False], ids=["decord", "pyav"])
@pytest.mark.parametrize(("name", "codec", "pix_fmt"), [("c.mp4", "mpeg4", "yuv420p"), ("c.gif", "gif", "rgb8")])
def test_a_clip_of_100000_frames_is_refused_in_one_sentence_and_decoded_nowhere(
    name, codec, pix_fmt, with_decord, tmp_path, monkeypatch
):
    path = repeated(tmp_path / name, 100_000, codec, pix_fmt=pix_fmt)
    if not with_decord:
        monkeypatch.setattr(decode, "decord", None)

    def chosen(total):
        raise AssertionError("asked for frames")

    with pytest.raises(InputError, match=rf"{name}: has \d\d,\d\d\d|100,000 frames, more than the 65,536 of a clip"):
        read_frames(path, chosen)


def test_frames_that_are_larger_than_8k_are_refused_in_one_sentence(tmp_path, monkeypatch):
    path = encode(tmp_path / "c.mp4", [quarters(48, 64)] * 3)
    for module in (videos, decode):
        monkeypatch.setattr(module, "MAX_FRAME_PIXELS", 64 * 48 - 1)
    with pytest.raises(InputError, match="c.mp4: .*frames of 64 x 48 pixels"):
        read_frames(path, lambda total: [0])


def test_a_long_video_is_decoded_each_time_and_not_kept_whole_in_memory_for_the_cache(tmp_path, monkeypatch):
    write_clip(tmp_path / "clips" / "c.mp4", frames=12)
    rows = read(tmp_path / "clips")
    expected = ClipDataset(rows, PLAIN)[0]["pixel_values"]
    for most, kept in ((11, 0), (12, 1)):
        monkeypatch.setattr(clips, "CACHED_FRAMES", most)
        dataset = ClipDataset(rows, PLAIN, str(tmp_path / f"cache{most}"))
        for _ in range(2):
            assert dataset[0]["pixel_values"].equal(expected)
        assert len(list((tmp_path / f"cache{most}").glob("*"))) == kept


def test_a_cached_clip_that_was_cut_off_is_read_from_the_clip_itself(tmp_path):
    write_clip(tmp_path / "clips" / "c.mp4", frames=12)
    dataset = ClipDataset(read(tmp_path / "clips"), PLAIN, str(tmp_path / "cache"))
    expected = dataset[0]["pixel_values"]
    (cached,) = (tmp_path / "cache").glob("*.npy")
    for size in (cached.stat().st_size // 2, 40, 0):
        os.truncate(cached, size)
        assert dataset[0]["pixel_values"].equal(expected)
