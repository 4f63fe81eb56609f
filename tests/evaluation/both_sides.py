"""What tests of `evaluate` share: a run over both sides, and digits as a source."""

from genbench import data
from genbench.evaluation import evaluate, jobs, read_changes
from genbench.inputs import from_tensors

SETS = ("fd", "is", "kid", "prdc")


def run(made, real, changes=(), store=None, **flags):
    spec = read_changes(list(changes), {"extractor": "digits-cnn", "metrics": SETS, **flags})
    return evaluate(made, real, jobs(spec), spec, store=store)


def digits(split: str, n: int | None = None):
    return from_tensors(data.load("digits", split).images[:n], name=split)
