"""One image file: what its header says, and its pixels, by rules that hold for every source."""

import io
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, get_args

from PIL import Image, UnidentifiedImageError

from genbench.files import opened

__all__ = [
    "ALPHAS",
    "MOST_BYTES",
    "MOST_PIXELS",
    "SUFFIXES",
    "Alpha",
    "BrokenImage",
    "Header",
    "UnfitImage",
    "decode",
    "header",
    "ids",
    "is_image",
    "read",
    "take",
]

SUFFIXES = frozenset(
    {
        *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"),
        *(".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    }
)
MOST_BYTES = 1 << 30  # of one image file
MOST_PIXELS = 80_000_000  # of one image; the largest cameras of today make about as many
# images of more pixels than any size that is asked for must have a byte for this many of them: a
# photograph has one for 20 at most, a file of 100 kB that claims 9000x8000 pixels is a bomb
_LARGE, _PIXELS_OF_A_BYTE = 4096 * 4096, 200
_PPM_HEADER = 1 << 16  # bytes that its comments may take
_HEAD = 32  # bytes that tell what a file is

Alpha = Literal["refuse", "white", "black", "drop"]
ALPHAS: tuple[Alpha, ...] = get_args(Alpha)

# by content, not by suffix: a JPEG that is called .png is read, a PostScript file is not
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
_BEGINNINGS = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"II+\0"),
    *(b"MM\0+", b"GIF87a", b"GIF89a", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"),
)
_BEHIND = (
    "say what lies behind them, alpha=white or alpha=black, or take the colours that are stored, "
    "alpha=drop"
)
_UNKNOWN = "no known image format, or no pixels"
_GREY = {"1", "L", "LA"}
_ALPHA = {"LA", "PA", "RGBA", "RGBa"}
_MODES = {*_GREY, *_ALPHA, "P", "RGB", "RGBX", "CMYK", "YCbCr"}
# tags of EXIF and TIFF
_ORIENTATION, _BITS, _WIDTH, _HEIGHT = 274, 258, 256, 257
# what is to be done to pixels that are stored in each orientation
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_THEIR_SIDE = {5, 6, 7, 8}  # these swap width and height
_MAXIMUM = re.compile(rb"P[2356](?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+(\d+)")

# images of that many pixels are refused here, by a sentence
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

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
    ArithmeticError,
    MemoryError,
    AssertionError,
    RuntimeError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
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
        size: Width and height in pixels, turned as it is shown.
        mode: Pillow's word for what a pixel is.
        grey: Whether it has one channel, alpha apart.
        alpha: Whether it may be transparent.
        cmyk: Whether its colours are those of print.
        lossy: Whether its compression lost something.
        animated: Whether it holds more than the one picture that is read.
        turned: Whether its EXIF asks viewers to turn it, which is done.
    """

    size: tuple[int, int]
    mode: str
    grey: bool
    alpha: bool
    cmyk: bool
    lossy: bool
    animated: bool
    turned: bool


def read(path: Path) -> bytes:
    """The bytes of an image file; of what is none, no more than its beginning is read.

    Raises:
        BrokenImage: No file, no permission, no image, or more bytes than an image has.
    """
    try:
        with opened(path) as file:
            return take(file, path.stat().st_size)
    except OSError as error:
        raise BrokenImage(error.strerror or str(error)) from error


def take(file: IO[bytes], size: int) -> bytes:
    """All `size` bytes of an image file that is open, see `read`.

    Raises:
        BrokenImage: No image, or more bytes than an image has.
    """
    if size > MOST_BYTES:
        raise BrokenImage(f"it has {size:,} bytes, and {MOST_BYTES:,} are the most of an image")
    head = file.read(_HEAD)
    if not is_image(head):
        raise BrokenImage(_UNKNOWN)
    return head + file.read(MOST_BYTES)


def is_image(head: bytes) -> bool:
    """Whether a file that begins so is an image of a format that is read."""
    return head.startswith(_BEGINNINGS)


def header(data: bytes) -> Header:
    """Read an image file's header; decodes no pixels.

    Raises:
        BrokenImage: No image, a header that is damaged, or more pixels than its bytes can hold.
        UnfitImage: More than 8 bits for a channel, or colours that Pillow cannot turn into RGB.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            bits = _bits(image, data)
            # `n_frames` would walk through all of them
            animated = image.format != "MPO" and bool(getattr(image, "is_animated", False))
            found = Header(
                size=_shown_size(image),
                mode=image.mode,
                grey=image.mode in _GREY,
                alpha=_has_alpha(image),
                cmyk=image.mode == "CMYK",
                lossy=_lossy(image, data),
                animated=animated,
                turned=_orientation(image) in _TURNS,
            )
    except _READ_ERRORS as error:
        raise BrokenImage(_reason(error)) from error
    _check_pixels(found.size, len(data))
    if bits > 8 or found.mode.startswith(("I", "F")):
        what = f"{bits} bits for a channel" if bits > 8 else f"mode {found.mode}"
        raise UnfitImage(what, "convert to 8 bits for a channel, with a scaling that you choose")
    if found.mode not in _MODES:
        raise UnfitImage(f"mode {found.mode}", "convert to RGB")
    return found


def _check_pixels(size: tuple[int, int], length: int) -> None:
    pixels = size[0] * size[1]
    claim = f"{size[0]}x{size[1]} pixels in {length:,} bytes"
    if pixels > MOST_PIXELS:
        raise BrokenImage(f"{claim}, more than the {MOST_PIXELS:,} pixels that are read")
    if pixels > max(_LARGE, length * _PIXELS_OF_A_BYTE):
        raise BrokenImage(f"{claim}, which no picture has")


def decode(data: bytes, alpha: Alpha = "refuse", way: str = _BEHIND) -> Image.Image:
    """The pixels of a file whose header was found to be good: an image without transparency.

    It is turned as its EXIF asks; of several frames the first is read. An alpha channel that is
    opaque everywhere is dropped.

    Args:
        data: The file's bytes.
        alpha: What becomes of transparent pixels: composed with "white" or "black"
            (level = a / 255 * colour + (1 - a / 255) * background), "drop" for the colours that
            are stored, or "refuse".
        way: What to do about transparent pixels that are refused.

    Raises:
        BrokenImage: For data that is cut short or damaged.
        UnfitImage: For transparent pixels, with `alpha="refuse"`.
    """
    try:
        image = ids(data)
        return _opaque(image, alpha, way) if _has_alpha(image) else image
    except _READ_ERRORS as error:
        raise BrokenImage(_reason(error)) from error


def ids(data: bytes) -> Image.Image:
    """`decode` with the values as they are stored: of a palette its indices, and alpha.

    Raises:
        BrokenImage: For data that is cut short or damaged.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            turn = None if image.format == "TIFF" else _TURNS.get(_orientation(image))
            image.load()  # which turns a TIFF
            return image if turn is None else image.transpose(turn)
    except _READ_ERRORS as error:
        raise BrokenImage(_reason(error)) from error


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in _ALPHA or "transparency" in image.info


def _opaque(image: Image.Image, alpha: Alpha, way: str) -> Image.Image:
    # by way of RGBA, since a palette or a transparent colour is made explicit there only
    full = image.convert("RGBA")
    plain = full.convert("RGB")
    if alpha != "drop" and full.getchannel("A").getextrema() != (255, 255):
        if alpha == "refuse":
            raise UnfitImage("transparent pixels", way)
        plain = Image.alpha_composite(Image.new("RGBA", full.size, alpha), full).convert("RGB")
    return plain


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits for a channel as the file has them; Pillow's RGB would not tell, it cuts 16 to 8."""
    if image.format == "PNG":
        return data[24]  # in IHDR, which comes first
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        return int(max(tags.get(_BITS, (1,))))
    if image.format == "PPM" and (found := _MAXIMUM.match(data[:_PPM_HEADER])):
        return int(found[1][:9]).bit_length()
    return 8


def _lossy(image: Image.Image, data: bytes) -> bool:
    if image.format == "WEBP":
        lossy, lossless = data.find(b"VP8 "), data.find(b"VP8L")  # chunks of pixels
        return lossy >= 0 and (lossless < 0 or lossy < lossless)
    return image.format in ("JPEG", "MPO") or image.info.get("compression") == "jpeg"


def _orientation(image: Image.Image) -> int:
    """How the pixels are stored, by EXIF; 1 is upright."""
    try:
        if image.format == "TIFF":
            found = getattr(image, "tag_v2", {}).get(_ORIENTATION, 1)
        else:  # without this look Pillow would decode a PNG, to find EXIF behind its pixels
            found = image.getexif().get(_ORIENTATION, 1) if "exif" in image.info else 1
    except _READ_ERRORS:  # damaged EXIF says nothing about the pixels, which are whole
        return 1
    return found if isinstance(found, int) else 1


def _shown_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    if image.format == "TIFF":  # of which Pillow's size is turned already in some versions
        tags = getattr(image, "tag_v2", {})
        width, height = int(tags[_WIDTH]), int(tags[_HEIGHT])
    return (height, width) if _orientation(image) in _ON_THEIR_SIDE else (width, height)


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return _UNKNOWN
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than the {MOST_PIXELS:,} pixels that are read"
    return " ".join(str(error).split()) or type(error).__name__
