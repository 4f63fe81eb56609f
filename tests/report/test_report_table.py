import csv
import io
import math
import re
import subprocess
import sys

import pandas as pd
import pytest
from report_samples import FD, IS, cell, failure, record

from genbench import registry
from genbench.record import Counters, Record, Timings
from genbench.report import frame, render
from genbench.report.rows import collect, columns_of, named_as
from genbench.report.table import human
from genbench.spec import Cell, ConfigError

DDPM = {"sampler": "ddpm", "steps": 1000, "eta": 0.0}
DDIM = {"sampler": "ddim", "steps": 50, "eta": 0.0}
FD_ID = "fd@digits-cnn/digits:train/n360"
HOSTILE = (
    "a|b \x1b[31mred\x1b[0m \x1b]8;;http://x\x07link `c` $d$ <e> \\f\n"
    "next\u202eline \\input{x} 50%"
)


def labels(*cells: Cell) -> list[str]:
    return list(frame([record(c, 1.0) for c in cells], cells)["model"])


# --- rows ----------------------------------------------------------------------------------------


def test_rows_are_grouped_by_kind_and_keep_the_plan_inside() -> None:
    names = ["real", "pix2pix", "ddpm", "dcgan", "vae", "cgan", "mine"]
    cells = [cell(name) for name in names]
    records = [record(c, 1.0) for c in cells[:-1]] + [record(cells[-1], 1.0, kind="flow")]
    table = frame(list(reversed(records)), cells)
    assert list(table["model"]) == ["dcgan", "cgan", "vae", "ddpm", "mine", "pix2pix", "real"]
    text = render(table, "text").splitlines()
    assert [line.split()[0] for line in text[1:8]] == [
        *("GAN", "cgan", "autoencoder", "diffusion", "flow", "translation", "reference")
    ]


def test_seeds_are_one_row_with_their_mean_and_student_interval() -> None:
    cells = [cell("dcgan", seed=s) for s in range(3)]
    table = frame([record(c, v) for c, v in zip(cells, (1.0, 2.0, 6.0), strict=True)], cells)
    assert len(table) == 1
    row = table.iloc[0]
    # mean 3, deviations -2 -1 3: s^2 = 14/2 = 7, stderr = sqrt(7/3), t(2) = 4.30265
    half = 4.302652729911275 * math.sqrt(7 / 3)
    assert row[FD_ID] == pytest.approx(3.0)
    assert row[f"{FD_ID} ci95 low"] == pytest.approx(3 - half)
    assert row[f"{FD_ID} ci95 high"] == pytest.approx(3 + half)
    assert (row["seeds"], row["seeds_ok"]) == (3, 3)
    assert "Student t over 3 training seeds" in render(table, "text")


def test_sampling_seeds_of_one_training_are_averaged_first() -> None:
    cells = [cell("dcgan", seed=s, sample_seed=t) for s in (0, 1) for t in (0, 1)]
    values = (1.0, 3.0, 5.0, 7.0)  # trainings: 2 and 6
    row = frame([record(c, v) for c, v in zip(cells, values, strict=True)], cells).iloc[0]
    assert row[FD_ID] == pytest.approx(4.0)
    # two values 4 apart: stderr = 2, t(1) = 12.7062
    assert row[f"{FD_ID} ci95 high"] == pytest.approx(4 + 12.706204736432095 * 2)


def test_seeds_of_sampling_alone_say_so() -> None:
    cells = [cell("dcgan", sample_seed=t) for t in (0, 1)]
    table = frame([record(c, float(i)) for i, c in enumerate(cells)], cells)
    assert len(table) == 1
    assert "Student t over 2 sampling seeds" in render(table, "text")


def test_one_seed_shows_its_own_interval() -> None:
    table = frame([record(cell("dcgan"), 12.34, half=0.81)])
    row = table.iloc[0]
    assert (row[f"{FD_ID} ci95 low"], row[f"{FD_ID} ci95 high"]) == (12.34 - 0.81, 12.34 + 0.81)
    assert "12.3 ± 0.8" in render(table, "text")
    assert "jackknife, 20 groups of samples" in render(table, "text")


