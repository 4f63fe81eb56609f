"""LostGAN: layout to image with a style for every object (Sun, Wu, arXiv 1908.07500, 2003.11571).

Object i has a class y_i, a box and a style z_i ~ N(0, I); w_i = [z_i, e(y_i)]. G draws

1. a mask m_i = sigmoid(net(w_i)) of 16x16, put into the box by bilinear sampling, 0 outside: M_i;
2. an image from z_im ~ N(0, I), whose layers are told what is where by ISLA-norm, a batch
   normalisation with an affine part for every pixel, gamma_i and beta_i linear in w_i:

    gamma(p) = 1 + c(p) sum_i M_i(p) gamma_i / (sum_i M_i(p) + 1e-6),   c = max_i M_i,

   and beta alike without the 1. Where there is no object gamma = 1 and beta = 0, and objects on
   top of each other share the pixel.

In the paper c = 1 (`coverage=False`). Then a pixel that one object alone covers has 1 + gamma_i
however small M_i is: there the mask has a shape only where it falls to 1e-6. With c it has one.

D has a head for the image and one for each object, which reads the features in the box (RoIAlign,
8x8) and projects them on the class: D_obj = l(f) + <v(y), f>. Both losses are hinge losses,

    h(s, s') = max(0, 1 - s) + max(0, 1 + s'),
    L_D = 0.1 h(D_im(x), D_im(G)) + 1.0 h(D_obj(x), D_obj(G)),   L_G = -0.1 D_im(G) - 1.0 D_obj(G),

means over images and over objects. D has spectral norm, and all weights start orthogonal.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torchvision.ops import roi_align

from baselines._nn.blocks import halvings
from baselines._nn.gan import d_loss, g_loss
from baselines._nn.gan_blocks import orthogonal, spectral
from baselines._nn.masks import MASK, MaskNet, paste
from genbench import api

ROI = 8  # side of the features of an object


class LostGAN(api.Baseline[api.Layout]):
    """Layout to image with a style for every object."""

    cond = api.Layout
    kind = "gan"
    counted = ("G",)
    sampled = ("g",)
    defining = ("coverage",)

    class Config(api.Config):
        """Settings.

        Attributes:
            nz: Dimensions of each object's style, and of the image's.
            ny: Dimensions of the classes' embedding.
            ngf: Channels of G before its output; they double at every halving, up to 4 times.
            ndf: Channels of D's first block; they double at every halving, up to 4 times.
            coverage: Whether soft masks weaken gamma and beta; False is the paper's norm.
            image_weight: Weight of the image's loss.
            object_weight: Weight of the objects' loss.
            lr: Adam's learning rate, of both networks.
            beta1: Adam's momentum, of both networks.
        """

        batch: int = Field(16, ge=1)
        ema: float | None = Field(5_000.0, gt=0)
        nz: int = Field(16, ge=1)
        ny: int = Field(16, ge=1)
        ngf: int = Field(16, ge=1)
        ndf: int = Field(16, ge=1)
        coverage: bool = True
        image_weight: float = Field(0.1, ge=0)
        object_weight: float = Field(1.0, ge=0)
        lr: float = Field(1e-3, gt=0)
        beta1: float = Field(0.0, ge=0, lt=1)

    # Version 1 on COCO-Stuff at 64 pixels, 200 epochs. We lack layers of more than 4 ngf channels,
    # and features of large objects out of a deeper block.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "batch": 128,
            "ema": None,
            "nz": 128,
            "ny": 128,
            "ngf": 64,
            "ndf": 64,
            "coverage": False,
            "image_weight": 0.1,
            "object_weight": 1.0,
            "lr": 1e-4,
            "beta1": 0.0,
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        if not data.kinds:
            raise ValueError(f"LostGAN needs boxes with classes, and {data.name!r} has none")
        self.config, self.objects = config, data.objects
        self.G = Generator(config, data)
        self.D = Discriminator(config, data)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each network."""
        lr, betas = self.config.lr, (self.config.beta1, 0.999)
        return {
            "d": Adam(self.D.parameters(), lr=lr, betas=betas),
            "g": Adam(self.G.parameters(), lr=lr, betas=betas),
        }

    def step(
        self, x: Tensor, cond: api.Layout, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L_D, then L_G with fresh styles, both on the layouts of the batch."""
        loss_d = self.d_loss(x, cond, noise)
        update("d", loss_d)
        loss_g = self.g_loss(cond, noise)
        update("g", loss_g)
        return {"loss_d": loss_d, "loss_g": loss_g}

    def d_loss(self, x: Tensor, cond: api.Layout, noise: api.Noise) -> Tensor:
        """Real images and their objects against fakes of the same layouts."""
        with torch.no_grad():
            fake = self.G(*self.styles(noise), cond.boxes, cond.classes)
        real_im, real_obj = self.D(x, cond.boxes, cond.classes)
        fake_im, fake_obj = self.D(fake, cond.boxes, cond.classes)
        image = d_loss(real_im, fake_im, "hinge")
        # without any object in the batch the mean is 0 / 0, the sum is 0 and has a gradient
        objects = d_loss(real_obj, fake_obj, "hinge") if len(real_obj) else real_obj.sum()
        return self.config.image_weight * image + self.config.object_weight * objects

    def g_loss(self, cond: api.Layout, noise: api.Noise) -> Tensor:
        """Fakes and their objects should look real."""
        fake = self.G(*self.styles(noise), cond.boxes, cond.classes)
        image, objects = self.D(fake, cond.boxes, cond.classes)
        objects = g_loss(objects, "hinge") if len(objects) else objects.sum()
        return self.config.image_weight * g_loss(image, "hinge") + (
            self.config.object_weight * objects
        )

    def sample(self, cond: api.Layout, noise: api.Noise, **options: Any) -> Tensor:
        """G(z_im, z, layout)."""
        self.Options(**options)
        x: Tensor = self.G(*self.styles(noise), cond.boxes, cond.classes)
        return x.float()  # bfloat16 under autocast

    def styles(self, noise: api.Noise) -> tuple[Tensor, Tensor]:
        """z_im (B, nz) of the image and z (B, K, nz) of its objects."""
        return noise.normal(self.config.nz), noise.normal(self.objects, self.config.nz)


class ISLANorm(nn.Module):
    """Batch normalisation with an affine part of its own for every pixel; see the module."""

    def __init__(self, channels: int, d: int, coverage: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.affine = nn.Linear(d, 2 * channels)
        self.coverage = coverage

    def forward(self, h: Tensor, masks: Tensor, w: Tensor) -> Tensor:
        """h (B, C, H, W), masks (B, K, H, W) and w (B, K, d) to (B, C, H, W)."""
        share = masks / (masks.sum(dim=1, keepdim=True) + 1e-6)
        if self.coverage:
            share = share * masks.amax(dim=1, keepdim=True)
        affine = self.affine(w).transpose(1, 2) @ share.flatten(2)  # (B, 2 C, H W)
        gamma, beta = affine.reshape(len(h), -1, *h.shape[2:]).chunk(2, dim=1)
        out: Tensor = (1 + gamma) * self.norm(h) + beta
        return out


class UpBlock(nn.Module):
    """ISLA - ReLU - double the side - conv3 - ISLA - ReLU - conv3, + skip."""

    def __init__(self, c_in: int, c_out: int, d: int, coverage: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = ISLANorm(c_in, d, coverage), ISLANorm(c_out, d, coverage)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip = nn.Conv2d(c_in, c_out, 1)

    def forward(self, h: Tensor, masks: Tensor, w: Tensor) -> Tensor:
        """As `ISLANorm`, at twice the side."""
        side = h.shape[2]
        small, large = (F.adaptive_avg_pool2d(masks, s) for s in (side, 2 * side))
        r = F.interpolate(F.relu(self.norm1(h, small, w)), scale_factor=2.0)
        r = self.conv2(F.relu(self.norm2(self.conv1(r), large, w)))
        out: Tensor = r + F.interpolate(self.skip(h), scale_factor=2.0)
        return out


class Generator(nn.Module):
    """z_im (B, nz), z (B, K, nz) and a layout to images (B, C, H, W) in [-1, 1]."""

    def __init__(self, config: LostGAN.Config, data: api.DataSpec) -> None:
        super().__init__()
        base, ups = halvings(data.size)
        widths = [config.ngf * min(2**k, 4) for k in reversed(range(ups + 1))]
        d = config.nz + config.ny
        self.size = data.size
        self.embedding = nn.Embedding(data.kinds, config.ny)
        self.mask = MaskNet(d)
        self.input = nn.Sequential(
            nn.Linear(config.nz, widths[0] * base**2), nn.Unflatten(1, (widths[0], base, base))
        )
        self.blocks = nn.ModuleList(UpBlock(a, b, d, config.coverage) for a, b in pairwise(widths))
        self.output = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
            nn.Conv2d(widths[-1], data.channels, 3, padding=1),
            nn.Tanh(),
        )
        self.apply(orthogonal)

    def forward(self, z_im: Tensor, z: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        """Styles (B, nz) and (B, K, nz), boxes (B, K, 4), classes (B, K), -1 where unused."""
        w = torch.cat((z, self.embedding(classes.clamp(min=0))), dim=2)
        masks = self.masks(w, boxes, classes)
        h = self.input(z_im).contiguous(memory_format=torch.channels_last)  # 1.4 times as fast
        for block in self.blocks:
            h = block(h, masks, w)
        x: Tensor = self.output(h)
        return x

    def masks(self, w: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        """M (B, K, H, W) in [0, 1]; 0 outside the box, and everywhere for an unused object."""
        m = self.mask(w.flatten(0, 1)).float().reshape(*classes.shape, MASK, MASK)
        return paste(m, boxes, self.size) * (classes >= 0)[:, :, None, None]


class DownBlock(nn.Module):
    """(ReLU -) conv3 - ReLU - conv3 - halve the side, + skip; spectral norm."""

    def __init__(self, c_in: int, c_out: int, first: bool = False) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(c_in, c_out, 3), conv(c_out, c_out, 3)
        self.skip, self.first = conv(c_in, c_out, 1), first

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H / 2, W / 2)."""
        h = self.conv1(x if self.first else F.relu(x))
        out: Tensor = F.avg_pool2d(self.conv2(F.relu(h)), 2) + self.skip(F.avg_pool2d(x, 2))
        return out


class Discriminator(nn.Module):
    """Images (B, C, H, W) and a layout to logits of images (B,) and of all used objects (n,)."""

    def __init__(self, config: LostGAN.Config, data: api.DataSpec) -> None:
        super().__init__()
        _, downs = halvings(data.size)
        widths = [data.channels, *(config.ndf * min(2**k, 4) for k in range(downs))]
        pairs = list(pairwise(widths))
        self.stem = DownBlock(*pairs[0], first=True)  # objects are read at half the image's side
        self.rest = nn.Sequential(*(DownBlock(a, b) for a, b in pairs[1:]))
        # no biases: real and fake pull them to opposite sides, which cancels inside the margin
        self.image = spectral(nn.Linear(widths[-1], 1, bias=False))
        c = 2 * config.ndf
        self.object = DownBlock(config.ndf, c)
        self.l = spectral(nn.Linear(c, 1, bias=False))
        self.v = spectral(nn.Embedding(data.kinds, c))

    def forward(self, x: Tensor, boxes: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B,) of the images, and (n,) of the n objects in use, image by image."""
        h = self.stem(x.contiguous(memory_format=torch.channels_last))
        image = self.image(F.relu(self.rest(h)).sum(dim=(2, 3)))[:, 0]
        row, k = (classes >= 0).nonzero(as_tuple=True)
        rois = torch.cat((row[:, None], boxes[row, k] * h.shape[2]), dim=1)
        f = roi_align(h.float(), rois.float(), ROI, sampling_ratio=2, aligned=True)
        f = F.relu(self.object(f)).sum(dim=(2, 3))
        return image, self.l(f)[:, 0] + (self.v(classes[row, k]) * f).sum(dim=1)


def conv(c_in: int, c_out: int, kernel: int) -> nn.Module:
    """A convolution that keeps the side, with spectral norm."""
    return spectral(nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2))
