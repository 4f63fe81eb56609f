"""What a result says of the images, the networks and the metrics that went into it."""

from collections.abc import Sequence
from pathlib import Path

from genbench.evaluation.reference import Origin
from genbench.evaluation.request import Job
from genbench.evaluation.result import Network, Side
from genbench.features import Extractor
from genbench.inputs import Source
from genbench.metrics import Metric, PairMetric
from genbench.spec import MetricSpec, content_key

__all__ = ["full_name", "label", "metric_spec", "network", "reference_name", "side", "side_of"]


def reference_name(source: Source) -> str:
    """What a reference is called in ids: a dataset's own name, else with a hash of its content."""
    if source.dataset:
        return source.dataset
    return f"{Path(source.name).name}-{source.digest[:8]}"


def side(source: Source) -> Side:
    """What is said of a set of images."""
    return Side(
        name=Path(source.name).name, n=source.n, digest=source.digest, notes=dict(source.notes)
    )


def side_of(origin: Origin) -> Side:
    """What is said of a reference that came from a statistics file."""
    return Side(
        name=origin.name,
        n=origin.n,
        digest=origin.digest,
        notes={"prepared": origin.prepared} if origin.prepared else {},
        source="statistics file",
    )


def full_name(extractor: Extractor) -> str:
    """The network with its protocol."""
    return "/".join(part for part in (extractor.name, extractor.protocol) if part)


def network(extractor: Extractor) -> Network:
    """What is said of a network."""
    return Network(
        protocol=extractor.protocol,
        sha256=extractor.sha256,
        official=extractor.official,
        dim=extractor.dim,
        settings=extractor.settings,
    )


def metric_spec(
    job: Job, extractor: Extractor | None, reference: str, n: int, texts: Sequence[str] = ()
) -> MetricSpec:
    """What a number stands for: its metric, network, reference, number of images, captions."""
    if isinstance(job.metric, PairMetric) or extractor is None:
        named = getattr(job.metric, "weights", None)
        weights = named(job.options) if named else ""
        return MetricSpec(
            name=job.name,
            extractor=weights or "pixels",
            reference=reference,
            n=n,
            options=job.metric.changed(job.options),
        )
    notes = [] if extractor.official else [f"weights={extractor.sha256[:8]}"]
    notes += [v for k, v in extractor.settings.items() if k == "dtype"]
    if isinstance(job.metric, Metric) and "text" in job.metric.reads:
        notes.append(f"captions={content_key(list(texts))[:8]}")
    return MetricSpec(
        name=job.name,
        extractor=extractor.name,
        protocol=extractor.protocol,
        reference=reference if job.metric.reference else "",
        n=n,
        weights=extractor.sha256,
        options=job.metric.changed(job.options),
        notes=tuple(notes),
    )


def label(job: Job) -> str:
    """What tables print for a metric."""
    if job.extractor is None or job.name == "fid":
        return job.metric.label if job.name != "fid" else "FID"
    return f"{job.metric.label} ({job.extractor.name})"
