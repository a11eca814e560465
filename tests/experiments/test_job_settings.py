"""What the house's jobs ask of their own keys."""

import hydra
import pytest

from experiments.job_settings import check_job_settings
from ppvae.errors import UserError


def test_the_experiments_own_settings_pass():
    for experiment in ("ngvae_table1", "choose_beta", "prior_guide_grid", "compare", "capacity_sprites"):
        check_job_settings(hydra.compose("config", [f"experiment={experiment}"]))


@pytest.mark.parametrize(
    ("experiment", "word", "line"),
    [
        ("ngvae_table1", "seeds=[]", r"^seeds=\[\]: expected a list of whole numbers"),
        ("ngvae_table1", "seeds=3", "^seeds=3: expected a list"),
        ("ngvae_table1", "seeds=[1.5]", "^seeds: each=1.5: expected a whole number"),
        ("ngvae_table1", "seeds=[0,0]", r"^seeds=\[0, 0\]: expected each of them once"),
        ("ngvae_table1", "workers=0", "^workers=0: expected a whole number of at least 1"),
        ("ngvae_table1", "models=null", "^models=null: expected names with lists"),
        ("ngvae_table1", "models.vanilla=prior", "^models.vanilla=prior: expected a list of overrides"),
        ("ngvae_table1", "+metrics=elbo", "^metrics=elbo: expected a list of names"),
        ("ngvae_table1", "title=[a]", r"^title=\['a'\]: expected words"),
        ("ngvae_table1", "+measure=3", "^measure=3: expected the import path"),
        ("choose_beta", "score=3", "^score=3: expected its keys"),
        ("choose_beta", "search.parameter=null", "^search.parameter=null: expected a name"),
        ("compare", "runs=[3,4]", r"^runs=\[3, 4\]: expected folders"),
    ],
)
def test_what_they_cannot_be_is_one_line(experiment, word, line):
    with pytest.raises(UserError, match=line):
        check_job_settings(hydra.compose("config", [f"experiment={experiment}", word]))
