"""What a model draws by itself and, where its likelihood has no mean, given z and given the upper half."""

import xarray as xr

from ppvae.interventions import draw_images, draws_from_prior, draws_given_z, in_paint
from ppvae.interventions.held import PIXELS, images_of
from ppvae.likelihoods import AutoregressiveLikelihood
from ppvae.pair.untouched import device_of
from ppvae.plots import plot_draws

from .assemble import Parts
from .evaluation import Evaluation
from .findings import of_rows
from .report import ReportFigure
from .seen import beside_data, differ, explained, shown

__all__ = ["draws_of_run", "same_z_figure"]

IMAGES, DRAWS = 8, 8
CANDIDATES = 24  # codes of each image that in-painting weighs, of the prior and of the guide
LINES, PLACES = 4, 12  # of the samples


def draws_of_run(parts: Parts, evaluation: Evaluation, seed: int) -> list[ReportFigure]:
    """Samples; without a mean draws at one z, and in-painting where it goes by raster order; not of rows."""
    if of_rows(evaluation):
        return []
    if evaluation.reconstructions.attrs["shown"] == "mean":
        return [_means(parts, evaluation, seed)]
    figures = [_samples(parts, evaluation, seed), _same_z(parts, evaluation, seed)]
    if isinstance(getattr(parts.model, "likelihood", None), AutoregressiveLikelihood):
        figures.append(_in_painting(parts, min(IMAGES, evaluation.tree["sample_stats"].sizes["image"]), seed))
    return figures


def _means(parts: Parts, evaluation: Evaluation, seed: int) -> ReportFigure:
    """The mean of p(x | z) at codes of the prior: what the decoder makes of them, without the pixels' noise."""
    images = min(LINES * PLACES, len(parts.data))
    like = tuple(values.to(device_of(parts.model)) for values in parts.data.arguments(slice(images), seed))
    drawn = draw_images(parts.model, LINES * PLACES, like=like, seed=seed)
    return _from_prior(drawn, evaluation, f"the mean of p(x | z) at {LINES * PLACES} codes z from the prior")


def _samples(parts: Parts, evaluation: Evaluation, seed: int) -> ReportFigure:
    drawn = draws_from_prior(parts.model, evaluation.tree, LINES * PLACES, seed=seed)
    return _from_prior(drawn, evaluation, f"{LINES * PLACES}, each of a z from the prior and of noise of its own")


def _from_prior(drawn: xr.DataArray, evaluation: Evaluation, what: str) -> ReportFigure:
    """Draws (draw, …) of the model alone beside how training images are."""
    table = xr.DataArray(drawn.values.reshape(LINES, PLACES, *drawn.shape[1:]), dims=("image", "draw", *PIXELS))
    seen = beside_data(drawn, images_of(evaluation.tree))
    caption = (
        f"Draws of the model alone, {what}: {seen}. What looks like no image of the data is a hole in the prior, or a "
        "decoder that has not learnt."
    )
    alt = f"{LINES} rows of {PLACES} images drawn from the prior: {seen}."
    return ReportFigure("samples", caption, plot_draws(table), "Samples from the prior", alt)


def _same_z(parts: Parts, evaluation: Evaluation, seed: int) -> ReportFigure:
    few = evaluation.tree.isel(image=slice(IMAGES))
    drawn = draws_given_z(parts.model, few, DRAWS, seed=seed)
    return same_z_figure("same_z", drawn, images_of(few), "One z, many draws", "training images")


def same_z_figure(name: str, drawn: xr.DataArray, images: xr.DataArray, title: str, which: str) -> ReportFigure:
    """Draws (image, draw, …) of one z an image, beside the image: what they share is what z keeps of it."""
    kept = f"{explained(images, drawn.mean('draw')):.0%}".replace("-", "−")
    seen = (
        f"The mean of a line's draws explains {kept} of how these {len(images)} images differ, and its draws differ "
        f"from each other by {shown(differ(drawn, 'draw'))} a pixel."
    )
    caption = (
        f"{seen} Left {which}, beside each draws of p(x | z), all of a line at one z ~ q(z | x), each of noise of its "
        "own. What a line shares z keeps of the image; what differs the decoder fills in."
    )
    alt = f"{len(images)} lines, an image and {drawn.sizes['draw']} draws each. {seen}"
    return ReportFigure(name, caption, plot_draws(drawn, {"image": images}), title, alt)


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
    rest, truth = (array.isel(row=slice(rows, None)) for array in (drawn, image))
    seen = (
        f"In the lower half a draw is {float(((rest - truth) ** 2).mean() ** 0.5):.2g} a pixel off the image (RMSE), "
        f"and draws differ from each other by {shown(differ(rest, 'draw'))}."
    )
    caption = (
        f"{seen} Left {which} images, then what is given of them, the upper half, then draws of the rest, z inferred "
        f"from what is given (importance sampling, {effective:.1f} effective codes in the median image)."
    )
    figure = plot_draws(drawn, {"image": image, "given": given})
    alt = f"{len(image)} lines: an image, its upper half, and {DRAWS} ways to go on. {seen}"
    return ReportFigure("in_painting", caption, figure, "In-painting", alt)
