"""What neighbours tell, on codes that know all, nothing, or a known part."""

import numpy as np
import pytest
import xarray as xr

from ppvae.datasets import sprites
from ppvae.datasets.factors import factor
from ppvae.errors import UserError
from ppvae.metrics import knn_accuracy, knn_explained

IMAGES = 600
RANDOM = np.random.default_rng(0)
NOISE = RANDOM.normal(size=(IMAGES, 2))
INDEX = RANDOM.integers(0, 12, IMAGES)
TURNS = (np.arange(12) / 12).tolist()


def coded(*columns) -> xr.DataArray:
    return xr.DataArray(np.stack(columns, 1), dims=("image", "latent"))


def hues(values=TURNS) -> xr.DataArray:
    return factor(INDEX, values, units="turn").rename("hue")


ANGLE = 2 * np.pi * np.array(TURNS)[INDEX]
CIRCLE = coded(np.cos(ANGLE), np.sin(ANGLE)) + 1e-3 * NOISE
LINE = coded(INDEX + 1e-3 * NOISE[:, 0])

# Accuracy


def test_separated_clusters_are_told_apart():
    labels = factor(INDEX % 4, list("ABCD"))
    centres = 10 * np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    accuracy = knn_accuracy(coded(*(centres[labels.values] + NOISE).T), labels)
    assert accuracy == 1
    assert accuracy.dims == ()
    assert accuracy.attrs["chance"] == np.bincount(labels).max() / IMAGES


def test_noise_is_chance():
    """Two labels, 70 % and 30 %: agreement by chance is between ½ and 0.7; on balanced labels it is ½.

    5 binomial standard errors of 600 images: 0.10."""
    balanced = xr.DataArray(np.arange(IMAGES) % 2, dims="image")
    assert abs(knn_accuracy(coded(*NOISE.T), balanced) - 0.5) < 0.10
    assert knn_accuracy(coded(*NOISE.T), balanced).attrs["chance"] == 0.5
    rare = xr.DataArray((np.arange(IMAGES) % 10 < 3).astype(int), dims="image")
    accuracy = knn_accuracy(coded(*NOISE.T), rare)
    assert 0.5 < accuracy < 0.8
    assert accuracy.attrs["chance"] == 0.7


