"""What data and specifications alone rule out is refused before anything is trained."""

import numpy as np
import pytest
from PIL import Image
from toys import cells, suite_file

from genbench import ahead, cli
from genbench.spec import ConfigError


def folder(root, train, test, size=8):
    """Images of noise in class folders: so many of each class in both splits."""
    rng = np.random.default_rng(0)
    for split, counts in (("train", train), ("test", test)):
        for name, count in counts.items():
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (size, size), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return f"dataset=imagefolder:{root}"


def checked(tmp_path, rows, *changes):
    return ahead.check(cells(suite_file(tmp_path, rows), *changes))


TWO = {"0": 6, "1": 6}


@pytest.mark.parametrize(
    ("row", "changes", "data", "said"),
    [
        ("dcgan", (), (TWO, TWO, 9), r"dcgan on imagefolder:.*cannot build .* 9x9 images"),
        ("dcgan", ("budget.images=1",), (TWO, TWO), "budget.images=1 does not pay for one image"),
        ("cgan", ("task=class_label",), (TWO, {"0": 6, "1": 6, "2": 6}), "no image of class '2'"),
        ("cgan", ("task=class_label",), ({"0": 6, "1": 6, "2": 6}, TWO), "no image of class '2'"),
        (
            "cgan",
            ("task=class_label",),
            ({"0": 6}, {"0": 6}),
            "needs two classes or more, and there is only '0'",
        ),
        (
            "truth",
            ("task=class_label", "metrics=accuracy"),
            ({"zero": 6, "one": 6}, {"zero": 6, "one": 6}),
            "digits-cnn knows no class 'one'",
        ),
        ("sr_regression", ("task=low_res:2", "n=13"), (TWO, TWO), "has 12 questions"),
    ],
)
def test_is_refused_in_a_sentence(tmp_path, row, changes, data, said):
    train, test, *size = data
    named = folder(tmp_path / "made", train, test, *size)
    first = ("metrics=fd", "n=4", named)
    with pytest.raises(ConfigError, match=said):
        checked(tmp_path, [f'baseline = "{row}"'], *first, *changes)


def test_more_than_scenes_has_questions_is_refused_without_drawing_them(tmp_path):
    of = ("dataset=scenes@16", "task=layout", "metrics=layout_class", "n=2001")
    with pytest.raises(ConfigError, match="2,000 questions"):
        checked(tmp_path, ['baseline = "truth"'], *of, "extractor=pixels")


def test_what_fits_passes_and_a_long_warm_up_is_told(tmp_path):
    rows = ['baseline = "ddpm"', 'baseline = "dcgan"', 'baseline = "real"']
    assert checked(tmp_path, rows, "ddpm.warmup=0") == []
    for budget in ("budget.images=600", "budget.steps=4", "budget.updates=4"):
        (told,) = checked(tmp_path, rows, "ddpm.warmup=100000", "ddpm.batch=128", budget)
        assert told.startswith("ddpm: its warm-up of 100,000 images is longer than its training")


def test_nothing_runs_where_a_later_row_is_refused(tmp_path, capsys):
    path = suite_file(tmp_path, ['baseline = "vae"', 'baseline = "dcgan"'])
    out = tmp_path / "out"
    arguments = ["run", str(path), "budget.images=1", "--executor", "inline", "--threads", "1"]
    assert cli.main([*arguments, "--out", str(out)]) == 2
    assert "set budget.images=2 or more" in capsys.readouterr().err
    assert not (out / "artifacts").exists() and not list(out.glob("records/*"))
