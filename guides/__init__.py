"""q(z | x): one file a posterior family; each guide is a Pyro program with the sites of a model."""

from guides.mean_field_normal import MeanFieldNormal
from guides.normal_gamma import NormalGammaGuide

__all__ = ["MeanFieldNormal", "NormalGammaGuide"]
