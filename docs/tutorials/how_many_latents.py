"""# How many latents? A table whose answer is known

Three factors of unlike strength are mixed linearly into twenty columns, with noise. A linear pair is probabilistic PCA,
where all is known in closed form: under a weight β of the rate a latent is used exactly where its eigenvalue is above
β·σ². So the path must let in three latents, each at its own weight, and no fourth until β·σ² falls to the noise.
"""

import numpy as np
import torch

from guides import MeanFieldNormal
from ppvae import VAE, path
from ppvae.datasets import rows
from ppvae.likelihoods import RealLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.plots import plot_latent_path
from ppvae.priors import NormalPrior
from ppvae.selection import chosen_plateau, say_plateau

ROWS, LEVELS, EPOCHS = 2000, 30, 90  # in the tests: 128, 2, 2

random = np.random.default_rng(0)
directions = np.linalg.qr(random.normal(size=(20, 3)))[0].T
strengths = np.array([3.0, 2.0, 1.2])
table = random.normal(size=(ROWS, 3)) * strengths @ directions + 0.3 * random.normal(size=(ROWS, 20))
data = rows(table, columns=[f"column {k}" for k in range(20)], scaling="none")

# The eigenvalues say where each latent may enter. With σ = 0.3, the true noise, β·σ² is an eigenvalue at these weights:

eigenvalues = np.linalg.eigvalsh(np.cov(table.T))[::-1]
print("enter at β =", (eigenvalues[:4] / 0.3**2).round(1))

# ## The path
#
# Six latents, twice as many as there are factors. Networks without hidden layers are linear; σ stays at the noise's.

torch.manual_seed(0)
likelihood = RealLikelihood(MLPDecoder(6, data.image_shape, hidden=()), noise="all", scale=0.3)
likelihood.log_scale.requires_grad_(False)
model = VAE(NormalPrior(6), likelihood)
guide = MeanFieldNormal(MLPEncoder(data.image_shape, hidden=()), 6)
start = 1.2 * eigenvalues[0] / 0.3**2  # nothing is in yet; of a likelihood whose σ is learned `entrance` says it
found = path(
    model, guide, data, start=start, stop=1.5, levels=LEVELS, epochs=EPOCHS, learning_rate=5e-3, progress=False
)

# ## The answer

print(say_plateau(found))
plot_latent_path(found, chosen_plateau(found)).savefig("figures/how_many_latents.png", dpi=80)

# ![each latent's KL over the weights, and how many are counted](figures/how_many_latents.png)
#
# The latents enter one after another, each near its eigenvalue, a little late, for a collapsed code is a saddle that
# training leaves slowly. On images nothing is known in advance, and the same figure is read the same way: [how many
# latents do my data need?](../howto/how_many_latents.md)
