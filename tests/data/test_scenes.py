"""Scenes: what is drawn at random, and how it becomes pixels."""

import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare

from genbench.data.dataset import content_hash
from genbench.data.scenes import COLOURS, GROUNDS, SHAPES, STYLES, Scenes
from genbench.data.scenes.annotations import masks
from genbench.data.scenes.render import coverage, measure, pattern
from genbench.data.scenes.scene import Scene, draw
from genbench.data.scenes.shapes import DISTANCES, REACH
from genbench.data.scenes.styles import paint
from genbench.spec import ConfigError

MANY = torch.arange(60_000)


@pytest.fixture(scope="module")
def many() -> Scene:
    return draw("train", MANY)


def single(shape: str, x=0.5, y=0.5, radius=0.3, degrees=0.0) -> Scene:
    """One object on a ground; everything else as in some scene."""
    turn = math.radians(degrees)

    def first(value):
        return torch.tensor([[value, -1, -1]])

    return replace(
        draw("train", torch.arange(1)),
        count=torch.tensor([1]),
        shape=first(SHAPES.index(shape)),
        x=first(x),
        y=first(y),
        radius=first(radius),
        tilt=torch.tensor([[[math.cos(turn), math.sin(turn)]] * 3]),
    )


# --- shapes --------------------------------------------------------------------------------------


def star_area() -> float:
    """Ten triangles, and what a rim of 0.05 adds: edges, sectors at points, less at notches."""
    outer, inner, rim = 1.2, 1.2 * 0.52, 0.05
    sharp = 5 * outer * inner * math.sin(math.pi / 5)
    edge = math.sqrt(outer**2 + inner**2 - 2 * outer * inner * math.cos(math.pi / 5))
    half_point = math.asin(inner * math.sin(math.pi / 5) / edge)
    notch = math.pi * 3 / 5 - 2 * half_point  # what a path turns by there, to the other side
    point = math.pi - 2 * half_point
    corners = 5 * rim**2 * (point / 2 - math.tan(notch / 2))
    return sharp + 10 * edge * rim + corners


