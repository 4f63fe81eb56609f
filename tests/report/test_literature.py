import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from report_samples import FD, IS, cell, record

from genbench.cli import main
from genbench.report import literature, published
from genbench.report import literature_table as tables
from genbench.spec import ConfigError, MetricSpec
from genbench.store import Store

HEAD = ",".join(literature.COLUMNS) + "\n"
GOOD = (
    "cifar10,DCGAN,dcgan,gan,,,fid,42.72,,50000,train,,unknown,unknown,,,owner/project: README,\n"
)
FID = MetricSpec(
    name="fid", extractor="inception", protocol="tf1", reference="cifar10:train", n=10_000
)


def file(folder: Path, text: str) -> Path:
    path = folder / "figures.csv"
    path.write_text(text, "utf-8")
    return path


# --- the figures ---------------------------------------------------------------------------------


def value(**wanted: Any) -> list[str]:
    table = literature.load()
    for name, word in wanted.items():
        table = table[table[name] == word]
    return list(table["printed"])


def test_figures_stand_as_their_sources_print_them() -> None:
    c10 = {"dataset": "cifar10"}
    assert value(**c10, model="NCSN++ cont. deep (VE)", metric="fid") == ["2.20"]
    studio = {"evaluator": "PyTorch-StudioGAN", "checkpoint": "best"}
    assert value(**c10, **studio, model="DCGAN", metric="fid") == ["48.29"]
    assert value(**c10, model="SNGAN", metric="kid") == ["0.0125"]
    assert value(dataset="imagenet@256", model="LDM-4", metric="is") == ["103.49 ± 1.24"]
    assert value(dataset="mnist", model="VAE", metric="rfid") == ["18.26"]
    assert value(**c10, model="VAE", metric="fid", variant="N(0, I)") == ["106.37"]
    edm = "EDM (VE, class-conditional)"
    assert value(**c10, model=edm, variant="configuration A") == ["3.11"]
    paper = {"dataset": "imagenet@64", "variant": "w=0.1, p_uncond=0.1"}
    assert value(**paper, metric="fid") == ["1.55"]
    assert value(**c10, model="DDPM", steps=50, variant="ddim, eta=0, uniform steps") == [
        "7.7011",
        "8.7076",
    ]


def test_tables_are_complete() -> None:
    table = literature.load()
    guided = table[table["source"] == "arXiv:2207.12598 table 1"]
    assert guided.groupby("metric").size().to_dict() == {"fid": 16, "is": 16}
    edm = table[table["model"].str.startswith("EDM (")]
    assert len(edm) == 6 * 8
    assert edm["note"].str.startswith("minimum of three").all()
    autoencoders = table[table["source"] == "arXiv:1903.12436 table 1"]
    # 9 models with 4 + 3 + 3 figures; 2sVAE has no mixture
    assert len(autoencoders) == 9 * 10 - 3
    reruns = table[table["variant"].str.contains("uniform steps")]
    assert len(reruns) == 3 * 5 * 2


