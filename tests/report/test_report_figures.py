"""Plots of a leaderboard: what is drawn where, in which colours, and what is said of it."""

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from page_samples import HOSTILE, counted
from report_samples import FD, IS, cell, record

from genbench.report import figures
from genbench.report.figures import PAPER, PAPER_DARK, Plot, draw, quality
from genbench.report.parts import split
from genbench.report.rows import Row, collect, columns_of
from genbench.spec import Cell


def rows_of(*found: tuple[Cell, tuple[float, ...], float, float]) -> list[Row]:
    """Rows of (cell, scores, FLOPs, ms per image)."""
    return collect([record(c, *v, **counted(f, ms)) for c, v, f, ms in found], None, {})


def drawn(rows: list[Row]) -> dict[str, Plot]:
    return {plot.name: plot for plot in draw(rows, columns_of(rows))}


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The axes of every plot by its name, filled when `draw` runs."""
    found: dict[str, Any] = {}
    inner = figures._plot

    def spy(name: str, title: str, alt: str, figure: Any) -> Plot:
        found[name] = figure.axes[0]
        return inner(name, title, alt, figure)

    monkeypatch.setattr(figures, "_plot", spy)
    return found


def points(axis: Any) -> list[tuple[float, float]]:
    """The filled markers that stand alone: points, but not the rings of the front."""
    return sorted(
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axis.lines
        if len(line.get_xdata()) == 1
        and line.get_marker() != "None"
        and line.get_markerfacecolor() != "none"
    )


def rings(axis: Any) -> list[tuple[float, float]]:
    """The points of the Pareto front."""
    return sorted(
        (float(x), float(y))
        for line in axis.lines
        if line.get_markerfacecolor() == "none" and line.get_marker() == "o"
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    )


FOUR = [
    (cell("dcgan"), (10.0,), 1e9, 0.1),
    (cell("vae"), (20.0,), 5e8, 0.05),
    (cell("cgan"), (15.0,), 2e9, 0.2),  # dcgan beats it in time, in compute and in quality
    (cell("ddpm"), (5.0,), 8e9, 9.0),
    (cell("real"), (0.5,), 0.0, 0.001),
]


def test_points_and_front(axes: dict[str, Any]) -> None:
    drawn(rows_of(*FOUR))
    latency, compute = axes["quality-latency"], axes["quality-compute"]
    assert points(latency) == [(0.05, 20.0), (0.1, 10.0), (0.2, 15.0), (9.0, 5.0)]
    assert rings(latency) == [(0.05, 20.0), (0.1, 10.0), (9.0, 5.0)]
    assert points(compute) == [(5e8, 20.0), (1e9, 10.0), (2e9, 15.0), (8e9, 5.0)]
    assert rings(compute) == [(5e8, 20.0), (1e9, 10.0), (8e9, 5.0)]
    assert latency.get_xscale() == compute.get_xscale() == "log"
    assert latency.get_yscale() == "linear"
    for axis in (latency, compute):  # everything lies inside, intervals and real data too
        low, high = axis.get_ylim()
        assert low < 0.5 and high > 21
        assert {"dcgan", "vae", "ddpm", "real test data"} <= {t.get_text() for t in axis.texts}


def test_higher_is_better_turns_the_front(axes: dict[str, Any]) -> None:
    found = [
        (cell(name, metrics=(IS,)), (value,), 1e9 * ms, ms)
        for name, value, ms in (("vae", 3.0, 1.0), ("dcgan", 2.0, 2.0), ("ddpm", 7.0, 3.0))
    ]
    plots = drawn(rows_of(*found))
    assert rings(axes["quality-latency"]) == [(1.0, 3.0), (3.0, 7.0)]
    assert "Pareto front: vae at 1 ms" in plots["quality-latency"].alt
    assert "dcgan" not in plots["quality-latency"].alt


def test_values_far_apart_get_a_logarithm(axes: dict[str, Any]) -> None:
    drawn(rows_of((cell("vae"), (200.0,), 1e9, 1.0), (cell("dcgan"), (3.0,), 2e9, 2.0)))
    assert axes["quality-latency"].get_yscale() == "log"


def test_alternative_texts_tell_the_front() -> None:
    alt = drawn(rows_of(*FOUR))["quality-latency"].alt
    assert alt == (
        "FD (digits-cnn) against latency of 4 rows. Pareto front: "
        "vae at 0.05 ms with FD (digits-cnn) 20.0 ± 1.0; "
        "dcgan at 0.1 ms with FD (digits-cnn) 10.0 ± 1.0; "
        "ddpm at 9 ms with FD (digits-cnn) 5.0 ± 1.0."
    )


def ddim(steps: int, sampler: str = "ddim", **config: float) -> Cell:
    return cell("ddpm", options={"sampler": sampler, "steps": steps}, config=config)


def test_steps_join_rows_that_differ_in_nothing_else(axes: dict[str, Any]) -> None:
    rows = rows_of(
        (ddim(50), (4.0,), 1e9, 1.0),
        (ddim(10), (6.0,), 1e9, 0.2),
        (ddim(20, "heun"), (3.0,), 1e9, 0.7),
        (cell("dcgan"), (9.0,), 1e9, 0.1),
    )
    plot = drawn(rows)["quality-steps"]
    lines = [sorted(map(float, li.get_xdata())) for li in axes["quality-steps"].lines]
    assert [10.0, 50.0] in lines and [10.0, 20.0, 50.0] not in lines
    assert points(axes["quality-steps"]) == [(10.0, 6.0), (20.0, 3.0), (50.0, 4.0)]
    assert "ddpm, ddim FD (digits-cnn) 6.0 ± 1.0 at 10 to FD (digits-cnn) 4.0 ± 1.0 at 50" in (
        plot.alt
    )


def test_seeds_are_points_with_their_interval(axes: dict[str, Any]) -> None:
    rows = rows_of(
        *((cell("dcgan", seed=s), (v,), 1e9, 1.0) for s, v in enumerate((9.0, 11.0))),
        *((cell("vae", seed=0, sample_seed=s), (v,), 1e9, 1.0) for s, v in enumerate((5.0, 7.0))),
    )
    plot = drawn(rows)["seed-spread"]
    assert points(axes["seed-spread"]) == [(9.0, 0.0), (11.0, 0.0)]  # one training is no spread
    assert [t.get_text() for t in axes["seed-spread"].get_yticklabels()] == ["dcgan"]
    assert "dcgan 10 ± 13, seeds 9 11" in plot.alt and "vae" not in plot.alt


def test_sampling_seeds_of_one_training_are_one_point(axes: dict[str, Any]) -> None:
    rows = rows_of(
        *(
            (cell("dcgan", seed=s, sample_seed=t), (v,), 1e9, 1.0)
            for s, t, v in ((0, 0, 1.0), (0, 1, 3.0), (1, 0, 4.0), (1, 1, 8.0))
        )
    )
    drawn(rows)
    assert points(axes["seed-spread"]) == [(2.0, 0.0), (6.0, 0.0)]


def test_what_has_nothing_to_show_says_so() -> None:
    plots = drawn(rows_of((cell("dcgan"), (9.0,), 1e9, 1.0)))
    assert list(plots) == ["quality-latency", "quality-compute", "quality-steps", "seed-spread"]
    for plot in plots.values():
        assert plot.missing.startswith(f"{plot.title}: not drawn, ") and not plot.light
    assert draw([], []) == []
    unknown = FD.model_copy(update={"name": "mine"})
    assert drawn(rows_of((cell("dcgan", metrics=(unknown,)), (1.0,), 1e9, 1.0))) == {}


def test_scores_that_are_no_numbers_are_left_out(axes: dict[str, Any]) -> None:
    rows = rows_of(*FOUR[:2], (cell("ddpm"), (float("nan"),), 1e9, 1.0))
    assert len(points(draw(rows, columns_of(rows)) and axes["quality-latency"])) == 2


def test_datasets_have_plots_of_their_own() -> None:
    other = FD.model_copy(update={"reference": "mnist:train"})
    found = [
        *FOUR[:2],
        *(
            (cell(name, dataset="mnist", metrics=(other,)), (v,), f, v)
            for name, v, f in (("dcgan", 30.0, 1e9), ("vae", 40.0, 2e9))
        ),
    ]
    parts = split([record(c, *v, **counted(f, ms)) for c, v, f, ms in found], None)
    plots = {plot.name: plot for p in parts for plot in draw(p.rows, p.columns, p.title, p.slug)}
    assert set(plots) >= {"quality-latency-digits", "quality-latency-mnist"}
    assert plots["quality-latency-mnist"].title == "Quality against latency, mnist"
    assert "30.0" in plots["quality-latency-mnist"].alt
    assert "30.0" not in plots["quality-latency-digits"].alt


def test_the_first_distance_is_the_quality() -> None:
    rows = rows_of((cell("dcgan", metrics=(IS, FD)), (1.0, 2.0), 1e9, 1.0))
    found = quality(rows, columns_of(rows))
    assert found is not None and found.spec == FD
    rows = rows_of((cell("dcgan", metrics=(IS,)), (1.0,), 1e9, 1.0))
    found = quality(rows, columns_of(rows))
    assert found is not None and found.spec == IS


# --- the files -----------------------------------------------------------------------------------


def colours(svg: bytes) -> set[str]:
    return set(re.findall(r"#[0-9a-fA-F]{6}\b", svg.decode()))


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_dark_is_the_same_drawing_in_other_colours() -> None:
    pairs = [(i, seed) for i in range(8) for seed in (0, 1)]
    rows = rows_of(
        *((cell(f"m{i}", seed=s), (i + s + 1.0,), 1e9 + i, 1.0 + i) for i, s in pairs),
        *((ddim(n), (float(n),), 1e9, float(n)) for n in (10, 50)),
        FOUR[-1],
    )  # fmt: skip
    plots = drawn(rows)
    assert len(plots) == 4
    for plot in plots.values():
        mask = re.compile(rb"#[0-9a-fA-F]{6}\b")
        assert mask.sub(b"", plot.light) == mask.sub(b"", plot.dark)
        assert PAPER in colours(plot.light) and PAPER_DARK in colours(plot.dark)
        assert "#ffffff" not in colours(plot.dark) | colours(plot.light)
        strokes = colours(plot.dark) - {PAPER_DARK, figures._DARK[figures.GRID]}
        for colour in strokes:  # all marks and words, but the grid
            assert contrast(colour, PAPER_DARK) >= 4.5, colour
    assert contrast(figures.INK, PAPER) >= 4.5 and contrast(figures._QUIET, PAPER) >= 4.5


def test_equal_rows_give_equal_bytes() -> None:
    assert draw(rows_of(*FOUR), columns_of(rows_of(*FOUR))) == list(drawn(rows_of(*FOUR)).values())


def test_hostile_names_are_outlines() -> None:
    found = [
        (cell(text, config={"a": text}), (1.0 + i,), 1e9 + i, 1.0 + i)
        for i, text in enumerate((*HOSTILE, "$\\frac{$"))
    ]
    plots = drawn(rows_of(*found))
    for data in (plots["quality-latency"].light, plots["quality-latency"].dark):
        root = ET.fromstring(data.decode())
        tags = {element.tag.partition("}")[2] for element in root.iter()}
        assert not tags & {"script", "text", "foreignObject", "image", "a"}
        assert not [n for e in root.iter() for n in e.attrib if n.lower().startswith("on")]
