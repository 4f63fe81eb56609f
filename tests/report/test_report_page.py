"""The page without a browser: its structure, its numbers, and that nothing in it can run."""

import base64
import csv
import hashlib
import io
import re
import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import page_samples
import pytest
from PIL import Image
from report_samples import FD, cell, failure, pictures, record

from genbench.cli import main
from genbench.record import Record
from genbench.report import frame, page, render, write
from genbench.report.page_parts import Item, Section, Table, Words
from genbench.report.page_pictures import Album
from genbench.report.parts import split
from genbench.report.text import inert, latex
from genbench.spec import Cell
from genbench.store import Store
from genbench.text import clean

ROOT = Path(__file__).resolve().parents[2]
VOID = {"meta", "link", "img", "input", "source", "br"}


@dataclass
class Node:
    tag: str
    attributes: dict[str, str]
    children: list["Node | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        parts = [c if isinstance(c, str) else c.text for c in self.children]
        return " ".join("".join(parts).split())

    def all(self, *tags: str) -> list["Node"]:
        found = [self] if self.tag in tags or not tags else []
        for child in self.children:
            if isinstance(child, Node):
                found += child.all(*tags)
        return found


class Reader(HTMLParser):
    """A tree of the page; every element must be closed where it was opened."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.root = Node("root", {})
        self.open = [self.root]
        self.feed(html)
        self.close()
        assert self.open == [self.root], [n.tag for n in self.open]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len(dict(attributes)) == len(attributes), (tag, attributes)
        node = Node(tag, {name: value or "" for name, value in attributes})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(path: Path) -> Node:
    return Reader(path.read_text("utf-8")).root


def by_id(root: Node, name: str) -> Node:
    return next(n for n in root.all() if n.attributes.get("id") == name)


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_samples.well(tmp_path_factory.mktemp("well"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_samples.hostile(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quick")
    shutil.copytree(ROOT / "results" / "quick", out, dirs_exist_ok=True)
    write(Store(out), out)
    return out / "report.html"


# --- structure -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["well", "hostile", "quick"])
def test_structure(name: str, request: pytest.FixtureRequest) -> None:
    root = parse(request.getfixturevalue(name))
    ids = [n.attributes["id"] for n in root.all() if "id" in n.attributes]
    assert len(ids) == len(set(ids))
    for node in root.all():
        for attribute in ("aria-labelledby", "aria-describedby", "for", "data-for"):
            assert node.attributes.get(attribute, ids[0]) in ids
        href = node.attributes.get("href", "")
        assert not href.startswith("#") or href[1:] in ids
    levels = [int(n.tag[1]) for n in root.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    main_part = by_id(root, "main")
    assert all(n.attributes["alt"] for n in main_part.all("img"))
    assert root.all("html")[0].attributes["lang"] == "en"
    for table in root.all("table"):
        assert all(n.attributes["scope"] in ("row", "col") for n in table.all("th"))
        assert len({len(row.all("th", "td")) for row in table.all("tr")}) == 1


@pytest.mark.parametrize("name", ["well", "hostile", "quick"])
def test_nothing_is_loaded_from_anywhere(name: str, request: pytest.FixtureRequest) -> None:
    root = parse(request.getfixturevalue(name))
    for node in root.all():
        for attribute in ("src", "srcset"):
            assert re.fullmatch(
                r"data:image/(png|jpeg|svg\+xml);base64,[\w+/=]+|",
                node.attributes.get(attribute, ""),
            )
        href = node.attributes.get("href", "#")
        assert re.fullmatch(
            r"#[\w-]*|data:,|records/[0-9a-f]{16}\.json|leaderboard\.(csv|md|tex|txt)", href
        )
        assert not any(name.startswith("on") or name == "style" for name in node.attributes)
    assert not root.all("iframe", "object", "embed", "base", "form", "svg")
    assert [n.attributes["rel"] for n in root.all("link")] == ["icon"]


@pytest.mark.parametrize("name", ["well", "hostile"])
def test_only_the_pages_own_script_and_style_are_allowed(
    name: str, request: pytest.FixtureRequest
) -> None:
    html = request.getfixturevalue(name).read_text("utf-8")
    root = Reader(html).root
    (script,), (style,) = root.all("script"), root.all("style")
    policy = next(n for n in root.all("meta") if "http-equiv" in n.attributes).attributes[
        "content"
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    for node, rule in ((script, "script-src"), (style, "style-src")):
        (text,) = node.children
        assert isinstance(text, str)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_size(quick: Path) -> None:
    assert 100_000 < quick.stat().st_size < 1_000_000


# --- contents ------------------------------------------------------------------------------------


def rows_of(table: Node) -> list[list[Node]]:
    return [row.all("th", "td") for row in table.all("tbody")[0].all("tr")]


def test_header_counts_cells(well: Path) -> None:
    root = parse(well)
    header = root.all("header")[0].text
    assert root.all("h1")[0].text == "made by hand"
    assert "7 rows on digits, 8 cells, measured 2026-01-02." in header
    assert "7 ok, 1 failed" in header
    assert "not run" not in header


def test_cells_without_a_record_are_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cells = [cell("dcgan"), cell("vae")]
    store.put_plan("x", cells)
    store.put_record(record(cells[0], 1.0))
    write(store, tmp_path)
    root = parse(tmp_path / "report.html")
    assert "1 ok, 0 failed, 1 not run" in root.all("header")[0].text
    assert "Not run yet: 1 cell of the plan." in by_id(root, "failures").text
    assert by_id(root, "records").text.count("not run") == 1


def test_summary_names_the_best_the_fastest_and_the_cheapest(well: Path) -> None:
    cards = {
        card.all("h3")[0].text: {
            term.text: value.text
            for term, value in zip(card.all("dt"), card.all("dd"), strict=True)
        }
        for card in by_id(parse(well), "summary").all("div")
        if card.attributes.get("class") == "card"
    }
    assert list(cards) == ["GAN", "Autoencoder", "Diffusion", "Translation", "Reference"]
    gan = cards["GAN"]
    # cgan is the mean of 9 and 11; its interval over two seeds is wide
    assert gan["Best FD (digits-cnn)"] == "cgan: 10 ± 13; intervals overlap with dcgan"
    assert gan["Fastest"] == "dcgan: 0.02 ms per image"
    assert gan["Cheapest training"] == "dcgan: 1 G FLOPs"
    assert cards["Diffusion"]["Cheapest training"] == "ddpm (ddim-10), ddpm (ddim-50): 8 G FLOPs"
    assert cards["Autoencoder"]["Best FD (digits-cnn)"] == "vae: 100.0 ± 1.0"
    assert cards["Translation"]["Best FD (digits-cnn)"] == "no score"
    assert cards["Reference"] == {"Best FD (digits-cnn)": "real: 0.5 ± 1.0"}


def test_leaderboard_has_texts_and_raw_numbers(well: Path) -> None:
    table = by_id(parse(well), "leaderboard-table-1")
    heads = [n.text for n in table.all("thead")[0].all("th")]
    assert heads[0] == "model" and heads[-2:] == ["seeds", "status"]
    assert heads.index("FD (digits-cnn) ↓") < heads.index("kind") < heads.index("NFE")
    rows = {cells[0].text: dict(zip(heads, cells, strict=True)) for cells in rows_of(table)}
    assert list(rows) == [
        *("dcgan", "cgan", "vae", "ddpm (ddim-10)", "ddpm (ddim-50)", "pix2pix", "real")
    ]
    cgan, failed = rows["cgan"], rows["pix2pix"]
    assert cgan["FD (digits-cnn) ↓"].text == "10 ± 13"
    assert float(cgan["FD (digits-cnn) ↓"].attributes["data-value"]) == 10.0
    assert cgan["train FLOPs"].text == "2 G"
    assert float(cgan["train FLOPs"].attributes["data-value"]) == 2e9
    assert cgan["seeds"].text == "2" and cgan["kind"].text == "GAN"
    assert failed["FD (digits-cnn) ↓"].text == "–"
    assert failed["FD (digits-cnn) ↓"].attributes["data-value"] == ""
    assert failed["seeds"].text == "0/1"
    assert failed["status"].text.startswith("failed: train: FloatingPointError")
    for cells in rows_of(table):
        for head, node in zip(table.all("thead")[0].all("th"), cells, strict=True):
            numeric = head.attributes.get("class") == "number"
            assert numeric == ("data-value" in node.attributes)


def test_every_number_of_the_frame_is_on_the_page(quick: Path) -> None:
    store = Store(quick.parent)
    plan = store.plan()
    assert plan is not None
    table = frame(store.records(), plan[1])
    shown = by_id(parse(quick), "leaderboard-table-1")
    values = [
        {n.attributes["data-value"] for n in cells if "data-value" in n.attributes}
        for cells in rows_of(shown)
    ]
    wanted = [*table.attrs["metrics"], "nfe", "ms_per_image", "params", "train_flops"]
    for found, (_, row) in zip(values, table.iterrows(), strict=True):
        assert {repr(float(row[name])) for name in wanted} <= found


def test_protocol_says_each_part_of_an_id(well: Path) -> None:
    text = by_id(parse(well), "protocol").text
    for said in (
        "fd@digits-cnn/digits:train/n360",
        "train split of digits, real images",
        "convolutional classifier of digits",
        "none: of the samples alone",
        "Betterlower",
        "Betterhigher",
        "360",
        "jackknife, 20 groups of samples or Student t over 2 training seeds",
        "discriminator and generator updates both count",
    ):
        assert said in text, said
    hashes = [n.attributes["title"] for n in by_id(parse(well), "protocol").all("span")]
    assert f"sha256 {FD.weights}" in hashes


def test_protocol_names_preprocessing_and_settings() -> None:
    inception = FD.model_copy(
        update={"extractor": "inception", "protocol": "tf1", "options": (("k", 5),)}
    )
    section = page.page_origin.protocol(folder([], [cell("dcgan", metrics=(inception,))]))
    pairs = {term: item.text for term, item in section.blocks[0].cards[0].pairs}  # type: ignore[union-attr]
    assert pairs["Preprocessing"] == "tf1" and pairs["Settings"] == "k = 5"
    assert pairs["Network"].startswith("inception: Inception-v3")


def folder(records: list[Record], order: list[Cell] | None = None) -> page.Folder:
    tables = [page.OnPage(part, frame(records, order)) for part in split(records, order)]
    return page.Folder("x", tables, set())


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("", "none: of the samples alone"),
        ("scenes@32:train", "train split of scenes@32, real images"),
        ("s:test[to_domain:day,night]", "test split of s, right answers of to_domain:day,night"),
    ],
)
def test_protocol_names_the_reference(reference: str, said: str) -> None:
    spec = FD.model_copy(update={"reference": reference})
    section = page.page_origin.protocol(folder([], [cell("dcgan", metrics=(spec,))]))
    pairs = {term: item.text for term, item in section.blocks[0].cards[0].pairs}  # type: ignore[union-attr]
    assert pairs["Reference"] == said


def test_failures_tell_stage_reason_command_and_traceback(well: Path) -> None:
    (article,) = by_id(parse(well), "failures").all("article")
    assert article.all("h3")[0].text == "pix2pix, seed 0: failed"
    found = {t.text: d.text for t, d in zip(article.all("dt"), article.all("dd"), strict=True)}
    assert found == {
        "Stage": "train",
        "Reason": "FloatingPointError: loss is nan after step 12",
        "Run it again": "genbench run --cell abc --out runs/x",
    }
    (pre,) = article.all("details")[0].all("pre")
    (text,) = pre.children
    assert text == 'Traceback:\n  File "x.py", line 3, in step\n    loss = <nan>\n'


def test_no_failures_says_so(quick: Path) -> None:
    assert "None: every cell ran to its end." in by_id(parse(quick), "failures").text


def test_origin(quick: Path) -> None:
    root = parse(quick)
    text = by_id(root, "environment").text
    found = Store(quick.parent).records()[0].environment
    train = found.hashes["digits:train"]
    facts = (found.machine["processor"], f"torch {found.packages['torch']}", found.commit[:12])
    for said in (*facts, "split rule", train[:12]):
        assert str(said) in text
    titles = [n.attributes.get("title", "") for n in by_id(root, "environment").all("span")]
    assert any(title.startswith(f"sha256 {train}") for title in titles)


def test_records_and_tables_are_linked_where_they_stand_beside(quick: Path) -> None:
    links = [n.attributes["href"] for n in parse(quick).all("a")]
    for href in links:
        if not href.startswith("#"):
            assert (quick.parent / href).is_file(), href
    assert sum(href.startswith("records/") for href in links) == 9
    assert sum(href.startswith("leaderboard.") for href in links) == 4


def test_another_folder_has_pictures_but_no_links_to_records(well: Path, tmp_path: Path) -> None:
    write(Store(well.parent), tmp_path)
    root = parse(tmp_path / "report.html")
    links = [n.attributes["href"] for n in root.all("a")]
    assert not [href for href in links if href.startswith("records/")]
    assert all((tmp_path / href).is_file() for href in links if not href.startswith("#"))
    assert len(by_id(root, "samples").all("img")) == 6


def test_pictures_have_alternative_texts(well: Path) -> None:
    root = parse(well)
    alts = [n.attributes["alt"] for n in by_id(root, "samples").all("img")]
    assert alts[:2] == ["64 samples of dcgan, seed 0", "64 samples of cgan, seed 0"]
    assert "64 samples of ddpm (ddim-50), seed 0" in alts
    assert "FD (digits-cnn) 13.5 ± 1.0" in by_id(root, "samples").text
    plots = by_id(root, "plots")
    assert len(plots.all("picture")) == 4
    assert all("prefers-color-scheme: dark" in n.attributes["media"] for n in plots.all("source"))
    for picture in plots.all("picture"):
        dark, light = picture.all("source")[0], picture.all("img")[0]
        assert dark.attributes["srcset"] != light.attributes["src"]


def test_a_missing_plot_says_why(quick: Path) -> None:
    text = by_id(parse(quick), "plots").text
    assert "no row has a score for more than one training seed" in text


def test_an_empty_folder_has_a_page(tmp_path: Path) -> None:
    write(Store(tmp_path), tmp_path)
    text = parse(tmp_path / "report.html").text
    assert "0 rows on no dataset, 0 cells." in text and "The records do not say." in text


def test_further_sections_come_behind_the_leaderboard() -> None:
    table = Table.of("Two.", ["what", "number"], [["a <b>", 1500.0], ["c", None]], ["x", "y"])
    more = Section("More", "more", [Words("Said & done."), table])
    root = Reader(page.render(folder([record(cell("dcgan"), 1.0)]), [more])).root
    titles = [n.text for n in root.all("h2")]
    assert titles[titles.index("Leaderboard") + 1] == "More"
    section = by_id(root, "more")
    assert "Said & done." in section.text
    cells = rows_of(section.all("table")[0])
    assert [[n.text for n in line] for line in cells] == [["a <b>", "1500"], ["c", "–"]]
    assert [line[1].attributes["data-value"] for line in cells] == ["1500.0", ""]
    assert [n.attributes["value"] for n in section.all("input")[1:]] == ["x", "y"]
    assert table.rows[0][0] == Item("a <b>")


def test_models_over_datasets_have_a_section(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for dataset in ("digits", "mnist"):
        metric = FD.model_copy(update={"reference": f"{dataset}:train"})
        for name, value in (("gaussian", 40.0), ("dcgan", 10.0), ("vae", 20.0)):
            for seed in (0, 1) if name != "gaussian" else (0,):
                c = cell(name, dataset=dataset, metrics=(metric,), seed=seed)
                kind = "reference" if name == "gaussian" else None
                store.put_record(record(c, value, kind=kind))
    write(store, tmp_path)
    section = by_id(parse(tmp_path / "report.html"), "aggregate")
    found = {cells[0].text: cells for cells in rows_of(section.all("table")[0])}
    # log(40 / 10) and log(40 / 20), the same for all seeds and datasets
    assert float(found["dcgan"][3].attributes["data-value"]) == pytest.approx(1.3862943611)
    assert float(found["vae"][3].attributes["data-value"]) == pytest.approx(0.6931471806)
    assert "1.00" in [n.text for n in found["dcgan"][4:]]
    titles = [n.text for n in parse(tmp_path / "report.html").all("h2")]
    assert titles[:4] == ["Tables", "digits", "mnist", "Over datasets"]


def test_a_table_without_numbers_has_no_column_of_numbers() -> None:
    heads = Table.of("", ["a", "b"], [["x", None], ["y", None]]).heads
    assert [head.numeric for head in heads] == [False, False]


def test_large_pictures_become_small(tmp_path: Path) -> None:
    noise = Image.effect_noise((900, 900), 100).convert("RGB")
    noise.save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"<svg/>")
    (part,) = split([record(cell(name), 1.0) for name in ("dcgan", "vae")], None)
    (shot,) = Album([tmp_path], 2).shots(part, ["a.png", "b.png"])
    assert shot.uri.startswith("data:image/jpeg;base64,") and len(shot.uri) < 340_000
    with Image.open(io.BytesIO(base64.b64decode(shot.uri.partition(",")[2]))) as picture:
        assert picture.size == (shot.width, shot.height)
        assert 100 < shot.width < 900


def test_many_rows_stay_small(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for i in range(12):
        c = cell("dcgan", config={"i": i})
        store.put_record(record(c, 1.0 + i))
        store.put("sample", c.sample.key, {"images": pictures(64, 3, 64)}, {})
    write(store, tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 5_000_000


# --- hostile texts -------------------------------------------------------------------------------


def test_hostile_texts_are_shown_and_are_nothing_else(hostile: Path) -> None:
    html = hostile.read_text("utf-8")
    root = Reader(html).root
    text = root.text
    for payload in page_samples.HOSTILE:
        assert clean(payload) in text, payload
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", html)
    assert len(root.all("script")) == 1 and len(root.all("style")) == 1
    assert "49" not in by_id(root, "tables").text.replace(" ", "")[:400]  # {{ 7*7 }}


def test_tables_of_hostile_texts_are_inert(hostile: Path) -> None:
    folder_ = hostile.parent
    with (folder_ / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert len({len(line) for line in lines}) == 1
    for value in (v for line in lines for v in line):
        assert value[:1] not in ("=", "@", "+", "-", "\t", "\r"), value
    models = [line[lines[0].index("model")] for line in lines]
    assert any(m.startswith("'=HYPERLINK(") for m in models)
    text = (folder_ / "leaderboard.md").read_text("utf-8")
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) == 4
    for table in tables:
        lines = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert not re.search(r"(?<![\\`])<(script|img|svg)", "\n".join(tables))
    headings = re.findall("^## .*", text, re.MULTILINE)
    assert len(headings) == 5 and not re.search(r"(?<!\\)<", "".join(headings))
    tex = (folder_ / "leaderboard.tex").read_text("utf-8")
    body = "".join(re.findall(r"\\midrule(.*?)\\bottomrule", tex, re.DOTALL))
    body += "".join(re.findall(r"\\caption.*", tex))
    assert r"\input" not in body.replace(r"\textbackslash{}input", "")
    assert not re.search(r"^\s*\[", body, re.MULTILINE)
    for ending in ("md", "csv", "tex", "txt"):
        raw = (folder_ / f"leaderboard.{ending}").read_text("utf-8")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", raw)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("=1+1", "'=1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("+1", "'+1"), ("-2+3", "'-2+3"),
     ("\tx", "'\tx"), ("＝1", "'＝1"), ("a=1", "a=1"), ("", ""), ("'x", "'x")],
)  # fmt: skip
def test_formulas_are_words(text: str, shown: str) -> None:
    assert inert(text) == shown


def test_numbers_in_csv_stay_numbers() -> None:
    table = frame([record(cell("-2+3"), -1.5, half=1.0)])
    (head, line) = csv.reader(io.StringIO(render(table, "csv")))
    found = dict(zip(head, line, strict=True))
    assert found["model"] == found["baseline"] == "'-2+3"
    assert found[FD.id] == "-1.5" and found[f"{FD.id} ci95 low"] == "-2.5"


def test_a_bracket_at_the_start_of_a_latex_row_is_no_option() -> None:
    assert latex("[2cm] x") == "{[}2cm] x" and latex("*x") == "{*}x" and latex("a[1]") == "a[1]"


# --- the command ---------------------------------------------------------------------------------


def test_report_writes_the_page_and_says_where(
    well: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(well.parent), "--out", str(tmp_path), "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert f"page: {tmp_path / 'report.html'}" in err
    assert out.startswith("kind,model,")
    assert (tmp_path / "report.html").is_file() and (tmp_path / "plots").is_dir()


def test_a_plot_that_shows_nothing_any_more_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed in (0, 1):
        store.put_record(record(cell("dcgan", seed=seed), 1.0 + seed))
    write(store, tmp_path)
    path = tmp_path / "plots" / "seed-spread.svg"
    assert path.is_file()
    error = failure()
    store.put_record(record(cell("dcgan", seed=1), status="failed", error=error))
    write(store, tmp_path)
    assert not path.exists()