AREAS = {
    "circle": math.pi,
    "ring": math.pi * (1 - 0.44**2),
    "square": 1.7**2 - (4 - math.pi) * 0.1**2,
    "triangle": 3 * math.sqrt(3) / 4 * 1.28**2
    + 3 * math.sqrt(3) * 1.28 * 0.08
    + math.pi * 0.08**2,
    "cross": 2 * 2.16 * 0.72 - 0.72**2 - 8 * (1 - math.pi / 4) * 0.06**2,
    "star": star_area(),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("degrees", [0.0, 11.0])
def test_coverage_adds_up_to_the_area(shape, degrees):
    for size, tolerance in ((32, 0.02), (128, 0.003)):
        scene = single(shape, 0.47, 0.52, 0.3, degrees)
        share = coverage(measure(scene, size).distance).sum().item() / size**2
        assert share == pytest.approx(AREAS[shape] * 0.3**2, rel=tolerance)


@pytest.mark.parametrize("shape", SHAPES)
def test_distances_are_distances(shape):
    grid = torch.linspace(-1.6, 1.6, 257, dtype=torch.float64)
    x, y = torch.meshgrid(grid, grid, indexing="xy")
    distance = DISTANCES[shape](x.clone(), y.clone())
    by_row, by_column = np.gradient(distance.numpy(), grid.numpy(), grid.numpy())
    slope = np.hypot(by_row, by_column)
    outside = distance.numpy() > 0.02
    assert np.quantile(np.abs(slope[outside] - 1), 0.95) < 0.01  # creases aside
    reach = (x * x + y * y).sqrt()[distance <= 0].max().item()
    assert reach <= REACH[shape] + 1e-6
    assert reach >= REACH[shape] - 0.03


POLYGONS = {  # corners, and how far around them it is still inside
    "square": ([(-0.75, -0.75), (0.75, -0.75), (0.75, 0.75), (-0.75, 0.75)], 0.1),
    "triangle": (
        [(1.28 * math.sin(a), -1.28 * math.cos(a)) for a in (0, 2.0943951, -2.0943951)],
        0.08,
    ),
    "star": (
        [
            (r * math.sin(i * math.pi / 5), -r * math.cos(i * math.pi / 5))
            for i, r in enumerate([1.2, 0.624] * 5)
        ],
        0.05,
    ),
    "cross": (
        [
            *((-0.3, -1.02), (0.3, -1.02), (0.3, -0.3), (1.02, -0.3), (1.02, 0.3), (0.3, 0.3)),
            *((0.3, 1.02), (-0.3, 1.02), (-0.3, 0.3), (-1.02, 0.3), (-1.02, -0.3), (-0.3, -0.3)),
        ],
        0.06,
    ),
}


def beyond(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance in float64, from the corners: even-odd rule, nearest point of any edge."""
    if shape in ("circle", "ring"):
        r = np.hypot(x, y)
        return r - 1 if shape == "circle" else np.maximum(r - 1, 0.44 - r)
    corners, rim = POLYGONS[shape]
    inside, nearest = np.zeros(x.shape, bool), np.full(x.shape, np.inf)
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
        along = along.clip(0, 1)
        nearest = np.minimum(
            nearest, np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
        )
        if y0 != y1:
            crosses = ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
            inside ^= crosses
    return np.where(inside, -nearest, nearest) - rim


@pytest.mark.parametrize("size", [24, 32, 61])
def test_drawing_the_description_again_gives_the_label_map(size):
    index = torch.arange(150)
    scenes = Scenes("train", size)
    found, scene = scenes.label_map(index).numpy(), scenes.describe(index)
    grid = (np.arange(size) + 0.5) / size
    px, py = np.meshgrid(grid, grid)
    for i in range(len(index)):
        expected, close = np.zeros((size, size), int), np.zeros((size, size), bool)
        for k in range(int(scene.count[i])):
            radius = scene.radius[i, k].item()
            cos, sin = scene.tilt[i, k].tolist()
            dx, dy = px - scene.x[i, k].item(), py - scene.y[i, k].item()
            u, v = (cos * dx + sin * dy) / radius, (cos * dy - sin * dx) / radius
            shape = int(scene.shape[i, k])
            distance = beyond(SHAPES[shape], u, v) * radius * size
            expected[distance <= 0] = shape + 1
            close |= np.abs(distance) < 1e-3
        wrong = (expected != found[i]) & ~close
        assert not wrong.any(), (i, np.argwhere(wrong))


# --- what is drawn at random ---------------------------------------------------------------------


def fits(values, shares) -> None:
    counts = np.bincount(np.asarray(values), minlength=len(shares))
    shares = np.asarray(shares, float)
    assert counts[shares == 0].sum() == 0
    p = chisquare(counts[shares > 0], shares[shares > 0] / shares.sum() * len(values)).pvalue
    assert p > 1e-3, counts


def groups(scene: Scene) -> torch.Tensor:
    return (scene.count > 1) & (scene.colour[:, 0] == scene.colour[:, 1])


def test_everything_occurs_as_often_as_stated(many):
    group = groups(many)
    fits(many.count, [0, 0.3, 0.4, 0.3])
    fits(group[many.count > 1].int(), [0.8, 0.2])
    fits(many.ground, [1] * len(GROUNDS))
    fits(many.tint, [1] * 8)
    fits(Scenes("train").label(MANY[:20_000]), [1] * len(SHAPES))
    for slot in range(3):
        there = many.count > slot
        fits(many.shape[there, slot], [1] * len(SHAPES))
        fits(many.colour[there, slot], [1] * len(COLOURS))
        alike = there & (group | (many.count == 1))
        fits(many.size[alike, slot], [1, 1])
    for count in (2, 3):
        mixed = (many.count == count) & ~group
        assert (many.size[mixed, :count].sum(1) == 1).all()
        fits(many.size[mixed, :count].argmax(1), [1] * count)
        colours = many.colour[mixed, :count]
        assert all(len(set(row)) == count for row in colours.tolist())
        off = (colours[:, 1] - colours[:, 0]) % 6
        fits(off, [0, 1, 1, 1, 1, 1])
        shapes = many.shape[mixed]
        fits(shapes[:, 0] * 6 + shapes[:, 1], [1] * 36)
    same = many.used[group]
    for name in ("shape", "colour", "size"):
        values = getattr(many, name)[group]
        assert (values == values[:, :1])[same].all()


def test_positions_are_uniform_where_nothing_is_in_the_way(many):
    alone = many.count == 1
    reach = torch.tensor([REACH[s] for s in SHAPES])[many.shape[alone, 0]] * many.radius[alone, 0]
    for centre in (many.x[alone, 0], many.y[alone, 0]):
        place = (centre - reach - 0.02) / (1 - 2 * (reach + 0.02))
        fits((place * 10).long().clamp(0, 9), [1] * 10)


def test_objects_lie_inside_and_apart(many):
    reach = torch.tensor([REACH[s] for s in SHAPES])[many.shape] * many.radius
    for centre in (many.x, many.y):
        edge = torch.minimum(centre - reach, 1 - centre - reach)[many.used]
        assert edge.min() > 0.02 - 1e-6
    for i, j in ((0, 1), (0, 2), (1, 2)):
        pair = many.used[:, i] & many.used[:, j]
        if (i, j) == (0, 1):
            pair &= groups(many)
        gap = torch.hypot(many.x[:, i] - many.x[:, j], many.y[:, i] - many.y[:, j])
        assert (gap - reach[:, i] - reach[:, j])[pair].min() > 0.02 - 1e-6
    for far in (many.x, 1 - many.x, many.y, 1 - many.y):  # crowded scenes are not all alike
        assert ((far - reach - 0.02).abs()[many.used] < 1e-6).float().mean() < 1e-3


def test_an_object_that_is_covered_is_covered_by_less_than_a_third(many):
    scene = many[many.overlapping.nonzero()[:600, 0]]
    seen = masks(scene, 64)
    alone = replace(scene, count=torch.ones_like(scene.count))
    whole = masks(alone, 64)
    share = seen[:, 0].sum((1, 2)) / whole[:, 0].sum((1, 2))
    assert 0.7 <= share.min() < 0.82
    assert (share < 0.95).float().mean() > 0.3  # so that "in front of" is worth learning


def test_nothing_else_is_covered():
    scene = draw("train", torch.arange(1500))
    seen = masks(scene, 48).sum((2, 3))
    for slot in range(2):
        alone = replace(scene, count=scene.count.clamp(max=slot + 1))
        whole = masks(alone, 48).sum((2, 3))
        covered = whole[:, slot] > seen[:, slot]
        if slot == 0:
            assert covered.float().mean() > 0.1
            assert scene.overlapping[covered].all()
        else:
            assert not covered.any()


def test_large_objects_are_larger_than_small_ones(many):
    area = torch.tensor([AREAS[s] for s in SHAPES])[many.shape] * many.radius**2
    small, large = area[many.size == 0], area[many.size == 1]
    assert small.max() < large.min()


def test_the_splits_have_no_scene_in_common(many):
    test = draw("test", MANY)
    seen, others = (
        {tuple(row) for row in torch.stack((s.x[:, 0], s.y[:, 0], s.radius[:, 0]), 1).tolist()}
        for s in (many, test)
    )
    assert len(seen) == len(MANY)
    assert not seen & others


# --- grounds -------------------------------------------------------------------------------------


def ground_at(scene: Scene, i: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The ground's pattern at points, in float64."""
    along_x, along_y = scene.direction[i].tolist()
    period, (first, second) = scene.period[i].item(), scene.phase[i].tolist()
    match GROUNDS[scene.ground[i]]:
        case "plain":
            return np.zeros_like(x)
        case "shaded":  # 0 in the corner where it starts, 1 in the one across
            start_x, start_y = along_x < 0, along_y < 0
            along = (x - start_x) * along_x + (y - start_y) * along_y
            return along / (abs(along_x) + abs(along_y))
        case "striped":
            return (((x * along_x + y * along_y) / period + first) % 1 < 0.5).astype(float)
        case "checked":
            a, b = (x / period + first) % 1 < 0.5, (y / period + second) % 1 < 0.5
            return (a != b).astype(float)
    knots = np.arange(6) / 5
    smooth = [np.maximum(0, 1 - np.abs(v[..., None] - knots) * 5) for v in (x, y)]
    across, down = (3 * s**2 - 2 * s**3 for s in smooth)
    return np.einsum("...c,...r,rc->...", across, down, scene.lattice[i].double().numpy())


def test_grounds_are_the_means_of_their_pixels():
    scene, size, times = draw("test", torch.arange(100)), 24, 16
    found = pattern(scene, size).numpy()
    fine = (np.arange(size * times) + 0.5) / (size * times)
    x, y = np.meshgrid(fine, fine)
    for i in range(100):
        mean = ground_at(scene, i, x, y).reshape(size, times, size, times).mean((1, 3))
        off = np.abs(found[i] - mean)
        assert off.max() < 0.15 and off.mean() < 0.02, GROUNDS[scene.ground[i]]


# --- pixels --------------------------------------------------------------------------------------


def test_a_scene_depends_on_its_index_alone():
    scenes = Scenes("train", 16)
    index = torch.cat((torch.arange(1300), torch.tensor([2**40, 2**62])))
    whole = scenes.images(index)
    order = torch.randperm(len(index), generator=torch.Generator().manual_seed(0))
    assert torch.equal(scenes.images(index[order]), whole[order])
    one = torch.cat([scenes.images(index[i : i + 1]) for i in (0, 700, 1300, 1301)])
    assert torch.equal(one, whole[[0, 700, 1300, 1301]])
    assert torch.equal(scenes.images(torch.tensor([5, 5])), whole[[5, 5]])
    assert scenes.images(index[:0]).shape == (0, 3, 16, 16)


def test_the_number_of_threads_is_left_as_it_was():
    torch.set_num_threads(2)  # every test starts with one again
    Scenes("train", 16).images(torch.arange(3))
    with pytest.raises(ConfigError):
        Scenes("train", 16).images(torch.tensor([-1]))
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("style", STYLES)
def test_another_size_is_the_same_picture(style):
    index = torch.arange(60)
    large, small = (Scenes("test", s).styled(index, style).float() for s in (64, 32))
    average = large.unflatten(-1, (32, 2)).unflatten(-3, (32, 2)).mean((-1, -3))
    assert (average - small).abs().mean() < {"drawing": 3.0}.get(style, 1.0)
    moved = (average.roll(1, -1) - small).abs().mean()  # a pixel further: is the test awake?
    assert moved > 3 * (average - small).abs().mean()


def test_styles_keep_the_geometry():
    index, size = torch.arange(40), 48
    scene = Scenes("train", size).describe(index)
    flat = {"ground": torch.full((40,), 4), "lattice": torch.ones(40, 6, 6)}
    objects = measure(scene, size)
    seen = torch.ones(40, size, size)
    for slot in range(3):
        rows = objects.slot == slot
        seen[objects.image[rows]] *= 1 - coverage(objects.distance[rows])
    for style in STYLES:
        a, b = (
            paint(replace(scene, tint=torch.full((40,), tint), **flat), size, style)
            for tint in (0, 6)
        )
        same = (a == b).all(1)
        assert same[seen == 0].all(), style  # no ground shines through
        assert not same[seen > 0.6].any(), style  # and nothing hides it elsewhere
    day, *others = (paint(scene, size, style).float() for style in STYLES)
    assert all((day - other).abs().mean() > 5 for other in others)


def lab(rgb) -> np.ndarray:
    """CIELAB (D65) of sRGB colours in 0 to 255."""
    rgb = np.asarray(rgb, float) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(matrix).T / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        (116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])), -1
    )


