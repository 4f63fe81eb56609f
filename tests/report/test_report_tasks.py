"""Folders with several tasks: a table for each dataset and task, one flat frame for programs."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import task_samples
from page_samples import HOSTILE
from PIL import Image
from report_samples import FD, cell, failure, record
from task_samples import TASKS
from test_report_page import Node, Reader, by_id, rows_of

from genbench.cli import main
from genbench.record import Record
from genbench.report import frame, leaderboard, render, write
from genbench.report.aggregate import aggregates
from genbench.report.aggregate_table import frame as aggregate_frame
from genbench.report.figures import quality
from genbench.report.page_pictures import Album
from genbench.report.parts import split
from genbench.report.rows import KINDS, collect
from genbench.spec import Cell, ConfigError
from genbench.store import Store
from genbench.text import clean

SHOWN = ("class_label", "caption", "paired:outline")
TITLES = [f"{task} on {dataset}" for task, (dataset, _, _) in TASKS.items()]


def results() -> tuple[list[Record], list[Cell]]:
    planned = task_samples.cells()
    values = [(1.0 + i, 2.0 + i, 3.0 + i) for i in range(len(planned))]
    return [record(c, *v) for c, v in zip(planned, values, strict=True)], planned


# --- tables --------------------------------------------------------------------------------------


def markdown_tables(text: str) -> dict[str, list[list[str]]]:
    """The tables below each heading, as cells."""
    found = {}
    for part in text.split("## ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("|")]
        title = part.splitlines()[0].replace("\\", "")
        found[title] = [[c.strip() for c in line.split("|")[1:-1]] for line in lines]
    return found


def test_one_table_for_each_task_in_plan_order_without_empty_columns() -> None:
    tables = markdown_tables(leaderboard(*results(), "markdown"))
    assert list(tables) == [*TITLES, "All tables"] and tables["All tables"] == []
    for title, (_, metrics, names) in zip(TITLES, TASKS.values(), strict=True):
        head, _, *body = tables[title]
        assert sum("↓" in name or "↑" in name for name in head) == len(metrics)
        assert sorted(row[1] for row in body) == sorted(names), "names need no dataset"
        for column in range(len(head)):
            assert {row[column] for row in body} != {"–"}, head[column]
        places = [row[head.index("rank")] for row in body] if "rank" in head else []
        ranked = sum(place != "–" for place in places)
        assert all(int(p.split("–")[-1]) <= ranked for p in places if p != "–")


@pytest.mark.parametrize("fmt", ["text", "markdown", "latex"])
def test_what_is_common_is_said_once(fmt: str) -> None:
    text = leaderboard(*results(), fmt)  # type: ignore[arg-type]
    for said in ("Machine: Test CPU", "Data digits", "places run from"):
        assert text.count(said) == 1, said
    assert text.count("half the width") == (len(TASKS) if fmt == "latex" else 1)
    assert text.count("lpips@") == 1


def test_text_and_latex_have_titles() -> None:
    text = leaderboard(*results(), "text").splitlines()
    for title in TITLES:
        assert text[text.index(title) + 1] == "=" * len(title)
    tex = leaderboard(*results(), "latex")
    captions = re.findall(r"\\caption\{(.*?)\. ", tex)
    assert [c.replace("\\_", "_") for c in captions] == TITLES
    assert tex.count(r"\begin{tabular}") == len(TASKS)


def test_csv_is_one_flat_frame() -> None:
    records, planned = results()
    table = pd.read_csv(io.StringIO(leaderboard(records, planned, "csv")))
    assert len(table) == len(planned) and table["model"].is_unique
    mine = table[(table["task"] == "caption") & (table["dataset"] == "scenes@32")]
    assert list(mine["model"]) == [
        f"{name} (caption) on scenes@32" for name in ("cgan", "ddpm", "real")
    ]
    assert set(table["task"]) == set(TASKS)


def test_a_folder_of_one_task_is_as_it_was() -> None:
    cells = [cell("dcgan"), cell("real")]
    records = [record(c, 1.0) for c in cells]
    for fmt in ("text", "markdown", "csv", "latex"):
        assert leaderboard(records, cells, fmt) == render(frame(records, cells), fmt)  # type: ignore[arg-type]
    assert leaderboard([], [], "text") == "No cells.\n"


def test_failures_and_missing_cells_stand_in_their_own_table() -> None:
    records, planned = results()
    bad = planned.index(next(c for c in planned if c.sample.train.task == "caption"))
    records[bad] = record(planned[bad], status="failed", error=failure("loss is nan"))
    last = planned[-1].key
    records = [r for r in records if r.key != last]
    records.append(record(cell("vae"), 1.0))
    parts = leaderboard(records, planned, "text").split("=\n\n")
    assert [("loss is nan" in part) for part in parts] == [False, False, True, *[False] * 5]
    assert [("Not run: 1 cell" in part) for part in parts] == [*[False] * 6, True, False]
    assert "Left out: 1 cell" in parts[-1]


def test_places_are_those_of_the_table() -> None:
    records, planned = results()
    alone = next(p for p in split(records, planned) if p.task == "paired:outline")
    one = render(frame(alone.records, alone.order), "markdown")
    ranks = [line.split("|")[3].strip() for line in one.splitlines() if line.startswith("|")]
    several = markdown_tables(leaderboard(records, planned, "markdown"))
    assert [row[2] for row in several[alone.title]][2:] == ranks[2:]


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'markdown'"):
        leaderboard(*results(), "markdwn")  # type: ignore[arg-type]


# --- parts ---------------------------------------------------------------------------------------


def test_parts_are_named_by_what_differs() -> None:
    def titles(*cells: Cell) -> list[str]:
        return [part.title for part in split([], cells)]

    digits, mnist = cell("dcgan"), cell("dcgan", dataset="mnist@32")
    assert titles(digits, mnist, cell("vae")) == ["digits", "mnist@32"]
    other = task_samples.cell("cgan", "class_label", "digits", ("fd",))
    assert titles(digits, other) == ["unconditional on digits", "class_label on digits"]
    folders = []
    for data in ("aaaaaaaabbbb", "ccccccccdddd"):
        train = digits.sample.train.model_copy(update={"data": data})
        sample = digits.sample.model_copy(update={"train": train})
        folders.append(digits.model_copy(update={"sample": sample}))
    assert titles(*folders) == ["digits (aaaaaaaa)", "digits (cccccccc)"]


def test_budgets_of_different_kinds_are_not_compared() -> None:
    real = cell("real", images=None)
    images, longer = cell("dcgan"), cell("vae", images=90_000)
    flops = [cell(name, images=None, flops=1e12) for name in ("dcgan", "vae")]
    planned = [images, longer, real, *flops]
    found = split([record(c, 1.0) for c in planned], planned)
    assert [(part.title, part.order) for part in found] == [
        ("digits, equal training FLOPs", (real, *flops)),
        (
            "digits, equal image updates (a GAN's two updates count twice)",
            (images, longer, real),
        ),
    ]
    assert [part.slug for part in found] == [
        "digits-equal-training-flops", "digits-equal-image-updates",
    ]  # fmt: skip
    assert [[row.label for row in part.rows] for part in found] == [
        ["dcgan", "vae", "real"], ["dcgan", "vae", "real"],
    ]  # fmt: skip
    both = [*planned, cell("dcgan", dataset="mnist@32")]
    for order in (both, None):  # equal FLOPs first, of each dataset; without a plan too
        titles = [part.title for part in split([record(c, 1.0) for c in both], order)]
        assert titles[0] == "digits, equal training FLOPs" and titles[2] == "mnist@32"
    (alone,) = split([record(real, 1.0)], [real])
    assert (alone.title, len(alone.records)) == ("digits", 1)


def test_anchors_differ_and_are_plain() -> None:
    cells = [cell("dcgan", dataset=name) for name in ("a.b", "a-b", "A b", "\x1b[1m<é>")]
    slugs = [part.slug for part in split([], cells)]
    assert len(set(slugs)) == 4 and all(re.fullmatch(r"[a-z0-9-]+", slug) for slug in slugs)


def test_without_a_plan_parts_are_sorted() -> None:
    records, _ = results()
    titles = [part.title for part in split(records, None)]
    assert titles == sorted(TITLES)
    assert titles == [part.title for part in split(records[::-1], None)]


def test_kinds_of_rows_without_a_record_are_known_from_other_parts() -> None:
    planned = [cell("mine"), cell("mine", dataset="mnist")]
    parts = split([record(planned[0], 1.0, kind="gan")], planned)
    assert [part.rows[0].kind for part in parts] == ["gan", "gan"]


def test_names_tell_tasks_apart_where_all_rows_stand_together() -> None:
    digits = [task_samples.cell("cgan", t, "digits", ("fd",)) for t in ("class_label", "x:a,b")]
    assert [row.label for row in collect([], digits, {})] == ["cgan (class_label)", "cgan (x:a,b)"]


def test_answers_go_by_the_first_metric() -> None:
    names, free = ("lpips", "fd"), [("unconditional", "fd")]
    for task, first in (("paired:outline", "lpips"), ("class_label", "lpips"), *free):
        made = [record(task_samples.cell("ddpm", task, "digits", names), 1.0, 2.0)]
        (part,) = split(made, None)
        found = quality(part.rows, part.columns)
        assert found is not None and found.spec.name == first


# --- over datasets -------------------------------------------------------------------------------


def over(task: str, *datasets: str, name: str = "fd", base: str = "gaussian") -> list[Record]:
    made = []
    for dataset in datasets:
        for model, value in ((base, 40.0), ("cgan", 10.0)):
            c = task_samples.cell(model, task, dataset, (name,))
            made.append(record(c, value, kind="reference" if model == base else "gan"))
    return made


def test_tasks_are_never_aggregated_together() -> None:
    said: list[str] = []
    mixed = over("class_label", "digits") + over("caption", "scenes@32")
    assert aggregates(mixed, None, log=said.append) == [] and said == []
    both = mixed + over("class_label", "mnist") + over("caption", "other", name="precision")
    (one,) = aggregates(both, None, log=said.append)
    assert one.places == ("class_label on digits", "class_label on mnist")
    assert (one.task, one.name) == ("class_label", "fd")
    assert said == [
        "no table over caption on other, caption on scenes@32: no metric that all of them have"
    ]
    assert list(aggregate_frame([one])["task"]) == ["class_label"]


def test_rows_that_do_not_match_are_told() -> None:
    said: list[str] = []
    made = over("class_label", "digits") + over("class_label", "mnist", base="noise")
    assert aggregates(made, None, log=said.append) == []
    assert said == ["no table over digits, mnist: mnist has no row gaussian"]
    with pytest.raises(ConfigError, match="mnist has no row 'gaussian'"):
        aggregates(made, None, baseline="gaussian")
    more = made + over("caption", "a", "b")
    (one,) = aggregates(more, None, baseline="gaussian", log=said.append)
    assert one.task == "caption" and "class_label on mnist has no row gaussian" in said[-1]


def test_one_task_has_no_column_of_tasks() -> None:
    (one,) = aggregates(over("class_label", "digits", "mnist"), None)
    assert one.task == "" and "task" not in aggregate_frame([one])


# --- the folder and its page ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("several")
    write(task_samples.folder(root, SHOWN), root)
    return root


@pytest.fixture(scope="module")
def page(several: Path) -> Node:
    return Reader((several / "report.html").read_text("utf-8")).root


def test_every_table_has_its_files(several: Path) -> None:
    grids = {path.stem for path in (several / "grids").iterdir()}
    slugs = ("class-label-on-digits", "caption-on-scenes-32", "paired-outline-on-scenes-32")
    wanted = {f"{s}-{name}" for s, t in zip(slugs, SHOWN, strict=True) for name in TASKS[t][2]}
    assert grids == wanted | {f"overview-{s}" for s in slugs} | {"overview"}
    assert not (several / "plots").exists(), "rows of equal cost have nothing to plot"


def test_the_page_has_a_section_for_each_table(page: Node) -> None:
    titles = [n.text for n in page.all("h2")]
    mine = [f"{task} on {TASKS[task][0]}" for task in SHOWN]
    assert titles == [*("Tables", *mine, "Protocol", "Failures", "Machine and data", "Records")]
    contents = rows_of(by_id(page, "tables").all("table")[0])
    for line, title in zip(contents, mine, strict=True):
        (link,) = line[0].all("a")
        assert link.text == title
        section = by_id(page, link.attributes["href"][1:])
        assert section.all("h2")[0].text == title
        heads = [n.text for n in section.all("thead")[0].all("th")]
        task = title.split(" on ")[0]
        assert sum("↓" in head or "↑" in head for head in heads) == len(TASKS[task][1])
        shown = sorted(row[0].text for row in rows_of(section.all("table")[0]))
        assert shown == sorted(TASKS[task][2])
        pictures = [n for n in section.all("img") if "shot" in n.attributes["class"]]
        assert len(pictures) == 1 + len(TASKS[task][2]), "an overview and a grid for each row"
        assert not {n.text for n in section.all("h3")} - {"Plots", "Samples"}
    header = page.all("header")[0].text
    assert "9 rows in 3 tables on digits, scenes@32, 9 cells." in header


def test_the_page_tells_rows_of_several_tables_apart(page: Node) -> None:
    names = [row[0].text for row in rows_of(by_id(page, "records").all("table")[0])]
    assert len(set(names)) == len(names) == 9
    assert "cgan, caption on scenes@32" in names
    cards = [n.text for n in by_id(page, "protocol").all("h3")]
    assert len(set(cards)) == len(cards)
    assert {"FD (digits-cnn)", "FD (digits-cnn), paired:outline on scenes@32"} <= set(cards)


def test_reasons_of_failures_are_listed(page: Node) -> None:
    section = by_id(page, "table-caption-on-scenes-32")
    lists = {n.all("summary")[0].text: n for n in section.all("details")}
    found = lists["cgan: 23 of the first 64 samples fail"]
    lines = [n.text for n in found.all("li")]
    assert len(lines) == 21 and lines[-1] == "And 3 more."
    assert lines[0].startswith("Sample 0, a ")
    assert lines[0].endswith(": the triangle is red, not blue")
    assert lines[1].startswith("Sample 1, ") and lines[1].endswith(": no star")
    assert not by_id(page, "table-paired-outline-on-scenes-32").all("details")[1:]


def test_plots_are_of_the_tables_own_metric(tmp_path: Path) -> None:
    store = Store(tmp_path)
    planned = [
        task_samples.cell("ddpm", task, "digits", metrics, seed)
        for task, metrics in (("paired:outline", ("psnr",)), ("class_label", ("fd",)))
        for seed in (0, 1)
    ]
    store.put_plan("x", planned)
    for i, c in enumerate(planned):
        store.put_record(record(c, 1.0 + i))
    write(store, tmp_path)
    found = {path.stem for path in (tmp_path / "plots").glob("*[a-z].svg")}
    names = ("paired-outline-on-digits", "class-label-on-digits")
    assert found == {f"seed-spread-{n}{dark}" for n in names for dark in ("", "-dark")}
    root = Reader((tmp_path / "report.html").read_text("utf-8")).root
    for name, metric in zip(names, ("PSNR", "FD"), strict=True):
        (picture,) = by_id(root, f"table-{name}").all("picture")
        assert picture.all("img")[0].attributes["alt"].startswith(metric)


def test_hostile_captions_are_shown_and_are_nothing_else(tmp_path: Path) -> None:
    store = Store(tmp_path)
    planned = [
        task_samples.cell(text, task, text, ("fd",))
        for task, text in zip(
            ("caption", "caption", f"paired:{HOSTILE[0]}"), HOSTILE, strict=False
        )
    ]
    store.put_plan(HOSTILE[1], planned)
    images, tensors, info = task_samples.answers("caption", 0)
    texts = [HOSTILE[i % len(HOSTILE)] for i in range(64)]
    info |= {"texts": texts, "reasons": {HOSTILE[0]: texts}}
    for c in planned:
        store.put_record(record(c, 1.0, kind="gan"))
        store.put("sample", c.sample.key, {"images": images}, {})
        store.put("shown", c.key, tensors, info)
    write(store, tmp_path)
    html = (tmp_path / "report.html").read_text("utf-8")
    root = Reader(html).root
    assert len(root.all("script")) == 1 and not root.all("svg", "iframe", "form")
    assert not any(name.startswith("on") for node in root.all() for name in node.attributes)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", html)
    items = " ".join(n.text for n in root.all("li"))
    for text in HOSTILE:
        assert clean(text) in items
    ids = [n.attributes["id"] for n in root.all() if "id" in n.attributes]
    assert len(ids) == len(set(ids))
    for name in (p.name for p in (tmp_path / "grids").iterdir()):
        assert re.fullmatch(r"[a-z0-9.-]+\.png", name)
    for ending in ("md", "tex", "txt"):
        raw = (tmp_path / f"leaderboard.{ending}").read_text("utf-8")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", raw)


def test_words_in_pictures_stay_sharp_where_there_is_little_room(several: Path) -> None:
    store = Store(several)
    plan = store.plan()
    assert plan is not None
    part = split(store.records(), plan[1])[1]
    names = [f"caption-on-scenes-32-{row.label}.png" for row in part.rows]
    album = Album([several / "grids"], 40)
    for shot, name in zip(album.shots(part, names), names, strict=True):
        data = base64.b64decode(shot.uri.partition(",")[2])
        assert shot.wide and len(data) <= album.limit < (several / "grids" / name).stat().st_size
        with Image.open(io.BytesIO(data)) as small, Image.open(several / "grids" / name) as whole:
            assert (small.format, small.size) == ("PNG", whole.size)
            difference = np.asarray(small.convert("RGB")).astype(int) - np.asarray(whole)
            assert np.abs(difference).mean() < 4
    assert album.overview(part, "none.png") is None


def test_the_command_prints_every_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task_samples.folder(tmp_path, SHOWN[:2], stored=False)
    assert main(["report", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert "class_label on digits" in lines and "caption on scenes@32" in lines
    assert "no picture of cgan, ddpm, real (caption on scenes@32): no samples are stored" in err
    assert KINDS["gan"] in out and FD.id in out
