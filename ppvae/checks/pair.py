"""Do model, guide, data and objective fit each other?"""

from collections.abc import Callable

from pyro.distributions.util import is_identically_zero
from pyro.infer import ELBO, TraceMeanField_ELBO
from torch.distributions import kl_divergence

from ppvae.checks.data import check_data
from ppvae.checks.runs import check_by_image, check_validated, shared_sites
from ppvae.checks.sites import check_observations, check_site, listed
from ppvae.datasets import ImageDataset
from ppvae.errors import UserError
from ppvae.objectives import Objective
from ppvae.pair.program import Data
from ppvae.pair.sites import Site, elementwise, observed_sites
from ppvae.pair.untouched import device_of, evaluating, rehearsing

__all__ = ["check_pair"]


def check_pair(
    model: Callable, guide: Callable, data: Data | ImageDataset, objective: Objective | ELBO | None = None
) -> None:
    """Raise a one-line :class:`~ppvae.errors.UserError` where model and guide do not fit each other.

    Looks for sites that only one side has, for shapes, supports or orders that differ, for images that the networks
    cannot take or the likelihood refuses, and for an ``objective`` (ours, or Pyro's mean-field ELBO) that the pair does
    not allow. Refuses what Pyro's own SVI refuses under validation, in evaluation and in training mode. Runs the
    programs on the data given: images (image, C, H, W), or a tuple of them and what else the programs take; the random
    state, parameters, buffers and attributes stay as they were.
    """
    inputs = check_data(data, model, guide)
    device = device_of(model, guide, inputs[0])
    inputs = tuple(values.to(device) for values in inputs)
    with evaluating(model, guide, device=device):
        drawn, wanted, model_trace = shared_sites(model, guide, inputs)
        for name in wanted:
            check_site(name, drawn[name], wanted[name])
        check_observations(model_trace)
        check_validated(model, guide, inputs, "evaluation")
        if isinstance(objective, TraceMeanField_ELBO):
            _check_reparameterised(drawn)
        if isinstance(objective, TraceMeanField_ELBO) or getattr(objective, "estimator", None) == "mean_field":
            _check_mean_field(drawn, wanted)
        if isinstance(objective, Objective):
            check_by_image(guide, inputs, drawn, model_trace)
            objective.bound_to(len(inputs[0]), model, guide).check(drawn, wanted)
            objective.check_observed({site["name"]: site for site in observed_sites(model_trace)})
    if len(inputs[0]) > 1:  # of one alone, batch statistics are none
        with rehearsing(model, guide, device=device):
            trained = check_validated(model, guide, inputs, "training")
            if isinstance(objective, Objective):
                objective.check(*trained)


def _check_reparameterised(drawn: dict[str, Site]) -> None:
    for name, site in drawn.items():
        if not is_identically_zero(site["fn"].score_parts(site["value"]).score_function):
            raise UserError(
                f"TraceMeanField_ELBO drops the score function of site {name!r}, which is not fully reparameterised; "
                "use BetaELBO() or Trace_ELBO()"
            )


def _check_mean_field(drawn: dict[str, Site], wanted: dict[str, Site]) -> None:
    if list(drawn) != list(wanted):
        raise UserError(
            f"mean_field needs one order of sites; the guide draws {listed(drawn)}, the model {listed(wanted)}: "
            "reorder one of them or use BetaELBO(estimator='trace')"
        )
    for name, site in drawn.items():
        q, p = site["fn"], wanted[name]["fn"]
        try:
            kl_divergence(*elementwise(q, p, site["value"]))
        except NotImplementedError:
            q, p = (type(getattr(d, "base_dist", d)).__name__ for d in (q, p))
            raise UserError(
                f"mean_field needs a closed-form KL at site {name!r}; none is registered for {q} and {p}: "
                "use BetaELBO(estimator='trace'), objective.estimator=trace"
            ) from None
