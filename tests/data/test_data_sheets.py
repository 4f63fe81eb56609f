"""`genbench data` for data with annotations: the facts, and a sheet that draws them."""

import json

import numpy as np
import pytest
import torch
from layouts_on_disk import WRITERS, picture, save
from PIL import Image

from genbench import data
from genbench.cli import main
from genbench.data.sheet import Column, coloured, paint, separate

TILE = 108  # 12 pixels, nine times as large


def shown(tmp_path, kind: str, n: int = 8) -> tuple[np.ndarray, data.Dataset]:
    folder, path = tmp_path / "data", tmp_path / "sheet.png"
    WRITERS[kind](folder)
    name = f"{kind}:{folder}"
    assert main(["data", name, "--sheet", str(path), "--n", str(n)]) == 0
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")), data.load(name, "train")


def tile(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    """The picture at a place of the sheet, reduced to its own pixels."""
    top, left = 88 + row * (TILE + 42), 24 + column * (TILE + 8)
    return sheet[top + 4 : top + TILE : 9, left + 4 : left + TILE : 9]


def ink(sheet: np.ndarray, row: int) -> bool:
    """Whether there is a text below a row."""
    top = 88 + row * (TILE + 42) + TILE
    return bool((sheet[top + 4 : top + 24, 24:400].max(-1) < 120).any())


@pytest.mark.parametrize("kind", WRITERS)
def test_a_sheet_shows_images_with_what_is_known_of_them(tmp_path, kind, capsys):
    sheet, train = shown(tmp_path, kind)
    images = train.images.permute(0, 2, 3, 1).numpy()
    for row, image in enumerate(images):
        assert np.array_equal(tile(sheet, row, 0), image)
    assert len(sheet) == 24 + 64 + len(images) * (TILE + 42) + 24
    texts = {"captions", "celeba", "domains", "layouts"}
    assert ink(sheet, 0) == (kind in texts)


def test_sources_and_label_maps_have_a_column(tmp_path, capsys):
    sheet, train = shown(tmp_path, "pairs", n=1)
    source = train.annotation("source").permute(0, 2, 3, 1).numpy()
    assert np.array_equal(tile(sheet, 0, 1), source[0])
    outline = train.annotation("outline")[0, 0].numpy()
    assert np.array_equal(tile(sheet, 0, 2), outline[..., None].repeat(3, -1))
    assert len(sheet) == 24 + 64 + TILE + 42 + 24
    other = tmp_path / "other"
    other.mkdir()
    sheet, train = shown(other, "label_maps")
    found = tile(sheet, 0, 1).reshape(-1, 3)
    labels = train.annotation("label_map")[0].flatten().numpy()
    colours = {tuple(found[labels == k][0].tolist()) for k in range(3)}
    assert len(colours) == 3
    for k in range(3):
        assert (found[labels == k] == found[labels == k][0]).all()
    legend = sheet[-32:-8].reshape(-1, 3).tolist()
    assert all(list(colour) in legend for colour in colours)


def test_boxes_are_drawn_where_they_are(tmp_path, capsys):
    sheet, train = shown(tmp_path, "layouts")
    left, top = 24 + TILE + 8, 88
    inner = sheet[top : top + TILE, left : left + TILE].astype(int)
    plain = sheet[top : top + TILE, 24 : 24 + TILE].astype(int)
    changed = (inner != plain).any(-1)
    expected = np.zeros((TILE, TILE), bool)
    for x0, y0, x1, y1 in (train.annotation("boxes")[0] * TILE).round().int().tolist():
        edge = np.zeros((TILE, TILE), bool)
        edge[y0:y1, x0:x1] = True
        edge[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = False
        expected |= edge
    assert not (changed & ~expected).any()
    assert (changed | (plain < 60).any(-1))[expected].all()
    assert not ink(sheet, 1)  # no object, no name
    second = sheet[top + TILE + 42 : top + 2 * TILE + 42]
    assert np.array_equal(second[:, left : left + TILE], second[:, 24 : 24 + TILE])


def test_large_images_are_reduced_and_long_texts_cut():
    pixels = np.full((1, 500, 500, 3), 7, np.uint8)
    sheet = np.asarray(paint("t" * 900, [Column("image", pixels)], ["x" * 900]))
    assert sheet.shape[1] < 800
    assert (sheet[:, -20:] == sheet[0, 0]).all()
    assert (sheet[88 : 88 + 100, 24 : 24 + 100] == 7).all()


def test_every_id_and_object_has_a_colour():
    colours = coloured(torch.arange(256, dtype=torch.uint8).view(1, 16, 16)).reshape(-1, 3)
    assert len({tuple(c) for c in colours.tolist()}) > 200
    masks = torch.eye(9).bool().view(1, 9, 3, 3)
    assert len({tuple(c) for c in separate(masks).reshape(-1, 3).tolist()}) == 9


def test_facts_list_annotations_and_their_words(tmp_path, capsys):
    WRITERS["domains"](tmp_path)
    name = f"domains:{tmp_path}"
    assert main(["data", name, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["annotations"] == {"domain": ["A", "B"], "grey": [], "outline": []}
    assert main(["data", name]) == 0
    text = capsys.readouterr().out
    assert "annotations  domain, grey, outline" in text
    assert "2: A, B" in text


def test_hostile_names_are_cleaned(tmp_path, capsys):
    for domain in ("A", "\x1b[31mB"):
        for split in data.SPLITS:
            save(tmp_path / f"{split}{domain}" / "1.png", picture(1))
    name = f"domains:{tmp_path}"
    assert main(["data", name]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert main(["data", name, "--sheet", str(tmp_path / "sheet.png")]) == 0


def test_bad_data_ends_with_exit_code_2(tmp_path, capsys):
    WRITERS["captions"](tmp_path)
    (tmp_path / "train" / "metadata.jsonl").write_text("{")
    assert main(["data", f"captions:{tmp_path}"]) == 2
    told = capsys.readouterr()
    assert "line 1: this is no JSON" in told.err
    assert told.out == ""
