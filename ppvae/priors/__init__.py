"""p(z): each prior is a small Pyro program that draws its sites and returns z."""

from ppvae.priors.ard import ARDPrior
from ppvae.priors.ard_conjugate import ConjugateARDPrior
from ppvae.priors.autoregressive_flow import AutoregressiveFlowPrior
from ppvae.priors.autoregressive_map import AutoregressiveMapPrior
from ppvae.priors.cluster import ClusterPrior
from ppvae.priors.hierarchy import HierarchyPrior
from ppvae.priors.horseshoe import HorseshoePrior
from ppvae.priors.mixture import MixturePrior
from ppvae.priors.normal_gamma import NormalGammaPrior
from ppvae.priors.spike_and_slab import SpikeAndSlabPrior
from ppvae.priors.standard_normal import NormalPrior
from ppvae.priors.student_t import StudentTPrior
from ppvae.priors.vamp import VampPrior

__all__ = [
    "ARDPrior",
    "AutoregressiveFlowPrior",
    "AutoregressiveMapPrior",
    "ClusterPrior",
    "ConjugateARDPrior",
    "HierarchyPrior",
    "HorseshoePrior",
    "MixturePrior",
    "NormalGammaPrior",
    "NormalPrior",
    "SpikeAndSlabPrior",
    "StudentTPrior",
    "VampPrior",
]
