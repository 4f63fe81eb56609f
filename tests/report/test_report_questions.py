"""Pictures of samples beside their questions: what stands where, and what is left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import task_samples
from PIL import Image
from report_samples import cell, pictures, record

from genbench.report import write
from genbench.report.grid import BACKGROUND, font, grid, sheet, stacked
from genbench.report.pictures import failures
from genbench.report.questions import (
    Shown,
    brought,
    by_class,
    cards,
    picture,
    question_strip,
    read,
    strips,
)
from genbench.report.rows import collect
from genbench.store import Artifact, Store

RED = np.array((176, 52, 32))


def array(drawn: Image.Image) -> np.ndarray:
    return np.asarray(drawn)


def flat(count: int, size: int, *values: int, channels: int = 3) -> np.ndarray:
    """Images of one colour each, which differ."""
    out = np.empty((count, channels, size, size), np.uint8)
    for i in range(count):
        out[i] = values[i % len(values)]
    return out


def near_red(pixels: np.ndarray) -> int:
    return int((np.abs(pixels.astype(int) - RED).sum(-1) < 30).sum())


# --- cards ---------------------------------------------------------------------------------------


def test_triples_stand_side_by_side_enlarged_to_one_size() -> None:
    made = pictures(9, 3, 32)
    asked = np.ascontiguousarray(made[:, :1, ::4, ::4])  # 8 pixels, grey
    truth = 255 - made
    drawn = array(cards(Shown(made, asked, truth, aligned=True)))
    # 64 pixels each, 2 between, 14 around a card, 22 for the names; four in a line
    assert drawn.shape == (14 + 22 + 3 * (64 + 14), 14 + 4 * (3 * 66 - 2 + 14), 3)
    for i in (0, 3, 4, 8):
        top, left = 36 + i // 4 * 78, 14 + i % 4 * 210
        for place, (images, scale) in enumerate(((asked, 8), (made, 2), (truth, 2))):
            tile = drawn[top : top + 64, left + place * 66 : left + place * 66 + 64]
            wanted = np.broadcast_to(images[i].transpose(1, 2, 0), (64 // scale,) * 2 + (3,))
            assert (tile == wanted.repeat(scale, 0).repeat(scale, 1)).all()


def test_pairs_where_there_is_no_right_answer() -> None:
    made = pictures(4, 3, 32)
    pair, triple = (array(cards(Shown(made, made, t))) for t in (None, made))
    assert triple.shape[1] - pair.shape[1] == 4 * 66


def test_names_of_the_columns_tell_an_answer_from_the_answer() -> None:
    made = pictures(1, 3, 32)
    drawn = [array(cards(Shown(made, made, made, aligned=a))) for a in (True, False)]
    assert (drawn[0][36:] == drawn[1][36:]).all() and (drawn[0][:36] != drawn[1][:36]).any()


def test_words_stand_below_their_sample_and_reasons_in_red() -> None:
    made = flat(3, 32, 90)
    texts = ("a red star", "a " + "very " * 40 + "long caption", "a box")
    plain = array(cards(Shown(made, texts=texts)))
    wrong = array(cards(Shown(made, texts=texts, reasons={"m": ("", "", "no box")})))
    assert near_red(plain) == 0 and near_red(wrong) > 10
    left = 14 + 2 * (128 + 14)
    assert near_red(wrong[:, left - 4 :]) == near_red(wrong), "below its own sample"
    assert near_red(wrong[: 14 + 128]) == 0, "not on the image"
    ink = (plain != BACKGROUND).any(-1)
    for i in range(3):
        x = 14 + i * 142
        assert ink[14 : 14 + 128, x : x + 128].all()
        assert ink[14 + 130 :, x : x + 128].any(), "the caption"
        assert not ink[:, x + 128 : x + 142].any(), "words stay inside their card"
    lines = ink[14 + 128 + 4 :, 14 + 142 : 14 + 270]
    assert len(lines) == 6 * 15 + 14, "six lines at most"


@pytest.mark.parametrize("text", ["x" * 400, "\x1b[31mred\u202e", "", "字" * 50, "a\nb\tc"])
def test_any_text_can_be_drawn(text: str) -> None:
    made = pictures(2, 3, 32)
    shown = read(made, Artifact({}, {"texts": [text] * 2, "reasons": {text: [text] * 2}}))
    for drawn in (cards(shown), picture(shown, "class_label")):
        ink = (array(drawn) != BACKGROUND).any(-1)
        assert drawn.width < 1000 and drawn.height < 400
        assert not ink[:, -5:].any(), "nothing is cut off at the edge"


def test_the_first_metric_that_finds_something_gives_the_reason() -> None:
    shown = Shown(pictures(3), reasons={"a": ("", "x", ""), "b": ("y", "z", "")})
    assert [shown.reason(i) for i in range(3)] == ["y", "x", ""]


def test_large_images_are_reduced() -> None:
    made = flat(2, 256, 10, 200)
    drawn = cards(Shown(made, flat(2, 64, 0), made))
    assert drawn.size == (14 + 2 * (3 * 66 - 2 + 14), 36 + 64 + 14)
    assert brought(made, 64).shape == (2, 3, 64, 64)


def test_a_picture_has_whole_lines_of_cards() -> None:
    made = pictures(64, 3, 32)
    assert cards(Shown(made)).height == 14 + 4 * (128 + 14), "24 cards in lines of six"
    assert cards(Shown(made[:7])).height == 14 + 2 * (128 + 14)


# --- classes -------------------------------------------------------------------------------------


def test_each_class_has_a_column_under_its_name() -> None:
    values = (10, 60, 110, 160)
    names = ("10", "9", "b", "a")
    made = flat(12, 32, *values)
    drawn = array(by_class(Shown(made, texts=names * 3)))
    beside = 2  # 10 // 4 images in a line of one class
    block = beside * 66 - 2 + 10
    for column, name in enumerate(("9", "10", "a", "b")):  # as people count
        left = 14 + column * block
        value = values[names.index(name)]
        for place in range(3):
            y, x = 34 + place // 2 * 66, left + place % 2 * 66
            assert (drawn[y : y + 64, x : x + 64] == value).all()
        empty = drawn[34 + 66 : 34 + 66 + 64, left + 66 : left + 130]
        assert (empty == BACKGROUND).all()
        assert (drawn[10:34, left : left + 64] != BACKGROUND).any(), "the name"
    assert near_red(drawn) == 0


def test_wrong_samples_of_a_class_have_a_red_frame() -> None:
    made = flat(2, 32, 90)
    drawn = array(by_class(Shown(made, texts=("a", "a"), reasons={"m": ("", "read as b")})))
    assert near_red(drawn) == 64 * 64 - 60 * 60
    assert near_red(drawn[:, : 14 + 64]) == 0


def test_many_classes_and_missing_names_become_cards() -> None:
    made = pictures(20, 3, 32)
    names = tuple(f"class {i}" for i in range(20))
    many, cardlike = (picture(Shown(made, texts=names), t) for t in ("class_label", "caption"))
    assert many.tobytes() == cardlike.tobytes()
    few = Shown(made, texts=("a", "b") * 10)
    assert picture(few, "class_label:x").tobytes() == by_class(few).tobytes()
    assert picture(few, "caption").tobytes() == cards(few).tobytes()


# --- strips and sheets ---------------------------------------------------------------------------


def test_strips_of_classes_have_some_of_each() -> None:
    shown = Shown(pictures(30), texts=("b", "a", "c") * 10)
    chosen, _ = strips(shown, "class_label:x")
    assert [shown.texts[i] for i in chosen] == ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    assert chosen[:4] == [1, 4, 7, 10]


def test_questions_are_pictures_as_wide_as_the_answers() -> None:
    shown = task_samples_shown("caption")
    words = question_strip(shown, 96)
    assert words is not None and words.shape[:2] == (64, 3) and words.shape[3] == 96
    asked = question_strip(task_samples_shown("low_res:4"), 64)
    assert asked is not None and asked.shape == (64, 3, 64, 64)
    assert question_strip(Shown(pictures(2)), 64) is None


def failures_of(shown: Shown) -> list[tuple[str, list[str]]]:
    (row,) = collect([], [cell("dcgan")], {})
    return failures(row, shown)


def test_failures_are_told_with_their_question() -> None:
    asked = Shown(pictures(3), texts=("a", "b", "c"), reasons={"m": ("", "no b", "")})
    heading = "dcgan: 1 of the first 3 samples fail"
    assert failures_of(asked) == [(heading, ["Sample 1, b: no b"])]
    silent = Shown(pictures(3), reasons={"m": ("", "x", "")})
    assert failures_of(silent) == [(heading, ["Sample 1: x"])]


def task_samples_shown(task: str) -> Shown:
    made, tensors, info = task_samples.answers(task, 0)
    return read(made, Artifact(tensors, info))


def test_a_sheet_has_a_title_and_room_for_labels() -> None:
    rows = [("a", pictures(4)), ("b", pictures(4))]
    plain, titled = sheet(rows), sheet(rows, title="some title")
    assert titled.height == plain.height + 30
    assert (array(titled)[46:] == array(plain)[16:]).all()
    assert sheet(rows, room=200).width == plain.width + 200 - round(font(15).getbbox("b")[2])
    quiet = array(sheet(rows, quiet=[1]))
    assert (quiet[:60] == array(plain)[:60]).all() and (quiet != array(plain)).any()


def test_stacked_pictures_are_whole() -> None:
    a, b = grid(pictures(3), columns=3), grid(pictures(5), columns=5)
    both = array(stacked([a, b]))
    assert both.shape[:2] == (a.height + b.height, b.width)
    assert (both[: a.height, : a.width] == array(a)).all()
    assert (both[a.height :] == array(b)).all()


# --- artifacts -----------------------------------------------------------------------------------


def test_read_keeps_as_many_samples_as_there_are_questions() -> None:
    made = pictures(64)
    info = {"texts": ["x"] * 5, "reasons": {"m": [""] * 5}, "aligned": True}
    shown = read(made, Artifact({"truth": pictures(5)}, info))
    assert len(shown.made) == 5 and shown.aligned and shown.asked is None
    silent = read(made, Artifact({}, {"texts": [""] * 64, "reasons": {"m": [""] * 64}}))
    assert silent.texts == () and failures_of(silent) == []
    bare = read(made, Artifact({}, {}))
    assert len(bare.made) == 64 and bare.texts == () and not bare.aligned


@pytest.mark.parametrize(
    ("tensors", "info", "said"),
    [
        ({"asked": pictures(3)}, {"texts": ["a"] * 2}, "2, 3 questions do not fit"),
        ({"asked": pictures(70)}, {}, "70 questions do not fit 64 samples"),
        ({"truth": pictures(64).astype(np.float32)}, {}, "expected uint8 images"),
        ({"asked": pictures(64)[0]}, {}, "expected uint8 images"),
        ({}, {"texts": "abc"}, "expected a list of texts, got str"),
        ({}, {"reasons": ["a"]}, "not given by metric"),
    ],
)
def test_questions_that_do_not_fit_are_refused(
    tensors: dict[str, np.ndarray], info: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        read(pictures(64), Artifact(tensors, info))


def stored(root: Path, artifact: tuple[dict[str, np.ndarray], dict[str, Any]] | None) -> Store:
    store = Store(root)
    planned = [task_samples.cell(name, "paired:outline", "s", ("psnr",)) for name in ("a", "b")]
    store.put_plan("x", planned)
    for c in planned:
        store.put_record(record(c, 1.0, kind="gan"))
        store.put("sample", c.sample.key, {"images": pictures(64)}, {})
        if artifact is not None:
            store.put("shown", c.key, *artifact)
    return store


def test_without_questions_there_is_the_plain_grid(tmp_path: Path) -> None:
    said: list[str] = []
    plain = grid(pictures(64), columns=8, scale=6).tobytes()
    write(stored(tmp_path / "none", None), tmp_path / "none", log=said.append)
    assert said == []
    broken = ({"asked": pictures(2)}, {"texts": ["x"]})
    write(stored(tmp_path / "broken", broken), tmp_path / "broken", log=said.append)
    assert said == [
        f"no questions beside the samples of {n}: 1, 2 questions do not fit 64 samples"
        for n in ("a", "b")
    ]
    for name in ("none", "broken"):
        with Image.open(tmp_path / name / "grids" / "a.png") as drawn:
            assert drawn.tobytes() == plain


def test_the_overview_asks_every_row_the_same(tmp_path: Path) -> None:
    asked, truth = flat(64, 8, 40), flat(64, 8, 200)
    store = stored(tmp_path, ({"asked": asked, "truth": truth}, {"aligned": True}))
    write(store, tmp_path)
    with Image.open(tmp_path / "grids" / "overview.png") as drawn:
        pixels = array(drawn)
    column = pixels[:, -30]  # through the last image of every strip
    step = 64 + 4 + 4
    made = brought(pictures(64)[:12], 64)[11]
    for i, wanted in enumerate((40, None, None, 200)):
        top = 16 + i * step + 2
        line = column[top : top + 64]
        if wanted is None:
            assert (pixels[top : top + 64, -82:-18] == made.transpose(1, 2, 0)).all()
        else:
            assert (line == wanted).all()
    assert len(pixels) == 32 + 4 * step


def test_rows_with_fewer_samples_shorten_all_strips(tmp_path: Path) -> None:
    store = stored(tmp_path, ({"asked": flat(64, 8, 40)}, {}))
    plan = store.plan()
    assert plan is not None
    store.put("sample", plan[1][1].sample.key, {"images": pictures(3)}, {})
    store.put("shown", plan[1][1].key, {"asked": flat(3, 8, 40)}, {})
    write(store, tmp_path)
    with Image.open(tmp_path / "grids" / "overview.png") as drawn:
        label = round(max(font(15).getbbox(text)[2] for text in ("asked", "a", "b")))
        assert drawn.width == 32 + label + 3 * 66 + 2 + 16
