"""Files of claims: what is refused, what is planned, and that those of the package fit."""

import pytest
from claim_samples import BODY, failed, ok, write_file

from genbench import claims, suite
from genbench.spec import Cell, ConfigError

NAMES = claims.names()


def loaded(folder, old="", new="", changes=()):
    assert old in BODY
    return claims.load(write_file(folder, BODY.replace(old, new, 1)), changes)


MISTAKES = [
    ('dataset = "digits"', 'datset = "digits"', "unknown key 'datset'; did you mean 'dataset'?"),
    ("description", "optional = true\ndescription", "unknown key 'optional'"),
    ("[claims.wider]", "[clams.wider]", "unknown key 'clams'; did you mean 'claims'?"),
    ('measure = "fd"', 'mesure = "fd"', "claims.wider: unknown key 'mesure'; .*'measure'"),
    ('source = "made up"', "", "claims.wider.source: Field required"),
    (
        '{ baseline = "vae" }',
        '{ baselin = "vae" }',
        "rows.vae: unknown key 'baselin'; .*'baseline'",
    ),
    ('"vae", config', '"vea", config', "row 'wide': unknown baseline 'vea'; did you mean 'vae'?"),
    ('measure = "fd"', 'measure = "fdd"', "claim 'wider': unknown measure 'fdd'; .*'fd'"),
    (
        'measure = "fd"',
        'measure = "prdc"',
        "claim 'wider': 'prdc' are 4 metrics; name one: .*recall",
    ),
    ("wide < vae", "wide < vea", "claim 'wider': expect='wide < vea': unknown row 'vea'; .*'vae'"),
    ("vae < gaussian", "vae < wide", "no claim compares row 'gaussian'; remove it"),
    ("gaussian = {", "Gaussian = {", "row 'Gaussian' must start with a letter"),
    ("[claims.wider]", '[claims."a/b"]', "claim 'a/b' must start with a letter"),
    ("n = 32", "n = 1", "claims 'mine': n: .*greater than or equal to 2"),
    ("[rows]", "[rows", "not valid TOML"),
]


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES)
def test_a_mistake_is_one_sentence(tmp_path, old, new, said):
    with pytest.raises(ConfigError, match=said) as error:
        loaded(tmp_path, old, new)
    assert "mine" in str(error.value) and "\n" not in str(error.value)


def test_files_and_claims_that_do_not_exist_name_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="unknown claims 'pix2pxi'; did you mean 'pix2pix'?"):
        claims.load("pix2pxi")
    with pytest.raises(ConfigError, match="no claim 'psrn'; did you mean 'psnr'?"):
        claims.select(["pix2pix/psrn"])
    with pytest.raises(ConfigError, match="cannot read claims file .*none.toml: No such file"):
        claims.load(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="bad.toml: it is not UTF-8"):
        claims.load(str(tmp_path / "bad.toml"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("hidden = 64", "hiden = 64", "claims 'mine', row 'wide': vae: unknown key 'hiden'"),
        ('"digits"\nn', '"digitz"\nn', "row 'vae': .*'digitz'; did you mean 'digits'?"),
        ('"digits-cnn"', '"digit-cnn"', "row 'vae': .*did you mean 'digits-cnn'?"),
    ],
)
def test_what_only_planning_sees_names_the_row(tmp_path, old, new, said):
    with pytest.raises(ConfigError, match=said):
        claims.plan(loaded(tmp_path, old, new))


def test_a_file_is_a_suite_with_named_rows(tmp_path):
    file = loaded(tmp_path, changes=["n=64", "seeds=0,5", "vae.lr=1e-3", "budget.images=128"])
    assert file.rows == ("vae", "wide", "gaussian")
    assert file.suite.metrics == ("fd",) and file.suite.n == 64
    planned = claims.plan(file)
    assert [len(planned.cells[row]) for row in file.rows] == [2, 2, 1]
    assert planned.references == {"gaussian"}
    assert [c.sample.train.seed for c in planned.cells["wide"]] == [0, 5]
    train = planned.cells["wide"][0].sample.train
    assert (train.config["hidden"], train.config["lr"], train.budget.images) == (64, 1e-3, 128)
    assert planned.metrics["fd"] == planned.cells["vae"][0].metrics[0]
    assert loaded(tmp_path).suite.seeds == (0, 1, 2)


