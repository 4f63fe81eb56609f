import io
import itertools
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from report_samples import pictures
from speed_samples import FD, HOSTILE, IS, fitted, result, row, score, sixty, three

from genbench.record import Environment
from genbench.report import curves, plotting, speed
from genbench.report.speed_notes import notes
from genbench.report.speed_rows import front, labels, metrics, pareto, quality
from genbench.spec import ConfigError
from genbench.speed.result import Change, Settings, SpeedResult
from genbench.store import StoreError
from genbench.timing import Fit, Ratio

FORMATS = ("text", "markdown", "csv", "latex")


def gan() -> SpeedResult:
    one = row(None, 1, eta=None, fd=4.0)
    return result(one, baseline="dcgan")


def hostile() -> SpeedResult:
    rows = tuple(
        row(HOSTILE, steps, spacing=HOSTILE, fd=1 + 10 / steps, half=0.1) for steps in (10, 50)
    )
    other = row("ddim", 50, fd=3.0, spacing=(999.0, 500.5, 1.0), nfe=3.0)
    env = Environment(device=HOSTILE, machine={"processor": HOSTILE}, threads=1)
    return result(*rows, other, fit=fitted((*rows, other)), baseline=HOSTILE, environment=env)


def note(of: SpeedResult, start: str) -> str:
    found = [text for text in notes(of) if text.startswith(start)]
    assert len(found) == 1, found
    return found[0]


# --- pareto --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "best"),
    [
        ([], []),
        ([(1, 1)], [0]),
        ([(1, 3), (2, 2), (3, 1)], [0, 1, 2]),
        ([(3, 1), (2, 2), (1, 3)], [2, 1, 0]),  # by rising x
        ([(1, 1), (2, 2), (3, 3)], [0]),
        ([(1, 3), (2, 3), (3, 1)], [0, 2]),  # as good and slower
        ([(1, 3), (1, 2), (2, 1)], [1, 2]),  # as fast and worse
        ([(1, 2), (1, 2), (2, 2), (2, 1)], [0, 1, 3]),  # equal points stay together
        ([(2, 5), (1, 9), (3, 5), (4, 4), (4, 4), (5, 4)], [1, 0, 3, 4]),
    ],
)
def test_pareto_by_hand(points: list[tuple[float, float]], best: list[int]) -> None:
    assert pareto(points) == best


def test_pareto_is_what_its_definition_says() -> None:
    random = np.random.default_rng(0)
    for _ in range(100):
        points = [tuple(p) for p in random.integers(0, 6, (12, 2)).tolist()]
        beaten = {
            i
            for i, p in enumerate(points)
            if any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points)
        }
        assert set(pareto(points)) == set(range(12)) - beaten


def test_a_front_of_a_metric_that_should_be_high() -> None:
    rows = [row(steps=s, scores={IS: score(v)}) for s, v in ((10, 5.0), (20, 4.0), (50, 9.0))]
    of = result(*rows)
    metric = quality(of)
    assert metric is not None and metric.arrow == "↑"
    assert front(of, metric) == [0, 2]


def test_rows_without_a_finite_score_are_on_no_front() -> None:
    of = result(row(steps=10), row(steps=20, fd=math.nan, half=None), row(steps=50, fd=2.0))
    metric = quality(of)
    assert metric is not None
    assert front(of, metric) == [2]


# --- names ---------------------------------------------------------------------------------------


def test_labels_are_never_equal() -> None:
    clip = [row(options={"clip_x0": c, "steps": 50}) for c in (True, False)]
    assert labels(result(*clip)) == ["ddim 50 clip_x0=True", "ddim 50 clip_x0=False"]
    assert labels(result(row(), row(), row())) == ["ddim 50 #1", "ddim 50 #2", "ddim 50 #3"]
    assert labels(gan()) == ["dcgan"]
    table = speed.frame(result(*clip))
    assert table["label"].is_unique
    assert "clip_x0=False" in speed.render(result(*clip), "text")


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        (FD, "FD (digits-cnn) ↓"),
        ("fd@inception/tf1/cifar10:train/n50000", "FID ↓"),
        ("is@inception/tf1/n50000", "IS ↑"),
        ("fd@digits-cnn/imagefolder:/photos/n5/x@64:train/n360/k=5", "FD (digits-cnn) ↓"),
        ("mine@net/n7", "mine (net)"),
        ("no id at all", "no id at all"),
    ],
)
def test_metrics_are_named_as_in_leaderboards(name: str, heading: str) -> None:
    of = result(row(scores={name: score(1.0)}))
    assert [(m.id, m.heading) for m in metrics(of)] == [(name, heading)]
    assert speed.frame(of)[name].tolist() == [1.0]


