"""A finished run, loaded: its pair says what the run recorded, whatever the system."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import ppvae
from experiments import fitting
from experiments.assemble import held_out
from experiments.finished import FinishedRun, scoring
from experiments.finished.run import DRAWS
from experiments.finished.scoring import anomaly
from experiments.selecting import trained_parts
from guides import SemiSupervisedNormal
from ppvae import SemiSupervisedVAE, UserError, log_marginal, read_posterior
from ppvae.interventions import draw_given, reestimate
from ppvae.likelihoods import NormalLikelihood
from ppvae.models import UNKNOWN
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior
from ppvae.svi.checkpoints import load_checkpoint

GIVEN = {"conditional": {"given": "green"}}
SITE = {"two views": "z_global", "hierarchy": "z_1"}


def test_any_run_encodes_draws_scores_and_is_exported_to_the_last_bit(system, trained, tmp_path):
    run = ppvae.load(trained(system))
    data, recorded = run.data, run.codes
    given = {"given": data.observed(slice(3))} if system == "given grey" else GIVEN.get(system, {})

    codes = run.encode(data)
    assert recorded.loc[codes.index, "part"].eq("train").all()
    assert len(codes) == 32
    pd.testing.assert_frame_equal(
        codes, recorded.loc[codes.index, list(codes)], rtol=1e-6, atol=1e-6, check_dtype=False
    )

    drawn = run.sample(5, **given)
    assert drawn.shape == ((5, 4) if system == "table" else (5, 3, 8, 8))
    assert not drawn.equals(run.sample(5, seed=1, **given))
    few = data.subset(slice(6))
    redrawn, scores = run.reconstruct(few), run.score(few)
    assert redrawn.sizes["image"] == len(scores) == 6
    assert bool(np.isfinite(redrawn).all())
    assert scores["anomaly"].between(0, 1).all()
    assert scores["effective_samples"].between(1, DRAWS).all()
    own = run.traverse(steps=3, site=SITE.get(system))
    assert run.traverse(few, image=2, steps=3, site=SITE.get(system)).sizes == own.sizes

    again = ppvae.load(run.export(tmp_path / "away", license="apache-2.0", codes=True))
    for program in ("model", "guide"):
        states = getattr(again, program).state_dict()
        assert all(torch.equal(values, states[name]) for name, values in getattr(run, program).state_dict().items())
    assert again.encode(data).equals(codes)
    assert again.sample(5, **given).equals(drawn)
    assert again.score(few).equals(scores)
    pd.testing.assert_frame_equal(again.codes, recorded)


def test_a_score_is_the_recorded_log_p_of_held_out_images(trained):
    """The same draws give the same number, other draws one within five standard errors of it."""
    folder = trained("plain")
    run, recorded = ppvae.load(folder), read_posterior(folder / "held_out.zarr").to_dataset().load()
    data = held_out(run.configuration.copy())
    same, other = (run.score(data, draws=400, seed=seed) for seed in (0, 7))
    np.testing.assert_allclose(same["log_marginal"], recorded["log_marginal"], rtol=1e-6)
    errors = np.sqrt(1 / other["effective_samples"] + 1 / recorded["effective_samples"].values)  # of a log mean weight
    assert (abs(other["log_marginal"] - recorded["log_marginal"].values) < 5 * errors).all()
    assert not other["log_marginal"].equals(same["log_marginal"])


def test_two_views_are_scored_by_the_image_alone(trained):
    """What the view adds to log p(x, x̂) is not in it."""
    run = ppvae.load(trained("two views"))
    few = run.data.subset(slice(8))
    both = log_marginal(run.model, run.guide, few, 64, seed=0)["log_marginal"].values
    alone = run.score(few)["log_marginal"].values
    assert (abs(both - alone) > 1).all()


def test_known_labels_of_a_data_set_have_no_part_in_a_score(trained):
    """They do in its codes: the classifier is overruled."""
    run = ppvae.load(trained("some labels"))
    few = run.data.subset(slice(12))
    told, untold = ([run.score(given), run.encode(given)] for given in (few, few.stored()))
    np.testing.assert_array_equal(told[0], untold[0])
    named = ["named_label", "named_probability"]
    assert (told[1][named].to_numpy() == untold[1][named].to_numpy()).all()
    assert np.abs(told[1].drop(columns=named).to_numpy() - untold[1].drop(columns=named).to_numpy()).max() > 1e-4


def test_a_colder_draw_is_nearer_to_the_mean_of_the_latents(trained):
    run = ppvae.load(trained("plain"))
    warm, cold, mean = (run.sample(50, temperature).values for temperature in (1.0, 0.3, 0.0))
    assert np.ptp(mean, 0).max() == 0
    assert np.abs(cold - mean).mean() < 0.5 * np.abs(warm - mean).mean()
    with pytest.raises(UserError, match=r"temperature=0\.5 at site 'precision', a Gamma: .* name the sites"):
        ppvae.load(trained("normal-gamma")).sample(2, 0.5, sites=["precision"])


@pytest.mark.parametrize("system", ["normal-gamma", "flow", "vamp", "two views", "some labels", "given grey", "table"])
def test_draws_of_any_prior_may_be_colder(system, trained):
    """Of one noise, they are nearer to those at 0 than the model's own are."""
    run = ppvae.load(trained(system))
    given = {"given": run.data.observed(slice(3))} if system == "given grey" else {}
    warm, cold, mean = (run.sample(30, t, pixels="mean", **given).values for t in (1.0, 0.5, 0.0))
    assert np.abs(cold - mean).mean() < 0.8 * np.abs(warm - mean).mean()


