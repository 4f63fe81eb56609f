"""What goes wrong again and again when images are scored, told before or beside the number."""

from collections.abc import Iterable, Iterator, Sequence

from genbench import features
from genbench.evaluation.reference import Origin
from genbench.evaluation.request import EvalSpec, Job
from genbench.features import Extractor
from genbench.inputs import Batch, Source
from genbench.metrics import FeatureSet, Metric, PairMetric
from genbench.metrics.frechet import FrechetSums, Moments, frechet_distance, gaussian
from genbench.spec import ConfigError

__all__ = [
    "check",
    "check_network",
    "few",
    "few_images",
    "grey_is_fine",
    "has_colour",
    "other_purpose",
    "small_sample_bias",
    "warnings",
]

_ENOUGH = 5  # images for each feature, below which a Frechet distance is clearly biased


def check(
    made: Source | None,
    real: Source | None,
    stats: Origin | None,
    wanted: Sequence[Job],
    spec: EvalSpec,
) -> None:
    """Refuse what cannot be scored, before any network runs.

    Raises:
        ConfigError: Nothing to do, a missing reference or captions, too few images, another number
            of images than was claimed.
    """
    if made is None and real is None:
        raise ConfigError("nothing to look at: name generated images, or a reference to save")
    if not wanted:
        raise ConfigError("no metric is asked for; name some, e.g. --metrics fid,is")
    real_n = real.n if real is not None else None if stats is None else stats.n
    _check_number("generated", made, None if made is None else made.n, spec.n, "n")
    _check_number("reference", real, real_n, spec.reference_n, "reference_n")
    for job in wanted:
        if made is not None:
            _check_job(job, made, real_n, real, spec)
        elif isinstance(job.metric, PairMetric):
            raise ConfigError(f"metric {job.name!r} compares pairs; there are no statistics of it")


def _check_number(
    side: str, source: Source | None, found: int | None, claimed: int | None, key: str
) -> None:
    if found is None or claimed is None or found == claimed:
        return
    name = "the statistics file" if source is None else source.name
    raise ConfigError(
        f"{name} holds {found:,} {side} images, but {key}={claimed:,} was promised; a score of "
        f"another number of images is another score: complete the set, or say {key}={found}"
    )


def _check_job(
    job: Job, made: Source, real_n: int | None, real: Source | None, spec: EvalSpec
) -> None:
    metric = job.metric
    if isinstance(metric, PairMetric):
        if real is None:
            raise ConfigError(
                f"metric {job.name!r} compares pairs of images; name them with --reference"
            )
        return
    if metric.reference and real_n is None:
        raise ConfigError(
            f"metric {job.name!r} compares with real images; name them with --reference FOLDER or "
            "DATASET:SPLIT, or --load-stats FILE"
        )
    if "text" in metric.needs and spec.captions is None:
        raise ConfigError(
            f"metric {job.name!r} compares images with text; name it with captions=FILE"
        )
    metric.check_numbers(made.n, real_n, job.options, job.name)


def check_network(job: Job, extractor: Extractor, sides: Iterable[Source | None] = ()) -> None:
    """Refuse a metric of classes or text for a network that is known to give none, and a network
    that is for other images than those of a dataset.

    Raises:
        ConfigError: With the way on.
    """
    if not isinstance(job.metric, Metric):
        return
    for source in sides:
        if source is None or not source.dataset:
            continue
        if why := features.unfit(extractor.name, source.dataset.rpartition(":")[0]):
            raise ConfigError(f"{why}; choose another extractor, e.g. --extractor inception")
    reads = job.metric.reads
    if "text" in reads and not hasattr(extractor, "text"):
        raise ConfigError(
            f"{extractor.name} does not read text, which metric {job.name!r} needs; name a "
            "network that does, e.g. clip@open_clip:MODEL:PRETRAINED"
        )
    if not extractor.classes and "probs" in reads:
        raise ConfigError(
            f"metric {job.name!r} needs class probabilities, which {extractor.name} does not "
            "give; choose another extractor, e.g. is@inception"
        )


def grey_is_fine(requests: Iterable[features.Request]) -> bool:
    """Whether every network is made for grey images, as the pixels and shipped ones are."""
    return all(
        request.name == "pixels"
        or (
            request.name in features.names()
            and features.card(request.name)["module"].endswith(".convnet")
        )
        for request in requests
    )


def has_colour(batch: Batch) -> bool:
    """Whether any pixel is not grey."""
    images = batch.images
    return images.shape[1] == 3 and bool((images != images[:, :1]).any())


def other_purpose(requests: Iterable[features.Request], colour: bool | None) -> Iterator[str]:
    """Which networks are for other images than these."""
    for request in requests:
        if why := features.unfit(request.name, colour=colour):
            yield f"{why}, which these are: choose another extractor, e.g. inception"


def warnings(made: Source | None, real: Source | None) -> Iterator[str]:
    """What two sets have that makes a comparison unfair."""
    if made is None or real is None:
        return
    if made.digest == real.digest:
        yield "both sides are the same images: distances of 0 say nothing"
    if made.lossy != real.lossy:
        lossy, other = (made, real) if made.lossy else (real, made)
        yield (
            f"{lossy.name} holds lossy files (JPEG or WebP) and {other.name} does not: "
            "compression alone moves FID by several points; save both sides as PNG"
        )


def few(n: int, dim: int) -> bool:
    """Whether a Frechet distance of n images in `dim` features is clearly too high."""
    return 4 <= n < _ENOUGH * dim


def few_images(job: Job, made: FeatureSet, real: FeatureSet) -> Iterator[str]:
    """How far a Frechet distance is off for want of images, and what to look at instead."""
    metric = job.metric
    if not isinstance(metric, Metric) or metric.name != "fd":
        return
    dim = len(real.sums(Moments).mean)
    if few(made.n, dim):
        bias = small_sample_bias(made, real)
        name = job.name.upper()
        much = f"about {bias:.3g} too high" if bias > 0 else "too high, by how much is unclear"
        yield (
            f"{made.n:,} images are few for {dim:,} features: {name} at this number is {much}, "
            f"and compares only with {name}s at the same number; fd_infinity and kid do not have "
            "this bias"
        )


def small_sample_bias(made: FeatureSet, real: FeatureSet) -> float:
    """How much a Frechet distance is too high for want of generated images.

    To first order FD_n = FD + c / n (Chong and Forsyth, *Effectively Unbiased FID and Inception
    Score*, arXiv 1911.07023): the distance of a random half gives c. That of the reference's own
    number of images is not in it.
    """
    sums, reference = made.sums(FrechetSums), gaussian(real)
    if len(sums.rows):
        half = Moments.of(sums.rows[: len(sums.rows) // 2])
    else:
        parts = sums.parts[: max(1, len(sums.parts) // 2)]
        half = sum(parts[1:], parts[0])
    if half.n < 2:
        return 0.0
    whole = sums.moments
    gap = frechet_distance(half, reference) - frechet_distance(whole, reference)
    return gap / (1 / half.n - 1 / whole.n) / whole.n
