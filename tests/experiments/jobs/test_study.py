"""Studies: what study, models and command line each decide; own metrics and figures; what marks a surrogate."""

import itertools
import json
import re
import struct
from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
from hydra.core.hydra_config import HydraConfig
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf, open_dict

from experiments.jobs import levy, single, study
from experiments.labels import metric_labels
from experiments.report import ReportFigure
from experiments.training import train_and_evaluate
from ppvae import UserError, read_posterior

SMALL = [
    "network=mlp",
    "network.encoder.hidden=[16]",
    "network.decoder.hidden=[16]",
    "trainer.epochs=1",
    "trainer.batch_size=16",
    "trainer.compile=false",
    "trainer.progress=false",
    "trainer.accelerator=cpu",
    "posterior.images=40",
    "posterior.draws=2",
    "posterior.ablation_images=8",
    "diagnosis.images=0",
]
PER_LETTER = 8
LABELS = metric_labels(train_and_evaluate)


def as_started(*overrides: str) -> DictConfig:
    """The configuration of a job as the command line would start it, overrides on Hydra's record."""
    overrides = (*overrides, "launcher=basic")  # in this process
    configuration = hydra.compose("config", list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(configuration)
    assert list(HydraConfig.get().overrides.task) == list(overrides)
    with open_dict(configuration):
        del configuration["hydra"]
    return configuration


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in the format of EMNIST's files: magic number, sizes, values."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def emnist(tmp_path) -> list[str]:
    """Overrides for EMNIST letters: eight images each of A to F, blots of their own place, on their side as published.

    The letters count from 1; E and F are there to be left out."""
    letters = np.repeat(np.arange(1, 7), PER_LETTER)
    pixels = np.random.default_rng(0).integers(0, 60, (len(letters), 28, 28), dtype=np.uint8)
    for image, letter in zip(pixels, letters, strict=True):
        image[4 * letter - 3 : 4 * letter, 5:20] += 150
    folder = tmp_path / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        (folder / f"emnist-letters-{split}-images-idx3-ubyte").write_bytes(idx(pixels.transpose(0, 2, 1)))
        (folder / f"emnist-letters-{split}-labels-idx1-ubyte").write_bytes(idx(letters))
    return [f"data.root={tmp_path}"]


def one_figure(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """A study's own figure, as a user would write one."""
    assert (directory / "table.md").is_file()
    return [ReportFigure("mine", f"{len(configuration.models)} models", Figure(figsize=(1, 1)))]


@pytest.fixture
def own_figure(monkeypatch) -> str:
    """The override that names :func:`one_figure`, at a place that can be imported."""
    monkeypatch.setattr(study, "own_figure_of_a_test", one_figure, raising=False)
    return "figures=experiments.jobs.study.own_figure_of_a_test"


LEVY = ["experiment=levy_emnist", *SMALL, "seeds=[2]", "models.beta_5=['objective.beta=9']"]


def test_study_command_line_and_model_each_have_their_word(emnist, own_figure, tmp_path):
    """The last named counts; what the study says about itself stays out of its models' configurations."""
    configuration = as_started(*LEVY, *emnist, own_figure, "objective.beta=3")
    directory = tmp_path / "run"
    page = study.run(configuration, directory)
    configurations = {
        name: OmegaConf.load(directory / name / "seed2" / "config.yaml") for name in ("beta_0", "beta_1", "beta_5")
    }
    assert {name: one.objective.beta for name, one in configurations.items()} == {"beta_0": 0, "beta_1": 1, "beta_5": 9}
    for one in configurations.values():
        assert (one.latents, one.seed, one.job) == (2, 2, "experiments.jobs.single.run")  # the study
        assert one.data.classes == ["A", "B", "C", "D"]
        assert (one.trainer.batch_size, one.trainer.epochs) == (16, 1)  # the command line, over the study's 256 and 15
        assert one.network.encoder.hidden == [16]
        assert one.likelihood.surrogate is True
        assert one.data.root == emnist[0].split("=")[1]
        assert not one.keys() & {"seeds", "models", "metrics", "figures", "title"}
    results = pd.read_csv(directory / "results.csv")
    assert results[["model", "seed"]].values.tolist() == [["beta_0", 2], ["beta_1", 2], ["beta_5", 2]]
    assert results["units"].unique().tolist() == ["surrogate nats"]
    assert set(results["data"]) == {"emnist letters ABCD train, 32 images 1×28×28, 8-bit"}

    written = (directory / "table.md").read_text()
    rows = [line.split(" | ")[0].lstrip("| ") for line in written.splitlines() if line.startswith("| ")]
    assert rows == ["metric", "---", *(label for name, label in LABELS.items() if name in configuration.metrics)]
    assert len(rows) == 2 + len(configuration.metrics)
    cells = [line.strip("| ").split(" | ") for line in written.splitlines() if line.startswith("| rate")]
    assert [float(cell) for cell in cells[0][1:]] == pytest.approx(results["rate"].tolist(), abs=0.005)
    marked = "beta_0, beta_1, beta_5: surrogate nats, of a likelihood that is no density of these pixels"
    assert marked in written
    assert marked in page.read_text()


def test_a_study_run_again_trains_nothing_anew(emnist, own_figure, tmp_path):
    configuration = as_started(*LEVY, *emnist, own_figure, "~models.beta_5", "~models.beta_0")
    study.run(configuration, tmp_path / "run")
    (checkpoint,) = (tmp_path / "run").glob("*/seed2/checkpoint.pt")
    before = checkpoint.stat().st_mtime_ns
    study.run(configuration, tmp_path / "run")
    assert checkpoint.stat().st_mtime_ns == before
    other = as_started(*LEVY, *emnist, own_figure, "~models.beta_5", "~models.beta_0", "latents=3")
    with pytest.raises(UserError, match="latents=2, now it is 3"):
        study.run(other, tmp_path / "run")


@pytest.mark.long
def test_levys_figures_on_small_files(emnist, tmp_path):
    """Each model's codes in its own panel, by the letter of each image, and the plane as its own decoder draws it."""
    configuration = as_started(*LEVY, *emnist, "trainer.epochs=10", "trainer.learning_rate=0.02")
    directory = tmp_path / "run"
    study.run(configuration, directory)
    figures = levy.figures(configuration, directory)
    assert [figure.name for figure in figures] == ["codes", "plane_beta_0", "plane_beta_1", "plane_beta_5"]
    assert {path.stem for path in (directory / "figures").iterdir()} == {figure.name for figure in figures}
    panels = figures[0].figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == ["beta_0", "beta_1", "beta_5"]
    assert [text.get_text() for text in figures[0].figure.legends[0].get_texts()] == list("ABCD")
    tree = read_posterior(directory / "beta_1" / "seed2" / "posterior.zarr")
    drawn, label = tree["posterior"]["z"][0, 0].values, tree["constant_data"]["label"].values
    dots = panels[1].collections[0]
    colours = {tuple(colour[:3]) for colour in dots.get_facecolors()[: PER_LETTER * 4]}
    assert len(colours) == 4
    offsets = np.asarray(dots.get_offsets())
    for letter, handle in enumerate(figures[0].figure.legends[0].legend_handles):
        of_letter = np.isclose(dots.get_facecolors()[:, :3], to_rgba(handle.get_color())[:3]).all(1)
        np.testing.assert_allclose(np.sort(offsets[of_letter], 0), np.sort(drawn[label == letter], 0))
    planes = [np.stack([image.get_array() for image in f.figure.axes[0].images]) for f in figures[1:]]
    assert [plane.shape for plane in planes] == [(225, 28, 28)] * 3
    assert not any(np.allclose(a, b, atol=1e-4) for a, b in itertools.combinations(planes, 2))  # models of their own


SPRITES = ["data.size=48", "data.image_size=32", "latents=3", *SMALL]


def small_study(*more: str) -> DictConfig:
    """Two models by name, one of them by the command line's likelihood."""
    models = ["+models={plain: [], learned: ['likelihood=normal_learned']}", "+title=Two", "workers=1"]
    seeds = [] if any("seeds=" in override for override in more) else ["+seeds=[0]"]
    return as_started(*SPRITES, "prior=normal", "guide=mean_field", *models, *seeds, *more)


def test_a_study_without_metrics_and_figures_shows_all_it_has(tmp_path):
    """All metrics that some model has, and covariances; a density is not marked."""
    study.run(small_study("+metrics=null", "+figures=null"), tmp_path)
    metrics = json.loads((tmp_path / "plain" / "seed0" / "metrics.json").read_text())
    written = (tmp_path / "table.md").read_text()
    for name, label in LABELS.items():
        assert (f"| {label} |" in written) == (name in metrics and metrics[name] is not None), name
    assert "surrogate" not in written
    assert metrics["units"] == "nats"
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"covariances"}


@pytest.mark.long
def test_a_study_draws_the_figures_it_names(own_figure, tmp_path):
    page = study.run(small_study("+metrics=[rate]", f"+{own_figure}"), tmp_path)
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"mine"}
    assert "2 models" in page.read_text()
    table = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("| ")]
    assert len(table) == 3
    assert table[2].startswith("| rate (nats) |")


