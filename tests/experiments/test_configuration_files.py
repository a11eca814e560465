"""Configurations from files: those of our own runs load as they are, hostile ones end in one line, nothing else."""

import contextlib
from functools import cache
from pathlib import Path

import pytest
from hydra import compose
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from experiments.benchmarks.hostile_configurations import CONFIGURATIONS, load_run
from experiments.configuration_files import load_configuration
from experiments.training import check_same_configuration
from ppvae import UserError

EXPERIMENTS = ("prior_guide_grid", "clusters", "conditional_mnist", "choose_beta", "levy_emnist")
FUZZ = settings(
    derandomize=True,
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
LONG = settings(FUZZ, max_examples=5000)


def saved(path: Path, *overrides: str) -> DictConfig:
    """A configuration as composed, and its file as a run writes it."""
    configuration = compose("config", list(overrides))
    OmegaConf.save(configuration, path)
    return configuration


def changed(**values: object) -> DictConfig:
    """The main job's configuration with other values, ``a__b`` for the key ``a.b``."""
    configuration = OmegaConf.create(sound().decode())
    for name, value in values.items():
        OmegaConf.update(configuration, name.replace("__", "."), value)
    return configuration


@cache
def sound() -> bytes:
    return OmegaConf.to_yaml(compose("config")).encode()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_our_own_configurations_load_as_they_are(tmp_path, experiment):
    configuration = saved(tmp_path / "config.yaml", f"experiment={experiment}", "data=sprites")
    assert load_configuration(tmp_path / "config.yaml", configuration) == configuration


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_hostile_configurations_end_in_one_line_that_names_the_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    CONFIGURATIONS[name](tmp_path)
    with pytest.raises(UserError) as caught:
        load_run(tmp_path)
    assert str(tmp_path / "config.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "owned").exists()


NAMES = [
    "os.system",
    "ppvae",
    "ppvae.files.os.system",
    "ppvae.errors.re.compile",
    "ppvae.svi.logs.Logs",
    "ppvae.write_posterior",
    "experiments.jobs.single.run",
    "experiments.pairs.instantiate",
    "torch.load",
    "torch.nn",
    "torch.nn.modules.module.torch.hub.load",
    "torch.nn.functional.relu",
    "guides.encoders.nn.Module.__subclasses__",
    "guides..MeanFieldNormal",
    "${prior._target_}",
    7,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_names_parts_of_ours_and_torchs_alone(tmp_path, name):
    OmegaConf.save(changed(guide___target_=name), tmp_path / "config.yaml")
    with pytest.raises(UserError, match="may name parts of"):
        load_configuration(tmp_path / "config.yaml", changed())


@pytest.mark.parametrize("name", ["guides.StudentTGuide", "torch.nn.Linear", "torch.optim.AdamW", "ppvae.BetaELBO"])
def test_parts_of_ours_and_torchs_are_let_through(tmp_path, name):
    OmegaConf.save(changed(guide___target_=name), tmp_path / "config.yaml")
    assert load_configuration(tmp_path / "config.yaml", changed()).guide._target_ == name


@pytest.mark.parametrize("key", ["job", "figures", "prepare", "measure"])
def test_a_file_names_jobs_of_ours_alone(tmp_path, key):
    path = tmp_path / "config.yaml"
    OmegaConf.save(changed(**{key: "experiments.jobs.two_view.clusters.figures"}), path)
    load_configuration(path, changed())
    for name in ("os.system", "experiments.jobs.single.Path", "experiments.report.write_report", "ppvae.fit"):
        OmegaConf.save(changed(**{key: name}), path)
        with pytest.raises(UserError, match=r"jobs of experiments\.jobs"):
            load_configuration(path, changed())


def test_what_the_user_names_or_allows_is_theirs(tmp_path):
    path, name = tmp_path / "config.yaml", "mine.wide.WideGuide"
    OmegaConf.save(changed(guide___target_=name, allow=["mine"]), path)
    with pytest.raises(UserError, match=r"allow=\[mine\]"):  # the file's own allow is not heard
        load_configuration(path, changed())
    own = {"guide___target_": name}, {"allow": ["mine"]}, {"allow": "mine"}, {"allow": ["mine.wide"]}
    own += ({"models": {"wide": [f"guide._target_={name}"]}},)
    for values in own:
        assert load_configuration(path, changed(**values)).guide._target_ == name
    for values in ({"allow": ["min", "mine.w"]}, {"allow": []}, {"name": name}, {"job": name}):
        with pytest.raises(UserError, match="may name"):
            load_configuration(path, changed(**values))


def test_the_environment_is_read_for_the_command_line_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    OmegaConf.save(changed(name="${oc.env:SECRET}"), tmp_path / "config.yaml")
    with pytest.raises(UserError, match="reads more than the configuration") as caught:
        load_configuration(tmp_path / "config.yaml", changed())
    assert "hunter2" not in str(caught.value)
    with pytest.raises(UserError, match="reads more"):
        check_same_configuration(changed(), tmp_path)
    check_same_configuration(changed(name="${oc.env:SECRET}"), tmp_path)


def test_a_resumed_run_is_compared_whatever_it_names(tmp_path):
    OmegaConf.save(changed(guide___target_="mine.WideGuide"), tmp_path / "config.yaml")
    with pytest.raises(UserError, match=r"guide\._target_=mine\.WideGuide, now it is guides\.NormalGammaGuide"):
        check_same_configuration(changed(), tmp_path)
    check_same_configuration(changed(guide___target_="mine.WideGuide", allow=["mine"]), tmp_path)


def ends_in_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    said = f"{path} loads"
    with contextlib.suppress(UserError):
        try:
            load_run(path.parent)
        except UserError as error:
            said = str(error)
            raise
    assert str(path) in said
    assert "\n" not in said
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def mutated(data: st.DataObject, content: bytes) -> bytes:
    """With some pieces replaced, doubled or left out."""
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(len(content), start + 40)))
        piece = data.draw(st.sampled_from(PIECES) | st.binary(max_size=12))
        content = content[:start] + piece + content[stop:]
    return content


PIECES = [
    b"${",
    b"}",
    b"${guide}",
    b"&a ",
    b"*a",
    b"!!python/name:os.system ",
    b"\n  ",
    b": ",
    b"[",
    b"{",
    b"- ",
    b"\x00",
]
PIECES += [
    b"_target_: os.system\n",
    b"${oc.env:HOME}",
    b"? ",
    b"<<: ",
    b"\t",
    b"'",
    b'"',
    b"\xff",
    b"---\n",
    b"%YAML 9\n",
]


@FUZZ
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_end_in_one_line(tmp_path, content):
    ends_in_one_line(tmp_path / "config.yaml", content)


@FUZZ
@given(st.data())
def test_a_mutated_configuration_ends_in_one_line_or_loads(tmp_path, data):
    ends_in_one_line(tmp_path / "config.yaml", mutated(data, sound()))


@pytest.mark.long
@LONG
@given(st.data())
def test_many_mutated_configurations(tmp_path, data):
    ends_in_one_line(tmp_path / "config.yaml", mutated(data, sound()))
