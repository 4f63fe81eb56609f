"""One image file: what its header says, and its pixels, by rules that hold for every source."""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image, UnidentifiedImageError

__all__ = [
    "ALPHAS",
    "SUFFIXES",
    "Alpha",
    "BrokenImage",
    "Header",
    "UnfitImage",
    "decode",
    "header",
]

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

Alpha = Literal["refuse", "white", "black", "drop"]
ALPHAS: tuple[Alpha, ...] = get_args(Alpha)

# by content, not by suffix: a JPEG that is called .png is read, a PostScript file is not
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_GREY = {"1", "L", "LA"}
_ALPHA = {"LA", "PA", "RGBA", "RGBa"}
_MODES = {*_GREY, *_ALPHA, "P", "RGB", "RGBX", "CMYK", "YCbCr"}
_ORIENTATION, _BITS = 274, 258  # tags of EXIF and TIFF

# what Pillow raises for files that are cut short, no image at all, broken or too large
_READ_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class BrokenImage(Exception):
    """A file that cannot be read; the message is the reason. It may be left out of a set."""


class UnfitImage(Exception):
    """An image that is whole but must not be used as it is: what it is, and the way on."""

    def __init__(self, what: str, way: str) -> None:
        super().__init__(what)
        self.what, self.way = what, way


@dataclass(frozen=True, slots=True)
class Header:
    """What an image file says of itself before it is decoded.

    Attributes:
        size: Width and height in pixels.
        grey: Whether it has one channel, alpha apart.
        alpha: Whether it may be transparent.
        cmyk: Whether its colours are those of print.
        lossy: Whether its compression lost something.
        animated: Whether it holds more than the one picture that is read.
        turned: Whether its EXIF asks viewers to turn it, which is not done.
    """

    size: tuple[int, int]
    grey: bool
    alpha: bool
    cmyk: bool
    lossy: bool
    animated: bool
    turned: bool


def header(data: bytes) -> Header:
    """Read an image file's header; decodes no pixels.

    Raises:
        BrokenImage: No image, or a header that is damaged.
        UnfitImage: More than 8 bits for a channel, or colours that Pillow cannot turn into RGB.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            bits = _bits(image, data)
            animated = image.format != "MPO" and getattr(image, "n_frames", 1) > 1
            found = Header(
                size=image.size,
                grey=image.mode in _GREY,
                alpha=_has_alpha(image),
                cmyk=image.mode == "CMYK",
                lossy=_lossy(image, data),
                animated=animated,
                turned=_turned(image),
            )
            mode = image.mode
    except _READ_ERRORS as error:
        raise BrokenImage(_reason(error)) from error
    if bits > 8 or mode.startswith(("I", "F")):
        what = f"{bits} bits for a channel" if bits > 8 else f"mode {mode}"
        raise UnfitImage(what, "convert to 8 bits for a channel, with a scaling that you choose")
    if mode not in _MODES:
        raise UnfitImage(f"mode {mode}", "convert to RGB")
    return found


def decode(data: bytes, alpha: Alpha = "refuse") -> Image.Image:
    """The pixels of a file whose header was found to be good: an image without transparency.

    EXIF rotation is not applied (Pillow itself turns TIFF files); of several frames the first is
    read. An alpha channel that is opaque everywhere is dropped.

    Args:
        data: The file's bytes.
        alpha: What becomes of transparent pixels: composed with "white" or "black"
            (level = a / 255 * colour + (1 - a / 255) * background), "drop" for the colours that
            are stored, or "refuse".

    Raises:
        BrokenImage: For data that is cut short or damaged.
        UnfitImage: For transparent pixels, with `alpha="refuse"`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            image.load()
            return _opaque(image, alpha) if _has_alpha(image) else image
    except _READ_ERRORS as error:
        raise BrokenImage(_reason(error)) from error


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in _ALPHA or "transparency" in image.info


def _opaque(image: Image.Image, alpha: Alpha) -> Image.Image:
    # by way of RGBA, since a palette or a transparent colour is made explicit there only
    full = image.convert("RGBA")
    plain = full.convert("RGB")
    if alpha != "drop" and full.getchannel("A").getextrema() != (255, 255):
        if alpha == "refuse":
            raise UnfitImage(
                "transparent pixels",
                "say what lies behind them, alpha=white or alpha=black, or take the colours that "
                "are stored, alpha=drop",
            )
        plain = Image.alpha_composite(Image.new("RGBA", full.size, alpha), full).convert("RGB")
    return plain


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits for a channel as the file has them; Pillow's RGB would not tell, it cuts 16 to 8."""
    if image.format == "PNG":
        return data[24]  # in IHDR, which comes first
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        return int(max(tags.get(_BITS, (1,))))
    return 8


def _lossy(image: Image.Image, data: bytes) -> bool:
    if image.format == "WEBP":
        lossy, lossless = data.find(b"VP8 "), data.find(b"VP8L")  # chunks of pixels
        return lossy >= 0 and (lossless < 0 or lossy < lossless)
    return image.format in ("JPEG", "MPO") or image.info.get("compression") == "jpeg"


def _turned(image: Image.Image) -> bool:
    if "exif" not in image.info or image.format == "TIFF":
        return False
    try:
        return bool(image.getexif().get(_ORIENTATION, 1) != 1)
    except _READ_ERRORS:  # damaged EXIF says nothing about the pixels, which are whole
        return False


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no known image format, or no pixels"
    return " ".join(str(error).split()) or type(error).__name__