def test_a_study_of_reported_runs_says_what_they_found_and_leads_to_their_pages(tmp_path, capsys):
    """As the demo's: each run's sentences under its name, and links to the pages that are there."""
    measure = "+measure=experiments.jobs.single.train_and_report"
    page = study.run(small_study(measure, "+metrics=[rate]", "+figures=null"), tmp_path).read_text()
    out = capsys.readouterr().out
    for name in ("plain/seed0", "learned/seed0"):
        said = (tmp_path / name / "found.txt").read_text().splitlines()
        assert "of 3 latents are used, by ablation." in said[0]
        assert all(f"{name}: {line}" in out for line in said)
        assert f'href="{name}/report.html"' in page
        assert f"<li>{name}: {said[0]}</li>" in page
        assert (tmp_path / name / "report.html").is_file()


def own_measure(configuration: DictConfig, directory: Path, *, resume: bool) -> None:
    """A study's own measure without labels, as a user would write one."""
    assert not resume
    numbers = {"data": "none", "units": "nats", "sigma_used": configuration.seed + 2.5, "odd": 0.25}
    (directory / "metrics.json").write_text(json.dumps(numbers))


def test_numbers_that_nobody_labelled_go_by_their_own_names(tmp_path, monkeypatch, own_figure):
    monkeypatch.setattr(study, "own_measure_of_a_test", own_measure, raising=False)
    measure = "+measure=experiments.jobs.study.own_measure_of_a_test"
    study.run(small_study(measure, "+metrics=[sigma_used]", f"+{own_figure}"), tmp_path)
    table = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("| ")]
    assert table[2:] == ["| sigma_used | 2.50 | 2.50 |"]


