"""The figure of costs: curves are the data's, dots the measured latents, and the right panel their quotient."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import same_color

from ppvae import UserError
from ppvae.plots import plot_costs

RATIOS = np.geomspace(0.01, 100, 9)


def costs() -> xr.Dataset:
    information = 0.5 * np.log1p(RATIOS)
    columns = {"information": information, "normal": information, "normal_gamma": 0.5 * RATIOS}
    variables = {name: ("signal_to_noise", values) for name, values in columns.items()}
    return xr.Dataset(variables, coords={"signal_to_noise": RATIOS})


def latents() -> xr.Dataset:
    return xr.Dataset({"kl": ("latent", [0.9, 2.1, 0.01]), "signal_to_noise": ("latent", [2.0, 4.0, 0.001])})


def test_curves_and_dots_are_the_data():
    figure = plot_costs(costs(), {"normal_gamma": latents()})
    cost, quotient = figure.axes
    for axes, divisor in ((cost, 1.0), (quotient, 0.5 * np.log1p(RATIOS))):
        normal, joint, dots = axes.lines[:3]
        np.testing.assert_allclose(normal.get_ydata(), costs()["normal"] / divisor)
        np.testing.assert_allclose(joint.get_ydata(), 0.5 * RATIOS / divisor)
        np.testing.assert_allclose(joint.get_xdata(), RATIOS)
        assert same_color(dots.get_color(), joint.get_color())
    np.testing.assert_allclose(cost.lines[2].get_xydata(), [[2.0, 0.9], [4.0, 2.1]])  # without the one of no signal
    np.testing.assert_allclose(quotient.lines[2].get_ydata(), np.array([0.9, 2.1]) / (0.5 * np.log([3.0, 5.0])))
    assert [text.get_text() for text in cost.get_legend().get_texts()] == [
        "normal prior, the information itself",
        "Normal-Gamma joint bound",
    ]
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: plot_costs(costs().drop_vars("information")), "no variable 'information'"),
        (lambda: plot_costs(costs()[["information"]]), "expected one or more of normal, student_t, normal_gamma"),
        (lambda: plot_costs(costs().rename(signal_to_noise="ratio")), "expected"),
        (lambda: plot_costs(costs(), {"mixture": latents()}), "got 'mixture', expected names of costs, normal"),
        (lambda: plot_costs(costs(), {"normal": latents()[["kl"]]}), "no variable 'signal_to_noise'"),
    ],
)
def test_other_data_end_in_one_line(call, said):
    with pytest.raises(UserError, match=said):
        call()
