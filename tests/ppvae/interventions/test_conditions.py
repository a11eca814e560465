"""Images drawn under each label: columns share z, rows share the label."""

import pytest
import torch
import torch.distributions as dist
from torch import nn

from ppvae import VAE, UserError
from ppvae.interventions import draw_given
from ppvae.likelihoods import NormalLikelihood
from ppvae.models import ConditionalVAE
from ppvae.networks import LabelCondition, MLPDecoder
from ppvae.priors import NormalPrior


class Linear(nn.Module):
    """The mean z_0 + 10 y of every pixel, from z and the indicators side by side."""

    def forward(self, both: torch.Tensor) -> dist.Distribution:
        mean = both[..., 0] + 10 * (both[..., 1:] * torch.arange(3.0)).sum(-1)
        return dist.Independent(dist.Normal(mean[..., None, None, None].expand(*mean.shape, 1, 2, 2), 1.0), 3)


def test_columns_share_their_code_and_rows_their_label():
    model = ConditionalVAE(NormalPrior(1), Linear(), LabelCondition(3))
    found = draw_given(model, torch.arange(3), 7, seed=4)
    assert found.dims == ("given", "draw", "channel", "row", "column")
    codes = torch.from_numpy(found.values)[..., 0, 0, 0]
    torch.testing.assert_close(codes - codes[:1], 10 * torch.arange(3.0)[:, None].expand(3, 7), rtol=0, atol=1e-5)
    assert codes[0].unique().numel() == 7
    again = draw_given(model, torch.arange(3), 7, seed=4)
    assert found.identical(again)
    assert not found.identical(draw_given(model, torch.arange(3), 7, seed=5))


def test_only_a_conditional_model_draws_under_labels():
    model = VAE(NormalPrior(2), NormalLikelihood(MLPDecoder(2, (1, 2, 2), (4,))))
    with pytest.raises(UserError, match="the model is a VAE, which is given images alone; expected a ConditionalVAE"):
        draw_given(model, torch.arange(3))
