"""The study of costs finds each run's latents, under the numbers that the run was made with."""

from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

from experiments.jobs.latent_costs import figures
from ppvae import UserError
from ppvae.selection import NormalGammaPath, student_t_cost

MODELS = ("normal_2", "joint_2", "student_t_2", "student_t_4_quiet")


def study(directory: Path) -> DictConfig:
    """Two runs of each of these models as far as the figures read them: the n-th costs n nats at a ratio of n."""
    whole = hydra.compose("config", ["experiment=latent_costs"])
    for number, name in enumerate(MODELS, 1):
        own = hydra.compose("config", [*whole.models[name], "experiment=latent_costs"])
        for seed in (0, 1):
            run = directory / name / f"seed{seed}"
            run.mkdir(parents=True)
            own.image_shape, own.maps = [1, 1, 32], 1
            OmegaConf.save(own, run / "config.yaml")
            pd.DataFrame({"kl": [number], "signal_to_noise": [number]}).to_csv(
                run / "latents.csv", index_label="latent"
            )
    whole.models, whole.seeds = {name: whole.models[name] for name in MODELS}, [0, 1]
    return whole


def test_latents_are_drawn_under_the_numbers_of_their_guide(tmp_path):
    paper, quiet = figures(study(tmp_path), tmp_path)
    assert (paper.name, quiet.name) == ("costs", "costs_1")
    assert "(3.65, 0.24)" in paper.caption
    assert "at least 0.091" in paper.caption
    assert "(3.65, 0.0024)" in quiet.caption
    dots = [line.get_xydata().tolist() for line in paper.figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert dots == [[[1, 1]] * 2, [[3, 3]] * 2, [[2, 2]] * 2]
    curve = next(line for line in quiet.figure.axes[0].lines if line.get_label() == "Student-t bound")
    ratios, costs = curve.get_xydata()[::40].T
    np.testing.assert_allclose(
        costs, student_t_cost(ratios, None, NormalGammaPath(informative=(3.65, 0.0024))), atol=1e-4
    )


def test_a_prior_without_a_cost_is_named(tmp_path):
    configuration = study(tmp_path)
    run = tmp_path / "normal_2" / "seed0" / "config.yaml"
    own = OmegaConf.load(run)
    own.prior._target_ = "ppvae.priors.MixturePrior"
    OmegaConf.save(own, run)
    with pytest.raises(UserError, match=r"prior=ppvae.priors.MixturePrior: expected one of NormalPrior"):
        figures(configuration, tmp_path)