def test_counters_are_means_over_seeds() -> None:
    cells = [cell("dcgan", seed=s) for s in (0, 1)]
    times = [Timings(train=10.0, ms_per_image=1.0), Timings(train=20.0, ms_per_image=4.0)]
    row = frame([record(c, 1.0, timings=t) for c, t in zip(cells, times, strict=True)]).iloc[0]
    assert (row["train_seconds"], row["ms_per_image"]) == (15.0, 2.5)


def test_labels_show_sampler_steps_and_eta() -> None:
    cells = [cell("ddpm", options=o) for o in (DDPM, DDIM, DDIM | {"eta": 0.5})]
    assert labels(*cells) == ["ddpm (ddpm-1000)", "ddpm (ddim-50)", "ddpm (ddim-50, eta=0.5)"]


def test_labels_show_what_differs_and_nothing_else() -> None:
    assert labels(cell("ddpm", options=DDIM, weights="ema")) == ["ddpm (ddim-50)"]
    assert labels(*(cell("ddpm", options=DDIM, weights=w) for w in ("ema", "raw"))) == [
        "ddpm (ddim-50, ema)",
        "ddpm (ddim-50, raw)",
    ]
    configs = ({"lr": 1e-3, "batch": 64}, {"lr": 2e-4, "batch": 64})
    assert labels(*(cell("dcgan", config=c) for c in configs)) == [
        "dcgan (lr=0.001)",
        "dcgan (lr=0.0002)",
    ]
    assert labels(*(cell("dcgan", images=i) for i in (1000, 2000))) == [
        "dcgan (budget.images=1000)",
        "dcgan (budget.images=2000)",
    ]
    assert labels(cell("dcgan", images=1000), cell("dcgan", images=None, flops=2e12)) == [
        "dcgan (budget.images=1000)",
        "dcgan (budget.flops=2e+12)",
    ]


def test_labels_show_what_defines_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"dcgan": ("loss", "bn", "depth"), "ddpm": ("clip_x0",)}
    monkeypatch.setattr(registry, "defining", lambda name: told.get(name, ()))
    config = {"loss": "hinge", "bn": True, "lr": 1e-3}
    assert labels(cell("dcgan", config=config)) == ["dcgan (hinge, bn)"]
    others = ({"bn": False, "depth": 2}, {"lr": 1e-4})
    assert labels(*(cell("dcgan", config=config | c) for c in (*others, {"loss": "r1"}))) == [
        "dcgan (hinge, no bn, depth=2)",
        "dcgan (hinge, bn)",
        "dcgan (r1, bn)",
    ]
    configs = (config, config | {"lr": 1e-4})
    assert labels(*(cell("dcgan", config=c) for c in configs)) == [
        "dcgan (hinge, bn, lr=0.001)",
        "dcgan (hinge, bn, lr=0.0001)",
    ]
    assert labels(cell("dcgan", config={"loss": "none"})) == ["dcgan (no loss)"]
    assert labels(cell("ddpm", options=DDIM | {"clip_x0": False})) == [
        "ddpm (no clip_x0, ddim-50)"
    ]


def test_rows_of_an_earlier_table_are_found_under_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "defining", lambda name: ("loss",))
    configs = [{"loss": loss} for loss in ("hinge", "r1")]
    one, two = (
        collect([], [cell("dcgan", config=c) for c in cs], {}) for cs in (configs[:1], configs)
    )
    old = collect([], [cell("dcgan")], {})
    assert [row.label for row in old] == ["dcgan"]
    assert [row.label for row in named_as(one, ["dcgan"])] == ["dcgan"]
    assert [row.label for row in named_as(one, ["dcgan", "dcgan (hinge)"])] == ["dcgan (hinge)"]
    assert [row.label for row in named_as(two, ["dcgan", "dcgan (loss=r1)"])] == [
        "dcgan (hinge)",  # "dcgan" could be either
        "dcgan (loss=r1)",
    ]


def test_labels_show_the_dataset_when_there_are_several() -> None:
    assert labels(cell("dcgan"), cell("dcgan", dataset="mnist@32")) == [
        "dcgan on digits",
        "dcgan on mnist@32",
    ]


