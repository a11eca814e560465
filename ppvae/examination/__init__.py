"""What a pair must be run for, beyond its posterior: ranks, the aggregated posterior, log p(x), comparisons."""

from ppvae.examination.comparison import compare, to_elpd
from ppvae.examination.examined import examine
from ppvae.examination.marginal import log_marginal
from ppvae.examination.ranks import rank_simulations
from ppvae.examination.surgery import elbo_surgery

__all__ = ["compare", "elbo_surgery", "examine", "log_marginal", "rank_simulations", "to_elpd"]
