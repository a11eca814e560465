"""What a model draws by itself and, where its likelihood has no mean, given z and given the upper half."""

import xarray as xr

from ppvae.interventions import draw_images, draws_from_prior, draws_given_z, in_paint
from ppvae.interventions.held import PIXELS, images_of
from ppvae.likelihoods import AutoregressiveLikelihood
from ppvae.pair.untouched import device_of
from ppvae.plots import plot_draws

from .assemble import Parts
from .evaluation import Evaluation
from .figures import tones
from .findings import of_rows
from .report import ReportFigure

__all__ = ["draws_of_run"]

IMAGES, DRAWS = 8, 8
CANDIDATES = 24  # codes of each image that in-painting weighs, of the prior and of the guide
LINES, PLACES = 4, 12  # of the samples


def draws_of_run(parts: Parts, evaluation: Evaluation, seed: int) -> list[ReportFigure]:
    """Samples; without a mean draws at one z, and in-painting where it goes by raster order; not of rows."""
    if of_rows(evaluation):
        return []
    if evaluation.reconstructions.attrs["shown"] == "mean":
        return [_means(parts, seed)]
    figures = [_samples(parts, evaluation, seed), _same_z(parts, evaluation, seed)]
    if isinstance(getattr(parts.model, "likelihood", None), AutoregressiveLikelihood):
        figures.append(_in_painting(parts, min(IMAGES, evaluation.tree["sample_stats"].sizes["image"]), seed))
    return figures


def _means(parts: Parts, seed: int) -> ReportFigure:
    """The mean of p(x | z) at codes of the prior: what the decoder makes of them, without the pixels' noise."""
    images = min(LINES * PLACES, len(parts.data))
    like = tuple(values.to(device_of(parts.model)) for values in parts.data.arguments(slice(images), seed))
    drawn = draw_images(parts.model, LINES * PLACES, like=like, seed=seed)
    table = xr.DataArray(drawn.values.reshape(LINES, PLACES, *drawn.shape[1:]), dims=("image", "draw", *PIXELS))
    caption = (
        f"Draws of the model alone: the mean of p(x | z) at {LINES * PLACES} codes z from the prior. What looks like "
        "no image of the data is a hole in the prior, or a decoder that has not learnt."
    )
    alt = f"{LINES} rows of {PLACES} images drawn from the prior. {tones(drawn)}"
    return ReportFigure("samples", caption, plot_draws(table), "Samples from the prior", alt)


def _samples(parts: Parts, evaluation: Evaluation, seed: int) -> ReportFigure:
    drawn = draws_from_prior(parts.model, evaluation.tree, LINES * PLACES, seed=seed)
    table = xr.DataArray(drawn.values.reshape(LINES, PLACES, *drawn.shape[1:]), dims=("image", "draw", *PIXELS))
    caption = "Draws of the model alone, each of a z from the prior and of noise of its own."
    return ReportFigure("samples", caption, plot_draws(table), "Samples from the prior")


def _same_z(parts: Parts, evaluation: Evaluation, seed: int) -> ReportFigure:
    few = evaluation.tree.isel(image=slice(IMAGES))
    drawn = draws_given_z(parts.model, few, DRAWS, seed=seed)
    caption = (
        "Left a training image, beside it draws of p(x | z), all of a line at one and the same z ~ q(z | x), each of "
        "noise of its own. What a line shares is what z keeps of the image; what differs the decoder fills in. Lines "
        "that share nothing but the kind of image: z is empty."
    )
    return ReportFigure("same_z", caption, plot_draws(drawn, {"image": images_of(few)}), "One z, many draws")


def _in_painting(parts: Parts, images: int, seed: int) -> ReportFigure:
    data = parts.data if parts.validation is None else parts.validation
    which = "training" if parts.validation is None else "validation"
    inputs = data.arguments(slice(min(images, len(data))), seed)
    drawn = in_paint(parts.model, parts.guide, inputs, draws=DRAWS, candidates=CANDIDATES, sweeps=2, seed=seed)
    image = xr.DataArray(inputs[0].cpu().numpy(), dims=("image", *PIXELS))
    effective = float(drawn["effective"].median())
    rows = drawn.attrs["pixels"] // image.sizes["column"]
    given = image.copy()
    given[:, :, rows:] = 0.5
    caption = (
        f"Left {which} images, then what is given of them, the upper half, then draws of the rest, z inferred from "
        f"what is given (importance sampling, {effective:.1f} effective codes in the median image)."
    )
    return ReportFigure("in_painting", caption, plot_draws(drawn, {"image": image, "given": given}), "In-painting")
