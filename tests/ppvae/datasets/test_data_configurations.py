"""Every data configuration names a source, all of its options, and their defaults."""

import inspect
from dataclasses import fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import ppvae.datasets
from ppvae.datasets.selection import Selection

CONF = Path(__file__).parents[3] / "experiments" / "conf" / "data"
CHANGED = {"celeba_nvae": ("celeba", {"crop": "nvae"})}  # a source under another default
SOURCES = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem not in CHANGED)
LEFT_OUT = {"sprites": {"levels", "device"}}
NEEDED = {"path", "image_size"}  # have no default in Python, and one to change in the configuration


@pytest.mark.parametrize("source", SOURCES)
def test_options_and_defaults_are_the_functions(source):
    configuration = OmegaConf.load(CONF / f"{source}.yaml")
    assert configuration.pop("_target_") == f"ppvae.datasets.{source}"
    function = getattr(ppvae.datasets, source)
    assert set(configuration) == set(inspect.signature(function).parameters) - LEFT_OUT.get(source, set())
    seed = OmegaConf.to_container(configuration, resolve=False).get("seed")
    assert seed == "${seed}"
    for name, parameter in inspect.signature(function).parameters.items():
        if name in configuration and name != "seed" and parameter.default is not inspect.Parameter.empty:
            given = configuration[name]
            assert (list(given) if OmegaConf.is_list(given) else given) == (
                list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            ), name
        elif name in configuration and name != "seed":
            assert name in NEEDED


def test_every_source_has_a_configuration():
    functions = {name for name in ppvae.datasets.__all__ if inspect.isfunction(getattr(ppvae.datasets, name))}
    others = {"draw_sprites", "factor", "in_units", "rows", "sprite_grid", "write_zarr"}
    assert functions - set(SOURCES) == others


def test_what_many_sources_take_is_said_alike():
    """Signatures spell it out, for readers and completion; procedural ones choose their ``size``."""
    common = {field.name: (field.type, field.default) for field in fields(Selection)}
    pictures = inspect.signature(ppvae.datasets.image_folder).parameters
    for source in SOURCES:
        parameters = inspect.signature(getattr(ppvae.datasets, source)).parameters.values()
        taken = {one.name: (one.annotation, one.default) for one in parameters if one.kind is one.KEYWORD_ONLY}
        assert {name: said for name, said in taken.items() if name in common}.items() <= common.items(), source
    shards = inspect.signature(ppvae.datasets.shards).parameters
    assert shards.keys() <= pictures.keys()
    assert list(shards.values()) == [pictures[name] for name in shards]


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_source_is_the_other_but_for_its_change(name):
    source, change = CHANGED[name]
    own, other = (OmegaConf.to_container(OmegaConf.load(CONF / f"{one}.yaml"), resolve=False) for one in (name, source))
    assert own == other | change
