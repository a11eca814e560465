"""Every figure draws its input, says what it shows, and leaves matplotlib as it was."""

import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from ppvae import plots
from ppvae.errors import UserError
from ppvae.plots.scales import choose_scale, far_epochs
from ppvae.plots.style import ACCENT

EPOCHS, LATENTS = 30, 6
IMAGE_DIMS = ("image", "channel", "row", "column")


def images(count: int = 4, channels: int = 3) -> xr.DataArray:
    return xr.DataArray(np.random.default_rng(0).random((count, channels, 8, 8)), dims=IMAGE_DIMS)


def history() -> xr.Dataset:
    epochs = np.arange(1, EPOCHS + 1)
    p = np.full((EPOCHS, LATENTS), 0.95)
    p[10:, :3] = 0.03
    curves = {
        "rate": ("epoch", 20 - 18 / epochs),
        "distortion": ("epoch", 1e5 * np.exp(-epochs / 1.5) - 36_000),
        "learning_rate": ("epoch", np.where(epochs < 20, 1e-3, 1e-4)),
    }
    latents = {"p": (("epoch", "latent"), p), "kl": (("epoch", "latent"), 4 * (1 - p))}
    return xr.Dataset(curves | latents, coords={"epoch": epochs, "latent": np.arange(LATENTS)})


def covariance(seed: int = 0) -> xr.DataArray:
    factor = np.random.default_rng(seed).standard_normal((LATENTS, LATENTS))
    return xr.DataArray(factor @ factor.T, dims=("latent", "latent_"))


def traversal() -> xr.DataArray:
    values = np.random.default_rng(1).random((3, 5, 1, 8, 8))
    coords = {"latent": [7, 2, 0], "step": np.linspace(-2, 2, 5), "kl": ("latent", [3.21, 1.0, 0.04])}
    return xr.DataArray(values, dims=("latent", "step", "channel", "row", "column"), coords=coords)


def informative() -> xr.Dataset:
    columns = {
        "probability": [0.1, 0.9, 0.2, 0.6],
        "by_probability": [True, False, True, False],
        "variance_ratio": [0.1, 1.0, 0.2, 0.1],
        "by_variance": [True, False, True, True],
        "kl": [3.0, 0.0, 2.0, 4.0],
        "by_kl": [True, False, True, True],
        "relative": [2.0, 0.0, 1.0, 3.0],
        "by_ablation": [True, False, True, True],
        "relevance": [20.0, 0.01, 9.0, 31.5],
        "by_relevance": [True, False, True, True],
    }
    dataset = xr.Dataset({name: ("latent", values) for name, values in columns.items()})
    dataset["by_kl"].attrs["rule"] = "kl > 0.25 nats"
    return dataset


def codes(images: int = 60, scale: float = 1.0) -> xr.DataArray:
    values = scale * np.random.default_rng(2).standard_normal((images, 2))
    return xr.DataArray(values, dims=("image", "latent"), coords={"latent": [0, 1]})


def letters(images: int = 60) -> xr.DataArray:
    return xr.DataArray(np.arange(images) % 3, dims="image", attrs={"values": ["A", "B", "C"]})


def grid(values: tuple[float, ...] = (-1.0, 0.0, 1.5)) -> xr.DataArray:
    """The picture at (z1, z0) is grey, 0.1 for each step up and 0.01 for each step to the right."""
    steps = np.arange(len(values))
    tone = 0.1 * steps[:, None] + 0.01 * steps
    pictures = np.broadcast_to(tone[..., None, None, None], (*tone.shape, 1, 6, 4))
    coords = {"z1": list(values), "z0": list(values)}
    return xr.DataArray(pictures, dims=("z1", "z0", "channel", "row", "column"), coords=coords)


def progress() -> xr.Dataset:
    epochs = [2, 4, 6]
    explained = [[0.0, 0.5], [-0.2, 0.9], [0.4, 0.95]]
    return xr.Dataset(
        {
            "capacity": ("epoch", [5.0, 10.0, 10.0]),
            "rate": ("epoch", [4.0, 9.5, 10.2]),
            "explained": (("epoch", "factor"), explained),
        },
        coords={"epoch": epochs, "factor": ["hue", "x"]},
    )


