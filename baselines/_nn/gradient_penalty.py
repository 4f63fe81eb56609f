"""Penalties on the slope of a discriminator, whose gradients are gradients of gradients.

D gives one logit s for each image; its slope at x is the gradient of s with respect to x.

    WGAN-GP   E (||grad s(x_hat)|| - 1)^2,  x_hat = u x + (1 - u) G(z),  u ~ U(0, 1)
    R1        1/2 E ||grad s(x)||^2, on real images

WGAN-GP (Gulrajani et al., arXiv 1704.00028) asks for a slope of 1 between the data and the
samples. R1 (Mescheder, Geiger, Nowozin, arXiv 1801.04406) asks for a flat D on the data. The norm
is over all pixels of one image, and the caller multiplies by lambda (10) or gamma.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["r1", "slope", "tracked", "wgan_gp"]


def tracked(x: Tensor) -> Tensor:
    """The same images, with respect to which a slope can be taken."""
    # a view: the FLOP counter's hooks refuse a leaf of the graph
    return x.detach().requires_grad_().view_as(x)


def slope(s: Tensor, x: Tensor) -> Tensor:
    """The gradient of every logit with respect to its image, which can be differentiated again.

    Args:
        s: Logits (B,), computed from x.
        x: The images (B, C, H, W), `tracked`.

    Returns:
        (B, C * H * W), float32.
    """
    # of the sum: logit i depends on image i (with batch statistics, on its group)
    (gradient,) = torch.autograd.grad(s.float().sum(), x, create_graph=True)
    return gradient.flatten(1).float()


def wgan_gp(D: Callable[[Tensor], Tensor], x: Tensor, fake: Tensor, u: Tensor) -> Tensor:
    """E (||slope|| - 1)^2 on the lines between images and samples, a scalar.

    Args:
        D: The critic, images (B, C, H, W) to scores (B,).
        x: Real images (B, C, H, W).
        fake: As many samples.
        u: Where between them, (B, 1, 1, 1) in [0, 1): 1 is at the real image.
    """
    x_hat = tracked(torch.lerp(fake.detach().to(x.dtype), x.detach(), u))
    length: Tensor = slope(D(x_hat), x_hat).norm(dim=1)
    return (length - 1).square().mean()


def r1(s: Tensor, x: Tensor) -> Tensor:
    """Half the mean squared slope, a scalar.

    Args:
        s: Logits (B,) of the real images.
        x: These images (B, C, H, W), `tracked`.
    """
    return slope(s, x).square().sum(1).mean() / 2