def test_ids_of_one_short_name_have_columns_of_their_own() -> None:
    other = "fd@digits-cnn/digits:test/n360"
    of = result(row(scores={FD: score(1.0), other: score(2.0)}))
    headers = [m.header for m in metrics(of)]
    assert headers == ["FD (digits-cnn, digits:train)", "FD (digits-cnn, digits:test)"]


# --- the frame and JSON --------------------------------------------------------------------------


def test_the_frame_holds_raw_numbers() -> None:
    table = speed.frame(three())
    last = table.iloc[2]
    assert table["label"].tolist() == ["ddpm 1000", "ddim 1000", "ddim 50"]
    assert (last["speedup"], last["speedup ci95 low"], last["speedup ci95 high"]) == (
        19.9,
        19.7,
        20.1,
    )
    assert (last[FD], last[f"{FD} ci95 low"]) == (2.4, 2.4 - 0.2)
    assert (last[f"{FD} change"], last[f"{FD} change ci95 high"]) == (0.4, 0.7)
    assert table["published fid cifar10"].tolist() == [4.73, 4.04, 4.67]
    assert table["pareto"].tolist() == [True, False, True]
    assert last["peak_bytes"] == 1_000_000 and pd.isna(table["peak_bytes"][0])


def test_csv_round_trip() -> None:
    table = speed.frame(three())
    back = pd.read_csv(io.StringIO(speed.render(three(), "csv")))
    assert list(back.columns) == list(table.columns)
    assert back["ms_per_image"].tolist() == [0.02 + 30, 29.0, 0.02 + 0.03 * 50]
    assert back["peak_bytes"].tolist()[2] == 1_000_000


def test_json_has_every_field() -> None:
    of = three()
    told = json.loads(json.dumps(speed.as_json(of), allow_nan=False))
    assert set(told) == set(SpeedResult.model_fields)
    last = told["rows"][2]
    assert set(last) == {*type(of.rows[0]).model_fields, "label", "pareto", "published"}
    assert last["speedup_ci95"] == [19.7, 20.1]
    assert last["scores"][FD]["value"] == 2.4
    assert last["scores"][FD]["ci95"] == pytest.approx([2.2, 2.6])
    assert last["published"]["value"] == 4.67 and last["published"]["dataset"] == "cifar10"
    assert told["control"]["value"] == 1.001 and told["environment"]["device"] == "cpu"
    assert SpeedResult.model_validate(of.model_dump(mode="json")) == of


# --- tables --------------------------------------------------------------------------------------


def test_people_read_compact_numbers() -> None:
    lines = speed.render(three(), "text").splitlines()
    head, first, _, last = lines[:4]
    assert re.split(r"\s{2,}", head) == [
        *("sampler", "spacing", "steps", "eta", "NFE", "ms/image", "images/s", "ms for 1 image"),
        *("speed-up", "NFE ratio", "FD (digits-cnn) ↓", "Δ FD (digits-cnn)"),
        "published FID (CIFAR-10)",
    ]
    assert re.split(r"\s{2,}", last.strip()) == [
        *("ddim", "trailing", "50", "0", "50", "1.52", "658", "4.56", "19.90 ± 0.20", "20"),
        *("2.40 ± 0.20", "+0.40 ± 0.30", "4.67"),
    ]
    assert re.split(r"\s{2,}", first.strip())[8] == "reference"


def test_skewed_intervals_show_their_ends_and_falls_their_sign() -> None:
    better = {FD: Change(value=-0.4, ci95=(-0.7, -0.1))}
    of = result(row(fd=2.0, speedup=20.0, speedup_ci95=(19.0, 22.0), changes=better))
    text = speed.render(of, "text")
    assert "20.0 [19.0, 22.0]" in text and "-0.40 ± 0.30" in text


