"""Rows from times and scores: speed-ups, ratios, changes of quality, against made-up numbers."""

import math

import numpy as np
import pytest

from genbench.record import Record
from genbench.speed.assemble import assemble
from genbench.speed.measure import CONTROL, Measured, row_key
from genbench.speed.request import plan
from genbench.speed.result import Settings
from genbench.stats import Score, mean_interval, student_t
from genbench.timing import Timing

SETTINGS = Settings(batch=4, batches=(1, 4), rounds=2, warmup=1)


def measured(planned, seconds):
    """A measurement in which row i takes seconds[i] for one image, and 2 seconds[i] for four."""
    keys = [row_key(row.options) for row in planned.rows]

    def timings(s):
        wobble = (1.0, 1.01, 1.02, 1.03)
        return {
            size: Timing(visits=tuple((f * s * w,) for w in wobble), batch=size)
            for size, f in ((1, 1), (4, 2))
        }

    nfe = {key: float(row.options["steps"]) for key, row in zip(keys, planned.rows, strict=True)}
    times = {key: timings(s) for key, s in zip(keys, seconds, strict=True)}
    cheapest = min(nfe, key=lambda row: (nfe[row], row))
    return Measured(
        key="k",
        settings=SETTINGS,
        timings=times | {CONTROL: times[cheapest]},
        sweep={},
        nfe=nfe,
        cheapest=cheapest,
        stages={key: {"net": 1.0, "rest": 0.0} for key in keys},
        peaks=dict.fromkeys(keys, 1),
        images={key: np.zeros((1, 1, 8, 8), np.uint8) for key in keys},
    )


def records(planned, values):
    """Records with the FD values[row][seed], standard error 1."""
    found = {}
    for row, per_seed in zip(planned.rows, values, strict=True):
        for cell, value in zip(row.cells, per_seed, strict=True):
            fd = next(m for m in cell.metrics if m.name == "fd")
            score = Score(value=value, stderr=1.0, ci95=(value - 2, value + 2), n=360)
            found[cell.key] = Record(
                key=cell.key, cell=cell, kind="diffusion", status="ok", scores={fd.id: score}
            )
    return found


FD = "fd@digits-cnn/digits:train/n360"


def test_speed_ups_ratios_and_units():
    planned = plan("ddpm", ["steps=50", "samplers=ddim"])
    result = assemble(planned, measured(planned, [10.0, 0.5]), {}, "cpu")
    reference, row = result.rows
    assert (reference.speedup, reference.nfe_ratio, reference.reference) == (1.0, 1.0, True)
    assert row.speedup == pytest.approx(20) and row.nfe_ratio == 20
    assert row.speedup_single.value == pytest.approx(20)
    median = 0.5 * 2 * (1.01 + 1.02) / 2
    assert row.ms_per_image == pytest.approx(1000 * median / 4)
    assert row.images_per_second == pytest.approx(4 / median)
    assert row.latency_ms == pytest.approx(1000 * 0.5 * 1.015)
    assert result.control.value == 1.0 and result.fit is None
    assert (row.eta, reference.eta) == (0.0, 1.0)


def test_changes_are_paired_over_seeds():
    planned = plan("ddpm", ["steps=50", "samplers=ddim", "seeds=0,1,2"])
    values = [[10.0, 20.0, 30.0], [11.0, 21.5, 31.0]]
    result = assemble(planned, measured(planned, [10.0, 0.5]), records(planned, values), "cpu")
    row = result.rows[1]
    mean, _, interval = mean_interval([1.0, 1.5, 1.0])
    assert row.changes[FD].value == pytest.approx(mean)
    assert row.changes[FD].ci95 == pytest.approx(interval)  # not the spread of the seeds, 10
    assert row.scores[FD].value == pytest.approx(sum(values[1]) / 3)
    assert row.seeds == (0, 1, 2) and not result.rows[0].changes


def test_one_seed_adds_the_errors_of_both():
    planned = plan("ddpm", ["steps=50", "samplers=ddim"])
    found = records(planned, [[10.0], [13.0]])
    row = assemble(planned, measured(planned, [10.0, 0.5]), found, "cpu").rows[1]
    half = student_t(19) * math.sqrt(2)
    assert row.changes[FD].value == 3.0
    assert row.changes[FD].ci95 == pytest.approx((3 - half, 3 + half))
    assert "one training" in row.changes[FD].method


def test_a_row_whose_score_is_missing_has_times_all_the_same():
    planned = plan("ddpm", ["steps=50", "samplers=ddim"])
    found = records(planned, [[10.0], [13.0]])
    del found[planned.rows[1].cells[0].key]
    row = assemble(planned, measured(planned, [10.0, 0.5]), found, "cpu").rows[1]
    assert row.scores == {} and row.changes == {} and row.speedup == pytest.approx(20)


def test_the_line_of_fit_finds_its_slope():
    planned = plan("ddpm", ["steps=1000,100,10", "samplers=ddim", "against=none"])
    seconds = [0.1 + 0.002 * row.options["steps"] for row in planned.rows]
    fit = assemble(planned, measured(planned, seconds), {}, "cpu").fit
    scale = 2 * 1.015 / 4  # a batch of four takes twice as long; the median visit
    assert fit.slope == pytest.approx(0.002 * scale) and fit.start == pytest.approx(0.1 * scale)
    assert fit.r2 == pytest.approx(1)
    assert max(map(abs, fit.residuals)) < 1e-9
