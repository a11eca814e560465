"""The mixture prior whose component is a site of its own."""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import Membership
from ppvae.errors import UserError, check_whole

__all__ = ["ClusterPrior"]


class ClusterPrior(Described, nn.Module):
    """p(y) p(z | y) = Cat(y; 1/K) N(z; m_y, diag s_y²), with learned means and scales: each cluster has its normal.

    Sites ``cluster`` (component), a one-hot vector, then ``z`` (latent) or ``site``, such as ``z_global``
    (latent_global). A relaxed y, a point of the simplex, interpolates means and scales. Before training the means are
    drawn from N(0, ``spread``) and every s² is 1 − ``spread``, as in :class:`~ppvae.priors.MixturePrior`, which sums
    the cluster out.

    Errors: :class:`~ppvae.errors.UserError` for fewer than two clusters or a spread outside (0, 1).
    Source: Anonymous 2019, "Explicit information placement on latent variables using auxiliary generative modelling
    task", Eqs. 7-8.
    """

    def __init__(self, latents: int, clusters: int = 30, spread: float = 0.5, *, site: str = "z") -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        check_whole("clusters", clusters, 2)
        if not 0 < spread < 1:
            raise UserError(f"spread={spread!r}: expected a number between 0 and 1")
        self.latents, self.clusters, self.site = latents, clusters, site
        self.register_buffer("logits", torch.full((clusters,), -math.log(clusters)), persistent=False)
        self.loc = nn.Parameter(spread**0.5 * torch.randn(clusters, latents))
        self.log_scale = nn.Parameter(torch.full((clusters, latents), 0.5 * math.log1p(-spread)))

    def forward(self) -> torch.Tensor:
        y = pyro.sample("cluster", Membership(logits=self.logits), infer={"event_dims": ["component"]})
        return pyro.sample(self.site, self.normal(y), infer={"event_dims": ["latent" + self.site.removeprefix("z")]})

    @torch.no_grad()
    def place(self, means: torch.Tensor, variances: torch.Tensor, *, seed: int = 0) -> None:
        """Start each cluster where k-means finds one among codes, with the variance that its codes have there.

        Clusters that start at random tend to be given up but for one, before the codes say anything (Jiang et al.
        2017 start theirs likewise). ``means`` and ``variances`` (image, latent) of q(z | x).
        Errors: :class:`~ppvae.errors.UserError` for fewer different codes than clusters.
        """
        from sklearn.cluster import KMeans  # here: it takes as long to import as torch

        different = len(means.unique(dim=0))
        if different < self.clusters:
            raise UserError(
                f"{different} different codes of {len(means)} images for {self.clusters} clusters; give more images, "
                "or the rate a smaller weight where the codes have collapsed"
            )
        found = KMeans(self.clusters, n_init=4, random_state=seed % 2**32).fit(means.cpu().numpy())
        member = torch.nn.functional.one_hot(torch.from_numpy(found.labels_).long(), self.clusters).to(means)
        sizes = member.sum(0)[:, None]
        loc = member.T @ means / sizes
        variance = member.T @ (variances + (means - member @ loc).square()) / sizes
        self.loc.copy_(loc)
        self.log_scale.copy_(0.5 * variance.log())

    def normal(self, y: torch.Tensor) -> dist.TorchDistribution:
        """p(z | y): y (..., component) → batch shape (...), event shape (latent,)."""
        return dist.Normal(y @ self.loc, y @ self.log_scale.exp()).to_event(1)

    def rates(self, q: dist.TorchDistribution) -> torch.Tensor:
        """KL(q(z) ‖ p(z | y = k)) of each k, nats: a diagonal normal of batch shape (...) → (..., component).

        Its logarithms and variances need no pass over images × clusters × latents, as the KL of two normals does.
        Errors: :class:`~ppvae.errors.UserError` for a q of another number of latents.
        """
        if tuple(q.event_shape) != (self.latents,):
            raise UserError(
                f"q has event shape {tuple(q.event_shape)}, the clusters {self.latents} latents; give both the same"
            )
        loc, scale, precision = q.base_dist.loc, q.base_dist.scale, (-self.log_scale).exp()
        squares = ((loc.unsqueeze(-2) - self.loc) * precision).square().sum(-1)
        variances = scale.square() @ precision.square().T
        logs = self.log_scale.sum(-1) - scale.log().sum(-1, keepdim=True)
        return 0.5 * (squares + variances - self.latents) + logs
