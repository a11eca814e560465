"""Distributions and KLs that Pyro lacks."""

from ppvae.distributions import full_normal_kl  # noqa: F401 - registers a KL
from ppvae.distributions.autoregressive_flow import AutoregressiveFlow
from ppvae.distributions.autoregressive_image import AutoregressiveImage
from ppvae.distributions.batch_scale_normal import BatchScaleNormal
from ppvae.distributions.discretised_logistic import DiscretisedLogistic
from ppvae.distributions.g_rep import GRepGamma
from ppvae.distributions.gate import Gate, RelaxedGate
from ppvae.distributions.isotropic_normal import IsotropicNormal
from ppvae.distributions.logistic_mixture import DiscretisedLogisticMixture
from ppvae.distributions.membership import Membership, RelaxedMembership
from ppvae.distributions.partly_observed import PartlyObserved
from ppvae.distributions.pixel_categorical import PixelCategorical
from ppvae.distributions.pixel_outputs import OUTPUTS, pixel_output
from ppvae.distributions.precision_normal import PrecisionNormal
from ppvae.distributions.raster_flow import RasterFlow
from ppvae.distributions.residual_normal import ResidualNormals
from ppvae.distributions.scale_mixture import ScaleMixture
from ppvae.distributions.surrogate_bernoulli import SurrogateBernoulli
from ppvae.distributions.uniform_mixture import UniformMixture
from ppvae.distributions.vector_mixture import VectorMixture
from ppvae.distributions.view import View
from ppvae.distributions.zero_inflated import ZeroInflatedNegativeBinomial, ZeroInflatedPoisson

__all__ = [
    "OUTPUTS",
    "AutoregressiveFlow",
    "AutoregressiveImage",
    "BatchScaleNormal",
    "DiscretisedLogistic",
    "DiscretisedLogisticMixture",
    "GRepGamma",
    "Gate",
    "IsotropicNormal",
    "Membership",
    "PartlyObserved",
    "PixelCategorical",
    "PrecisionNormal",
    "RasterFlow",
    "RelaxedGate",
    "RelaxedMembership",
    "ResidualNormals",
    "ScaleMixture",
    "SurrogateBernoulli",
    "UniformMixture",
    "VectorMixture",
    "View",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
    "pixel_output",
]
