"""One image file: whether it can be decoded, and its pixels."""

from __future__ import annotations

import os
import stat
import warnings

from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""Formats that are decoded, whatever a file's ending. Pillow has others, but one, EPS, is a program
that it would pass to an interpreter."""
MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB")
"""Modes of at most 8 bits per channel; in others all brighter values would become white."""
MOST_PIXELS = 89_478_485
"""Pillow's limit, above which it warns; ImageNet's largest image has 61 million."""
MOST_SLENDER = 100
"""Largest ratio of the sides; limits memory when the shorter side is resized to 256 or more."""
UNKNOWN = "cannot identify image file"
_OTHER_KINDS = (
    (b"GIF8", "a GIF image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"8BPS", "a Photoshop file"),
    (b"%!PS", "a PostScript program"),
    (b"%PDF", "a PDF document"),
    (b"\0\x05\x16\x07", "an AppleDouble file of macOS"),
    (b"PK\3\4", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a pointer of Git LFS; `git lfs pull` fetches the image"),
)
"""First bytes of other kinds of files that often have an image's name."""
_BRANDS = dict.fromkeys((b"avif", b"avis"), "an AVIF image") | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1"), "a HEIC image"
)
"""In files whose bytes 4 to 8 are "ftyp", the next four bytes -> kind."""


def open_image(path: str) -> Image.Image:
    """Open an image and read its header only.

    Raises:
        Exception: almost any, as decoders do on damaged bytes; `fault` turns it into a message.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(path, formats=FORMATS)
    width, height = image.size
    refusal = None
    if width * height > MOST_PIXELS:
        refusal = f"{width} x {height} pixels are more than {MOST_PIXELS:,}"
    elif max(width, height) > MOST_SLENDER * min(width, height):
        refusal = f"{width} x {height} pixels: one side is more than {MOST_SLENDER} times the other"
    elif image.mode not in MODES:
        refusal = f"its mode {image.mode} has more than 8 bits a channel"
    if refusal is not None:
        image.close()
        raise ValueError(refusal)
    return image


def decode(path: str) -> Tensor:
    """Decode an image as RGB: uint8 (3, H, W). Grey is repeated; transparency is ignored.

    The EXIF orientation is ignored, as in torchvision.

    Raises:
        Exception: as `open_image`.
    """
    with open_image(path) as file:
        # Pillow warns of a palette with partial transparency unless converted to RGBA first.
        coloured = file.convert("RGBA") if file.mode == "P" else file
        image: Tensor = pil_to_tensor(coloured.convert("RGB"))
    return image


def header_fault(path: str) -> str | None:
    """Return why an image cannot be decoded, judging by its header; None if it can."""
    try:
        with open_image(path):
            return None
    except Exception as error:
        return fault(path, error)


def pixel_fault(path: str) -> str | None:
    """Return why an image cannot be decoded; None if it can."""
    try:
        decode(path)
        return None
    except Exception as error:
        return fault(path, error)


def fault(path: str, error: Exception) -> str:
    """Return a message that says why a file could not be opened or decoded as an image."""
    if isinstance(error, UnidentifiedImageError):
        kind = _kind(path)
        return f"{UNKNOWN}: it is {kind}, and read are {', '.join(FORMATS)}" if kind else UNKNOWN
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _kind(path: str) -> str | None:
    """Return the kind of an unsupported file, if its first bytes tell."""
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        return "empty"
    if start[4:8] == b"ftyp" and start[8:12] in _BRANDS:
        return _BRANDS[start[8:12]]
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, as failed downloads leave"
    return next((kind for first, kind in _OTHER_KINDS if start.startswith(first)), None)
