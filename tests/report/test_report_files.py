from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_samples import cell, pictures, record

from genbench.report import write
from genbench.report.grid import BACKGROUND, fitting, grid, sheet
from genbench.store import Store

# --- pictures ------------------------------------------------------------------------------------


def test_grid_layout_pixel_by_pixel() -> None:
    images = pictures(5, channels=3, size=4)
    picture = np.asarray(grid(images, columns=3, scale=2))
    step = 4 * 2 + 2
    assert picture.shape == (2 * step + 2, 3 * step + 2, 3)
    covered = np.zeros(picture.shape[:2], bool)
    for i, image in enumerate(images):
        top, left = 2 + i // 3 * step, 2 + i % 3 * step
        tile = picture[top : top + 8, left : left + 8]
        for y in range(8):
            for x in range(8):
                assert (tile[y, x] == image[:, y // 2, x // 2]).all()
        covered[top : top + 8, left : left + 8] = True
    assert (picture[~covered] == BACKGROUND).all()


def test_grey_images_become_grey_pixels() -> None:
    images = pictures(1)
    picture = np.asarray(grid(images, columns=8))
    assert picture.shape == (12, 12, 3)  # one image needs one column
    assert (picture[2:10, 2:10] == images[0, 0][..., None]).all()


@pytest.mark.parametrize(
    "images",
    [
        pictures(2).astype(np.float32),
        pictures(2)[0],
        pictures(2, channels=2),
        pictures(0),
    ],
)
def test_grid_refuses_what_it_cannot_show(images: np.ndarray) -> None:
    with pytest.raises(ValueError):
        grid(images, columns=2)


def test_grid_refuses_no_columns() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        grid(pictures(1), columns=0)


@pytest.mark.parametrize(("size", "factor"), [(8, 6), (28, 2), (32, 2), (64, 1), (512, 1)])
def test_small_images_are_enlarged(size: int, factor: int) -> None:
    assert fitting(size) == factor


def test_sheet_has_a_strip_for_each_row() -> None:
    rows = [("a", pictures(20)), ("a longer name", pictures(3)), ("c", pictures(16, 3, 32))]
    picture = np.asarray(sheet(rows, groups=["GAN", "GAN", "VAE"]))
    plain = np.asarray(sheet(rows))
    assert picture.shape[1] == plain.shape[1]
    assert picture.shape[0] > plain.shape[0]  # two headings
    strip = np.asarray(grid(rows[0][1][:16], columns=16, scale=6))
    found = np.lib.stride_tricks.sliding_window_view(plain[:, :, 0], strip.shape[:2])
    corner = (found[:, :, 2:50, 2:50] == strip[2:50, 2:50, 0]).all(axis=(2, 3))
    assert corner.any()


def test_sheet_reduces_large_images() -> None:
    assert sheet([("a", pictures(16, 3, 256))]).width < 2000


def test_sheet_needs_rows() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        sheet([])


# --- the folder ----------------------------------------------------------------------------------


def filled(root: Path) -> Store:
    store = Store(root)
    cells = [cell("dcgan", seed=s) for s in (0, 1)] + [cell("vae"), cell("real")]
    store.put_plan("test", cells)
    for i, c in enumerate(cells[:3]):
        store.put_record(record(c, 1.0 + i))
        store.put("sample", c.sample.key, {"images": pictures(70)}, {})
    return store


def names(paths: list[Path], root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in paths}


def test_write_makes_tables_and_pictures(tmp_path: Path) -> None:
    store, said = filled(tmp_path), list[str]()
    written = write(store, tmp_path, log=said.append)
    assert names(written, tmp_path) == {
        *(f"leaderboard.{ending}" for ending in ("txt", "md", "csv", "tex")),
        *(f"grids/{name}.png" for name in ("dcgan", "vae", "overview")),
        *(f"plots/seed-spread{variant}.svg" for variant in ("", "-dark")),
        "report.html",
    }
    assert said == ["no picture of real: no samples are stored"]
    with Image.open(tmp_path / "grids" / "dcgan.png") as picture:
        assert picture.size == (8 * 50 + 2, 8 * 50 + 2)  # 64 of the 70 samples
    assert "not run" in (tmp_path / "leaderboard.md").read_text("utf-8")


def test_same_store_same_bytes(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    first = {p.name: p.read_bytes() for p in write(store, tmp_path / "a")}
    assert "report.html" in first
    assert first == {p.name: p.read_bytes() for p in write(store, tmp_path / "b")}


def test_records_alone_keep_the_old_pictures(tmp_path: Path) -> None:
    store, said = filled(tmp_path), list[str]()
    write(store, tmp_path)
    before = {p.name: p.read_bytes() for p in (tmp_path / "grids").iterdir()}
    for path in (tmp_path / "artifacts" / "sample").glob("*.safetensors"):
        path.unlink()
    written = write(store, tmp_path, log=said.append)
    assert not any(path.parent.name == "grids" for path in written)
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "grids").iterdir()}
    assert "no samples are stored" in said[0]


def test_samples_that_are_no_images_are_reported(tmp_path: Path) -> None:
    store, said = Store(tmp_path), list[str]()
    c = cell("dcgan")
    store.put_record(record(c, 1.0))
    store.put("sample", c.sample.key, {"images": np.zeros((4, 8), np.uint8)}, {})
    written = write(store, tmp_path, log=said.append)
    assert not any(path.parent.name == "grids" for path in written)
    assert "expected uint8 images" in said[0]


def test_a_folder_without_a_plan_shows_all_records(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for c in (cell("vae"), cell("dcgan")):
        store.put_record(record(c, 1.0))
    write(store, tmp_path)
    text = (tmp_path / "leaderboard.txt").read_text("utf-8")
    assert text.index("dcgan") < text.index("vae")


def test_file_names_never_collide(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for c in (cell("overview"), cell("a_b"), cell("a-b")):
        store.put_record(record(c, 1.0))
        store.put("sample", c.sample.key, {"images": pictures(1)}, {})
    write(store, tmp_path)
    found = {path.name for path in (tmp_path / "grids").iterdir()}
    assert found == {"overview.png", "overview-2.png", "a-b.png", "a-b-2.png"}