def test_colder_draws_of_a_hierarchy_have_statistics_of_their_own(trained):
    """As by ``reestimate``; the run's own are as they were, and draws at 1 are the model's, which is scored."""
    run, options = ppvae.load(trained("hierarchy")), {"temperature": 0.5, "seed": 2}
    before = {name: buffer.clone() for name, buffer in run.model.named_buffers()}
    found = run.sample(3, 0.5, seed=2)
    plain = ppvae.sample(run.model, 3, **options)
    with reestimate(run.model, **options):
        assert found.equals(ppvae.sample(run.model, 3, **options))
    assert not found.equals(plain)
    assert all(torch.equal(buffer, before[name]) for name, buffer in run.model.named_buffers())
    assert run.sample(3, seed=2).equals(ppvae.sample(run.model, 3, seed=2))


def test_draws_without_a_mean_have_noise_of_their_own(trained):
    """At temperature 0 all draws share z: what differs is the pixels' noise."""
    drawn = ppvae.load(trained("autoregressive")).sample(4, 0.0)
    assert drawn.attrs["shown"] == "draws"
    assert np.ptp(drawn.values, 0).max() > 0.1


def test_rows_come_back_in_their_own_units(trained, sources):
    run, frame = ppvae.load(trained("table")), pd.read_csv(sources / "rows.csv")[["a", "b", "c", "d"]]
    drawn = run.sample(400)
    assert drawn.dims == ("draw", "column")
    assert drawn["column"].values.tolist() == list(frame)
    np.testing.assert_allclose(drawn.mean("draw"), frame.mean(), atol=1.5 * frame.std().max(), rtol=0.2)
    assert 95 < float(drawn.sel(column="b").mean()) < 105
    assert (drawn.std("draw") > 1.5 * run.sample(400, pixels="mean").std("draw")).all()  # the entries' noise is in it
    shuffled = frame[["d", "b", "a", "c"]]
    assert run.encode(shuffled).equals(run.encode(frame))
    pd.testing.assert_frame_equal(run.encode(sources / "rows.csv"), run.encode(frame))
    pd.testing.assert_frame_equal(run.encode(frame.to_numpy()), run.encode(frame))
    assert len(run.encode(frame.to_numpy()[0])) == 1
    recorded = run.codes
    np.testing.assert_allclose(run.encode(frame), recorded[list(run.encode(frame))], rtol=1e-6, atol=1e-6)
    error = abs(run.reconstruct(frame) - frame.mean().values) / frame.std().values
    assert float(error.max()) < 4  # about the data, not about zero
    assert run.traverse(steps=2).dims == ("latent", "step", "column")


def test_a_run_that_stopped_early_is_its_best_epoch(trained):
    """As it was handed over and measured: another than the last checkpoint's."""
    folder = trained("early stopping")
    best, last = (load_checkpoint(folder / name)["guide"] for name in ("best.pt", "checkpoint.pt"))
    found = ppvae.load(folder).guide.state_dict()
    assert all(torch.equal(values, best[name]) for name, values in found.items())
    assert any(not torch.equal(values, last[name]) for name, values in found.items())
    parts = trained_parts(folder, ppvae.load(folder).configuration)
    assert all(torch.equal(values, best[name]) for name, values in parts.guide.state_dict().items())