def test_a_run_that_fails_ends_nothing_and_is_tried_again_alone(tmp_path, monkeypatch, own_figure, capsys):
    """The other runs' numbers are in the table, which says what is missing; the next time only that is run."""
    begun, broken = [], True

    def measure(configuration: DictConfig, directory: Path, *, resume: bool) -> None:
        begun.append(str(directory.relative_to(tmp_path)))
        if broken and configuration.seed == 1 and begun[-1].startswith("learned"):
            raise UserError("the loss is not finite")
        own_measure(configuration, directory, resume=resume)

    monkeypatch.setattr(study, "own_measure_of_a_test", measure, raising=False)
    given = ["+measure=experiments.jobs.study.own_measure_of_a_test", f"+{own_figure}", "+seeds=[0,1]"]
    configuration = small_study(*given)
    with pytest.raises(UserError, match=r"1 of 4 runs are not done: 1 failed; .*resume=") as caught:
        study.run(configuration, tmp_path)
    assert "\n" not in str(caught.value)
    assert "learned/seed1: failed, the loss is not finite\n" in capsys.readouterr().out
    written = (tmp_path / "table.md").read_text()
    assert "Missing: learned (seed 1)." in written
    assert "| sigma_used | 3.00 ± 0.71 | 2.50 |" in written
    assert "the loss is not finite" in (tmp_path / "report.html").read_text()
    begun, broken = [], False
    study.run(configuration, tmp_path)
    assert begun == ["learned/seed1"]
    assert "Missing" not in (tmp_path / "table.md").read_text()


def test_every_study_labels_what_it_shows_and_no_label_stands_twice():
    """Of the studies that ship: each metric, the paper's too, is one that the measure labels."""
    names = [path.stem for path in (Path(study.__file__).parents[1] / "conf" / "experiment").glob("*.yaml")]
    studies = [one for one in (hydra.compose("config", [f"experiment={name}"]) for name in names) if "models" in one]
    assert len(studies) >= 7
    known: dict[str, str] = {}
    for one in studies:
        labels = metric_labels(study._named(one, "measure", train_and_evaluate))
        assert {*(one.get("metrics") or []), *(one.get("paper") or {})} <= set(labels)
        assert len(set(labels.values())) == len(labels)
        assert all(known.setdefault(name, label) == label for name, label in labels.items())


def test_only_the_models_of_a_surrogate_are_marked():
    results = pd.DataFrame(
        {
            "model": ["a", "b", "b"],
            "seed": [0, 0, 1],
            "units": ["nats", "surrogate nats", "surrogate nats"],
            "rate": [1.5, 2.5, 4.5],
        }
    )
    configuration = OmegaConf.create({"title": "t", "models": {"a": [], "b": []}})
    table = study._table(results, configuration, LABELS)
    assert "b: surrogate nats" in table.caption
    assert "a, b" not in table.caption
    assert table.rows == [["rate (nats)", "1.50", "3.50 ± 1.41"]]
    plain = study._table(results.assign(units="nats"), configuration, LABELS)
    assert "surrogate" not in plain.caption


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["+figures=experiments.jobs.levy.nothing"], r"figures=experiments\.jobs\.levy\.nothing: .*nothing.*; give"),
        (["+figures=nowhere.at_all"], r"figures=nowhere\.at_all"),
        (["+metrics=[rate,accurracy]"], "metrics='accurracy': expected one of .*knn_accuracy"),
        (["+paper={acc: {plain: 1}}"], "paper='acc': expected one of .*knn_accuracy"),
        (["seed=3"], r"give seeds=\[0,1,2\]"),
    ],
)
def test_a_studys_mistakes_end_before_the_training(tmp_path, overrides, match):
    with pytest.raises(UserError, match=match) as caught:
        study.run(small_study(*overrides), tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("surrogate", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_report_marks_a_surrogate(tmp_path, surrogate, capsys):
    """Grey sprites by the cross-entropy, or by a density."""
    likelihood = ["likelihood=bernoulli", "likelihood.surrogate=true"] if surrogate else ["likelihood=normal"]
    page = single.run(as_started(*SPRITES, "prior=normal", "guide=mean_field", *likelihood), tmp_path)
    note = "BernoulliLikelihood is no density of these images: every number in nats on this page is of a surrogate"
    assert (note in page.read_text()) == surrogate
    assert json.loads((tmp_path / "metrics.json").read_text())["units"] == ("surrogate nats" if surrogate else "nats")
    assert re.search(r"ELBO .* nats per image", capsys.readouterr().out)
