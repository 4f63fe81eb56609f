"""Quality by noise and steps in one grid: who stands where, and what is left out."""

import pytest
from speed_samples import result, row

from genbench.report.speed import render
from genbench.report.speed_grid import by_noise
from genbench.stats import Score

FD = "fd@digits-cnn/digits:train/n360"


def cell(value, **fields):
    score = Score(value=value, ci95=(value - 1, value + 1), n=360)
    return row(**fields).model_copy(update={"scores": {FD: score}})


ROWS = [
    cell(4.0, sampler="ddim", eta=0.0, steps=1000, spacing="trailing"),
    cell(9.0, sampler="ddim", eta=0.0, steps=10, spacing="trailing"),
    cell(8.0, sampler="ddim", eta=0.0, steps=10, spacing="quadratic"),
    cell(20.0, sampler="ddim", eta=1.0, steps=10, spacing="trailing"),
    cell(99.0, sampler="ddpm", eta=1.0, steps=10, spacing="leading", variance="large"),
    cell(7.0, sampler="heun", eta=0.0, steps=10, spacing="karras"),
]


def lines(rows):
    metric, table = by_noise(result(*rows))
    assert metric.id == FD
    return list(zip(*table.values(), strict=True)), list(table)


def test_rows_are_spacings_and_noises_columns_are_steps():
    found, header = lines(ROWS)
    assert header == ["spacing", "noise", "10 steps", "1000 steps"]
    assert ("trailing", "η = 0", "9.0 ± 1.0", "4.0 ± 1.0") in found
    assert ("quadratic", "η = 0", "8.0 ± 1.0", "–") in found
    assert ("leading", "σ̂", "99.0 ± 1.0", "–") in found
    assert not [line for line in found if "karras" in line]


def test_sequences_of_all_levels_share_their_row():
    found, _ = lines([*ROWS, cell(9.5, sampler="ddim", eta=0.0, steps=10, spacing="leading")])
    assert ("leading", "η = 0", "9.5 ± 1.0", "4.0 ± 1.0") in found


def test_the_published_rows_stand_below():
    found, _ = lines(ROWS)
    published = {noise: values for place, noise, *values in found if place.startswith("published")}
    assert list(published) == ["η = 0", "η = 1", "σ̂"]
    assert published == {
        "η = 0": ["13.36", "4.04"],
        "η = 1": ["41.07", "4.73"],
        "σ̂": ["367.43", "3.17"],
    }


@pytest.mark.parametrize("rows", [ROWS[:2], ROWS[1:2] + ROWS[3:4], ROWS[5:]])
def test_one_noise_or_one_step_count_is_no_grid(rows):
    assert by_noise(result(*rows)) is None


def test_markdown_holds_the_grid():
    assert "| trailing" in render(result(*ROWS), "markdown")
    assert "by noise and steps" in render(result(*ROWS), "markdown")