def test_labels_are_never_equal() -> None:
    found = labels(*(cell("dcgan", config={"lr": lr}) for lr in (1e-3, 1e-3 + 1e-12)))
    assert len(set(found)) == 2


# --- columns -------------------------------------------------------------------------------------


def headers(*metrics: object) -> list[str]:
    rows = collect([], [cell("dcgan", metrics=(m,)) for m in metrics], {})  # type: ignore[arg-type]
    return [column.header for column in columns_of(rows)]


def test_fid_is_inception_and_nothing_else() -> None:
    for name in ("fd", "fid"):
        assert headers(FD.model_copy(update={"name": name})) == ["FD (digits-cnn)"]
        inception = FD.model_copy(update={"name": name, "extractor": "inception"})
        assert headers(inception) == ["FID"]
    assert headers(IS) == ["IS (digits-cnn)"]
    assert headers(IS.model_copy(update={"extractor": "inception"})) == ["IS"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"n": 180}, ["FD (digits-cnn, n=360)", "FD (digits-cnn, n=180)"]),
        (
            {"reference": "digits:test"},
            ["FD (digits-cnn, digits:train)", "FD (digits-cnn, digits:test)"],
        ),
        (
            {"weights": "cd34" * 16},
            ["FD (digits-cnn, weights ab12ab12)", "FD (digits-cnn, weights cd34cd34)"],
        ),
        ({"protocol": "tf1"}, ["FD (digits-cnn, no protocol)", "FD (digits-cnn, tf1)"]),
    ],
)
def test_different_protocols_never_share_a_column(
    change: dict[str, object], expected: list[str]
) -> None:
    other = FD.model_copy(update=change)
    assert headers(FD, other) == expected
    cells = [cell("dcgan", metrics=(FD,)), cell("cgan", metrics=(other,))]
    table = frame([record(c, v) for c, v in zip(cells, (1.0, 2.0), strict=True)], cells)
    first, second = table.attrs["metrics"]
    assert table[first].tolist()[0] == 1.0 and math.isnan(table[first].tolist()[1])
    assert math.isnan(table[second].tolist()[0]) and table[second].tolist()[1] == 2.0


def test_headers_are_never_equal() -> None:
    inception = [
        FD.model_copy(update={"extractor": "inception", "name": n}) for n in ("fd", "fid")
    ]
    assert len(set(headers(*inception))) == 2


# --- failed and missing cells --------------------------------------------------------------------


def test_failed_timed_out_and_missing_cells_are_rows() -> None:
    cells = [cell("dcgan"), cell("cgan"), cell("vae"), cell("ddpm", options=DDIM)]
    records = [
        record(cells[0], 1.0),
        record(cells[1], status="failed", error=failure("loss is nan", rerun="genbench run x")),
        record(cells[2], status="timeout", error=failure("more than 60 s")),
    ]
    table = frame(records, cells)
    assert table["status"].tolist() == ["ok", "failed", "timeout", "not run"]
    assert table["reason"].tolist()[1] == "train: RuntimeError: loss is nan"
    text = render(table, "text")
    assert (
        "cgan, seed 0, failed in train: RuntimeError: loss is nan. Rerun: genbench run x" in text
    )
    assert "Not run: 1 cell of the plan." in text
    assert "`genbench run x`" in render(table, "markdown")


def test_a_row_with_failed_seeds_counts_them() -> None:
    cells = [cell("dcgan", seed=s) for s in range(4)]
    records = [record(c, v) for c, v in zip(cells[:2], (1.0, 3.0), strict=True)]
    records.append(record(cells[2], status="failed", error=failure()))
    table = frame(records, cells)
    row = table.iloc[0]
    assert (row["seeds"], row["seeds_ok"], row["status"]) == (4, 2, "partial")
    assert row["reason"] == "1 failed, 1 not run: train: RuntimeError: loss is nan"
    assert row[FD_ID] == 2.0
    assert "2/4" in render(table, "text")


def test_kinds_of_cells_that_did_not_run_come_from_the_caller() -> None:
    cells = [cell("mine"), cell("dcgan"), cell("real")]
    records = [record(cells[1], 1.0), record(cells[2], 1.0)]
    assert frame(records, cells)["kind"].tolist() == ["gan", "other", "reference"]
    kinds = frame(records, cells, kinds={"mine": "diffusion"})["kind"]
    assert kinds.tolist() == ["gan", "diffusion", "reference"]


