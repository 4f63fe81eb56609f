"""The six shapes as signed distances, in units of an object's radius, around its centre.

x goes to the right and y goes down. Every function is exact outside, negative inside, and uses
only what IEEE 754 rounds in one way (+ - * / sqrt, minimum, maximum), so that its values are the
same on every machine. Formulas: Quilez, *2D distance functions*,
https://iquilezles.org/articles/distfunctions2d
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["CORE", "DISTANCES", "REACH", "SHAPES"]

RING_INNER = 0.44  # at any place and size a ring holds the centre of some pixel of 16 x 16
_SQUARE, _SQUARE_ROUND = 0.85, 0.1  # half a side, radius of the corners
_TRIANGLE, _TRIANGLE_ROUND = 1.28, 0.08  # radius of the circle through the sharp corners
_STAR, _STAR_INNER, _STAR_ROUND = 1.2, 0.52, 0.05
_ARM, _ARM_HALF, _ARM_ROUND = 1.08, 0.36, 0.06  # half the length and half the width of a bar
_SIN36, _COS36 = 0.5877852523, 0.8090169944
_SQRT3 = 1.7320508076


def _length(x: Tensor, y: Tensor) -> Tensor:
    return (x * x + y * y).sqrt_()


def _circle(x: Tensor, y: Tensor) -> Tensor:
    return _length(x, y) - 1


def _ring(x: Tensor, y: Tensor) -> Tensor:
    half = (1 - RING_INNER) / 2
    return (_length(x, y) - (1 - half)).abs_() - half


def _square(x: Tensor, y: Tensor) -> Tensor:
    side = _SQUARE - _SQUARE_ROUND
    x, y = x.abs() - side, y.abs() - side
    inside = torch.maximum(x, y).clamp_(max=0)
    return _length(x.clamp_(min=0), y.clamp_(min=0)) + inside - _SQUARE_ROUND


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    half = _TRIANGLE * _SQRT3 / 2  # half a side
    x, y = x.abs() - half, half / _SQRT3 - y
    outside = x + _SQRT3 * y > 0
    x, y = (
        torch.where(outside, (x - _SQRT3 * y) / 2, x),
        torch.where(outside, (-_SQRT3 * x - y) / 2, y),
    )
    x = x - x.clamp(-2 * half, 0)
    return -_length(x, y) * y.sign() - _TRIANGLE_ROUND


def _star(x: Tensor, y: Tensor) -> Tensor:
    x, y = x.abs(), -y
    for side in (1, -1):  # fold the five points onto one
        across = 2 * (side * _COS36 * x - _SIN36 * y).clamp_(min=0)
        x, y = x - across * (side * _COS36), y + across * _SIN36
    x, y = x.abs(), y - _STAR
    edge_x, edge_y = _STAR_INNER * _SIN36, _STAR_INNER * _COS36 - 1
    along = (x * edge_x + y * edge_y) / (edge_x**2 + edge_y**2)
    along = along.clamp_(0, _STAR)
    side_of = (y * edge_x - x * edge_y).sign_()
    return _length(x - edge_x * along, y - edge_y * along) * side_of - _STAR_ROUND


def _cross(x: Tensor, y: Tensor) -> Tensor:
    arm, half = _ARM - _ARM_ROUND, _ARM_HALF - _ARM_ROUND
    x, y = x.abs(), y.abs()
    x, y = torch.maximum(x, y), torch.minimum(x, y)
    over = torch.maximum(x - arm, y - half)
    out = over > 0
    dx = torch.where(out, x - arm, half - x).clamp_(min=0)
    dy = torch.where(out, y - half, -over).clamp_(min=0)
    return _length(dx, dy) * over.sign() - _ARM_ROUND


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
    "cross": _cross,
}
SHAPES = tuple(DISTANCES)

# radius of the smallest circle around the centre that holds the shape
REACH = {
    "circle": 1.0,
    "square": (_SQUARE - _SQUARE_ROUND) * math.sqrt(2) + _SQUARE_ROUND,
    "triangle": _TRIANGLE + _TRIANGLE_ROUND,
    "star": _STAR + _STAR_ROUND,
    "ring": 1.0,
    "cross": math.sqrt((_ARM - _ARM_ROUND) ** 2 + (_ARM_HALF - _ARM_ROUND) ** 2) + _ARM_ROUND,
}

# radius of the circle that covers about as much (of the ring: its hole included)
CORE = {
    "circle": 1.0,
    "square": 0.955,
    "triangle": 0.925,
    "star": 0.91,
    "ring": 1.0,
    "cross": 0.91,
}