def test_variances_are_told_apart() -> None:
    kinds = ("posterior", "large", "learned")
    rows = [row("ddpm", 50, eta=1.0, variance=v, fd=2.0) for v in kinds]
    text = speed.render(result(*rows), "text").splitlines()
    assert [line.split("  ")[0] for line in text[1:4]] == ["ddpm", "ddpm large", "ddpm learned"]
    assert "8.01" in text[1] and "32.72" in text[2]
    assert "8.01" not in text[3] and "32.72" not in text[3]  # DDIM's paper has no such row


def test_ratios_stand_beside_the_published_ones() -> None:
    text = speed.render(three(), "markdown")
    table = text[text.index("Ratios to 1000") :]
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in table.splitlines()[4:]]
    # 2.4 / 2.5 = 0.96, relative half-widths 0.2 / 2.4 and 0.2 / 2.5: 0.96 * 0.1155 = 0.111
    assert cells[-1] == ["ddim", "trailing", "50", "0", "0.96 ± 0.11", "1.16"]
    assert cells[-2][4:] == ["1", "1.00"]
    assert cells[-3][4:] == ["0.80 ± 0.10", "1.17"]


def test_there_are_no_ratios_without_their_base() -> None:
    of = three()
    assert "Ratios to" not in speed.render(
        of.model_copy(update={"rows": of.rows[::2]}), "markdown"
    )
    plain = [r.model_copy(update={"scores": {}, "changes": {}}) for r in of.rows]
    assert "Ratios to" not in speed.render(result(*plain), "markdown")


def test_a_family_with_one_way_to_sample_is_one_row() -> None:
    lines = speed.render(gan(), "text").splitlines()
    assert re.split(r"\s{2,}", lines[0]) == [
        *("model", "NFE", "ms/image", "images/s", "ms for 1 image", "FD (digits-cnn) ↓")
    ]
    assert lines[1].split()[:2] == ["dcgan", "1"]
    assert note(gan(), "No reference row") and "Published" not in "\n".join(lines)
    assert curves.draw(gan()) == []


def test_nothing_but_times() -> None:
    of = result(row(steps=10), row(steps=50))
    for fmt in FORMATS:
        assert speed.render(of, fmt)
    assert "FD" not in speed.render(of, "latex").replace("FID", "")
    assert [p.name for p in curves.draw(of)] == ["speed-latency"]


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'markdown'"):
        speed.render(three(), "markdwn")  # type: ignore[arg-type]


# --- hostile names -------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", FORMATS)
def test_no_control_characters_come_through(fmt: str) -> None:
    text = speed.render(hostile(), fmt)  # type: ignore[arg-type]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert "[31m" not in text


def test_markdown_cells_do_not_break_the_table() -> None:
    text = speed.render(hostile(), "markdown")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 3
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert not re.search(r"(?<!\\)<b", text)


def test_latex_is_escaped() -> None:
    text = speed.render(hostile(), "latex")
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    assert r"\textless{}b\textgreater{}\textbar{}\_\%\$x\$" in body
    assert not re.search(r"(?<!\\)[%$#_]", body.replace(r"$\pm$", ""))
    assert body.count(r"\\") == 3 and text.count("Δ") == 0
    comments = text[: text.index(r"\begin{table}")].splitlines()
    assert all(line.startswith("%") for line in comments)
    assert r"$\Delta$ FD" in speed.render(three(), "latex")


def test_plots_survive_hostile_names() -> None:
    assert len(curves.draw(hostile())) == 3  # warnings, as for a missing glyph, are errors


# --- notes ---------------------------------------------------------------------------------------


def test_notes_say_how_and_on_what() -> None:
    of = three()
    assert "ddpm 1000 over the row; Δ is the row less ddpm 1000" in note(of, "Speed-up")
    for part in ("batch of 64", "time.perf_counter", "10 rounds", "1 call to warm up", "reverse"):
        assert part in note(of, "Times:")
    assert note(of, "Networks ran") == (
        "Networks ran in float32, not compiled, without CUDA graphs, on cpu, 2 threads."
    )
    assert note(of, "Machine:").startswith("Machine: Test CPU, 2 cores, 2 threads, torch 2.15.0")
    assert "1 training seed (0)" in note(of, "Scores")
    assert "ddim 50, ddpm 1000" in note(of, "Pareto")
    assert "interval of Δ: paired jackknife" in note(of, "FD (digits-cnn) is")
    assert "other data, another network" in note(of, "Published")


