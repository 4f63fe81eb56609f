"""The same scene in several styles, aligned to the pixel: palettes, light, ink."""

from dataclasses import dataclass

import torch
from torch import Tensor

from genbench.data.scenes.render import Objects, coverage, lines, measure, pattern
from genbench.data.scenes.scene import MOST, Scene
from genbench.spec import ConfigError, nearest

__all__ = ["STYLES", "paint"]

RGB = tuple[int, int, int]

_COLOURS: tuple[RGB, ...] = (
    (212, 66, 62),
    (241, 140, 46),
    (248, 208, 66),
    (76, 160, 92),
    (56, 116, 196),
    (150, 80, 170),
)
# Greyish, none near a colour of an object: the ground's colour, and that of its pattern.
_GROUNDS: tuple[tuple[RGB, RGB], ...] = (
    ((248, 243, 232), (234, 225, 208)),  # cream
    ((226, 235, 224), (205, 219, 203)),  # sage
    ((226, 234, 241), (203, 217, 229)),  # mist
    ((238, 229, 215), (221, 208, 188)),  # sand
    ((243, 231, 229), (227, 210, 209)),  # rose
    ((233, 230, 240), (213, 209, 226)),  # lilac
    ((226, 226, 222), (206, 206, 201)),  # stone
    ((196, 205, 212), (176, 187, 196)),  # slate
)


def _mix(a: RGB, b: RGB, share: float) -> RGB:
    red, green, blue = (round(x + share * (y - x)) for x, y in zip(a, b, strict=True))
    return red, green, blue


@dataclass(frozen=True)
class Style:
    """How a scene is painted.

    Attributes:
        colours: Of objects, in the order of `COLOURS`.
        grounds: First and second colour of each of the eight tints.
        light: How much lighter objects are to the upper left, and darker below.
        rim: How much darker they are towards the outline.
        shadow: How much a shadow takes away, 0 for none.
        shade: The shadow's colour.
        glow: How strongly objects light up what is around them.
        ink: The outline's colour, or None for none.
        fill: Share of an object's colour between the lines of a hatching, 1 for no hatching.
    """

    colours: tuple[RGB, ...]
    grounds: tuple[tuple[RGB, RGB], ...]
    light: float = 0.0
    rim: float = 0.0
    shadow: float = 0.0
    shade: RGB = (0, 0, 0)
    glow: float = 0.0
    ink: RGB | None = None
    fill: float = 1.0


_WHITE, _NIGHT, _PAPER = (255, 255, 255), (18, 24, 58), (251, 248, 241)

STYLES = {
    "day": Style(_COLOURS, _GROUNDS, light=0.10, rim=0.10, shadow=0.30, shade=(52, 48, 72)),
    "night": Style(
        tuple(_mix(c, _NIGHT, 0.1) for c in _COLOURS),
        tuple((_mix(a, _NIGHT, 0.92), _mix(b, _NIGHT, 0.78)) for a, b in _GROUNDS),
        light=0.08,
        rim=0.12,
        glow=0.28,
    ),
    "pastel": Style(
        tuple(_mix(c, _WHITE, 0.42) for c in _COLOURS),
        tuple((_mix(a, _WHITE, 0.6), _mix(b, _WHITE, 0.45)) for a, b in _GROUNDS),
        light=0.03,
        rim=0.04,
        shadow=0.16,
        shade=(150, 120, 160),
    ),
    "drawing": Style(
        tuple(_mix(c, (40, 40, 60), 0.12) for c in _COLOURS),
        tuple((_PAPER, _mix(_PAPER, b, 0.55)) for _, b in _GROUNDS),
        ink=(44, 42, 52),
        fill=0.25,
    ),
}

LINE = 0.024  # width of outlines, in shares of the side
_SHIFT, _BLUR = (0.012, 0.022), 0.05  # of shadows
_GLOW = 0.13  # how far a glow reaches
_HATCH, _HATCH_SHARE = 0.085, 0.5
_DIAGONAL = (0.707107, 0.707107)


def paint(scene: Scene, size: int, style: str) -> Tensor:
    """uint8 (N, 3, S, S), the scenes in a style.

    Raises:
        ConfigError: For an unknown style, with the nearest one.
    """
    if style not in STYLES:
        raise ConfigError(f"scenes have no style {style!r}; {nearest(style, STYLES)}")
    look, objects = STYLES[style], measure(scene, size)
    inner = _surface(scene, objects, look)
    outer = _around(scene, objects, look)
    canvas = _ground(scene, size, look)
    covered = coverage(objects.distance)[:, None]
    for slot in range(MOST):
        rows = (objects.slot == slot).nonzero()[:, 0]
        image = objects.image[rows]
        part = canvas[image]
        if outer is not None:
            amount, tint = outer
            part = _over(part, tint[rows], amount[rows])
        canvas[image] = _over(part, inner[rows], covered[rows])
    return (canvas * 255 + 0.5).clamp_(0, 255).to(torch.uint8)


def _over(below: Tensor, above: Tensor, share: Tensor) -> Tensor:
    return below + share * (above - below)


def _ground(scene: Scene, size: int, look: Style) -> Tensor:
    first, second = _rgb(look.grounds)[scene.tint].unbind(1)
    return _over(first, second, pattern(scene, size)[:, None])


def _surface(scene: Scene, objects: Objects, look: Style) -> Tensor:
    """(M, 3, S, S), each object's colour as it would be everywhere."""
    colour = _colour(scene, objects, look)
    if look.light or look.rim:
        shine = scene.shine[objects.image, objects.slot][:, None, None]
        slope = (objects.left * -0.5).clamp_(-0.6, 0.6) + (objects.down * -0.8).clamp_(-0.9, 0.9)
        depth = (objects.distance / (objects.radius * -0.4)).clamp_(0, 1)
        light = slope * look.light + depth * look.rim + (0.96 - look.rim + 0.08 * shine)
        colour = colour * light[:, None]
    if look.fill < 1:
        hatch = lines(objects.size, _DIAGONAL, _HATCH, _HATCH_SHARE)
        paper = _rgb(look.grounds)[0, 0]
        colour = _over(paper, colour, look.fill + (1 - look.fill) * hatch)
    if look.ink is not None:
        width = LINE * objects.size
        ink = coverage(objects.distance) - coverage(objects.distance + width)
        colour = _over(colour, _rgb(look.ink), ink[:, None])
    return colour.expand(-1, -1, objects.size, objects.size)


def _around(scene: Scene, objects: Objects, look: Style) -> tuple[Tensor, Tensor] | None:
    """How much, (M, 1, S, S), the shadow or glow of each object takes of its own colour."""
    size = objects.size
    if look.shadow:
        distance = measure(scene, size, _SHIFT).distance
        amount = (0.5 - distance / (_BLUR * size)).clamp_(0, 1) * look.shadow
        return amount[:, None], _rgb(look.shade).expand(len(amount), 3, 1, 1)
    if look.glow:
        near = (1 - objects.distance / (_GLOW * size)).clamp_(0, 1)
        return (near * near * look.glow)[:, None], _colour(scene, objects, look)
    return None


def _colour(scene: Scene, objects: Objects, look: Style) -> Tensor:
    return _rgb(look.colours)[scene.colour[objects.image, objects.slot]]


def _rgb(colours: object) -> Tensor:
    """Colours in [0, 1], of shape (..., 3, 1, 1)."""
    return (torch.tensor(colours, dtype=torch.float32) / 255)[..., None, None]
