"""common/guards/images.py, videos.py and listing.py: right pixels whatever the mode, the orientation, the ending; and what
is left out is said."""

import os
import struct
import zlib
from io import BytesIO

import numpy as np
import PIL
import pytest
from PIL import Image

from common.console import InputError
from common.guards import images, listing
from common.guards.images import image_size, open_image, to_rgb
from common.guards.videos import EIGHT, upright

RAMP = np.tile(np.arange(64, dtype=np.uint16) * 1024 + 17, (8, 1))  # 64 greys of 16 bits
COLOURS = np.random.default_rng(0).integers(0, 256, (8, 64, 3)).astype(np.uint8)
WHITE = (255, 255, 255)
NOT_BEFORE_13 = pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13, reason="Pillow does not read the YCbCr that it has written as TIFF"
)


def written(image, kind, **options):
    file = BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def pixels(image, kind, **options):
    """What is read of an image that was written without loss."""
    return np.asarray(open_image(written(image, kind, **options), "x"))


def with_alpha(mode):
    """Red, of which the left half is not there."""
    image = Image.new("RGBA", (64, 8), (200, 30, 40, 255))
    image.paste((200, 30, 40, 0), (0, 0, 32, 8))
    return image.convert("LA" if mode == "La" else "RGBA").convert(mode)


# Modes


