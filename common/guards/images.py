"""One way to open an image: whatever Pillow reads becomes upright 8-bit RGB, or is refused in one sentence.

    image = open_image(path)                              # Pillow image, RGB
    image = open_image(BytesIO(data), "shard.parquet")    # bytes, with the name for the sentence
    small = open_image(path, longest=640)                 # a JPEG at 1/2, 1/4 or 1/8, its longer side no less than 640

Rules, mode by mode:

1, L, P, RGB, RGBX, CMYK, YCbCr, HSV  as Pillow converts them (the inverted CMYK of Adobe's JPEGs, too)
LA, La, PA, RGBA, RGBa, and a transparent colour of 1, L, P, RGB or 16-bit grey  laid on white, as players show GIFs
16-bit grey (I;16 in any byte order; I of a PNG or PGM)  its upper 8 bits; 12 bits of a TIFF: the upper 8 of 12;
    a TIFF whose 0 is white is turned round
I and F of other files, LAB  refused: the range of 32-bit values is not known, nor is the light of LAB

Orientations 1 to 8 of EXIF hold. Of an animation or of several pages the first is read. More than MAX_PIXELS are
refused from the header, before anything is decoded, so that an image takes less than 1 GB of memory. Only FORMATS are
tried: Pillow would start Ghostscript for an EPS that is named .png.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from common.console import InputError, first_line

MAX_PIXELS = 2**26  # of an image, 67 million; Pillow itself warns at 89 million and refuses 179 million
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "MPO", "JPEG2000", "AVIF")
BACKGROUND = (255, 255, 255)  # what transparent images are laid on
TURNED = (5, 6, 7, 8)  # orientations of EXIF that exchange width and height
ORIENTATION = 0x0112
WIDTH = 256  # tags of TIFF
HEIGHT = 257
BITS_PER_SAMPLE = 258
PHOTOMETRIC = 262
CONVERTED = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV", "LA", "La", "PA", "RGBA", "RGBa")


def open_image(source: str | Path | BinaryIO, name: str | None = None, longest: int | None = None) -> Image.Image:
    """The image, decoded, upright, 8-bit RGB; the rules are this module's docstring.

    source: a file's path, or its bytes as a file object. name: what the sentence calls it; default: the path. longest:
    a JPEG is decoded at a half, a quarter or an eighth of its size as long as its longer side keeps so many pixels.
    Raises InputError where it cannot be decoded, has too many pixels, or values whose range is not known.
    """
    with opened(source, name or str(source)) as image:
        if longest is not None:
            by = max(by for by in (1, 2, 4, 8) if by == 1 or max(image.size) / by >= longest)
            image.draft("RGB", (max(1, image.width // by), max(1, image.height // by)))
        ImageOps.exif_transpose(image, in_place=True)
        return to_rgb(image)


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height of the upright image, from its header alone. Raises InputError where it cannot be read or has
    too many pixels."""
    with opened(path, str(path)) as image:
        # a PNG may have its EXIF behind its pixels, and is decoded where that is looked for
        known = image.format != "PNG" or "exif" in image.info
        turned = known and image.getexif().get(ORIENTATION) in TURNED
        tags = getattr(image, "tag_v2", {})  # Pillow turns the size of a TIFF itself, in some versions
        width = tags.get(WIDTH, image.width)
        height = tags.get(HEIGHT, image.height)
        return (height, width) if turned else (width, height)


@contextmanager
def opened(source: str | Path | BinaryIO, name: str) -> Iterator[Image.Image]:
    """An image of which the header is read; what goes wrong in the block is an InputError, too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning of Pillow's names no file
            with Image.open(source, formats=known_formats()) as image:
                pixels = image.width * image.height
                if pixels > MAX_PIXELS:
                    raise InputError(f"{name}: {image.width} x {image.height} pixels are {too_many()}")
                yield image
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{name}: its pixels are {too_many()}") from error
    except Exception as error:  # struct.error, KeyError, zlib.error: a damaged header is anything to Pillow's plugins
        raise InputError(f"{name}: cannot be decoded as an image ({first_line(error)})") from error


def too_many() -> str:
    return f"more than the {MAX_PIXELS // 10**6} million that are read; make the image smaller"


def known_formats() -> list[str]:
    """FORMATS that this Pillow has."""
    if "AVIF" not in Image.OPEN:
        Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of a decoded image; the rules are this module's docstring. Raises ValueError that says why not."""
    image.load()
    if image.mode.startswith("I;16") or image.mode == "I" and image.format in ("PNG", "PPM"):
        return from_16_bits(image)
    if image.mode not in CONVERTED:
        values = {"I": "32-bit integers", "F": "floating-point values", "LAB": "LAB colours"}.get(image.mode)
        raise ValueError(f"{values or f'values of mode {image.mode}'}, expected 8-bit or 16-bit colours or greys")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    flat = Image.new("RGB", layer.size, BACKGROUND)
    flat.paste(layer, mask=layer)
    return flat


def from_16_bits(image: Image.Image) -> Image.Image:
    """The upper 8 bits of grey values, as RGB."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    bits = min(16, max(8, int(np.ravel(tags.get(BITS_PER_SAMPLE, 16))[0])))
    grey = (values >> (bits - 8)).clip(0, 255).astype(np.uint8)
    if tags.get(PHOTOMETRIC) == 0:
        grey = 255 - grey
    key = image.info.get("transparency")  # one of the 65,536 values
    if isinstance(key, int):
        grey = np.where(values == key, np.uint8(BACKGROUND[0]), grey)
    return Image.fromarray(grey).convert("RGB")
