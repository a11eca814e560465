"""Diverged parameters are named before any verdict, wherever a pair is run."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from ppvae import UserError, check_pair, elbo_surgery, examine, fit, from_pyro_svi, log_marginal, rank_simulations

CALLS = {
    "check_pair": check_pair,
    "fit": lambda *pair: fit(*pair, epochs=1, progress=False),
    "from_pyro_svi": from_pyro_svi,
    "from_pyro_svi of any pair": lambda model, guide, x: from_pyro_svi(model, guide, model_args=(x,)),
    "log_marginal": log_marginal,
    "examine": examine,
    "rank_simulations": rank_simulations,
    "elbo_surgery": elbo_surgery,
}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["model", "guide"])
@pytest.mark.parametrize("call", CALLS)
def test_a_diverged_parameter_is_named(call, part, value, build):
    pair = build("normal")
    name, parameter = list(getattr(pair, part).named_parameters())[-1]
    parameter.data.view(-1)[0] = value
    with pytest.raises(UserError) as caught:
        CALLS[call](pair.model, pair.guide, pair.images)
    line = str(caught.value)
    assert line.startswith(f"parameter {name!r} of the {part} has diverged: 1 of {parameter.numel()} values")
    assert len(line.splitlines()) == 1


def test_buffers_parameters_of_pyro_and_draws_are_looked_at_too(build):
    pair = build("normal")
    pair.guide.encoder.register_buffer("mask", torch.tensor(-torch.inf))  # as an attention mask has
    check_pair(pair.model, pair.guide, pair.images)
    pair.guide.encoder.mask.fill_(torch.nan)
    with pytest.raises(UserError, match=r"buffer 'encoder\.mask' of the guide has diverged"):
        check_pair(pair.model, pair.guide, pair.images)

    hidden = torch.tensor(torch.nan)

    def guide(images, *, named=False):
        loc = pyro.param("loc", hidden) if named else hidden
        with pyro.plate("image", len(images), dim=-1):
            pyro.sample("z", dist.Normal(loc, 1.0).expand([3]).to_event(1))

    with pytest.raises(UserError, match="site 'z' has diverged: 48 of 48"):
        check_pair(pair.model, guide, pair.images)
    with pytest.raises(UserError, match="parameter 'loc' has diverged"):
        check_pair(pair.model, lambda images: guide(images, named=True), pair.images)