@pytest.mark.parametrize(
    ("mode", "kind"), [("I;16", "PNG"), ("I;16", "TIFF"), ("I;16B", "TIFF"), ("I;16", "JPEG2000"), ("I;16", "PPM")]
)
def test_16_bit_grey_is_its_upper_8_bits_in_either_byte_order(mode, kind):
    image = Image.frombytes(mode, (64, 8), RAMP.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    file = written(image, kind)
    with Image.open(file) as opened:
        assert opened.mode == (mode if kind != "PPM" else "I")
    assert (np.asarray(open_image(file, "x")) == (RAMP >> 8)[..., None]).all()


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_16_bit_grey_in_memory_is_its_upper_8_bits(mode):
    image = Image.frombytes(mode, (64, 8), RAMP.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    assert (np.asarray(to_rgb(image)) == (RAMP >> 8)[..., None]).all()


def test_a_transparent_grey_of_16_bits_is_white():
    found = pixels(Image.fromarray(RAMP), "PNG", transparency=int(RAMP[0, 3]))
    assert (found[:, 3] == 255).all() and (found[:, :3] == (RAMP >> 8)[:, :3, None]).all()


def tiff(data, bits, photometric, width=64, height=8):
    """A TIFF of one strip, little-endian: tags that Pillow does not write."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return BytesIO(
        b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)
    )


def test_a_tiff_of_12_bits_or_whose_0_is_white_has_its_light():
    twelve = np.tile(np.arange(64, dtype=np.uint16) * 64 + 5, (8, 1))
    pairs = twelve.reshape(-1, 2).astype(np.uint32)
    packed = (pairs[:, 0] << 12 | pairs[:, 1])[:, None] >> np.array([16, 8, 0])
    found = np.asarray(open_image(tiff(packed.astype(np.uint8).tobytes(), 12, 1), "x"))
    assert (found == (twelve >> 4)[..., None]).all()
    found = np.asarray(open_image(tiff(RAMP.astype("<u2").tobytes(), 16, 0), "x"))
    assert (found == 255 - (RAMP >> 8)[..., None]).all()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image.fromarray(RAMP.astype(np.int32)), "32-bit integers"),
        (Image.fromarray(RAMP.astype(np.float32)), "floating-point values"),
        (Image.new("LAB", (64, 8)), "LAB colours"),
    ],
    ids=["I", "F", "LAB"],
)
def test_values_of_unknown_range_are_refused_in_one_sentence(image, said):
    with pytest.raises(InputError, match=f"^x: .*{said}.*expected 8-bit or 16-bit") as caught:
        pixels(image, "TIFF")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("L", "PNG"), ("P", "PNG"), ("P", "GIF"), ("RGB", "PNG"), ("RGB", "BMP"), ("CMYK", "TIFF")]
    + [pytest.param("YCbCr", "TIFF", marks=NOT_BEFORE_13), ("RGB", "TIFF"), ("RGBX", "TIFF")],
)
def test_a_mode_without_transparency_is_what_pillow_makes_of_it(mode, kind):
    image = Image.fromarray(COLOURS).convert(mode)
    assert np.array_equal(pixels(image, kind), np.asarray(image.convert("RGB")))


def test_the_cmyk_of_a_jpeg_has_its_colours():
    image = Image.new("CMYK", (64, 8), (0, 255, 255, 0))  # red; JPEGs hold it inverted, with Adobe's marker
    file = written(image, "JPEG", quality=100)
    assert b"Adobe" in file.getvalue()
    assert np.abs(np.asarray(open_image(file, "x")).astype(int) - (255, 0, 0)).max() < 8


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGBA", "PNG"), ("RGBA", "TIFF"), ("LA", "PNG"), ("LA", "TIFF"), ("PA", "TIFF")]
)
def test_what_is_transparent_is_white_and_the_rest_as_it_was(mode, kind):
    image = with_alpha("LA" if mode == "LA" else "RGBA")
    opaque = np.asarray(image.convert("RGB"))[0, 63]
    if mode == "PA":
        alpha = image.getchannel("A")
        image = image.convert("RGB").quantize().convert("PA")
        image.putalpha(alpha)
    found = pixels(image, kind)
    assert (found[:, :32] == 255).all() and np.abs(found[:, 32:].astype(int) - opaque).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La"])
def test_in_memory_too(mode):
    found = np.asarray(to_rgb(with_alpha(mode)))
    assert (found[:, :32] == 255).all() and (found[:, 32:] < 230).all()


def test_half_transparent_is_half_white():
    assert (
        np.abs(pixels(Image.new("RGBA", (4, 4), (0, 100, 200, 128)), "PNG")[0, 0].astype(int) - (127, 177, 227)).max()
        <= 1
    )


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "AVIF"])
def test_a_palettes_transparent_colour_is_white(kind):
    image = Image.new("P", (64, 8), 1)
    image.putpalette([0, 0, 0, 10, 20, 200])
    image.paste(0, (0, 0, 32, 8))
    if kind in ("WEBP", "AVIF"):
        image.info["transparency"] = 0
        found = pixels(image.convert("RGBA"), kind, **({"lossless": True} if kind == "WEBP" else {"quality": 100}))
    else:
        found = pixels(image, kind, transparency=0)
    assert (found[:, :30] > 250).all() and np.abs(found[:, 34:].astype(int) - (10, 20, 200)).max() < 12


@pytest.mark.parametrize(("mode", "key"), [("L", 0), ("RGB", (0, 0, 0)), ("1", 0)])
def test_a_transparent_colour_of_a_png_without_palette_is_white(mode, key):
    image = Image.new(mode, (8, 8), 0)
    assert (pixels(image, "PNG", transparency=key) == 255).all()


def test_a_png_of_16_bits_a_colour_is_its_upper_8_bits():
    rows = b"".join(b"\0" + np.repeat(RAMP[0].astype(">u2"), 3).tobytes() for _ in range(8))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 8, 16, 2, 0, 0, 0))
    png += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert (np.asarray(open_image(BytesIO(png), "x")) == (RAMP >> 8)[..., None]).all()


# Orientations


def exif_of(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


SHOWN = {  # orientation -> how the pixels of the file are shown (EXIF 2.32, tag 0x0112)
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("number", SHOWN)
def test_all_orientations_of_exif_hold(kind, number, tmp_path):
    quarters = np.zeros((32, 64, 3), np.uint8)
    quarters[:16, :32], quarters[:16, 32:], quarters[16:, :32] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    path = tmp_path / f"x.{kind.lower()}"
    Image.fromarray(quarters).save(path, kind, exif=exif_of(number))
    found, expected = np.asarray(open_image(path)), SHOWN[number](quarters)
    assert found.shape == expected.shape and np.abs(found.astype(int) - expected).mean() < 12
    assert image_size(path) == expected.shape[1::-1]


def test_16_bit_grey_is_turned_too(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "x.png", exif=exif_of(6))
    assert (np.asarray(open_image(tmp_path / "x.png")) == np.rot90(RAMP >> 8, -1)[..., None]).all()


def test_what_makes_frames_of_videos_upright_are_the_eight_different_ways():
    frames = np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3)
    found = {upright(frames, how).tobytes() + bytes(upright(frames, how).shape) for how in EIGHT}
    assert len(found) == 8 and np.array_equal(upright(frames, EIGHT[0]), frames)
    assert sum(how.mirrors for how in EIGHT) == 4


# Bombs and damage


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def huge_png(width, height):
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(12_000, 12_000), (40_000, 40_000), (2**16, 1025)])
def test_an_image_of_too_many_pixels_is_refused_from_its_header_in_one_sentence(size, tmp_path, recwarn):
    path = tmp_path / "x.png"
    path.write_bytes(huge_png(*size))
    for read in (open_image, image_size):
        with pytest.raises(InputError, match=r"x.png: .*pixels are more than the 67 million that are read"):
            read(path)
    assert not recwarn.list


def test_the_first_frame_of_an_animation_of_very_many_is_read_alone(tmp_path):
    first, rest = Image.new("P", (16, 16), 3), written(Image.new("P", (16, 16), 5), "GIF").getvalue()
    start = rest.index(b",")
    data = written(first, "GIF").getvalue()[:-1] + rest[start:-1] * 100_000 + b";"
    (tmp_path / "x.gif").write_bytes(data)
    with open(tmp_path / "x.gif", "rb") as file:
        assert open_image(file, "x").size == (16, 16)
        assert file.tell() < 100_000 < len(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_damage_is_one_sentence_or_an_image(kind):
    whole = written(Image.fromarray(COLOURS), kind).getvalue()
    random = np.random.default_rng(1)
    for _ in range(40):
        data = bytearray(whole[: random.integers(1, len(whole) + 1)])
        for place in random.integers(0, len(data), 4):
            data[place] = random.integers(256)
        try:
            assert open_image(BytesIO(bytes(data)), "x").mode == "RGB"
        except InputError as error:
            assert str(error).startswith("x: ") and "\n" not in str(error)


def test_a_postscript_file_that_is_named_png_starts_nothing(tmp_path):
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match="x.png: cannot be decoded as an image"):
        open_image(tmp_path / "x.png")
    assert "EPS" not in images.known_formats()


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size_as_long_as_enough_is_left():
    file = written(Image.new("RGB", (1300, 2600), (200, 100, 50)), "JPEG", exif=exif_of(6))
    for longest, size in ((640, (650, 325)), (1, (325, 163)), (651, (1300, 650)), (3000, (2600, 1300))):
        file.seek(0)
        assert open_image(file, "x", longest).size == size


# Listing


WRITTEN = {  # by Pillow
    **{".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".apng": "PNG", ".bmp": "BMP"},
    **{".dib": "DIB", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".gif": "GIF", ".avif": "AVIF", ".mpo": "MPO"},
    **{".jp2": "JPEG2000", ".j2k": "JPEG2000", ".pbm": "PPM", ".pgm": "PPM", ".ppm": "PPM", ".pnm": "PPM"},
}


@pytest.mark.parametrize("suffix", listing.IMAGE_SUFFIXES)
def test_every_ending_of_images_is_read(suffix, tmp_path):
    mode = {".pbm": "1", ".pgm": "L"}.get(suffix, "RGB")
    path = tmp_path / f"x{suffix}"
    Image.new(mode, (32, 24), "white").save(path, WRITTEN[suffix])
    image = open_image(path)
    assert image.size == (32, 24) and image.getpixel((5, 5)) == WHITE


def test_what_is_left_out_is_one_line_with_numbers_and_endings_and_hidden_files_are_silent(tmp_path, capsys):
    names = ["a/1.jpg", "a/2.JPG", "a/x.heic", "a/y.HEIC", "b/notes.txt", "b/README", "b/z.\x1b[31m"]
    hidden = [".DS_Store", "a/._1.jpg", "__MACOSX/a/1.jpg", "a/Thumbs.db", "a/desktop.ini", ".git/x.jpg"]
    for name in names + hidden:
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).touch()
    (tmp_path / "train" / "a" / "link.jpg").symlink_to("nowhere.jpg")
    found, others = listing.sort_out(tmp_path / "train", listing.IMAGE_SUFFIXES)
    assert [path.name for path in found] == ["1.jpg", "2.JPG"]
    listing.print_left_out(tmp_path / "train", others)
    printed = capsys.readouterr().out
    assert printed == (
        "train: 6 files are left out: 2 .heic, 1 .\\x1b[31m, 1 .txt, 1 links to nowhere, 1 without an ending\n"
    ), printed
    listing.print_left_out(tmp_path / "train", [])
    assert capsys.readouterr().out == ""


def test_a_hidden_folder_is_read_where_it_is_named_itself(tmp_path):
    folder = tmp_path / ".cache" / "__MACOSX"
    folder.mkdir(parents=True)
    (folder / "1.jpg").touch()
    assert len(listing.sort_out(folder, listing.IMAGE_SUFFIXES)[0]) == 1
    assert len(listing.sort_out(f"{folder}/", listing.IMAGE_SUFFIXES)[0]) == 1


def test_a_pipe_among_images_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    with pytest.raises(InputError, match="x.jpg: is a pipe, a file was expected"):
        listing.sort_out(tmp_path, listing.IMAGE_SUFFIXES)
