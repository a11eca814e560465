"""The supervised metrics of disentanglement, by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import xarray as xr

from ppvae.metrics.beta_vae import beta_vae_metric
from ppvae.metrics.dci import dci_metric
from ppvae.metrics.factor_vae import factor_vae_metric
from ppvae.metrics.mig import mig_metric
from ppvae.metrics.modularity_explicitness import explicitness, modularity
from ppvae.metrics.sap import sap_metric

__all__ = ["DISENTANGLEMENT_METRICS"]

# Each is metric(codes, factors, *, preset, seed) -> Dataset with a scalar `score`, and each has the presets
# `locatello`, the published protocol, and `quick`, a second or two on 2 000 images.
DISENTANGLEMENT_METRICS: Mapping[str, Callable[..., xr.Dataset]] = MappingProxyType(
    {
        "beta_vae": beta_vae_metric,
        "factor_vae": factor_vae_metric,
        "mig": mig_metric,
        "modularity": modularity,
        "explicitness": explicitness,
        "dci": dci_metric,
        "sap": sap_metric,
    }
)