def test_a_pair_that_was_cut_is_built_without_its_data(train, sources, tmp_path, monkeypatch):
    """Two of three latents kept by the path; the data are gone."""
    followed = fitting.path

    def path(*args, **options):
        found = followed(*args, **options)
        rule = np.zeros(found.by_ablation.shape, bool)
        rule[1:, [0, 2]] = True
        return found.assign(by_ablation=(("level", "latent"), rule))

    monkeypatch.setattr(fitting, "path", path)
    images = tmp_path / "images.npz"
    shutil.copy(sources / "images.npz", images)
    train("selected", tmp_path / "run", f"data.path={images}")
    data = ppvae.load(tmp_path / "run").data
    images.unlink()
    run = ppvae.load(tmp_path / "run")
    assert run.guide.log_variance.out_features == 2
    np.testing.assert_allclose(
        run.encode(data), run.codes.query("part == 'train'").drop(columns=["part", "label"]), rtol=1e-6, atol=1e-6
    )
    assert ppvae.load(run.export(tmp_path / "away")).encode(data).equals(run.encode(data))
    with pytest.raises(UserError, match=r"images\.npz"):
        _ = run.data


def test_a_conditional_pair_is_told_by_name_number_or_one_for_each(trained):
    run = ppvae.load(trained("conditional"))
    images = run.data.observed(slice(4)).numpy()
    names = [str(run.data.factors["label"].attrs["values"][level]) for level in run.data.given(slice(4))[0]]
    own = run.encode(run.data.subset(slice(4)))
    told = run.encode(images, given=names)
    np.testing.assert_allclose(told, own, rtol=1e-6)
    np.testing.assert_allclose(run.encode(images, given=run.data.given(slice(4))[0]), own, rtol=1e-6)
    assert run.encode(images, given="red").equals(run.encode(images, given=["red"] * 4))
    assert not run.encode(images, given="red").equals(run.encode(images, given="blue"))
    assert not run.sample(2, given="red").equals(run.sample(2, given="blue"))
    for call in (lambda: run.encode(images), lambda: run.sample(2)):
        with pytest.raises(UserError, match="conditional and was given images alone; give given=, a level of 'label'"):
            call()
    with pytest.raises(UserError, match=r"given='mauve': .*: blue, green, red, or whole numbers below 3"):
        run.sample(2, given="mauve")
    with pytest.raises(UserError, match=r"given holds 2 values for 4 images: give one for all, or one for each"):
        run.encode(images, given=[0, 1])
    with pytest.raises(UserError, match="images alone, it draws them by itself; leave it out"):
        ppvae.load(trained("plain")).sample(2, given=1)


def test_what_is_given_has_a_name(trained):
    """``{"label": "red"}`` is ``"red"``; any other name is refused with the one that is known."""
    for system, expected in (("conditional", "'label' alone"), ("plain", "images alone; leave it out")):
        with pytest.raises(UserError, match=f"given=.'kind': 'red'.: the run's pair is given {expected}"):
            ppvae.load(trained(system)).sample(2, given={"kind": "red"})
    run, grey = ppvae.load(trained("conditional")), ppvae.load(trained("given grey"))
    assert run.sample(2, given={"label": "red"}).equals(run.sample(2, given="red"))
    images = grey.data.observed(slice(2))
    assert grey.sample(2, given={"grey": images}).equals(grey.sample(2, given=images))
    with pytest.raises(UserError, match="the run's own images keep what they were given; leave it out, or give images"):
        run.traverse(given="red")


