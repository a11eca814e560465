"""The latent path as a figure: what is drawn, named and shaded."""

import numpy as np
import pytest
import xarray as xr

from ppvae import UserError
from ppvae.plots import plot_latent_path
from ppvae.plots.style import MUTED


def latent_path(levels: int = 6, latents: int = 4) -> xr.Dataset:
    kl = np.maximum(0.0, np.arange(levels)[:, None] - np.arange(latents) - 0.5)
    into = kl > 0.1
    variables = {
        "kl": (("level", "latent"), kl),
        "by_kl": (("level", "latent"), into),
        "by_ablation": (("level", "latent"), into),
        "error": ("level", np.geomspace(0.2, 0.02, levels)),
        "explained": (("factor", "level", "latent"), np.stack([kl / 9, 0.01 + 0 * kl])),
    }
    coordinates = {"factor": ["x", "hue"], "noise": ("level", np.geomspace(2, 0.2, levels))}
    return xr.Dataset(variables, coordinates | {"weight": ("level", np.geomspace(100, 1, levels))})


def test_a_latent_path_names_and_shades_what_it_found():
    path = latent_path()
    plateau = xr.Dataset({"first": 2, "last": 3, "count": 2})
    figure = plot_latent_path(path, plateau)
    above, below, errors = figure.axes
    for line, values in zip(above.lines, path.kl.values.T, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values)
    np.testing.assert_array_equal(below.lines[0].get_ydata(), path.by_ablation.sum("latent"))
    np.testing.assert_array_equal(errors.lines[0].get_ydata(), path.error)
    words = [text.get_text() for text in above.texts]
    assert {"z0 x", "z1 x", "z2 x", "2 latents"} <= set(words)  # z3 enters later than the plateau, and is grey
    assert [line.get_color() for line in above.lines].count(MUTED) == 1
    assert above.get_xlim()[0] > above.get_xlim()[1]  # from strong to weak
    assert above.patches[-1].get_x() in (path.noise.values[2], path.noise.values[3])


def test_a_latent_path_without_factors_noise_or_plateau():
    path = latent_path().drop_vars(["explained", "noise", "error"])
    figure = plot_latent_path(path)
    assert len(figure.axes) == 2
    assert "weight" in figure.axes[1].get_xlabel()
    with pytest.raises(UserError, match=r"no variable 'kl'"):
        plot_latent_path(path.drop_vars("kl"))


def test_a_code_of_one_kl_is_drawn_by_its_signal():
    path = latent_path()
    path = path.drop_vars("kl").assign(signal_to_noise=path.kl)
    above = plot_latent_path(path).axes[0]
    for line, values in zip(above.lines, path.signal_to_noise.values.T, strict=True):
        np.testing.assert_allclose(line.get_ydata(), 0.5 * np.log(1 + values))
    assert "signal / noise" in above.get_ylabel()
