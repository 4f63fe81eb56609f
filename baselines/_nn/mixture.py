"""A mixture of Gaussians over latents, fitted after training and drawn from by rows."""

import torch
from torch import Tensor, nn

from genbench import api

__all__ = ["Mixture"]


class Mixture(nn.Module):
    """p(z) = sum_j weights_j N(means_j, factors_j factors_j^T) over R^d; N(0, I) until fitted.

    Args:
        components: Number of Gaussians; one is fitted in closed form, more by expectation
            maximisation from k-means.
        d: Dimensions.
    """

    def __init__(self, components: int, d: int) -> None:
        super().__init__()
        self.weights: Tensor
        self.means: Tensor
        self.factors: Tensor
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, d))
        self.register_buffer("factors", torch.eye(d).repeat(components, 1, 1))

    def fit(self, z: Tensor) -> None:
        """Take weights, means and full covariances from the rows of z, (N, d), in float64.

        scikit-learn's GaussianMixture with a seed of its own, so the result is a function of z.
        1e-6 stands on the diagonal of each covariance; of fewer rows than components, each is one.
        """
        from sklearn.mixture import GaussianMixture  # not needed to sample, and slow to import

        rows = z.detach().double().cpu().numpy()
        k, d = min(len(self.weights), len(rows)), rows.shape[1]
        made = GaussianMixture(k, tol=1e-3, max_iter=2000, reg_covar=1e-6, random_state=0)
        made.fit(rows)
        covariances = torch.from_numpy(made.covariances_).view(k, d, d)
        self.weights.zero_()  # those beyond k are never drawn
        self.weights[:k].copy_(torch.from_numpy(made.weights_))
        self.means[:k].copy_(torch.from_numpy(made.means_))
        self.factors[:k].copy_(torch.linalg.cholesky(covariances))

    def sample(self, noise: api.Noise) -> Tensor:
        """z of shape (B, d): a component by its weight, then its Gaussian."""
        edges = self.weights.double().cumsum(0)
        # edges end at 1 up to rounding: the last component that has a weight takes the rest
        drawn = torch.searchsorted(
            edges, noise.uniform(dtype=torch.float64) * edges[-1], right=True
        )
        normal = noise.normal(self.means.shape[1])
        return self.means[drawn] + torch.einsum("bij,bj->bi", self.factors[drawn], normal)