FIGURES = {
    "reconstructions": lambda: plots.plot_reconstructions(images(), images()),
    "latent_history_p": lambda: plots.plot_latent_history(history()),
    "latent_history_kl": lambda: plots.plot_latent_history(history(), "kl"),
    "covariances": lambda: plots.plot_covariances({"vanilla": covariance(0), "NGVAE": covariance(1)}),
    "traversals": lambda: plots.plot_traversals(traversal()),
    "rate_distortion": lambda: plots.plot_rate_distortion(history()),
    "elbo": lambda: plots.plot_elbo(history()),
    "informative": lambda: plots.plot_informative(informative()),
    "codes": lambda: plots.plot_codes({"β = 0": codes(), "β = 1": codes(scale=30)}, letters()),
    "latent_grid": lambda: plots.plot_latent_grid(grid()),
    "capacity": lambda: plots.plot_capacity(progress()),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_draws_and_leaves_the_settings_alone(name: str, tmp_path) -> None:
    before = dict(matplotlib.rcParams)
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    assert dict(matplotlib.rcParams) == before
    figure.savefig(tmp_path / "figure.png", dpi=50)
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG"
    labels = [axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes]
    assert all(labels) or name == "rate_distortion"


def test_no_text_is_cut_off_or_overlaps() -> None:
    """Of the figures whose names and legends stand beside the axes; overlaps up to a pixel are rounding."""
    many = xr.DataArray(np.arange(60) % 26, dims="image", attrs={"values": list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")})
    wide = grid(tuple(np.linspace(-3, 3, 24)))
    drawn = [FIGURES[name]() for name in ("codes", "latent_grid", "capacity")]
    for figure in (*drawn, plots.plot_codes({"alone": codes()}, many), plots.plot_latent_grid(wide)):
        figure.draw_without_rendering()
        width, height = figure.bbox.size
        legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
        texts = [text for legend in legends for text in legend.get_texts()]
        axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
        for axis in axes:  # matplotlib also makes, and never draws, the ticks next to the axis
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        boxes = [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]
        assert all(b.x0 >= -1 and b.y0 >= -1 and b.x1 <= width + 1 and b.y1 <= height + 1 for b in boxes)
        inner = [b.padded(-1) for b in boxes]
        assert not any(a.overlaps(b) for k, a in enumerate(inner) for b in inner[:k])


def test_figures_are_unknown_to_pyplot() -> None:
    before = pyplot.get_fignums()
    for draw in FIGURES.values():
        draw()
    assert pyplot.get_fignums() == before


def test_reconstructions_show_both_rows_and_the_error() -> None:
    observed = images(3)
    reconstructed = (observed * 0 + 0.5).rename("other")
    figure = plots.plot_reconstructions(observed, reconstructed, max_images=2)
    drawn = [np.asarray(image.get_array()) for image in figure.axes[0].images]
    assert len(drawn) == 4
    np.testing.assert_allclose(drawn[1], observed[1].transpose("row", "column", "channel").values)
    np.testing.assert_allclose(drawn[2], 0.5)
    error = float(np.sqrt(((observed[0] - 0.5) ** 2).mean()))
    assert figure.axes[0].get_xticklabels()[0].get_text() == f"{error:.2f}"


def test_reconstructions_of_grey_images_out_of_range_are_cut_off() -> None:
    bright = images(2, channels=1) + 1
    figure = plots.plot_reconstructions(bright, bright)
    assert float(np.max([image.get_array() for image in figure.axes[0].images])) == 1.0


@pytest.mark.parametrize("variable", ["p", "kl"])
def test_latent_history_draws_every_latent_and_names_it(variable: str) -> None:
    record = history()
    axes = plots.plot_latent_history(record, variable).axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    for latent in range(LATENTS):
        np.testing.assert_array_equal(lines[f"z{latent}"], record[variable][:, latent])
    places = sorted(text.get_position()[1] for text in axes.texts)
    assert {text.get_text() for text in axes.texts} == {f"z{latent}" for latent in range(LATENTS)}
    assert np.diff(places).min() > 0.03
    assert places[0] >= 0
    assert places[-1] <= 1


def test_latent_history_of_p_marks_one_half() -> None:
    axes = plots.plot_latent_history(history()).axes[0]
    assert any(list(line.get_ydata()) == [0.5, 0.5] for line in axes.lines)
    assert "probability" in axes.get_ylabel()


def test_latent_history_names_only_some_of_many_latents_and_stands_missing_values() -> None:
    values = np.full((3, 40), 0.9)
    values[:, :30] = 0.1
    values[:, 7] = np.nan
    axes = plots.plot_latent_history(xr.Dataset({"p": (("epoch", "latent"), values)})).axes[0]
    names = {text.get_text() for text in axes.texts}
    assert len(names) == 24
    assert "z7" not in names
    assert len([line for line in axes.lines if line.get_label().startswith("z")]) == 40


def test_covariances_are_absolute_and_scaled() -> None:
    matrix = covariance()
    figure = plots.plot_covariances({"a": matrix, "b": -5 * matrix})
    expected = abs(matrix) / abs(matrix).max()
    for axes, name in zip(figure.axes, "ab", strict=False):
        np.testing.assert_allclose(axes.images[0].get_array(), expected)
        assert axes.get_title(loc="left") == name
        assert axes.images[0].get_clim() == (0, 1)
    assert len(figure.axes) == 3  # one colour bar


def test_traversals_keep_the_order_and_name_the_rows() -> None:
    given = traversal()
    axes = plots.plot_traversals(given.transpose("row", "column", ...)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["z7 · KL 3.2", "z2 · KL 1.0", "z0 · KL 0.0"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["−2.0", "−1.0", "0", "+1.0", "+2.0"]
    drawn = np.array([image.get_array() for image in axes.images])
    np.testing.assert_allclose(drawn, given.values.reshape(15, 8, 8))


def test_traversals_read_kl_from_an_attribute_or_do_without() -> None:
    bare = traversal().drop_vars("kl")
    assert plots.plot_traversals(bare).axes[0].get_yticklabels()[0].get_text() == "z7"
    bare.attrs["kl"] = [2.5, 1.0, 0.0]
    assert plots.plot_traversals(bare).axes[0].get_yticklabels()[0].get_text() == "z7 · KL 2.5"


def test_rate_distortion_draws_both_and_marks_the_drop() -> None:
    record = history()
    distortion, rate = plots.plot_rate_distortion(record).axes
    np.testing.assert_array_equal(distortion.lines[0].get_ydata(), record["distortion"])
    np.testing.assert_array_equal(rate.lines[0].get_ydata(), record["rate"])
    for axes in (distortion, rate):
        assert axes.get_ylabel() == "nats per image"
        assert any(list(line.get_xdata()) == [20, 20] for line in axes.lines)
    assert "lr 1e−4" in [text.get_text() for text in distortion.texts]
    assert distortion.get_title(loc="right") == "log scale above −36\u2009100"
    assert rate.get_yscale() == "linear"
    assert rate.get_xlabel() == "epoch"


def test_rate_distortion_draws_the_validation_dashed() -> None:
    record = history()
    shifted = {f"validation_{name}": record[name] + 1.0 for name in ("rate", "distortion")}
    for axes, values in zip(
        plots.plot_rate_distortion(record.assign(shifted)).axes, reversed(shifted.values()), strict=True
    ):
        (dashed,) = [line for line in axes.lines if line.get_label() == "validation"]
        np.testing.assert_array_equal(dashed.get_ydata(), values)
        assert dashed.is_dashed()


def test_rate_distortion_does_without_learning_rate_and_with_one_epoch() -> None:
    short = history()[["rate", "distortion"]].isel(epoch=slice(0, 1))
    figure = plots.plot_rate_distortion(short)
    figure.draw_without_rendering()
    assert [axis.get_yscale() for axis in figure.axes] == ["linear", "linear"]


def test_log_scale_is_monotone_over_all_values_and_names_true_ones() -> None:
    values = history()["distortion"].values
    scale = choose_scale(values)
    assert scale is not None
    assert scale.floor < values.min()
    positions = scale.forward(values)
    assert np.all(np.diff(positions) <= 0)
    np.testing.assert_allclose(scale.inverse(positions), values)


def test_linear_scale_for_a_rising_or_a_noisy_curve() -> None:
    assert choose_scale(history()["rate"].values) is None
    assert choose_scale(np.random.default_rng(0).normal(size=50)) is None
    assert choose_scale(np.ones(50)) is None
    assert choose_scale(np.full(50, np.nan)) is None


def test_log_scale_of_positive_values_near_zero_starts_at_zero() -> None:
    scale = choose_scale(10.0 ** -np.linspace(0, 5, 60))
    assert scale is not None
    assert scale.floor == 0


@pytest.mark.parametrize(
    ("values", "off"),
    [
        ([-1.8e6, -5.3e5, -4.9e5], 1),
        ([-9e6, -2e6, -12.0, -11.0, -10.0, -9.5, -9.2], 2),
        ([5.0, 4.0, 3.0, 2.0], 0),
        ([-10.0, -11.0, -10.0, -9e6], 0),
        ([1.0], 0),
        ([np.nan, 1.0, 2.0, 3.0], 0),
    ],
)
def test_only_first_epochs_that_crush_the_rest_are_off_the_axis(values: list[float], off: int) -> None:
    assert far_epochs(np.array(values)) == off


def test_elbo_shows_both_sets_between_values_and_tells_what_it_leaves_out() -> None:
    curves = {"elbo": [-9e5, -120.0, -110.0, -104.0], "validation_elbo": [-300.0, -118.0, -111.0, -108.0]}
    run = xr.Dataset({name: ("epoch", line) for name, line in curves.items()}, coords={"epoch": [1, 2, 3, 4]})
    (axes,) = plots.plot_elbo(run).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == list(curves.values())
    low, high = axes.get_ylim()
    assert low <= -120 < -104 <= high
    assert high - low < 100
    assert {low, high} <= set(axes.get_yticks())
    assert axes.get_title(loc="right") == "epoch 1 off the axis, at −900 000"
    assert [text.get_text() for text in axes.texts] == ["training −104.0", "validation −108.0"]


def test_elbo_is_made_of_rate_and_distortion_where_it_is_not_told() -> None:
    (axes,) = plots.plot_elbo(history()).axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), -(history()["rate"] + history()["distortion"]))
    with pytest.raises(UserError, match="rate"):
        plots.plot_elbo(history()[["distortion"]])


def test_informative_shows_numbers_counts_thresholds_and_disputes() -> None:
    figure = plots.plot_informative(informative())
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["z3", "z0", "z2", "z1"]
    drawn = figure.axes[2].collections[-1]
    np.testing.assert_allclose(drawn.get_offsets()[:, 0], [4, 3, 2, 0])
    assert [tuple(face) == to_rgba(ACCENT) for face in drawn.get_facecolors()] == [True, True, True, False]
    counts = [axes.texts[0].get_text() for axes in figure.axes]
    assert counts == ["2 of 4 informative"] + ["3 of 4 informative"] * 4
    thresholds = [[line.get_xdata()[0] for line in axes.lines] for axes in figure.axes]
    assert thresholds == [[0.5], [], [0.25], [], []]
    assert [len(axes.patches) for axes in figure.axes] == [1, 1, 1, 1, 1]  # z3 alone is disputed


def test_informative_without_a_criterion_leaves_its_panel_out() -> None:
    figure = plots.plot_informative(informative().drop_vars(["by_probability", "probability"]))
    assert [axes.get_xlabel() for axes in figure.axes][:2] == ["variance / prior variance", "nats"]


def test_codes_are_one_dot_an_image_in_its_labels_colour() -> None:
    given = {"narrow": codes(), "wide": codes(scale=30).T.assign_coords(latent=[7, 3])}
    figure = plots.plot_codes(given, letters())
    assert [axes.get_title() or axes.get_title(loc="left") for axes in figure.axes] == ["narrow", "wide"]
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["A", "B", "C"]
    named = [to_rgba(handle.get_color()) for handle in legend.legend_handles]
    assert len(set(named)) == 3
    for axes, array in zip(figure.axes, given.values(), strict=True):
        (dots,) = axes.collections
        points = array.transpose("image", "latent").values.tolist()
        expected = {(*point, named[k][:3]) for point, k in zip(points, letters().values.tolist(), strict=True)}
        offsets = np.asarray(dots.get_offsets()).tolist()
        drawn = {(*at, tuple(face[:3])) for at, face in zip(offsets, dots.get_facecolors().tolist(), strict=True)}
        assert len(offsets) == 60
        assert drawn == expected
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes] == [("z0", "z1"), ("z7", "z3")]


def test_no_label_of_the_codes_is_drawn_last() -> None:
    """Sorted by label, the dots of the last cover the others: here 60 dots of three labels change colour often."""
    order = xr.DataArray(np.sort(letters().values), dims="image", attrs=letters().attrs)
    dots = plots.plot_codes({"one": codes()}, order).axes[0].collections[0].get_facecolors()
    assert (dots[1:] != dots[:-1]).any(1).sum() > 20


def test_codes_have_a_range_of_their_own_and_the_priors_circles() -> None:
    figure = plots.plot_codes({"narrow": codes(), "wide": codes(scale=30)}, letters())
    figure.draw_without_rendering()
    narrow, wide = (np.ptp(axes.get_xlim()) for axes in figure.axes)
    assert wide > 10 * narrow
    for axes in figure.axes:
        radii = [np.hypot(*line.get_data()) for line in axes.lines]
        for radius, share in zip(radii, (0.5, 0.95), strict=True):
            np.testing.assert_allclose(1 - np.exp(-(radius**2) / 2), share)  # of a two-dimensional N(0, I)


def test_codes_of_many_models_fill_lines_and_labels_without_names_are_numbers() -> None:
    bare = letters().drop_attrs() + 4
    figure = plots.plot_codes({str(k): codes() for k in range(6)}, bare)
    assert len(figure.axes) == 6
    assert len({round(axes.get_position().y0, 3) for axes in figure.axes}) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["4", "5", "6"]


def test_latent_grid_draws_z1_upwards_and_z0_to_the_right() -> None:
    axes = plots.plot_latent_grid(grid().transpose("row", "z0", ...)).axes[0]
    assert len(axes.images) == 9
    tones = {}
    for image in axes.images:
        left, right, bottom, top = image.get_extent()
        tones[round((left + right) / 2), round((bottom + top) / 2)] = float(np.mean(image.get_array()))
    low, high = sorted(axes.get_ylim())
    assert axes.get_ylim() == (high, low)  # line 0 on top
    for right in range(3):
        for down in range(3):
            assert tones[right, down] == pytest.approx(0.1 * (2 - down) + 0.01 * right)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["−1.0", "0", "1.5"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1.5", "0", "−1.0"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z0", "z1")


def test_latent_grid_of_many_values_names_some_of_them() -> None:
    axes = plots.plot_latent_grid(grid(tuple(np.arange(30.0)))).axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names[:3] == ["0", "", "2.0"]
    assert len(axes.images) == 900


def test_capacity_draws_kl_beside_c_and_every_factor() -> None:
    record = progress()
    above, below = plots.plot_capacity(record.transpose("factor", "epoch")).axes
    curves = {line.get_label(): line for line in above.lines}
    np.testing.assert_array_equal(curves["capacity C"].get_ydata(), record["capacity"])
    np.testing.assert_array_equal(curves["KL"].get_ydata(), record["rate"])
    assert above.get_ylim()[0] == 0
    assert above.get_ylabel() == "nats per image"
    factors = {line.get_label(): line for line in below.lines}
    assert list(factors) == ["hue", "x"]
    for name, line in factors.items():
        np.testing.assert_array_equal(line.get_ydata(), record["explained"].sel(factor=name))
        np.testing.assert_array_equal(line.get_xdata(), record["epoch"])
    assert factors["hue"].get_color() != factors["x"].get_color()
    assert above.lines[0].get_linewidth() > above.lines[1].get_linewidth()  # the later, thinner one hides none
    assert factors["hue"].get_marker() != factors["x"].get_marker()  # seen through each other where lines coincide
    assert {line.get_fillstyle() for line in factors.values()} == {"none"}
    assert below.get_ylim() == (-0.25, 1.05)  # what is below zero is shown
    shown = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in (above, below)]
    assert shown == [["KL", "capacity C"], ["hue", "x"]]


def test_capacity_of_one_look_is_a_dot_at_a_whole_epoch() -> None:
    below = plots.plot_capacity(progress().isel(epoch=[0])).axes[1]
    assert below.lines[0].get_marker() == "o"
    assert all(float(tick).is_integer() for tick in below.get_xticks())


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.plot_reconstructions(images().rename(row="y"), images()), r"observed: got dims .*y.*expected"),
        (lambda: plots.plot_reconstructions(images().values, images()), "observed: got ndarray, expected"),
        (lambda: plots.plot_reconstructions(images(4), images(3)), r"got shape \(3, 3, 8, 8\), expected"),
        (lambda: plots.plot_reconstructions(images(), images(), max_images=0), "max_images: got 0"),
        (lambda: plots.plot_reconstructions(images(2, channels=2), images(2, channels=2)), "got 2 channels"),
        (lambda: plots.plot_reconstructions(images(0), images(0)), "got an empty array"),
        (lambda: plots.plot_latent_history(history(), "q"), "no variable 'q', expected one of"),
        (lambda: plots.plot_latent_history(history(), "rate"), r"got dims \(epoch\), expected \(epoch, latent\)"),
        (lambda: plots.plot_latent_history(history()["p"]), "got DataArray, expected an xarray.Dataset"),
        (lambda: plots.plot_covariances({}), "got none"),
        (lambda: plots.plot_covariances({"a": covariance()[:2]}), "expected a square matrix"),
        (lambda: plots.plot_covariances({"a": covariance().rename(latent="k")}), "covariance 'a': got dims"),
        (lambda: plots.plot_traversals(traversal()[0]), r"got dims \(step, channel, row, column\), expected"),
        (lambda: plots.plot_rate_distortion(history().drop_vars("rate")), "no variable 'rate'"),
        (lambda: plots.plot_informative(informative()[["kl"]]), r"got variables \['kl'\], expected"),
        (lambda: plots.plot_informative(informative().drop_vars("kl")), "no variable 'kl'"),
        (lambda: plots.plot_informative(informative().rename(latent="k")), r"got dims \(k\), expected \(latent\)"),
        (lambda: plots.plot_codes({}, letters()), "codes: got none"),
        (lambda: plots.plot_codes({"a": codes()[:, 0]}, letters()), r"codes of 'a': got dims"),
        (lambda: plots.plot_codes({"a": codes().isel(latent=[0, 1, 1])}, letters()), "got 3 latents, expected two"),
        (lambda: plots.plot_codes({"a": codes(), "b": codes(50)}, letters()), "codes of 'b': got 50 images, expected"),
        (lambda: plots.plot_codes({"a": codes()}, letters().values), "labels: got ndarray"),
        (lambda: plots.plot_codes({"a": codes()}, letters() / 2), "labels: got float64"),
        (lambda: plots.plot_codes({"a": codes()}, letters() - 1), "integers from 0 up"),
        (
            lambda: plots.plot_codes({"a": codes()}, (letters() + 1).assign_attrs(values=["A", "B"])),
            "labels: got 3, expected less than 2",
        ),
        (lambda: plots.plot_latent_grid(grid()[0]), r"grid: got dims \(z0, channel, row, column\), expected"),
        (lambda: plots.plot_latent_grid(grid()[:0]), "grid: got an empty array"),
        (lambda: plots.plot_latent_grid(grid().isel(channel=[0, 0])), "got 2 channels"),
        (lambda: plots.plot_capacity(progress().drop_vars("explained")), "progress: no variable 'explained'"),
        (lambda: plots.plot_capacity(progress().isel(factor=0)), r"got dims \(epoch\), expected \(epoch, factor\)"),
        (lambda: plots.plot_capacity(progress()["rate"]), "progress: got DataArray"),
    ],
)
def test_wrong_input_is_one_line_that_names_both_sides(draw, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        draw()
    assert "\n" not in str(caught.value)


def test_draws_stand_beside_what_they_are_of():
    """Two images with what is given of each, and three draws: five pictures a line, in this order."""
    grey = np.linspace(0, 1, 2 * 5).reshape(2, 5)
    tiles = xr.DataArray(grey, dims=("image", "draw")).expand_dims(channel=1, row=3, column=4, axis=(2, 3, 4))
    image, given = (tiles.isel(draw=place) for place in (0, 1))
    figure = plots.plot_draws(tiles.isel(draw=slice(2, None)), {"image": image, "given": given})
    (axes,) = figure.axes
    shown = [float(picture.get_array()[0, 0]) for picture in axes.get_images()]
    np.testing.assert_allclose(shown, grey.ravel())
    assert [label.get_text() for label in axes.get_xticklabels()] == ["image", "given", "draws", "", ""]
    assert len(plots.plot_draws(tiles).axes[0].get_images()) == 10
    with pytest.raises(UserError, match="given is of shape"):
        plots.plot_draws(tiles, {"given": given.isel(image=slice(1))})
