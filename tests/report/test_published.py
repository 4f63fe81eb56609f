from pathlib import Path

import pytest
from speed_samples import row

from genbench.report import published
from genbench.spec import ConfigError

HEAD = "dataset,model,sampler,variance,eta,steps,spacing,metric,value,reference,source\n"
GOOD = "cifar10,net,ddim,,0.0,10,quadratic,fid,13.36,,arXiv:2010.02502 table 1\n"


def file(folder: Path, text: str) -> Path:
    path = folder / "figures.csv"
    path.write_text(text, "utf-8")
    return path


def test_the_tables_of_the_paper_are_complete() -> None:
    table = published.load()
    paper = table[table["source"] == published.SOURCE]
    for dataset in ("cifar10", "celeba@64"):
        rows = paper[paper["dataset"] == dataset]
        found = set(zip(rows["variance"], rows["eta"], rows["steps"], strict=True))
        etas = [("", 0.0), ("", 0.2), ("", 0.5), ("", 1.0), ("large", 1.0)]
        assert found == {(v, e, s) for v, e in etas for s in (10, 20, 50, 100, 1000)}
        assert len(rows) == 25
        # what the paper says of its own table: more noise is worse at every count up to 100
        for steps in (10, 20, 50, 100):
            at = rows[rows["steps"] == steps].sort_values(["variance", "eta"])
            assert at["value"].is_monotonic_increasing
    errors = table[table["metric"] == "encode-decode mse"].sort_values("steps")["value"]
    assert errors.is_monotonic_decreasing and len(errors) == 7


def test_ddpm_has_its_reference_statistics() -> None:
    table = published.load()
    ddpm = table[table["source"].str.startswith("arXiv:2006.11239")]
    fid = ddpm[(ddpm["dataset"] == "cifar10") & (ddpm["metric"] == "fid")]
    assert dict(zip(fid["reference"], fid["value"], strict=True)) == {
        "cifar10:train": 3.17,
        "cifar10:test": 5.24,
    }
    assert ddpm[ddpm["metric"] == "is"]["value"].tolist() == [9.46]


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"sampler": "ddim", "steps": 10}, 13.36),
        ({"sampler": "ddim", "steps": 50, "eta": 0.5}, 5.25),
        ({"sampler": "ddim", "steps": 20, "eta": 1.0}, 18.36),
        ({"sampler": "ddpm", "steps": 20, "eta": 1.0, "variance": "posterior"}, 18.36),
        ({"sampler": "ddpm", "steps": 1000, "eta": 1.0, "variance": "large"}, 3.17),
        ({"sampler": "ddim", "steps": 30}, None),
        ({"sampler": "ddim", "steps": 10, "eta": 0.3}, None),
        ({"sampler": "dpmpp_2m", "steps": 10}, None),
        ({"sampler": None, "steps": 1, "eta": None}, None),
    ],
)
def test_rows_find_their_figure(fields: dict, value: float | None) -> None:
    found = row(**fields)
    assert published.match(found) == value
    assert published.ratio(found) == (None if value is None else pytest.approx(value / 4.04))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD.replace("value", "vlaue") + GOOD, "did you mean 'value'"),
        (HEAD.replace(",source", ""), "no column 'source'"),
        (HEAD.replace("dataset,model", "model,dataset") + GOOD, "out of order"),
        ("", "not a table"),
        (HEAD + GOOD + "a," * 30 + "\n", "not a table"),
        (HEAD + GOOD + GOOD, "line 3: this figure stands there before"),
        (HEAD + GOOD + GOOD.replace("13.36", "14"), "line 3: this figure"),
        (HEAD + GOOD.replace("13.36", "nan"), "value must be a positive number, not 'nan'"),
        (HEAD + GOOD.replace("13.36", "0"), "value must be a positive"),
        (HEAD + GOOD.replace("13.36", "inf"), "value must be a positive"),
        (HEAD + GOOD.replace(",10,", ",10.5,"), "steps must be a whole number"),
        (HEAD + GOOD.replace(",0.0,", ",2,"), "eta must lie in 0 to 1"),
        (HEAD + GOOD.replace(",0.0,", ",x,"), "eta must lie in 0 to 1"),
        (HEAD + GOOD.replace("ddim,,", "ddim,huge,"), "variance must be 'large'"),
        (HEAD + GOOD.replace("arXiv:2010.02502 table 1", "a blog"), "source must read"),
        (HEAD + GOOD.replace("cifar10", ""), "line 2: dataset is empty"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        published.load(file(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_good_file_is_read(tmp_path: Path) -> None:
    table = published.load(file(tmp_path, HEAD + GOOD))
    assert table.iloc[0][["steps", "value", "eta"]].tolist() == [10, 13.36, 0.0]