def test_no_figure_stands_in_two_files() -> None:
    table = literature.load()
    keys = ["dataset", "model", "variant", "steps", "metric", "reference", "evaluator"]
    keys += ["checkpoint", "weights", "resize", "training", "source"]
    assert not table.duplicated(keys).any()
    paper = table[table["source"] == published.SOURCE]
    assert len(paper) == (published.load()["source"] == published.SOURCE).sum() == 50
    ddim = paper[(paper["dataset"] == "cifar10") & (paper["steps"] == 10)]
    assert set(ddim["printed"]) == {"13.36", "14.04", "16.66", "41.07", "367.43"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD.replace("value", "vlaue") + GOOD, "did you mean 'value'"),
        (HEAD.replace(",note", ""), "no column 'note'"),
        (HEAD.replace("dataset,model", "model,dataset") + GOOD, "out of order"),
        ("", "not a table"),
        (HEAD + GOOD + "a," * 30 + "\n", "not a table"),
        (HEAD + GOOD + GOOD.replace("42.72", "41"), "line 3: this figure stands there before"),
        (HEAD + GOOD.replace("42.72", "nan"), "value must be a positive number, not 'nan'"),
        (HEAD + GOOD.replace("42.72", ""), "value must be a positive"),
        (HEAD + GOOD.replace("42.72,", "42.72,-1"), "spread must be a positive"),
        (HEAD + GOOD.replace("50000", "50k"), "n_fake must be empty or a whole number"),
        (HEAD + GOOD.replace(",train,", ",tain,"), "did you mean 'train'"),
        (HEAD + GOOD.replace(",fid,", ",FIDD,"), "metric 'FIDD'"),
        (HEAD + GOOD.replace("owner/project: README", "a blog"), "source must read"),
        (HEAD + GOOD.replace("cifar10", ""), "line 2: dataset is empty"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        literature.load(file(tmp_path, text))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_good_file_is_read(tmp_path: Path) -> None:
    row = literature.load(file(tmp_path, HEAD + GOOD)).iloc[0]
    assert (row["value"], row["n_fake"], row["printed"]) == (42.72, 50_000, "42.72")
    assert math.isnan(row["steps"]) and math.isnan(row["spread"])


# --- beside measured rows ------------------------------------------------------------------------


def beside(*records: Any, dataset: str = "cifar10") -> tables.Beside:
    return tables.beside(dataset, records)


def mine(name: str = "ddpm", value: float = 9.9, metric: MetricSpec = FID, **fields: Any) -> Any:
    return record(cell(name, metrics=(metric,), **{"dataset": "cifar10", **fields}), value)


def lines(found: tables.Beside, **wanted: Any) -> list[tables.Line]:
    return [x for x in found.lines if all(getattr(x, k) == v for k, v in wanted.items())]


def test_measured_rows_stand_first_in_their_family_and_have_no_place() -> None:
    found = beside(mine("ddpm"), mine("vae", 100.0))
    assert [x.measured for x in found.lines if x.family == "vae"] == [
        True,
        *(False,) * 4,
    ]
    assert {x.family for x in found.lines[:90] if x.measured} == {"ddpm", "vae"}
    families = [x.family for x in found.lines]
    assert families == sorted(families, key=lambda f: (f not in ("ddpm", "vae"), f))
    for fmt in ("text", "markdown", "csv", "latex"):
        head = tables.render(found, fmt).split("\\midrule")[0].lower()  # type: ignore[arg-type]
        assert "rank" not in head.split("\n")[0]


def test_inceptions_distance_is_fid_and_no_other_is() -> None:
    (line,) = lines(beside(mine(metric=FID)), measured=True)
    assert line.values["fid"].value == 9.9
    cnn = FD.model_copy(update={"extractor": "mnist-cnn", "reference": "cifar10:train"})
    found = beside(mine(metric=cnn))
    (line,) = lines(found, measured=True)
    assert "fid" not in line.values and line.values[cnn.id].value == 9.9
    assert found.headers[cnn.id] == "FD (mnist-cnn) ↓"
    assert all(cnn.id not in x.values for x in found.lines if not x.measured)
    differs = lines(found, model="DDPM", measured=False)[0].differs
    assert "network: inception, here mnist-cnn: values do not compare" in differs
    k5 = FID.model_copy(update={"options": (("k", 5),)})
    (line,) = lines(beside(mine(metric=k5)), measured=True)
    assert "fid" not in line.values


def test_protocols_are_compared_in_words() -> None:
    found = beside(mine(weights="ema", images=1_000_000))
    source = "zeqiang-lai/ddpmx: README"
    told = {x.protocol: x.differs for x in lines(found, source=source) if "diffusers" in x.variant}
    raw = "50,000 images; against val; weights raw; scored by torch-fidelity"
    assert told[raw].startswith(
        "reference split val, here train; weights raw, here ema; 50,000 images, here 10,000"
    )
    assert told[raw].endswith("unknown: checkpoint, training budget")
    same = "50,000 images; against train; weights ema; scored by torch-fidelity"
    assert "weights raw" not in told[same] and "reference" not in told[same].split("unknown")[0]
    budget = lines(found, source="tqch/ddpm-torch: README")[0].differs
    assert "trained for 46.8k steps of batch 128 (6.0M images), here 1 M image updates" in budget
    best = next(x for x in found.lines if x.model == "DCGAN" and "best" in x.protocol)
    assert "checkpoint best, here last" in best.differs
    assert "scored by PyTorch-StudioGAN, another program" in best.differs
    clean = next(x for x in found.lines if "clean resizing" in x.protocol)
    assert "clean resizing" in clean.differs


def test_a_figure_is_compared_with_its_own_family() -> None:
    found = beside(mine("ddpm", weights="ema"), mine("dcgan", weights="raw"))
    raw = next(x for x in found.lines if x.family == "ddpm" and "weights raw" in x.protocol)
    assert "weights raw, here ema" in raw.differs


def test_another_size_of_the_dataset_is_told() -> None:
    found = beside(mine("vae", dataset="mnist@32", metric=FD), dataset="mnist")
    assert found.compared
    assert "the dataset's own size, here 32" in lines(found, family="rae")[0].differs
    assert not beside(mine(dataset="digits"), dataset="mnist").compared


def test_two_figures_of_one_protocol_keep_two_lines() -> None:
    flips = [x for x in beside().lines if x.model == "StyleGAN2 mirror-flips"]
    assert [x.printed["fid"] for x in flips] == ["11.07", "11.07", "12.96"]
    assert sum(len(x.values) for x in beside().lines) == len(literature.figures("cifar10"))


def test_doubts_are_notes() -> None:
    text = tables.render(beside(), "text")
    assert "quoted by the DDPM paper; the table of score-SDE gives 10.87." in text
    assert "minimum of three evaluations" in text
    assert "2.20 " in text and "9.46" in text


@pytest.mark.parametrize("fmt", ["text", "markdown", "csv", "latex"])
def test_hostile_rows_are_inert(fmt: Any) -> None:
    bad = "=x|\x1b[31m<b>`c`\\input{z}\n\u202e"
    odd = IS.model_copy(update={"extractor": bad})
    text = tables.render(beside(mine(bad, metric=odd)), fmt)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert "[31m" not in text
    if fmt == "csv":
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(r) for r in rows}) == 1
        assert not any(c.startswith(("=", "+", "@")) for r in rows for c in r)
    if fmt == "latex":
        assert "\\input{" not in text
    if fmt == "markdown":
        assert "<b>" not in text.replace("\\<", "")


# --- the command ---------------------------------------------------------------------------------


def test_the_literature_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--published", "mnist"]) == 0
    text = capsys.readouterr().out
    assert "RAE-L2" in text and "differs in" not in text
    assert main(["report", "--published", "mnist", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["published"]
    assert {r["from"] for r in rows} == {"published"}
    assert {r["fid"] for r in rows if r["model"] == "VAE"} == {None, 19.21, 17.66, 18.21}
    assert main(["report", "--published", "mnits"]) == 2
    assert "did you mean 'mnist'" in capsys.readouterr().err


def test_with_results_it_is_written_beside_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "r")
    store.put_record(mine("ddpm"))
    assert main(["report", str(tmp_path / "r"), "--published", "cifar10"]) == 0
    captured = capsys.readouterr()
    assert "* ddpm" in captured.out and "differs in" in captured.out
    for ending in ("txt", "md", "csv", "tex"):
        assert "ddpm" in (tmp_path / "r" / f"published.{ending}").read_text("utf-8")
    assert main(["report", str(tmp_path / "r"), "--published", "mnist"]) == 0
    assert "no results of mnist" in capsys.readouterr().err
