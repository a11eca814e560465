"""# Say where the information goes

A sprite's colour and size stay when its pixels are shuffled; its place and shape do not. An auxiliary task makes use of
that: z_local alone must explain the shuffled image, and the rate presses the rest into z_global.
"""

import xarray as xr

from guides import TwoViewGuide
from ppvae import BetaELBO, TwoViewVAE, fit, transfer_style, two_codes, vary
from ppvae.datasets import sprites
from ppvae.likelihoods import NormalLikelihood
from ppvae.metrics import knn_explained
from ppvae.models import PatchShuffle
from ppvae.networks import ConvDecoder, ConvEncoder, PatchDecoder
from ppvae.plots import plot_image_blocks, plot_style_transfer
from ppvae.priors import NormalPrior

IMAGES, EPOCHS = 2048, 40  # in the tests: 64, 1

data, shape = sprites(size=IMAGES, seed=0, image_size=32), (3, 32, 32)

# ## Two codes, two likelihoods
#
# The likelihood of the image sees both codes, that of the view the local one alone. The view is drawn anew at each
# step, at a site that model and guide share.

shuffle = PatchShuffle(1)  # tiles of one pixel
model = TwoViewVAE(
    NormalPrior(8, site="z_global"),
    NormalPrior(8, site="z_local"),
    NormalLikelihood(ConvDecoder(16, shape, (32, 16, 16)), scale=0.1),
    NormalLikelihood(PatchDecoder(8, shape, patch=1), scale=0.1),
    shuffle,
)
guide = TwoViewGuide(ConvEncoder(shape, (16, 16, 32)), ConvEncoder(shape, (16, 16, 32)), 8, 8, shuffle)
history = fit(model, guide, data, BetaELBO(beta=4), epochs=EPOCHS, learning_rate=2e-3, progress=False)
print({name: round(float(history[name][-1].sum()), 1) for name in ("kl_z_global", "kl_z_local")}, "nats")

# ## Which code knows what?
#
# Each factor, predicted from the ten nearest codes; about zero is what codes say that know nothing.

images, factors = data.images[:512], data.factors.isel(image=slice(512))
for name, codes in zip(("z_global", "z_local"), two_codes(guide, images), strict=True):
    codes = xr.DataArray(codes.numpy(), dims=("image", "latent"))
    known = {factor: float(knn_explained(codes, factors[factor])) for factor in ("hue", "x", "y", "depth")}
    print(name, {factor: round(value, 2) for factor, value in known.items()})

# ## Styles exchanged
#
# Place of the one, colour of the other. The size both codes know, and the image's stays; z_global also knows a little
# of the hue, which more weight on the rate would take from it.

pictures, styles = data.images[:8], data.images[8:12]
redrawn = transfer_style(model, guide, pictures, styles)
dims = ("channel", "row", "column")
plot_style_transfer(
    redrawn,
    xr.DataArray(pictures.numpy(), dims=("image", *dims)),
    xr.DataArray(styles.numpy(), dims=("style", *dims)),
).savefig("figures/place_information_styles.png", dpi=80)

# ![images on top, styles at the left](figures/place_information_styles.png)

# And drawn from the priors, z_global varied to the right, z_local downwards:

block = vary(model, columns=8, rows=4)
plot_image_blocks({"drawn": block}).savefig("figures/place_information_drawn.png", dpi=80)

# ![draws of both codes](figures/place_information_drawn.png)
#
# The task has its price: the bound of the image alone is worse than without it. [Two views and
# clusters](../systems/two_views.md) has the numbers.
