"""codes.csv: every image's file, labels and code, whatever the pair, in the order of the data."""

from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from experiments.assemble import assemble
from experiments.code_table import code_table, write_codes
from ppvae import from_pyro_svi

TINY = ("network=mlp", "network.encoder.hidden=[16]", "network.decoder.hidden=[16]", "latents=3")
PLAIN = ("prior=normal", "guide=mean_field")


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> Path:
    """Forty grey pictures of 12 × 16 and a table of them."""
    top, random = tmp_path_factory.mktemp("cells"), np.random.default_rng(0)
    (top / "pictures").mkdir()
    for number in range(40):
        Image.fromarray(random.integers(0, 256, (12, 16), dtype=np.uint8)).save(top / "pictures" / f"{number:02}.png")
    table = {"shape": ["round", "long"] * 20, "radius": np.linspace(1.5, 3, 40), "left": np.arange(40) < 9}
    pd.DataFrame({"file": [f"{number:02}.png" for number in range(40)], **table}).to_csv(top / "l.csv", index=False)
    return top


def composed(*overrides: str) -> DictConfig:
    return hydra.compose("config", ["name=run", *overrides])


def of_cells(cells: Path) -> tuple[str, ...]:
    return ("data=image_folder", f"data.path={cells / 'pictures'}", f"data.table={cells / 'l.csv'}", *TINY)


def test_each_image_has_its_file_its_labels_and_its_code(cells, tmp_path):
    configuration = composed(*of_cells(cells), *PLAIN, "validation=0.25")
    parts = assemble(configuration)
    write_codes(parts, configuration, tmp_path)
    table, given = pd.read_csv(tmp_path / "codes.csv", index_col="image"), pd.read_csv(cells / "l.csv")
    names = ["z0", "z1", "z2"]
    assert list(table) == ["part", "file", "shape", "radius", "left", *names, *(f"{name}_std" for name in names)]
    assert table.index.tolist() == list(range(40))
    pd.testing.assert_frame_equal(table.reset_index()[list(given)], given)
    assert table["part"].value_counts().to_dict() == {"train": 30, "validation": 10}
    for part, data in (("train", parts.data), ("validation", parts.validation)):
        mine, statistics = (
            table[table["part"] == part],
            from_pyro_svi(parts.model, parts.guide, data, 1)["sample_stats"],
        )
        assert mine["file"].tolist() == data.files.tolist()
        np.testing.assert_allclose(mine[names], statistics["z_mean"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(mine[[f"{name}_std" for name in names]] ** 2, statistics["z_variance"], rtol=1e-5)


def test_codes_are_of_so_many_images_those_of_the_training_first(cells, tmp_path):
    parts = assemble(composed(*of_cells(cells), *PLAIN, "validation=0.25"))
    whole = code_table(parts, 100, 1024, 0)
    pd.testing.assert_frame_equal(code_table(parts, 40, 7, 0), whole, atol=1e-6)
    few = code_table(parts, 33, 1024, 0)
    assert few["part"].value_counts().to_dict() == {"train": 30, "validation": 3}
    assert few.index.is_monotonic_increasing
    write_codes(parts, composed(*of_cells(cells), *PLAIN, "codes.images=0"), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (("prior=normal_gamma", "guide=normal_gamma"), ["z0", "z1", "z2"]),
        (("prior=normal", "guide=two_view", "auxiliary=grey"), ["z_global", "z_local"]),
        (("prior=autoregressive_map", "guide=bottom_up", "network=two_levels"), ["z_1", "z_2"]),
    ],
    ids=["one code", "two codes", "maps"],
)
def test_codes_of_any_pair(overrides, names):
    """Their columns are the latents' names; parameters, the random state and the data stay as they are."""
    small = ("data.size=20", "data.image_size=32", "latents=3", "network=mlp", "held_out.images=0")
    parts = assemble(composed(*small, *overrides))
    before = torch.get_rng_state()
    table = code_table(parts, 20, 64, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(table) == 20
    assert table.notna().all(axis=None)
    assert "file" not in table
    assert "hue" in table
    for name in names:
        assert any(column.startswith(name) for column in table)
    assert (table[[column for column in table if column.endswith("_std")]] > 0).all(axis=None)
