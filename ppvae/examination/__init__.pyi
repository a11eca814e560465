"""What a pair must be run for, beyond its posterior: ranks, the aggregated posterior, log p(x), comparisons."""

from .comparison import compare, to_elpd
from .examined import examine
from .information import information_split
from .marginal import log_marginal
from .ranks import rank_simulations
from .surgery import elbo_surgery

__all__ = ["compare", "elbo_surgery", "examine", "information_split", "log_marginal", "rank_simulations", "to_elpd"]