@pytest.mark.parametrize("style", STYLES)
def test_colours_are_far_from_each_other_and_from_the_ground(style):
    objects = lab(STYLES[style].colours)
    grounds = lab(STYLES[style].grounds).reshape(-1, 3)
    apart = np.linalg.norm(objects[:, None] - objects[None], axis=-1)
    assert apart[~np.eye(6, dtype=bool)].min() > (15 if style == "pastel" else 30)
    assert np.linalg.norm(objects[:, None] - grounds[None], axis=-1).min() > 25


def test_images_are_what_the_scene_says():
    index = torch.arange(200)
    scenes = Scenes("train", 64)
    images, seen, scene = scenes.images(index), scenes.masks(index), scenes.describe(index)
    palette = lab(STYLES["day"].colours)
    for i in range(200):
        for k in range(int(scene.count[i])):
            mean = images[i][:, seen[i, k]].double().mean(1).numpy()
            nearest = np.linalg.norm(palette - lab(mean), axis=1).argmin()
            assert nearest == scene.colour[i, k], (i, k)


def test_a_plain_ground_has_the_colour_of_the_palette():
    scene = draw("test", torch.arange(100))
    for style, look in STYLES.items():
        images = paint(scene, 32, style)
        for i in (scene.ground == 0).nonzero()[:, 0].tolist():
            free = (measure(scene[i : i + 1], 32).distance > 32 * 0.2).all(0)
            found = images[i][:, free].unique(dim=1).T.tolist()
            assert found == [list(look.grounds[scene.tint[i]][0])], style