def test_other_settings_are_told() -> None:
    settings = Settings(
        batch=1, batches=(1,), rounds=1, warmup=3, dtype="bfloat16", compile=True, graphs=True,
        load=0.51,
    )  # fmt: skip
    rows = [row(steps=s, fd=2.0, seeds=seeds) for s, seeds in ((10, (0, 1, 2)), (50, (1,)))]
    of = result(*rows, settings=settings)
    text = note(of, "Networks ran")
    for part in ("bfloat16", "compiled by torch.compile", "as CUDA graphs", "load average"):
        assert part in text
    assert "not compiled" not in text and "0.51" in text
    assert "1 round after 3 calls" in note(of, "Times:")
    assert not [n for n in notes(of) if n.startswith("Throughput")]
    seeds = note(of, "Scores")
    assert (
        "3 training seeds (0, 1, 2): ddim 10" in seeds and "1 training seed (1): ddim 50" in seeds
    )


def test_the_control_says_plainly_when_the_machine_was_not_quiet() -> None:
    quiet = three()
    assert "its interval holds 1" in note(quiet, "Control:")
    for ci95 in ((1.01, 1.05), (0.9, 0.99)):
        control = Ratio(value=sum(ci95) / 2, ci95=ci95, pairs=5)
        text = note(quiet.model_copy(update={"control": control}), "Control:")
        assert "DOES NOT HOLD 1" in text and "not quiet" in text
    for ci95 in ((1.0, 1.05), (0.9, 1.0)):  # the end belongs to it
        control = Ratio(value=sum(ci95) / 2, ci95=ci95, pairs=5)
        text = note(quiet.model_copy(update={"control": control}), "Control:")
        assert "its interval holds 1" in text


def test_the_line_is_in_milliseconds_and_names_its_worst_row() -> None:
    fit = Fit(start=-0.0005, slope=0.00003, r2=0.99994, residuals=(0.01, -0.043, 0.02))
    of = three().model_copy(update={"fit": fit})
    assert note(of, "Line:") == (
        "Line: ms/image = 0.03 NFE - 0.5, R² 0.9999, largest residual -4.3 % of the time "
        "(ddim 1000)."
    )
    exact = Fit(start=0.0, slope=1.0, r2=1.0, residuals=(0.0,))  # not one for each row: no name
    assert note(three().model_copy(update={"fit": exact}), "Line:").endswith("+0 % of the time.")


def test_where_time_goes_is_a_range_over_the_rows() -> None:
    text = note(three(), "Where")
    assert "network net 80 to 90 %" in text and "the rest (sampler, noise) 10 to 20 %" in text
    none = [r.model_copy(update={"stages": {}}) for r in three().rows]
    assert not [n for n in notes(result(*none)) if n.startswith("Where")]


# --- plots ---------------------------------------------------------------------------------------

PLOTS = (curves.quality_plot, curves.latency_plot, curves.steps_plot)


def wide() -> SpeedResult:
    """Values over several decades, an interval that reaches below 0, and a stray solver."""
    rows = [
        row(s, n, eta=e, fd=v, half=h, variance="large" if e else None)
        for s, n, e, v, h in [
            ("ddpm", 10, 1.0, 367.0, 20.0), ("ddpm", 100, 1.0, 30.0, 5.0),
            ("ddpm", 1000, 1.0, 3.17, 4.0), ("ddim", 10, 0.0, 13.4, 1.0),
            ("ddim", 100, 0.0, 4.2, None), ("ddim", 1000, 0.0, 4.0, 0.3),
            ("heun", 20, 0.0, 5.0, 0.3), ("dpmpp_2m", 15, 0.0, 5.1, 0.3),
        ]
    ]  # fmt: skip
    return result(*rows, fit=fitted(tuple(rows)))


