"""q(z | x): one file a posterior family; each guide is a Pyro program with the sites of a model."""

from guides.ard import ARDGuide
from guides.bottom_up import BottomUpNormal
from guides.clusters import EnumeratedClusters, OptimalClusters, RelaxedClusters
from guides.full_covariance_normal import FullCovarianceNormal
from guides.hierarchy import HierarchyGuide, LadderGuide
from guides.inverse_autoregressive import InverseAutoregressiveGuide
from guides.mean_field_normal import MeanFieldNormal
from guides.mixture_of_encoders import MixtureOfEncoders
from guides.normal_gamma import NormalGammaGuide
from guides.semi_supervised import SemiSupervisedNormal
from guides.spike_and_slab import SpikeAndSlabGuide
from guides.student_t import StudentTGuide
from guides.two_view import TwoViewGuide

__all__ = [
    "ARDGuide",
    "BottomUpNormal",
    "EnumeratedClusters",
    "FullCovarianceNormal",
    "HierarchyGuide",
    "InverseAutoregressiveGuide",
    "LadderGuide",
    "MeanFieldNormal",
    "MixtureOfEncoders",
    "NormalGammaGuide",
    "OptimalClusters",
    "RelaxedClusters",
    "SemiSupervisedNormal",
    "SpikeAndSlabGuide",
    "StudentTGuide",
    "TwoViewGuide",
]
