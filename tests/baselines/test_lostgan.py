"""LostGAN: masks in boxes, ISLA-norm, heads for objects."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from steps import Losses
from torch import Tensor

from baselines._nn.masks import paste
from baselines.layout.lostgan import ISLANorm, LostGAN
from genbench.api import Config, DataSpec, Layout, Noise
from genbench.stepper import Stepper

BOXES = torch.tensor(
    [
        [[0.1, 0.1, 0.6, 0.5], [0.5, 0.4, 0.9, 0.95], [0.0, 0.0, 0.0, 0.0]],
        [[0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.3, 0.3], [0.6, 0.1, 0.9, 0.4]],
    ]
)
CLASSES = torch.tensor([[0, 2, -1], [1, 3, 0]])
LAYOUT = Layout(BOXES, CLASSES)


def make(size: int = 16, channels: int = 3, kinds: int = 4, **config: Any) -> LostGAN:
    torch.manual_seed(0)
    small = {"ngf": 4, "ndf": 4, "nz": 6, "ny": 5} | config
    data = DataSpec("any", channels, size, kinds=kinds, objects=3)
    return LostGAN(LostGAN.Config(**small), data)


def draws(m: LostGAN, n: int = 2) -> tuple[Tensor, Tensor]:
    return m.styles(Noise(0, range(n)))


# --- masks ---------------------------------------------------------------------------------------


def test_a_mask_is_zero_outside_its_box_and_only_there() -> None:
    size = 40
    centre = (torch.arange(size) + 0.5) / size
    put = paste(torch.ones(2, 3, 16, 16), BOXES, size)
    assert put.shape == (2, 3, size, size)
    for b in range(2):
        for k in range(3):
            x0, y0, x1, y1 = BOXES[b, k]
            across, down = (centre >= x0) & (centre <= x1), (centre >= y0) & (centre <= y1)
            inside = down[:, None] & across[None, :]
            assert not put[b, k][~inside].any()
            torch.testing.assert_close(put[b, k], inside.float())


def test_a_box_that_is_the_image_leaves_a_mask_as_it_is() -> None:
    mask = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    put = paste(mask, torch.tensor([[[0.0, 0, 1, 1]] * 2]), 16)
    torch.testing.assert_close(put, mask)  # and x stays x, y stays y


def test_a_mask_is_moved_and_halved_with_its_box() -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 8:, :] = 1  # the lower half
    put = paste(mask, torch.tensor([[[0.5, 0.0, 1.0, 0.5]]]), 16)[0, 0]
    expected = torch.zeros(16, 16)
    expected[4:8, 8:] = 1  # of the upper right quarter
    torch.testing.assert_close(put, expected)


def test_a_mask_is_sampled_bilinearly_up_to_its_edge() -> None:
    mask = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    centre = (torch.arange(40) + 0.5) / 40
    for b in range(2):
        for k in range(3):
            x0, y0, x1, y1 = BOXES[b, k]
            x, y = ((centre - a) / (c - a) for a, c in ((x0, x1), (y0, y1)))
            grid = torch.stack(torch.meshgrid(2 * x - 1, 2 * y - 1, indexing="xy"), 2)[None]
            expected = F.grid_sample(
                mask[b : b + 1, k : k + 1], grid, padding_mode="border", align_corners=False
            )[0, 0]
            put = paste(mask, BOXES, 40)[b, k]
            inside = paste(torch.ones_like(mask), BOXES, 40)[b, k] > 0
            torch.testing.assert_close(put[inside], expected[inside])


def test_an_unused_object_has_no_mask_whatever_its_box() -> None:
    m = make()
    boxes = torch.tensor([[[0.0, 0, 1, 1]] * 3])
    masks = m.G.masks(torch.zeros(1, 3, 11), boxes, torch.tensor([[0, -1, 3]]))
    assert masks.shape == (1, 3, 16, 16)
    assert masks.amax((2, 3))[0].gt(0).tolist() == [True, False, True]
    assert masks.max() < 1


# --- ISLA-norm -----------------------------------------------------------------------------------


def affine_of(norm: ISLANorm, masks: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """gamma and beta (C, H, W) of one image, read off two constant inputs."""
    norm = norm.eval()
    zero, one = (torch.full((1, 2, *masks.shape[2:]), v) for v in (0.0, 1.0))
    scale = math.sqrt(1 + norm.norm.eps)
    beta = norm(zero, masks, w)[0]
    return (norm(one, masks, w)[0] - beta) * scale, beta


def isla(coverage: bool = True) -> ISLANorm:
    torch.manual_seed(0)
    return ISLANorm(2, 5, coverage)


W = torch.linspace(-1, 1, 15).view(1, 3, 5)
EMPTY = torch.zeros(1, 3, 4, 4)


@pytest.mark.parametrize("coverage", [True, False])
def test_where_there_is_no_object_gamma_is_1_and_beta_is_0(coverage: bool) -> None:
    masks = EMPTY.clone()
    masks[0, 1, :2] = 1
    gamma, beta = affine_of(isla(coverage), masks, W)
    torch.testing.assert_close(gamma[:, 2:], torch.ones(2, 2, 4))
    assert not beta[:, 2:].any()
    assert (gamma[:, :2] - 1).abs().min() > 1e-3
    assert beta[:, :2].abs().min() > 1e-3


@pytest.mark.parametrize("coverage", [True, False])
@pytest.mark.parametrize("mask", [1.0, 0.4])
def test_two_identical_objects_in_one_place_count_as_one(coverage: bool, mask: float) -> None:
    w = W[:, :1].expand(1, 3, 5)
    one, two = EMPTY.clone(), EMPTY.clone()
    one[:, :1], two[:, :2] = mask, mask
    norm = isla(coverage)
    torch.testing.assert_close(affine_of(norm, one, w), affine_of(norm, two, w))


@pytest.mark.parametrize("coverage", [True, False])
def test_gamma_is_linear_in_w_and_shared_where_objects_meet(coverage: bool) -> None:
    norm = isla(coverage)
    masks = EMPTY.clone()
    masks[0, 0], masks[0, 2] = 0.75, 0.25
    gamma, beta = affine_of(norm, masks, W)
    mixed = norm.affine(0.75 * W[0, 0] + 0.25 * W[0, 2]) * (0.75 if coverage else 1)
    torch.testing.assert_close(
        gamma, 1 + mixed[:2, None, None].expand(2, 4, 4), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(beta, mixed[2:, None, None].expand(2, 4, 4), rtol=1e-4, atol=1e-5)


def test_only_coverage_gives_a_lone_soft_mask_its_shape() -> None:
    soft, hard = EMPTY.clone(), EMPTY.clone()
    soft[0, 0], hard[0, 0] = 0.2, 1.0
    covered, paper = isla(), isla(coverage=False)
    torch.testing.assert_close(
        affine_of(paper, soft, W), affine_of(paper, hard, W), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(
        affine_of(covered, soft, W)[1], 0.2 * affine_of(covered, hard, W)[1], rtol=1e-4, atol=1e-6
    )


# --- the generator -------------------------------------------------------------------------------


def test_permuting_objects_leaves_the_image_as_it_is_if_their_styles_move_along() -> None:
    m = make().eval()
    z_im, z = draws(m)
    turn = torch.tensor([2, 0, 1])
    x = m.G(z_im, z, BOXES, CLASSES)
    torch.testing.assert_close(m.G(z_im, z[:, turn], BOXES[:, turn], CLASSES[:, turn]), x)
    assert not torch.allclose(m.G(z_im, z[:, turn], BOXES, CLASSES), x, atol=1e-4)


def test_an_unused_object_says_nothing() -> None:
    m = make().eval()
    z_im, z = draws(m)
    boxes, styles = BOXES.clone(), z.clone()
    boxes[0, 2], styles[0, 2] = torch.tensor([0.2, 0.2, 0.8, 0.8]), 3.0
    x = m.G(z_im, z, BOXES, CLASSES)
    assert torch.equal(m.G(z_im, styles, boxes, CLASSES), x)


@pytest.mark.parametrize("what", ["boxes", "classes", "z", "z_im"])
def test_everything_that_is_given_changes_the_image(what: str) -> None:
    m = make().eval()
    z_im, z = draws(m)
    given = {"z_im": z_im, "z": z, "boxes": BOXES, "classes": CLASSES}
    changed = {
        "boxes": BOXES.flip(1),
        "classes": torch.tensor([[3, 1, -1], [0, 0, 3]]),
        "z": z + 1,
        "z_im": z_im + 1,
    }
    x, y = m.G(**given), m.G(**(given | {what: changed[what]}))
    assert (x - y).abs().amax((1, 2, 3)).min() > 1e-3


def test_restyling_an_object_changes_the_image_near_its_box() -> None:
    m = make(32).eval()
    z_im, z = draws(m)
    styles = z.clone()
    styles[1, 1] += 3
    changed = (m.G(z_im, styles, BOXES, CLASSES) - m.G(z_im, z, BOXES, CLASSES))[1].abs().mean(0)
    box, far = changed[:10, :10], changed[24:, 24:]  # the box is the upper left 0.3
    assert box.mean() > 5 * far.mean()


@pytest.mark.parametrize("size", [8, 16, 32])
def test_sizes(size: int) -> None:
    m = make(size, 1).eval()
    x = m.sample(LAYOUT, Noise(0, range(2)))
    assert x.shape == (2, 1, size, size)
    image, objects = m.D(x, BOXES, CLASSES)
    assert image.shape == (2,)
    assert objects.shape == (5,)


def test_data_without_boxes_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="needs boxes with classes, and 'any' has none"):
        make(kinds=0)


# --- the discriminator and the losses ------------------------------------------------------------


def test_the_layout_is_not_changed() -> None:
    m = make().train()
    layout = Layout(BOXES.clone(), CLASSES.clone())
    x = torch.zeros(2, 3, 16, 16)
    m.step(x, layout, Noise(0, range(2)), Losses())
    m.D(x, layout.boxes, layout.classes)
    assert torch.equal(layout.boxes, BOXES)
    assert torch.equal(layout.classes, CLASSES)


def test_an_objects_logit_reads_its_own_box_of_its_own_image() -> None:
    m = make(32).eval()
    boxes = torch.tensor([[[0.0, 0.0, 0.25, 0.25], [0.7, 0.7, 1.0, 1.0], [0, 0, 0, 0]]]).repeat(
        2, 1, 1
    )
    classes = torch.tensor([[0, 1, -1]] * 2)
    x = torch.zeros(2, 3, 32, 32)
    y = x.clone()
    y[1, :, 24:, 24:] = 1  # the second object of the second image
    before, after = m.D(x, boxes, classes)[1], m.D(y, boxes, classes)[1]
    assert (before != after).tolist() == [False, False, False, True]


def test_the_object_head_projects_on_the_class() -> None:
    m = make().eval()
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    one, other = m.D(x, BOXES, CLASSES)[1], m.D(x, BOXES, CLASSES.clamp(max=1))[1]
    assert (one != other).tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("weights", [(0.1, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_losses_at_zero_logits(weights: tuple[float, float]) -> None:
    m = make(image_weight=weights[0], object_weight=weights[1])
    m.D.register_forward_hook(lambda module, args, out: tuple(0 * s for s in out))
    update = Losses()
    m.step(torch.zeros(2, 3, 16, 16), LAYOUT, Noise(0, range(2)), update)
    assert update.seen["d"] == pytest.approx(2 * sum(weights), abs=1e-5)
    assert update.seen["g"] == pytest.approx(0, abs=1e-5)


def test_losses_are_hinges_with_their_weights() -> None:
    m = make(image_weight=0.25, object_weight=2.0)
    seen: list[list[Tensor]] = []
    m.D.register_forward_hook(lambda module, args, out: seen.append([s.detach() for s in out]))
    update = Losses()
    m.step(torch.zeros(2, 3, 16, 16), LAYOUT, Noise(0, range(2)), update)
    real, fake, last = seen
    d = [(1 - r).relu().mean() + (1 + f).relu().mean() for r, f in zip(real, fake, strict=True)]
    assert update.seen["d"] == pytest.approx(float(0.25 * d[0] + 2 * d[1]), rel=1e-5)
    assert update.seen["g"] == pytest.approx(float(-0.25 * last[0].mean() - 2 * last[1].mean()))


@pytest.mark.parametrize("classes", [CLASSES, torch.full((2, 3), -1)], ids=["objects", "empty"])
def test_a_step_reaches_every_parameter_that_has_work(classes: Tensor) -> None:
    m = make().train()
    before = {k: p.detach().clone() for k, p in m.named_parameters()}
    m.step(
        torch.ones(2, 3, 16, 16), Layout(BOXES, classes), Noise(0, range(2)), Stepper(m, Config())
    )
    idle = () if (classes >= 0).any() else ("D.object", "D.l", "D.v", "G.mask", "G.emb", "affine")
    for key, p in m.named_parameters():
        assert p.isfinite().all(), key
        if not any(part in key for part in idle):
            assert not torch.equal(before[key], p), key


@pytest.mark.parametrize(("moved", "frozen"), [("d", "G"), ("g", "D")])
def test_an_update_moves_its_own_network_only(moved: str, frozen: str) -> None:
    m = make().train()
    stepper = Stepper(m, Config())

    class One:
        progress = 0.0

        def __call__(self, name: str, loss: Tensor) -> None:
            if name == moved:
                stepper(name, loss)

    before = {k: p.detach().clone() for k, p in m.named_parameters()}
    m.step(torch.ones(2, 3, 16, 16), LAYOUT, Noise(0, range(2)), One())
    for key, p in m.named_parameters():
        assert torch.equal(before[key], p) == key.startswith(frozen), key