def boxes(figure, renderer) -> list[tuple[str, object]]:
    """Everything that is written in a figure, with its place in pixels."""
    texts = []
    for axes in figure.axes:
        found = [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            found += [t.label1 for t in axis.get_major_ticks() if t.label1.get_visible()]
        low_x, high_x = sorted(axes.get_xlim())
        low_y, high_y = sorted(axes.get_ylim())
        for text in found:
            x, y = text.get_position()
            tick = text not in axes.texts and text in [
                t.label1 for a in (axes.xaxis, axes.yaxis) for t in a.get_major_ticks()
            ]
            if tick and not (low_x <= x <= high_x or low_y <= y <= high_y):
                continue  # outside of the limits: not drawn
            if text.get_visible() and text.get_text():
                texts.append((text.get_text(), text.get_window_extent(renderer)))
    return texts


@pytest.mark.parametrize("make", [three, sixty, wide, hostile])
@pytest.mark.parametrize("plot", PLOTS)
def test_no_text_covers_another_or_leaves_the_picture(make, plot) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with plotting.default_style():
        figure = plot(make())
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        texts = boxes(figure, canvas.get_renderer())
    width, height = canvas.get_width_height()
    assert len(texts) > 5
    for text, box in texts:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text
    for (one, a), (two, b) in itertools.combinations(texts, 2):
        inside = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(inside) <= 1, f"{one!r} and {two!r} overlap"


def test_every_row_is_drawn_and_the_front_is_ringed() -> None:
    with plotting.default_style():
        figure = curves.quality_plot(wide())
    assert figure is not None
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    dots = {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.lines
        if len(line.get_xdata()) == 1 and line.get_transform() == axes.transData
    }
    assert dots == {(r.ms_per_image, r.scores[FD].value) for r in wide().rows}
    rings = [line for line in axes.lines if line.get_markersize() == 10]
    metric = quality(wide())
    assert metric is not None
    best = front(wide(), metric)
    assert rings[0].get_xdata().tolist() == [wide().rows[i].ms_per_image for i in best]
    with plotting.default_style():
        small = curves.quality_plot(three())
    assert small is not None and small.axes[0].get_yscale() == "linear"  # less than a decade


def test_residuals_are_percent_and_rounding_is_not_blown_up() -> None:
    with plotting.default_style():
        exact, loose = curves.latency_plot(wide()), curves.latency_plot(three())
    assert exact is not None and loose is not None
    assert exact.axes[1].get_ylim() == pytest.approx((-0.125, 0.125))
    fit = three().fit
    assert fit is not None
    shown = [line.get_ydata()[0] for line in loose.axes[1].lines if len(line.get_xdata()) == 1]
    assert sorted(shown) == pytest.approx(sorted(100 * r for r in fit.residuals))


def test_one_colour_and_marker_for_each_way_to_sample() -> None:
    found = {c.name: c.style for c in curves.curves(sixty())}
    assert len(found) == 15 and len(set(found.values())) == 15
    same = [found["ddim eta 0.5 trailing"], found["ddim eta 0.5 leading"]]
    assert same[0].colour == same[1].colour and same[0].marker == same[1].marker
    assert len({(s.colour, s.marker) for s in found.values()}) == 5
    assert [c.name for c in curves.curves(three())] == ["ddpm", "ddim"]
    order = next(c for c in curves.curves(three()) if c.name == "ddim").rows
    assert order == (2, 1)  # by steps


def test_sixty_rows_still_have_their_steps_at_the_front() -> None:
    with plotting.default_style():
        figure = curves.quality_plot(sixty())
    assert figure is not None
    written = {text.get_text() for text in figure.axes[0].texts}
    assert {"10", "20", "50", "1000"} <= written


def test_pictures_are_the_same_every_time_and_leave_matplotlib_as_it_was() -> None:
    import matplotlib

    first = curves.draw(three())
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        before = dict(matplotlib.rcParams)
        again = curves.draw(three())
        assert dict(matplotlib.rcParams) == before
    assert first == again
    for picture in first:
        opened = Image.open(io.BytesIO(picture.png))
        assert not {"Software", "Creation Time"} & set(opened.info)
        assert opened.convert("RGB").getpixel((2, 2)) == (255, 255, 255)


def test_plots_are_told_in_words() -> None:
    told = {picture.name: picture.alt for picture in curves.draw(three())}
    assert "ddim 50 at 1.52 ms with FD (digits-cnn) 2.40 ± 0.20" in told["speed-quality"]
    assert "from 50 to 1000" in told["speed-latency"] and "NFE +" in told["speed-latency"]
    assert "ddim FD (digits-cnn) 2.40 ± 0.20 at 50 to" in told["speed-steps"]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1.5, 40, [2, 5, 10, 20]),
        (0.9, 1100, [1, 10, 100, 1000]),
        (3.9, 4.8, [4, 4.2, 4.4, 4.6, 4.8]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert plotting.log_ticks(low, high) == pytest.approx(ticks)


def test_ticks_at_given_places_do_not_crowd() -> None:
    assert plotting.log_ticks(10, 1000, [10, 11, 50, 1000]) == [11, 50, 1000]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([0.9, 0.5, 0.1], [0.9, 0.5, 0.1]),
        ([0.5, 0.5], [0.55, 0.45]),
        ([1.0, 1.0, 0.5], [1.0, 0.9, 0.5]),
        ([0.0, 0.0], [0.1, 0.0]),
        ([2.0, -1.0], [1.0, 0.0]),
        ([], []),
    ],
)
def test_names_move_apart(wanted: list[float], found: list[float]) -> None:
    assert plotting.spread(wanted, 0.1) == pytest.approx(found)