def test_what_a_claim_needs_may_not_be_taken_away(tmp_path):
    for change in ("baseline=vae", "metrics=is", "limit=1"):
        with pytest.raises(ConfigError, match="name the claims that you want, as FILE/CLAIM"):
            loaded(tmp_path, changes=[change])


def test_one_claim_plans_its_rows_alone_with_the_metrics_of_the_file(tmp_path):
    text = BODY.replace('measure = "fd"', 'measure = "is"', 1)
    file = claims.load(write_file(tmp_path, text))
    one = file.only("beats")
    assert one.rows == ("vae", "gaussian") and list(one.claims) == ["beats"]
    assert set(one.suite.metrics) == {"fd", "is"}
    whole, part = claims.plan(file), claims.plan(one)
    assert part.cells["vae"] == whole.cells["vae"]  # the same cells, so the same runs


def test_changes_are_for_the_files_that_they_fit(tmp_path):
    mine = write_file(tmp_path)
    other = write_file(
        tmp_path, BODY.replace('"vae"', '"dcgan"').replace("hidden", "ngf"), "other"
    )
    one, two = claims.select([mine, other], ["dcgan.lr=5e-4", "n=16"])
    assert [row.config.get("lr") for row in one.suite.rows] == [None] * 3
    assert [row.config.get("lr") for row in two.suite.rows] == [5e-4, 5e-4, None]
    assert (one.suite.n, two.suite.n) == (16, 16)
    with pytest.raises(ConfigError, match="has what 'ddpm.lr=1' changes"):
        claims.select([mine, other], ["ddpm.lr=1"])


def test_trainings_are_those_of_a_suite(tmp_path):
    """The quick suite's rows, planned by a claim, are the suite's samples to the key."""
    text = BODY.replace("n = 32", "n = 360").replace("640", "600_000")
    planned = claims.plan(claims.load(write_file(tmp_path, text), ["seeds=0"]))
    quick = {c.sample.train.baseline: c for c in suite.plan(suite.load("quick"))}
    for name in ("vae", "gaussian"):
        assert planned.cells[name][0].sample == quick[name].sample
    assert planned.metrics["fd"] in quick["vae"].metrics


@pytest.mark.parametrize("name", NAMES)
def test_the_claims_of_the_package_can_be_planned(name):
    file = claims.load(name)
    planned = claims.plan(file)
    assert file.suite.description and planned.all
    for claim, content in file.claims.items():
        rows = {row for one in file.expected(claim) for row in one.rows}
        keys = {planned.cells[row][0].key for row in rows}
        assert len(keys) == len(rows), f"{claim} compares a row with itself"
        assert "arXiv:" in content.source or "lecture notes" in content.source
        assert not content.published or any(c.isdigit() for c in content.published)
        assert not content.statement.endswith(".")


def test_the_package_has_claims_and_lists_them():
    assert {"pix2pix", "srgan", "cyclegan", "gan_cls"} <= set(NAMES)
    assert all(claims.describe().values())


def test_a_cell_is_done_where_its_samples_have_every_score(tmp_path):
    """Whichever cells they belong to: a suite's, with other metrics."""
    planned = claims.plan(claims.load(write_file(tmp_path)))
    cell, other = planned.cells["vae"][:2]
    more = suite.plan(suite.load("smoke", ["n=32", "baseline=vae"]))[0].metrics
    of = {name: tuple(m for m in more if m.name == name) for name in ("fd", "is")}
    both = Cell(sample=cell.sample, metrics=more)
    assert cell.metrics == of["fd"] and both.key != cell.key
    assert claims.done([cell, other], [ok(both, 1.0)]) == {cell.key}
    assert claims.done([cell], [ok(Cell(sample=cell.sample, metrics=of["is"]), 1.0)]) == set()
    assert claims.done([cell], [failed(cell)]) == set()
    halves = [ok(Cell(sample=cell.sample, metrics=m), 1.0) for m in of.values()]
    assert claims.done([both], halves) == {both.key} and claims.done([both], halves[:1]) == set()
