"""What adversarial families share: losses on logits, and the initial weights.

D answers with logits s of any shape, one for each image or each patch. The loss of every logit is
taken before the mean, so the patches of a PatchGAN are averaged after the nonlinearity.

| kind            | D on real      | D on fake    | G               | reference          |
|-----------------|----------------|--------------|-----------------|--------------------|
| `vanilla`       | softplus(-s)   | softplus(s)  | softplus(-s)    | arXiv 1406.2661    |
| `least_squares` | (s - 1)^2      | s^2          | (s - 1)^2       | arXiv 1611.04076   |
| `hinge`         | max(0, 1 - s)  | max(0, 1 + s)| -s              | arXiv 1705.02894   |

`vanilla` is cross-entropy on sigmoid(s), with the generator's non-saturating loss.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Kind", "d_loss", "g_loss", "init_normal", "is_fake", "is_real"]

Kind = Literal["vanilla", "least_squares", "hinge"]


def is_real(s: Tensor, kind: Kind = "vanilla") -> Tensor:
    """What D pays where it should say "real": logits of any shape to a scalar, the mean."""
    if kind == "vanilla":
        return F.softplus(-s).mean()
    if kind == "least_squares":
        return (s - 1).square().mean()
    return F.relu(1 - s).mean()


def is_fake(s: Tensor, kind: Kind = "vanilla") -> Tensor:
    """What D pays where it should say "fake": logits of any shape to a scalar, the mean."""
    if kind == "vanilla":
        return F.softplus(s).mean()
    if kind == "least_squares":
        return s.square().mean()
    return F.relu(1 + s).mean()


def d_loss(real: Tensor, fake: Tensor, kind: Kind = "vanilla") -> Tensor:
    """The discriminator's loss: `is_real(real) + is_fake(fake)`, not halved."""
    return is_real(real, kind) + is_fake(fake, kind)


def g_loss(fake: Tensor, kind: Kind = "vanilla") -> Tensor:
    """The generator's loss on D's logits of its images: D should say "real"."""
    return -fake.mean() if kind == "hinge" else is_real(fake, kind)


def init_normal(module: nn.Module) -> None:
    """Weights from N(0, 0.02), those of normalisations from N(1, 0.02), biases 0: for `apply`.

    As DCGAN and pix2pix have it. Embeddings are left alone.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        mean = 0.0
    elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
        mean = 1.0
    else:
        return
    if module.weight is not None:  # normalisations without `affine` have neither
        nn.init.normal_(module.weight, mean, 0.02)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
