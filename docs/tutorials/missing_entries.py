"""# Spectra with missing entries

Rows of numbers are images of one line, of which entries may be missing. What is missing has no part in the bound; the
encoder sees which entries are there. Afterwards each has an interval.
"""

import numpy as np

from guides import MeanFieldNormal
from ppvae import VAE, fit, impute
from ppvae.datasets import rows
from ppvae.likelihoods import RealLikelihood
from ppvae.networks import MLPDecoder, RowEncoder
from ppvae.plots import plot_rows
from ppvae.priors import NormalPrior

ROWS, EPOCHS = 3000, 40  # in the tests: 128, 1

# Spectra of one line that moves, on a slope, which no few principal components hold; a fifth of the entries is hidden.

random = np.random.default_rng(0)
at = np.linspace(400, 700, 60)
place, height, slope = (
    random.uniform(450, 650, (ROWS, 1)),
    random.uniform(0.5, 2.0, (ROWS, 1)),
    random.normal(size=(ROWS, 1)),
)
whole = height * np.exp(-0.5 * ((at - place) / 20) ** 2) + 0.3 * slope * (at - 550) / 150
whole += 0.05 * random.normal(size=whole.shape)
hidden = random.random(whole.shape) < 0.2
data = rows(np.where(hidden, np.nan, whole), columns=[f"{nm:.0f} nm" for nm in at])
training, held_out = data.split(0.1)

# ## A pair of rows
#
# The likelihood learns a σ for each column, the encoder is told where there is nothing. `validation` keeps the best
# epoch.

model = VAE(NormalPrior(6), RealLikelihood(MLPDecoder(6, data.image_shape, (128, 128))))
guide = MeanFieldNormal(RowEncoder(data.image_shape), 6)
history = fit(model, guide, training, validation=held_out, epochs=EPOCHS, seed=0, progress=False)
print(float(history["validation_elbo"][-1]), "nats per row")

# ## What is missing
#
# Drawn from q(z | what is there), weighed by importance, with intervals of 90 %, in the columns' own units.

found = impute(model, guide, held_out)
numbers = held_out.table["image"].values
gaps, truth = hidden[numbers], whole[numbers]
error = found["completed"].values[gaps] - truth[gaps]
inside = (found["lower"].values <= truth) & (truth <= found["upper"].values)
print(f"error {np.sqrt(np.mean(error**2)):.3f}, of columns of deviation {whole.std():.3f}; noise 0.050")
print(f"{inside[gaps].mean():.1%} of the hidden entries in their interval")

seen = found["completed"].where(~gaps)
plot_rows(seen, found, most=4).savefig("figures/missing_entries.png", dpi=80)

# ![four rows: what was seen, the mean and the interval](figures/missing_entries.png)
#
# The error is near the noise, which no method can tell. More than 90 % of the hidden entries are inside: after so few
# epochs the learned σ is still above the noise.
#
# [My table or spectra](../howto/table.md) has the same from a CSV file on the command line, and counts.