def test_a_pair_with_some_labels_is_given_them_by_name(trained, tmp_path):
    """In draws it holds y, in codes, redrawn and traversed images it overrules the classifier; an export knows it."""
    run = ppvae.load(trained("some labels"))
    images = run.data.stored(slice(4)).numpy()
    again = ppvae.load(run.export(tmp_path / "away"))
    names, by_label = ["blue", "green", "red"], draw_given(run.model, torch.arange(3), 3, seed=5).values
    for one in (run, again):
        for level, name in enumerate(names):
            for given in (name, {"label": name}, [name] * 4):
                assert one.encode(images, given=given).equals(run.encode(images, given=level))
        drawn = one.sample(3, given=names, seed=5)
        np.testing.assert_allclose(drawn, by_label[range(3), range(3)], rtol=1e-5, atol=1e-6)
        assert not np.allclose(one.sample(3, given="red", seed=5), drawn)
    assert run.encode(images, given="unlabelled").equals(run.encode(images))
    mixed = run.encode(images, given=["red", "unlabelled", "red", "unlabelled"])
    assert mixed.iloc[::2].equals(run.encode(images, given="red").iloc[::2])
    assert mixed.iloc[1::2].equals(run.encode(images).iloc[1::2])
    moved = [run.traverse(images, given=name, steps=3, site="z").values for name in names]
    redrawn = [run.reconstruct(images, given=name).values for name in names]
    assert not np.allclose(moved[0], moved[1])
    assert not np.allclose(redrawn[0], redrawn[1])
    with pytest.raises(UserError, match=r"given='mauve': .*: blue, green, red, or whole numbers below 3, -1 for"):
        run.encode(images, given="mauve")
    with pytest.raises(UserError, match=r"given='unlabelled': .*: blue, green, red, or whole numbers below 3$"):
        run.sample(2, given="unlabelled")


def test_an_anomaly_is_the_share_of_training_images_that_are_more_probable():
    training = np.array([-1.0, -2.0, -3.0, -3.0])
    found = anomaly(np.array([0.0, -1.0, -2.5, -3.0, -9.0]), training)
    np.testing.assert_array_equal(found, [0, 1 / 8, 1 / 2, 3 / 4, 1])


def test_training_images_are_ranked_evenly_and_noise_last(trained):
    run = ppvae.load(trained("plain"))
    own = run.score(run.data.subset(slice(24)))["anomaly"]
    np.testing.assert_allclose(np.sort(own), (np.arange(24) + 0.5) / 24)
    noise = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    assert (run.score(noise)["anomaly"] == 1).all()


def test_training_scores_are_measured_once_for_a_pair_and_so_many_draws(copied, monkeypatch):
    run, calls = ppvae.load(copied("plain", "training_scores.zarr")), []
    counted = scoring.image_scores
    monkeypatch.setattr(scoring, "image_scores", lambda *args: calls.append(1) or counted(*args))
    image = run.data.subset([0])
    for draws, times in ((8, 1), (8, 1), (9, 2)):
        run.score(image, draws=draws)
        assert len(calls) == times
    with torch.no_grad():
        next(run.model.parameters()).add_(1)
    run.score(image, draws=9)
    assert len(calls) == 3


def test_what_a_run_keeps_is_at_hand(trained):
    folder = trained("plain")
    run = ppvae.load(folder)
    assert run.metrics["rate"] > 0
    assert run.posterior["posterior"].sizes["draw"] == 2
    assert run.history.sizes["epoch"] == 30
    assert "VAE, MeanFieldNormal, images 3×8×8" in repr(run)
    assert not run.model.training
    assert not run.guide.training
    with pytest.raises(UserError, match=r"has no report\.html"):
        _ = run.report
    (folder / "report.html").write_text("")
    assert run.report == folder / "report.html"
    (folder / "report.html").unlink()


def test_a_pair_with_some_labels_takes_images_alone_or_with_labels(copied):
    """Two latent sites, y and z: what is known of y moves z's code; log p(x) sums y out, log p(x, y) is less."""
    torch.manual_seed(0)
    shape, levels = (3, 8, 8), 3
    model = SemiSupervisedVAE(NormalPrior(2), NormalLikelihood(MLPDecoder(2 + levels, shape, (8,)), 4.0), levels)
    guide = SemiSupervisedNormal(MLPEncoder(shape, (8,)), MLPEncoder(shape, (8,)), levels, 2)
    plain = ppvae.load(copied("plain"))
    run = FinishedRun(plain.folder, plain.configuration, model, guide)
    images = plain.data.stored(slice(2)).numpy()
    alone, zero, one = (run.encode(images, given=given) for given in (None, 0, 1))
    assert alone.equals(run.encode(images, given=UNKNOWN))
    assert alone.filter(regex=r"^z").notna().all(axis=None)
    assert not zero.equals(one)
    found, known = (run.score(images, draws=100, given=given)["log_marginal"] for given in (None, 2))
    assert (known < found).all()
    several = np.logaddexp.reduce([run.score(images, draws=100, given=y)["log_marginal"] for y in range(levels)])
    np.testing.assert_allclose(several, found, atol=0.05)
    assert run.sample(2).shape == run.reconstruct(images).shape == (2, *shape)
    assert run.sample(3, 0.5, sites=["z"]).shape == (3, *shape)
