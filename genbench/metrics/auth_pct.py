"""AuthPct: how many generated samples are not closer to a training image than its neighbours are.

    AuthPct = 100 * share of generated y with  d(y, x) > d(x, x'),
              x the training image nearest to y, x' the training image nearest to x

0 for copies of the training set; a higher value is a more authentic set. The reference must be the
training split. Alaa et al., *How Faithful is your Synthetic Data?*, arXiv 2102.08921; as a
percentage, Stein et al., *Exposing flaws of generative model evaluation metrics and their unfair
treatment of diffusion models*, arXiv 2306.04675.
"""

from genbench.metrics.metric import FeatureSet, Metric, NoOptions
from genbench.metrics.neighbours import authentic
from genbench.metrics.shares import share_score
from genbench.stats import Score

__all__ = ["METRIC"]


def score(made: FeatureSet, real: FeatureSet | None, options: NoOptions) -> Score:
    """The percentage with Wilson's interval over generated samples."""
    assert real is not None
    return share_score(authentic(made, real), made.n, "generated samples", unit=100.0)


METRIC = Metric(
    "auth_pct", "AuthPct", "higher", needs=("features",), reference=("features",), score=score
)