def test_records_outside_the_plan_are_left_out_and_counted() -> None:
    cells = [cell("dcgan"), cell("vae")]
    table = frame([record(c, 1.0) for c in cells], cells[:1])
    assert table["model"].tolist() == ["dcgan"]
    assert "Left out: 1 cell of earlier runs" in render(table, "text")


@pytest.mark.parametrize("fmt", ["text", "markdown", "csv", "latex"])
def test_no_cells_at_all(fmt: str) -> None:
    assert render(frame([], []), fmt)  # type: ignore[arg-type]


# --- printed forms -------------------------------------------------------------------------------


def hostile() -> "pd.DataFrame":
    bad = cell("dcgan", config={"note": HOSTILE})
    good = cell("dcgan", config={"note": "x"})
    error = failure(HOSTILE, rerun="genbench run `x` | cat\n")
    return frame([record(bad, status="failed", error=error), record(good, 1.0)], [bad, good])


@pytest.mark.parametrize("fmt", ["text", "markdown", "csv", "latex"])
def test_no_control_characters_come_through(fmt: str) -> None:
    text = render(hostile(), fmt)  # type: ignore[arg-type]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert "[31m" not in text and "http" not in text


def test_markdown_cells_do_not_break_the_table() -> None:
    lines = [li for li in render(hostile(), "markdown").splitlines() if li.startswith("|")]
    assert len(lines) == 4
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "<e>" not in "".join(lines).replace(r"\<e\>", "")


def test_markdown_commands_keep_their_backticks() -> None:
    assert "`` genbench run `x` | cat ``" in render(hostile(), "markdown")


def test_latex_is_escaped() -> None:
    text = render(hostile(), "latex")
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    assert r"\textbackslash{}f" in body and r"\$d\$" in body
    assert not re.search(r"(?<!\\)[%$#_](?!\\?(pm|downarrow))", body.replace(r"$\pm$", ""))
    assert text.count(r"\\") == 3  # a header and two rows
    comments = text[: text.index(r"\begin{table}")].splitlines()
    assert all(line.startswith("%") for line in comments)


def test_csv_round_trip() -> None:
    cells = [cell("dcgan", metrics=(FD, IS)), cell("vae", metrics=(FD, IS))]
    table = frame([record(cells[0], 12.345678901, 9.87, half=0.123456789)], cells)
    text = render(table, "csv")
    back = pd.read_csv(io.StringIO(text), keep_default_na=True)
    assert list(back.columns) == list(table.columns)
    assert back[FD_ID].tolist()[0] == 12.345678901
    # the text itself: the reader of some versions of pandas is a last digit off
    first = next(csv.DictReader(io.StringIO(text)))
    assert float(first[f"{FD_ID} ci95 low"]) == 12.345678901 - 0.123456789
    assert back["params"].tolist()[0] == 123456
    assert math.isnan(back[FD_ID].tolist()[1])
    assert back["status"].tolist() == ["ok", "not run"]
    assert back["cells"].tolist() == [c.key for c in cells]


def test_people_read_compact_numbers() -> None:
    counters = Counters(nfe=1000, params=1_234_567, train_images=60_000, train_flops=1.2e12)
    text = render(frame([record(cell("dcgan"), 1.0, counters=counters)]), "text")
    for shown in ("1000", "1.23 M", "60 k", "1.2 T", "12.2"):
        assert shown in text


def test_notes_name_metrics_data_and_machine() -> None:
    text = render(frame([record(cell("dcgan", metrics=(FD, IS)), 1.0, 2.0)]), "text")
    assert f"FD (digits-cnn) is {FD_ID}, weights sha256 ab12ab12ab12" in text
    assert "Data digits: train 1437, test 360, split seed 0." in text
    assert "Machine: Test CPU, 2 cores, 1 thread, torch 2.15.0." in text


AUTH = FD.model_copy(update={"name": "auth_pct"})