def test_an_image_is_not_its_own_neighbour():
    """Three images a label, codes of noise: who saw the image itself would be right, others in 2 of 599 cases."""
    assert knn_accuracy(coded(*NOISE.T), xr.DataArray(np.arange(IMAGES) // 3, dims="image"), neighbours=1) < 0.03


def test_a_latent_counts_by_its_scale():
    """A collapsed latent of mean codes, 1e-3 wide, hides no cluster; blown up to the clusters' distance it does."""
    labels = xr.DataArray(INDEX % 2, dims="image")
    clusters = 10.0 * labels.values + NOISE[:, 0]
    assert knn_accuracy(coded(clusters, 1e-3 * NOISE[:, 1]), labels) == 1
    assert knn_accuracy(coded(clusters, 1e4 * NOISE[:, 1]), labels) < 0.7


def test_one_seed_gives_one_number_and_the_order_of_dims_is_free():
    labels = xr.DataArray(INDEX % 3, dims="image")
    codes = coded(*(NOISE + 0.8 * labels.values[:, None]).T)
    first = knn_accuracy(codes, labels, seed=3)
    assert knn_accuracy(codes.T, labels, seed=3).identical(first)
    others = {float(knn_accuracy(codes, labels, seed=seed)) for seed in range(4)}
    assert len(others) > 1


# Explained variance


def test_a_perfect_code_explains_all_and_noise_nothing():
    """Noise: the mean of 10 neighbours has a tenth of the variance in error of its own, so R² is near −0.1."""
    numbers = factor(INDEX, list(range(12))).rename("x")
    assert knn_explained(LINE, numbers) > 0.999
    assert knn_explained(coded(*NOISE.T), numbers) == pytest.approx(-0.1, abs=0.1)
    assert knn_explained(coded(*NOISE.T), numbers, neighbours=100) == pytest.approx(-0.01, abs=0.03)


def test_half_of_the_variance():
    """x = a + b with a and b alike spread and only a coded: R² = ½, less a tenth of the rest for 10 neighbours."""
    a, b = RANDOM.integers(0, 4, (2, IMAGES))
    found = knn_explained(coded(a + 1e-3 * NOISE[:, 0]), factor(a + b, list(range(7))).rename("x"))
    assert found == pytest.approx(0.5 - 0.05, abs=0.1)


def test_numbers_count_by_their_values():
    """Levels 0, 1 and 100: a code of "is it 100" explains nearly everything, one of "is it 0" a quarter."""
    levels = factor(INDEX % 3, [0.0, 1.0, 100.0]).rename("size")
    jitter = 1e-3 * NOISE[:, 0]
    assert knn_explained(coded((levels == 2).values + jitter), levels) > 0.999
    assert knn_explained(coded((levels == 0).values + jitter), levels) == pytest.approx(0.25, abs=0.1)


def test_a_whole_turn_of_hue_is_a_circle():
    """Neighbours across the seam between 11/12 and 0 agree on the circle and are far apart on the line."""
    between = coded(np.cos(ANGLE), np.sin(ANGLE)) + 0.3 * NOISE
    circle = knn_explained(between, hues())
    assert knn_explained(CIRCLE, hues()) > 0.999
    line = knn_explained(between, factor(INDEX, TURNS).rename("hue"))
    assert circle > 0.8
    assert line < circle - 0.1


def test_half_of_the_circle_is_half_of_the_hue():
    """The cosine alone leaves the sine's sign open, which is half of the variance; so does the sine."""
    for side in (np.cos(ANGLE), np.sin(ANGLE)):
        assert knn_explained(coded(side + 1e-3 * NOISE[:, 0]), hues()) == pytest.approx(0.5 - 0.05, abs=0.05)


def test_a_part_of_the_circle_counts_as_a_number():
    half = [value / 2 for value in TURNS]
    part = knn_explained(coded(INDEX + NOISE[:, 0]), hues(half))
    number = knn_explained(coded(INDEX + NOISE[:, 0]), factor(INDEX, half).rename("x"))
    assert part == number
    assert knn_explained(LINE, hues(half)) > 0.999


def test_the_sprites_own_hues_are_a_whole_turn_or_a_part_of_it():
    for hue, whole in (((0.0, 1.0), True), ((0.0, 0.7), False)):
        index = sprites(size=600, image_size=32, hue=hue).factors["hue"]
        number = index.copy(data=index.values)
        del number.attrs["units"]
        blurred = coded(index.values + NOISE[:, 0])
        assert (float(knn_explained(blurred, index)) != float(knn_explained(blurred, number))) == whole


def test_names_are_one_indicator_each():
    """Three names: telling the first from the others explains half of the indicators' variance, in any order of names.

    Indicators e_k with shares 1/3 have variance 2/3; knowing "first or not" leaves 2/3 · ½ = 1/3."""
    for names in (["square", "disc", "triangle"], ["disc", "triangle", "square"]):
        shape = factor(INDEX % 3, names).rename("shape")
        first = coded((shape == 0).values + 1e-3 * NOISE[:, 0])
        middle = coded((shape == 1).values + 1e-3 * NOISE[:, 0])
        for codes in (first, middle):
            assert knn_explained(codes, shape) == pytest.approx(0.5 - 0.05, abs=0.06)
        assert knn_explained(coded(shape.values + 1e-3 * NOISE[:, 0]), shape) > 0.999


def test_a_common_name_explains_nothing():
    """Of 90 %, 5 % and 5 %, the shares themselves are no knowledge: noise stays near −0.1."""
    shape = factor((np.arange(IMAGES) % 20 - 17).clip(0), ["square", "disc", "triangle"]).rename("shape")
    assert knn_explained(coded(*NOISE.T), shape) == pytest.approx(-0.1, abs=0.1)


def test_levels_without_values_are_their_index():
    bare = xr.DataArray(INDEX, dims="image", name="x")
    blurred = coded(INDEX + NOISE[:, 0])
    assert knn_explained(blurred, bare) == knn_explained(blurred, factor(INDEX, list(range(12))).rename("x"))
    assert "x" in knn_explained(blurred, bare).attrs["long_name"]


# Mistakes

CODES, LABELS = coded(*NOISE.T), xr.DataArray(INDEX, dims="image", name="x")


@pytest.mark.parametrize("metric", [knn_accuracy, knn_explained])
@pytest.mark.parametrize(
    ("codes", "labels", "options", "match"),
    [
        (CODES, LABELS, {"neighbours": 0}, "neighbours=0"),
        (CODES, LABELS, {"neighbours": 2.5}, r"neighbours=2\.5"),
        (CODES, LABELS[:5], {}, "600 codes and 5 labels"),
        (CODES[:19], LABELS[:19], {}, "19 images are too few for 10 neighbours; give 20"),
        (CODES[:4], LABELS[:4], {"neighbours": 1}, "4 images are too few for 1 neighbours; give 5"),
        (CODES.rename(latent="k"), LABELS, {}, r"codes have dims \('image', 'k'\)"),
        (CODES, LABELS.rename(image="i"), {}, r"labels \('i',\)"),
        (CODES, LABELS * 1j, {}, "labels are complex128; expected integers"),
        (CODES.where(CODES < 2), LABELS, {}, "not finite"),
    ],
)
def test_wrong_input_ends_in_one_line(metric, codes, labels, options, match):
    with pytest.raises(UserError, match=match) as caught:
        metric(codes, labels, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [None, TURNS])
def test_a_factor_of_one_level_has_nothing_to_explain(values):
    constant = xr.DataArray(np.zeros(IMAGES, dtype=int), dims="image", name="hue", attrs={"units": "turn"})
    if values is not None:
        constant.attrs["values"] = values
    with pytest.raises(UserError, match="factor 'hue' has one level"):
        knn_explained(CODES, constant)


@pytest.mark.parametrize(("images", "neighbours"), [(5, 1), (5, 2), (6, 3), (20, 10)])
def test_the_fewest_images_allowed_are_enough(images, neighbours):
    assert 0 <= knn_accuracy(CODES[:images], LABELS[:images], neighbours=neighbours) <= 1


def test_continuous_factors_are_explained_as_they_are():
    """A latent that is the factor knows it, but for the neighbours' spacing; one of noise does not."""
    age = xr.DataArray(RANDOM.exponential(size=IMAGES), dims="image", name="age")
    assert knn_explained(coded(age.values), age) > 0.97
    assert knn_explained(coded(NOISE[:, 0]), age) < 0.1
    with pytest.raises(UserError, match="labels are float64"):
        knn_accuracy(coded(age.values), age)
