"""What a result says of the images, the networks and the metrics that went into it."""

from contextlib import suppress
from pathlib import Path

from genbench import data
from genbench.evaluation.reference import Origin
from genbench.evaluation.request import Job
from genbench.evaluation.result import Network, Side
from genbench.features import Extractor
from genbench.inputs import Source
from genbench.spec import ConfigError

__all__ = ["full_name", "label", "network", "reference_name", "side", "side_of"]


def reference_name(source: Source) -> str:
    """What a reference is called in ids: a dataset's own name, else with a hash of its content.

    Other files under the name of a published dataset are not that dataset.
    """
    with suppress(ConfigError):
        name, _, split = source.name.rpartition(":")
        published = data.NOT_PUBLISHED not in source.notes
        if published and split in data.SPLITS and data.parse_id(name).path is None:
            return source.name
    return f"{Path(source.name).name}-{source.digest[:8]}"


def side(source: Source) -> Side:
    """What is said of a set of images."""
    return Side(
        name=Path(source.name).name, n=source.n, digest=source.digest, notes=dict(source.notes)
    )


def side_of(origin: Origin) -> Side:
    """What is said of a reference that came from a statistics file."""
    return Side(name=origin.name, n=origin.n, digest=origin.digest, source="statistics file")


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


def label(job: Job) -> str:
    """What tables print for a metric."""
    if job.extractor is None or job.name == "fid":
        return job.metric.label if job.name != "fid" else "FID"
    return f"{job.metric.label} ({job.extractor.name})"
