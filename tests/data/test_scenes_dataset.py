"""Scenes as an ordinary dataset, and `genbench data` for every dataset."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import cells, run_inline

from genbench import data
from genbench.cli import main
from genbench.data.scenes import SHAPES, Scenes
from genbench.spec import ConfigError


def test_scenes_are_a_dataset_like_any_other():
    test = data.load("scenes@16", "test")
    index = torch.arange(2000)
    assert torch.equal(test.images, Scenes("test", 16).images(index))
    assert torch.equal(test.labels, Scenes("test", 16).label(index))
    assert test.images.is_contiguous()
    assert test.classes == SHAPES
    assert test.notes["train_count"] == 10_000
    assert test.notes["test_count"] == len(test) == 2000
    assert data.load("scenes", "test").size == 32
    assert data.available("scenes@64")
    assert data.fingerprint("scenes@64") == ""


def test_scenes_never_change():
    # what is drawn, how it is drawn, in which order: a new dataset, which needs another name
    assert data.load("scenes@16", "test").hash[:16] == "9df1d0b7465a3c5b"
    assert data.load("scenes", "test").hash[:16] == "d09c8aafa4ff5e1f"


@pytest.mark.parametrize("size", [15, 129, 4096])
def test_other_sizes_are_refused(size):
    with pytest.raises(ConfigError, match=f"'scenes@{size}': scenes come in 16 to 128 pixels"):
        data.check(f"scenes@{size}")
    data.check("scenes@16")
    data.check("scenes@128")


# --- the command ---------------------------------------------------------------------------------


def test_facts_of_a_dataset(capsys):
    assert main(["data", "digits", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    loaded = {split: data.load("digits", split) for split in data.SPLITS}
    assert facts["dataset"] == "digits"
    assert facts["shape"] == [1, 8, 8]
    assert facts["classes"] == list("0123456789")
    assert facts["notes"] == loaded["train"].notes
    for split, d in loaded.items():
        assert facts["splits"][split]["images"] == len(d)
        assert facts["splits"][split]["hash"] == d.hash
        assert facts["splits"][split]["classes"] == np.bincount(d.labels).tolist()
    assert main(["data", "digits"]) == 0
    text = capsys.readouterr().out
    assert "8x8, grey, 8 bits" in text
    assert f"360 images, sha256 {loaded['test'].hash[:12]}" in text
    assert "by a seeded permutation" in text


def photos(folder, names, size=8):
    rng = np.random.default_rng(0)
    for split in data.SPLITS:
        for name in names:
            (folder / split / name).mkdir(parents=True)
            for i in range(3):
                pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{i}.png")


def test_names_of_folders_are_cleaned(tmp_path, capsys):
    photos(tmp_path, ["\x1b[31mred", "cat"])
    assert main(["data", f"imagefolder:{tmp_path}"]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "2: red, cat" in text or "2: cat, red" in text
    assert main(["data", f"imagefolder:{tmp_path}", "--sheet", str(tmp_path / "a.png")]) == 0


def test_the_sheet_of_scenes_shows_every_annotation(tmp_path, capsys):
    path = tmp_path / "new" / "sheet.png"
    asked = ["data", "scenes@32", "--sheet", str(path), "--split", "test", "--n", "2"]
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sheet": str(path)}
    sheet = pixels(path)
    index = torch.arange(2)
    scenes = Scenes("test", 32)
    wanted = {
        "image": scenes.images(index),
        "small": scenes.low_res(index, 4),
        "outline": scenes.outline(index).expand(-1, 3, -1, -1),
        **{style: scenes.styled(index, style) for style in ("night", "pastel", "drawing")},
    }
    for name, images in wanted.items():
        for image in images.permute(0, 2, 3, 1).numpy():
            factor = 128 // len(image) if len(image) == 8 else 4
            tile = image.repeat(factor, 0).repeat(factor, 1)
            assert place(sheet, tile.astype(int)), name
    boxes, classes = scenes.boxes(index)
    for i, image in enumerate(wanted["image"].permute(0, 2, 3, 1).numpy()):
        tile = image.repeat(4, 0).repeat(4, 1).astype(int)
        top, left = place(sheet, tile)
        caption = sheet[top + 132 : top + 150].sum(-1) < 200
        assert caption[:, left : left + 100].any()
        assert not caption[:, -40:].any()
        beside = sheet[top : top + 128, left + 136 : left + 264]  # the same with its boxes
        ink = np.zeros((128, 128), bool)
        for (x0, y0, x1, y1), kind in zip(
            (boxes[i] * 128).int().tolist(), classes[i], strict=True
        ):
            if kind >= 0:
                ink[y0:y1, [x0, x1 - 1]] = ink[[y0, y1 - 1], x0:x1] = True
        assert np.array_equal(beside[~ink], tile[~ink])
        assert len(np.unique(beside[ink], axis=0)) == 1
    assert main([*asked[:-1], "3"]) == 0
    assert len(pixels(path)) > len(sheet)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def place(sheet: np.ndarray, tile: np.ndarray) -> tuple[int, int] | None:
    """Where in the sheet the tile is, pixel for pixel: its top and its left, or None."""
    side = len(tile)
    corners = (sheet == tile[0, 0]).all(-1)
    corners = corners[: len(sheet) - side + 1, : sheet.shape[1] - side + 1]
    for offset in ((side - 1, side - 1), (side // 2, side // 2), (side // 2, 5), (9, side - 1)):
        there = (sheet == tile[offset]).all(-1)
        corners &= there[offset[0] :, offset[1] :][: corners.shape[0], : corners.shape[1]]
    for y, x in zip(*np.nonzero(corners), strict=True):
        if np.array_equal(sheet[y : y + side, x : x + side], tile):
            return int(y), int(x)
    return None


def test_the_sheet_of_another_dataset_shows_its_classes(tmp_path, capsys):
    path = tmp_path / "digits.png"
    assert main(["data", "digits", "--sheet", str(path), "--n", "3"]) == 0
    assert capsys.readouterr().out == f"sheet: {path}\n"
    sheet = pixels(path)
    test = data.load("digits", "train")
    for digit in (0, 9):
        first = test.images[test.labels == digit][0, 0].numpy().astype(int)
        tile = first.repeat(6, 0).repeat(6, 1)[..., None].repeat(3, -1)
        assert place(sheet, tile)


def test_a_dataset_without_classes_has_a_sheet_too(tmp_path, capsys):
    for i in range(12):
        Image.new("RGB", (8, 8), (i * 20, 0, 0)).save(tmp_path / f"{i}.png")
    assert main(["data", f"imagefolder:{tmp_path}"]) == 0
    assert "classes      none" in capsys.readouterr().out
    path = tmp_path / "sheet.png"
    assert main(["data", f"imagefolder:{tmp_path}", "--sheet", str(path), "--n", "4"]) == 0
    shown = pixels(path)
    path.unlink()
    first = data.load(f"imagefolder:{tmp_path}", "train").images[0, :, 0, 0].tolist()
    assert (shown == first).all(-1).sum() >= 48**2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scenes@129"], "scenes come in 16 to 128 pixels, not 129"),
        (["scenez"], "did you mean 'scenes'?"),
        (["scenes", "--sheet", "a.jpg"], "--sheet a.jpg does not end in .png"),
        (["scenes", "--sheet", "a.png", "--split", "tset"], "did you mean 'test'?"),
        (["digits", "--sheet", "a.png", "--split", "tset"], "did you mean 'test'?"),
        (["digits", "size=3"], "data takes data.root=PATH only, not 'size=3'"),
    ],
)
def test_mistakes_are_told_with_exit_code_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["data", *arguments]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""
    assert not list(tmp_path.iterdir())


def test_a_suite_runs_on_scenes(tmp_path):
    changes = ["dataset=scenes@16", "baseline=dcgan,real", "extractor=pixels", "metrics=fd"]
    todo = cells("smoke", *changes, "n=50", "budget.images=128")
    _, records = run_inline(tmp_path, todo)
    assert [r.status for r in records] == ["ok", "ok"], [r.error for r in records]
    assert records[0].cell.metrics[0].reference == "scenes@16:train"
    assert records[0].data["train_count"] == 10_000