def test_pixels_are_rounded_to_the_nearest():
    scene = draw("test", torch.arange(200))
    images, (x, y) = paint(scene, 32, "day"), np.meshgrid(*[(np.arange(32) + 0.5) / 32] * 2)
    for i in (scene.ground == 1).nonzero()[:, 0].tolist():
        free = (measure(scene[i : i + 1], 32).distance > 32 * 0.2).all(0).numpy()
        a, b = np.array(STYLES["day"].grounds[scene.tint[i]], float)[..., None, None]
        exact = a + (b - a) * ground_at(scene, i, x, y)
        assert np.abs(images[i].numpy() - exact)[:, free].max() < 0.501


def test_pixels_do_not_depend_on_the_processor():
    code = """
import torch
from genbench.data.dataset import content_hash
from genbench.data.scenes import STYLES, Scenes
torch.set_num_threads(1)
index = torch.arange(300)
for style in STYLES: print(content_hash(Scenes("test", 31).styled(index, style), None))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "ATEN_CPU_CAPABILITY": "default"},
    )
    assert ran.returncode == 0, ran.stderr
    index = torch.arange(300)
    here = [content_hash(Scenes("test", 31).styled(index, s), None) for s in STYLES]
    assert ran.stdout.split() == here


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scenes("trian"), "scenes have no split 'trian'; did you mean 'train'?"),
        (lambda: Scenes("train", 15), "scenes come in 16 to 128 pixels, not 15"),
        (lambda: Scenes("train", 129), "scenes come in 16 to 128 pixels, not 129"),
        (
            lambda: Scenes("train").styled(torch.arange(1), "nite"),
            "scenes have no style 'nite'; did you mean 'night'?",
        ),
        (
            lambda: Scenes("train", 32).low_res(torch.arange(1), 5),
            "factor 5 does not divide 32 pixels; choose one of 2, 4, 8",
        ),
        (lambda: Scenes("train", 32).low_res(torch.arange(1), 0), "factor 0 does not divide"),
        (lambda: Scenes("train").images(torch.tensor([3, -1])), "scene -1 does not exist"),
        (lambda: Scenes("train").images(torch.zeros(2)), "int64 of shape (N,), not torch.float32"),
        (lambda: Scenes("train").captions(torch.arange(1), -1), "caption -1 does not exist"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(make, message):
    with pytest.raises(ConfigError) as refused:
        make()
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_smaller_versions_are_means_of_blocks():
    index = torch.arange(30)
    scenes = Scenes("test", 48)
    images = scenes.images(index).permute(0, 2, 3, 1).numpy()
    for factor in (2, 3, 4, 6):
        found = scenes.low_res(index, factor).permute(0, 2, 3, 1).numpy()
        side = 48 // factor
        blocks = images.reshape(30, side, factor, side, factor, 3).astype(float)
        assert np.array_equal(found, np.floor(blocks.mean((2, 4)) + 0.5))
        peer = np.stack([np.asarray(Image.fromarray(image).reduce(factor)) for image in images])
        # Pillow multiplies by 1 / factor^2 in 24 bits, which is exact for powers of two only
        assert np.abs(found.astype(int) - peer).max() <= (factor in (3, 6))