# --- samples and files ---------------------------------------------------------------------------


def test_a_strip_has_a_row_for_each_label() -> None:
    images = {"ddpm 1000": pictures(5), HOSTILE: pictures(5)[::-1]}
    plain = curves.strip(images)
    told = curves.strip(images, {"ddpm 1000": 1000.0})
    tile = 6 * 8  # 8 pixels are enlarged to 48, a whole factor
    assert plain.width >= 5 * tile and plain.height >= 2 * tile
    assert told.width >= plain.width
    pixels = np.asarray(told.convert("L"))
    blocks = images["ddpm 1000"][0, 0].repeat(6, 0).repeat(6, 1)
    views = np.lib.stride_tricks.sliding_window_view(pixels[:80], (tile, tile))
    assert (views[:, ::1, ::16, ::16] == blocks[::16, ::16]).all((2, 3)).any()


def test_a_strip_needs_as_many_images_in_every_row() -> None:
    with pytest.raises(ValueError, match="a has 2, b has 3"):
        curves.strip({"a": pictures(2), "b": pictures(3)})
    with pytest.raises(ValueError, match="at least one row"):
        curves.strip({})


def test_files_are_written(tmp_path: Path) -> None:
    written = speed.write(three(), tmp_path / "new", curves.strip({"ddpm 1000": pictures(4)}))
    assert [p.name for p in written] == [
        *("speed.txt", "speed.md", "speed.csv", "speed.tex"),
        *("speed-quality.png", "speed-latency.png", "speed-steps.png", "speed-samples.png"),
    ]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(p.name for p in written)
    page = (tmp_path / "new" / "speed.md").read_text("utf-8")
    linked = re.findall(r"^!\[(.+)\]\((.+)\)$", page, re.MULTILINE)
    assert [name for _, name in linked] == [p.name for p in written[4:]]
    for path in written[4:]:
        Image.open(path).verify()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        speed.write(gan(), tmp_path / "file" / "x")


def test_a_single_row_has_tables_only(tmp_path: Path) -> None:
    written = speed.write(gan(), tmp_path)
    assert [p.suffix for p in written] == [".txt", ".md", ".csv", ".tex"]
    assert "![" not in (tmp_path / "speed.md").read_text("utf-8")


def test_importing_is_light_and_loads_no_torch() -> None:
    here = str(Path(__file__).parent)
    script = """
import sys
from genbench.report import curves, published, speed
heavy = {"torch", "pandas", "PIL", "scipy", "tabulate", "jinja2", "matplotlib"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
sys.path.insert(0, sys.argv[1])
from speed_samples import three
for fmt in ("text", "markdown", "csv"):
    speed.render(three(), fmt)
assert not {"torch", "matplotlib"} & set(sys.modules)
curves.draw(three())
assert not {"torch", "matplotlib.pyplot"} & set(sys.modules)
speed.render(three(), "latex")  # some versions of pandas load pyplot for it
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script, here], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
