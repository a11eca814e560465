"""# Should I believe it? A guide made wrong on purpose

A trained pair passes or fails tests. To see that they mean something, the guide is broken: its standard deviations are
halved, as an underfitted guide's might be. The ELBO alone would hardly tell.
"""

import torch

from guides import MeanFieldNormal
from ppvae import VAE, examine, fit
from ppvae.datasets import rows
from ppvae.diagnostics import diagnose, verdicts
from ppvae.likelihoods import RealLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.plots import plot_calibration
from ppvae.priors import NormalPrior

ROWS, EPOCHS, SIMULATIONS = 4000, 60, 500  # in the tests: 128, 1, 40

# ## A pair that can be exact
#
# Networks without hidden layers are linear: the model is probabilistic PCA. Its directions are orthogonal, so that its
# posterior is a diagonal normal whose mean is linear in x: the mean-field guide can reach it.

torch.manual_seed(0)
directions = torch.linalg.qr(torch.randn(12, 2))[0].T * torch.tensor([[3.0], [2.0]])
table = torch.randn(ROWS, 2) @ directions + 0.5 * torch.randn(ROWS, 12)
data = rows(table.numpy(), columns=[f"column {k}" for k in range(12)], scaling="none")
model = VAE(NormalPrior(2), RealLikelihood(MLPDecoder(2, data.image_shape, hidden=()), noise="all", scale=0.5))
guide = MeanFieldNormal(MLPEncoder(data.image_shape, hidden=()), 2)
fit(model, guide, data, epochs=EPOCHS, learning_rate=5e-3, seed=0, progress=False)

# ## As trained

right = examine(model, guide, data.subset(slice(200)), simulations=SIMULATIONS)
print(verdicts(diagnose(right)))

# ## Too narrow
#
# log σ² less 2·log 2: every standard deviation is half of what it was.

with torch.no_grad():
    guide.log_variance.bias -= 2 * torch.log(torch.tensor(2.0))
wrong = examine(model, guide, data.subset(slice(200)), simulations=SIMULATIONS)
print(verdicts(diagnose(wrong)))

# `width` names it, with the factor; k̂ of the images rises, because the weights of draws from a guide too narrow have a
# heavy tail. Images are drawn from the model, whose latents are therefore known, and their ranks among the guide's
# draws should be uniform:

plot_calibration(right["calibration"].to_dataset()).savefig("figures/wrong_guide_right.png", dpi=80)
plot_calibration(wrong["calibration"].to_dataset()).savefig("figures/wrong_guide_narrow.png", dpi=80)

# As trained:
#
# ![ranks within the band](figures/wrong_guide_right.png)
#
# Too narrow, too many ranks at both ends:
#
# ![ranks far outside the band](figures/wrong_guide_narrow.png)
#
# [Read the diagnostics](../howto/believe.md) says what each test asks and what to do.
