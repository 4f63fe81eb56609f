"""The page's sections on where numbers come from: protocol, failures, machines, data, records."""

import textwrap
from collections import Counter
from collections.abc import Sequence

from genbench.record import Environment, Failure
from genbench.report.notes import cells, machine, reason
from genbench.report.page_parts import (
    Block,
    Cards,
    Facts,
    Failed,
    Head,
    Item,
    Section,
    Table,
    Words,
)
from genbench.report.page_sections import Folder
from genbench.report.rows import Column, Row
from genbench.report.text import DASH
from genbench.spec import MetricSpec

__all__ = ["environment", "failures", "protocol", "records"]

_SHORT = 12  # digits of a hash that are shown; its title has all
_TERMS = (
    ("±", "half the width of the 95 % interval; each metric says what its interval is over"),
    ("NFE", "network evaluations for one image; guidance and second-order steps count each call"),
    ("ms/image", "time to sample one batch over its images, on the machine below"),
    ("params", "parameters of the networks that sampling calls"),
    ("batch", "images of one training step: after as many images a small one has more updates"),
    ("updates", "optimizer updates of the networks that are sampled, not of a discriminator"),
    (
        "image updates",
        "every optimizer update counts its batch, so a GAN's discriminator and generator updates "
        "both count: it sees half as many images of data",
    ),
    ("images of data", "images that training saw, each time anew"),
    (
        "train FLOPs",
        "floating-point operations of training, forward and backward, two for a multiply-add",
    ),
    ("train s", "seconds of training on the machine below"),
    ("seeds", "trainings with different seeds; with several, the interval is over them"),
    ("reference rows", "real test data, a memoriser, a Gaussian and noise: a metric's range"),
)


# --- protocol ------------------------------------------------------------------------------------


def protocol(folder: Folder) -> Section:
    """What every column is, in words."""
    cards: list[Facts] = []
    taken: dict[str, MetricSpec] = {}
    for table in folder.tables:
        for column in table.part.columns:
            title, spec = column.header, column.spec
            if taken.setdefault(title, spec) != spec:
                title = f"{title}, {table.part.title}"
            card = Facts(title, _explained(column, table.part.rows))
            cards += [] if card in cards else [card]
    terms = Facts("Other columns", [(term, Item(text)) for term, text in _TERMS])
    return Section("Protocol", "protocol", [Cards(cards), terms])


def _explained(column: Column, rows: Sequence[Row]) -> list[tuple[str, Item]]:
    spec = column.spec
    values = (row.score(spec) for row in rows)
    methods = dict.fromkeys(v.method for v in values if v is not None and v.ci95 and v.method)
    better = {"↓": "lower", "↑": "higher"}.get(column.arrow, "unknown to this version")
    pairs = [
        ("Id", Item(spec.id, code=True)),
        ("Better", Item(better)),
        ("Network", Item(_network(spec.extractor))),
        ("Preprocessing", Item(spec.protocol or "the only one of this network")),
        ("Reference", Item(_reference(spec))),
        ("Samples", Item(f"{spec.n:,}")),
        ("95 % interval", Item(" or ".join(methods) or "none")),
    ]
    if spec.weights:
        pairs.insert(3, ("Weights", _hash(spec.weights)))
    settings = [f"{name} = {value}" for name, value in spec.options] + list(spec.notes)
    return [*pairs, ("Settings", Item(", ".join(settings)))] if settings else pairs


def _network(extractor: str) -> str:
    from genbench import features

    if not extractor:
        return "none: of pixels"
    known = features.describe()
    about = known.get(extractor)
    if about is None:
        same = [
            text for form, text in known.items() if form.split(":")[0] == extractor.split(":")[0]
        ]
        about = next(iter(same), "not known to this version")
    return f"{extractor}: {about}"


def _reference(spec: MetricSpec) -> str:
    if not spec.reference:
        return "none: of the samples alone"
    dataset, split = spec.compared
    if not dataset:
        return spec.reference
    what = f"right answers of {spec.answered}" if spec.answered else "real images"
    return f"{split} split of {dataset}, {what}"


def _hash(sha256: str, what: str = "sha256") -> Item:
    return Item(sha256[:_SHORT], title=f"{what} {sha256}", code=True)


# --- failures ------------------------------------------------------------------------------------


