"""# A first pair, from images to a posterior

Sprites are coloured shapes on black, drawn here: five factors, hue, shape, place and size, make each image. A VAE is
trained on the images alone; then we ask what its codes know.
"""

from guides import MeanFieldNormal
from ppvae import VAE, BetaELBO, check_pair, fit, from_pyro_svi
from ppvae.datasets import sprites
from ppvae.diagnostics import informative_latents
from ppvae.interventions import ablate, traverse
from ppvae.likelihoods import NormalLikelihood
from ppvae.metrics import dci_metric
from ppvae.networks import ConvDecoder, ConvEncoder
from ppvae.plots import plot_importance_matrix, plot_traversals
from ppvae.priors import NormalPrior

IMAGES, EPOCHS = 4096, 15  # in the tests: 128, 1

# The data know what they are: their pixels, their factors and how many levels each has.

data = sprites(size=IMAGES, seed=0, image_size=32)
print(data.description)

# ## The pair
#
# The model is p(z) p(x | z): a prior that draws the site `z`, and a likelihood that maps it to a distribution over
# images. The guide is q(z | x), with the same site. σ = 0.1 says how exact a pixel is meant to be: with a normal
# likelihood σ and β are one knob, so it is chosen on purpose.

model = VAE(NormalPrior(10), NormalLikelihood(ConvDecoder(10, data.image_shape, (32, 16, 16)), scale=0.1))
guide = MeanFieldNormal(ConvEncoder(data.image_shape, (16, 16, 32)), 10)
check_pair(model, guide, data.images[:8])

# ## Training
#
# The objective weighs what one pass of the pair measured. β = 4 makes the rate four times as dear; the history has the
# plain ELBO beside it, so that runs with different objectives can be compared.

history = fit(model, guide, data, BetaELBO(beta=4), epochs=EPOCHS, seed=0, progress=False)
print(history[["elbo", "rate", "distortion"]].isel(epoch=-1))

# ## The posterior
#
# A DataTree with ArviZ's groups. Each image has its own draws of z, its own log p, log q and KL; factors come along.

tree = from_pyro_svi(model, guide, data.images[:1024], num_samples=8)
print(tree["posterior"]["z"].sizes, float(tree["sample_stats"]["elbo"].mean()))

# ## Which latents are in use?
#
# By several rules side by side, for no single one can be believed: KL, and ablation, which replaces a latent by its
# mean and looks at what that costs.

found = informative_latents(tree, ablation=ablate(model, tree))
print(found[["kl", "by_kl", "by_ablation"]].to_dataframe())

# Each latent moved over the range of its codes, the others held:

plot_traversals(traverse(model, tree)).savefig("figures/first_pair_traversals.png", dpi=80)

# ![each row moves one latent](figures/first_pair_traversals.png)

# And what each factor is predicted from, by gradient-boosted trees (DCI):

codes, factors = tree["sample_stats"]["z_mean"], data.factors.isel(image=slice(1024))
plot_importance_matrix(dci_metric(codes, factors, preset="quick")).savefig("figures/first_pair_factors.png", dpi=80)

# ![the share of each factor's importance that each latent holds](figures/first_pair_factors.png)
#
# Ten latents for five factors: all are in use, and a disentanglement of 0.11 says that each factor is spread over
# several. So it is under a small weight of the rate. A larger one leaves fewer latents and a coarser picture; which
# weight, and how many latents, need not be guessed: [the next tutorial](how_many_latents.md) lets it fall.