def copied(half: float = 2.0, **auth: float) -> pd.DataFrame:
    """Rows with an FD of 2.5 and these values of AuthPct."""
    cells = [cell(name, metrics=(FD, AUTH)) for name in auth]
    pairs = zip(cells, auth.values(), strict=True)
    return frame([record(c, 2.5, value, half=half) for c, value in pairs], cells)


def test_distances_of_near_copies_are_marked_wherever_they_are_printed() -> None:
    table = copied(vae=34.0, ddpm=49.0, real=50.0)
    assert dict(zip(table["model"], table["near_copies"], strict=True)) == {
        "vae": True, "ddpm": False, "real": False,
    }  # fmt: skip
    for fmt in ("text", "markdown", "latex"):
        text = render(table, fmt)  # type: ignore[arg-type]
        assert text.count("2.0, near copies") == 1, fmt
        assert (
            "vae gives near copies: AuthPct (digits-cnn) is 34, where real images have 50" in text
        )
    assert table[FD_ID].tolist() == [2.5, 2.5, 2.5]  # numbers stay numbers


def test_near_copies_need_real_images_and_a_clear_gap_to_be_marked() -> None:
    assert not copied(vae=34.0, ddpm=49.0)["near_copies"].any()
    assert not copied(vae=42.0, real=50.0)["near_copies"].any()
    assert not copied(half=9.0, vae=34.0, real=50.0)["near_copies"].any()


def test_notes_tell_budgets_in_words() -> None:
    planned = [cell("dcgan"), cell("vae", images=None, flops=1e12), cell("real", images=None)]
    text = render(frame([record(c, 1.0) for c in planned], planned), "text")
    assert "Budget: 60,000 image updates (every update counts its images, so a GAN's two" in text
    assert "Budget: 1e+12 training FLOPs." in text and text.count("Budget: ") == 2


def test_a_warm_up_that_is_longer_than_the_training_is_told() -> None:
    long, short = (cell(name, config={"warmup": 60_001}) for name in ("ddpm", "vae"))
    trained = Counters(train_images=90_000)
    text = render(frame([record(long, 1.0), record(short, 1.0, counters=trained)]), "text")
    assert "ddpm: its learning rate was rising to the end, as the warm-up of 60,001" in text
    assert text.count("rising to the end") == 1


def test_updates_and_images_of_data_stand_beside_image_updates() -> None:
    counted = Counters(train_updates=469, train_images=120_000, train_data=60_000, train_flops=1e9)
    table = human(frame([record(cell("dcgan"), 1.0, counters=counted)]))
    head = list(table.columns)
    start = head.index("updates")
    assert head[start : start + 4] == ["updates", "image updates", "images of data", "train FLOPs"]
    assert list(table.iloc[0])[start : start + 3] == ["469", "120 k", "60 k"]
    older = list(human(frame([record(cell("dcgan"), 1.0)])).columns)
    assert "image updates" in older and not {"updates", "images of data"} & {*older}


@pytest.mark.parametrize("fmt", ["text", "markdown", "csv", "latex"])
def test_same_records_same_bytes_in_any_order(fmt: str) -> None:
    cells = [cell("ddpm", seed=s, options=o) for o in (DDPM, DDIM) for s in (1, 0)]
    records: list[Record] = [record(c, float(i)) for i, c in enumerate(cells)]
    for order in (None, cells):
        forward = render(frame(records, order), fmt)  # type: ignore[arg-type]
        assert forward == render(frame(records[::-1], order), fmt)  # type: ignore[arg-type]


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'markdown'"):
        render(frame([]), "markdwn")  # type: ignore[arg-type]


def test_importing_the_report_is_light() -> None:
    script = "import genbench.report, sys; print([m for m in "
    script += "('torch', 'pandas', 'PIL', 'scipy', 'tabulate', 'jinja2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_rendering_loads_no_torch() -> None:
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from report_samples import cell, record
from genbench.report import frame, render
records = [record(cell("dcgan", seed=s), 1.0 + s) for s in (0, 1)]
for fmt in ("text", "markdown", "csv", "latex"):
    render(frame(records), fmt)
assert "torch" not in sys.modules
"""
    here = str(__import__("pathlib").Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", script, here], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