def failures(folder: Folder) -> Section:
    """What failed, why, and how to run it again."""
    blocks: list[Block] = []
    missing = 0
    for label, row in folder.named:
        for cell in row.cells:
            record = row.of(cell)
            if record is None:
                missing += 1
            elif record.status != "ok" or record.error is not None:
                seed = cell.sample.train.seed
                title = f"{label}, seed {seed}: {record.status}"
                blocks.append(_failed(title, record.error, reason(record)))
    if missing:
        blocks.append(Words(f"Not run yet: {cells(missing)} of the plan."))
    return Section("Failures", "failures", blocks or [Words("None: every cell ran to its end.")])


def _failed(title: str, error: Failure | None, why: str) -> Failed:
    if error is None:
        return Failed(title, [("Reason", Item("the record names none"))])
    pairs = [("Stage", Item(error.stage)), ("Reason", Item(why.removeprefix(f"{error.stage}: ")))]
    if error.rerun:
        pairs.append(("Run it again", Item(error.rerun, code=True)))
    return Failed(title, pairs, textwrap.dedent(error.traceback).splitlines())


# --- machines, versions, data --------------------------------------------------------------------


def environment(folder: Folder) -> Section:
    """Where and with what the cells ran, and on which data."""
    known = [r.environment for r in folder.records if r.environment != Environment()]
    if not known:
        return Section("Machine and data", "environment", [Words("The records do not say.")])
    counts = Counter(machine(e) for e in known)
    machines = [(cells(count), Item(text)) for text, count in sorted(counts.items())]
    cards = [Facts("Machine", machines), Facts("Versions", _versions(known))]
    if hashes := _hashes(known):
        cards.append(Facts("Data and weights, sha256", hashes))
    for record in folder.records:
        if record.data:
            pairs = [(k.replace("_", " "), Item(str(v))) for k, v in record.data.items()]
            facts = Facts(f"Dataset {record.cell.sample.train.dataset}", pairs)
            cards += [facts] if facts not in cards else []
    return Section("Machine and data", "environment", [Cards(cards)])


def _versions(known: Sequence[Environment]) -> list[tuple[str, Item]]:
    found: dict[str, dict[str, None]] = {}
    for one in known:
        for name, version in one.packages.items():
            found.setdefault(name, {})[version] = None
    pairs = [(name, Item(", ".join(versions))) for name, versions in found.items()]
    commits = dict.fromkeys((e.commit, bool(e.dirty)) for e in known if e.commit)
    texts = [f"{c[:_SHORT]}{' with changes' if dirty else ''}" for c, dirty in commits if c]
    if texts:
        full = ", ".join(c for c, _ in commits if c)
        pairs.append(("commit", Item(", ".join(texts), title=full, code=True)))
    modes = dict.fromkeys("yes" if e.deterministic else "no" for e in known)
    return [*pairs, ("deterministic algorithms", Item(" and ".join(modes)))]


def _hashes(known: Sequence[Environment]) -> list[tuple[str, Item]]:
    pairs = dict.fromkeys(pair for e in known for pair in e.hashes.items())
    return [(name, _hash(sha256)) for name, sha256 in pairs]


# --- records -------------------------------------------------------------------------------------


def records(folder: Folder) -> Section:
    """Every cell with a link to its record, and the tables as files."""
    heads = ("model", "seed", "sampling seed", "status", "finished", "weights", "code", "record")
    lines = []
    for label, row in folder.named:
        for cell in row.cells:
            record, sample = row.of(cell), cell.sample
            link = f"records/{cell.key}.json" if cell.key in folder.beside else ""
            lines.append(
                [
                    Item(label),
                    Item(str(sample.train.seed), sample.train.seed),
                    Item(str(sample.seed), sample.seed),
                    Item("not run" if record is None else record.status),
                    Item(DASH if record is None else _when(record.finished)),
                    Item(sample.weights),
                    _hash(sample.train.version, "the family's code"),
                    Item(cell.key, href=link, code=True),
                ]
            )
    table = Table(
        "Every cell of the table.", [Head(n, n in ("seed", "sampling seed")) for n in heads], lines
    )
    names = [f"leaderboard.{ending}" for ending in ("csv", "md", "tex", "txt")]
    downloads = Facts("Downloads", [(n.split(".")[1], Item(n, href=n)) for n in names])
    return Section("Records", "records", [table, downloads])


def _when(finished: str) -> str:
    return finished[:16].replace("T", " ") or DASH
