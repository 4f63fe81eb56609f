"""Counts floating-point operations by rules that no backend and no version of torch changes.

Matrix products and convolutions are counted by torch's `FlopCounterMode`: two operations for each
multiply-add, forward and backward. Attention is counted by the mathematics, not by the kernel. For
queries of shape (B, H, L, E), keys (B, H_k, S, E) and values (B, H_k, S, E_v),

    forward    Q K^T and P V                          2 B H L S (E + E_v)
    backward   dV = P^T dO, dP = dO V^T,
               dQ = dS K, dK = dS^T Q                 twice as many

A kernel that computes Q K^T again in its backward pass does more work and learns nothing more, so
that is not counted; neither is what a causal mask lets a kernel leave out. Left to itself,
`FlopCounterMode` counts zero, four or five products in the backward pass, depending on the kernel
that `scaled_dot_product_attention` picks and on the version of torch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["attention_flops", "flop_counter"]

# The kernels behind `scaled_dot_product_attention`, on all devices and in all versions of torch.
# `_scaled_dot_product_attention_math` is not here: it decomposes into matrix products.
_FORWARD = (
    "_scaled_dot_product_attention_math_for_mps",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_fused_attention_overrideable",
)
_BACKWARD = tuple(f"{name}_backward" for name in _FORWARD)

Shape = torch.Size | tuple[int, ...]


def attention_flops(query: Shape, key: Shape, value: Shape) -> int:
    """Operations of softmax(Q K^T) V: 2 B H L S (E + E_v).

    Args:
        query: (..., H, L, E).
        key: (..., H_k, S, E); H_k divides H where heads of queries share keys.
        value: (..., H_k, S, E_v).
    """
    rows = torch.Size(query[:-1]).numel()  # B H L
    return 2 * rows * key[-2] * (query[-1] + value[-1])


def flop_counter() -> FlopCounterMode:
    """A context that counts what runs inside it; read `get_total_flops()` afterwards."""
    rules: dict[str, Callable[..., int]] = {
        **dict.fromkeys(_FORWARD, _forward),
        **dict.fromkeys(_BACKWARD, _backward),
        "_native_multi_head_attention": _multi_head,
        "_transformer_encoder_layer_fwd": _encoder_layer,
    }
    # a version of torch has some of these; asking for another raises AttributeError
    known = {
        getattr(torch.ops.aten, name): _places(rule)
        for name, rule in rules.items()
        if hasattr(torch.ops.aten, name)
    }
    return FlopCounterMode(display=False, custom_mapping=known)


def _places(rule: Callable[..., int]) -> Callable[..., int]:
    """The rule for an operator's arguments by place: keywords differ between versions of torch."""
    return lambda *arguments, **_: rule(*arguments)


# Each rule gets the shapes of the tensors among the operator's arguments, others as they are.


def _forward(query: Shape, key: Shape, value: Shape, *rest: Any) -> int:
    return attention_flops(query, key, value)


def _backward(out: Shape, query: Shape, key: Shape, value: Shape, *rest: Any) -> int:
    return 2 * attention_flops(query, key, value)


def _multi_head(query: Shape, key: Shape, value: Shape, width: int, *rest: Any) -> int:
    """The fused inference path of `nn.MultiheadAttention`: four projections and attention."""
    batch, length, _ = query
    projections = 2 * batch * (2 * length + 2 * key[1]) * width * width
    return projections + attention_flops((batch, length, width), key, value)


def _encoder_layer(source: Shape, width: int, *rest: Any) -> int:
    """The fused inference path of `nn.TransformerEncoderLayer`: the same and two linear layers."""
    hidden: int = rest[_HIDDEN_WEIGHT][0]
    rows = torch.Size(source[:-1]).numel()
    return _multi_head(source, source, source, width) + 2 * 2 * rows * width * hidden


_HIDDEN_WEIGHT = 12  # place of the first linear layer's weight (hidden, width) after `width`
