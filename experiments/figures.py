"""The figures of one run, with what to look for in each."""

import xarray as xr

from experiments.evaluation import Evaluation
from experiments.report import ReportFigure
from ppvae.metrics import scaled_covariance
from ppvae.plots import (
    plot_covariances,
    plot_informative,
    plot_latent_history,
    plot_rate_distortion,
    plot_reconstructions,
    plot_traversals,
)

__all__ = ["figures_of_run"]


def figures_of_run(history: xr.Dataset, evaluation: Evaluation) -> list[ReportFigure]:
    """Reconstructions, p and KL over epochs, traversals, latents judged four ways, covariances, rate and distortion."""
    observed = evaluation.tree["observed_data"]["x"].isel(image=slice(10))
    codes = {
        "sampled latents": evaluation.tree["posterior"]["z"].isel(chain=0, draw=0, drop=True),
        "mean latents": evaluation.tree["sample_stats"]["z_mean"],
    }
    figures = [
        ReportFigure(
            "reconstructions",
            "Training images above, the mean of p(x | z) at the posterior mean of z below, with the root mean squared "
            "error of each. Position, size, colour and shape should all survive.",
            plot_reconstructions(observed, evaluation.reconstructions.isel(image=slice(10))),
        ),
        ReportFigure(
            "traversals",
            "One image redrawn while one latent moves over the range of its codes; latents sorted by their KL. "
            "A row in which nothing changes is a latent the decoder does not use.",
            plot_traversals(evaluation.traversal),
        ),
    ]
    if "p" in history:
        figures.append(
            ReportFigure(
                "probabilities",
                "p is the guide's probability that a latent is uninformative. The paper reads p < ½ as informative; "
                "compare with the next figure before believing it.",
                plot_latent_history(history, "p"),
                "Probability of being uninformative over training",
            )
        )
    return [
        *figures,
        ReportFigure(
            "informative",
            "Each latent judged four ways: by p, by its posterior variance (E[1/λ]) over the prior's, by its KL, and "
            "by how much the squared error rises when it is replaced by its mean.",
            plot_informative(evaluation.latents),
            "Which latents are informative?",
        ),
        *_kl_of_latents(history),
        ReportFigure(
            "covariances",
            "Scaled covariance of the latents over the images (the paper's Fig. 4), of one draw from q(z | x) for each "
            "image and of the posterior means. Bright off the diagonal: correlated latents.",
            plot_covariances({name: scaled_covariance(code) for name, code in codes.items() if _varies(code)}),
        ),
        ReportFigure(
            "rate_distortion",
            "Rate KL(q ‖ p) and distortion −log p(x | z), epoch means in nats per image. A density's distortion may be "
            "negative. Where the axis says so it is logarithmic above the value named.",
            plot_rate_distortion(history),
            "Rate and distortion over training",
        ),
    ]


def _varies(code: xr.DataArray) -> bool:
    """Whether any latent does: the means of a collapsed pair have no covariance to draw."""
    return bool((code != code.isel(image=0)).any())


def _kl_of_latents(history: xr.Dataset) -> list[ReportFigure]:
    """KL over training where it splits by latent."""
    if "latent" not in history.get("kl", history["rate"]).dims:
        return []
    caption = "Mean KL of each latent over training, nats per image."
    return [ReportFigure("kl", caption, plot_latent_history(history, "kl"), "KL of each latent over training")]
