"""The cross-entropy of grey pixels, which is no likelihood."""

from pyro.distributions import Bernoulli
from torch.distributions import constraints

__all__ = ["SurrogateBernoulli"]


class SurrogateBernoulli(Bernoulli):
    """x log p + (1 − x) log(1 − p) for pixels x in [0, 1]: Bernoulli's formula on grey values.

    It has no normaliser, hence is no density and comparable with none; on zeros and ones it is Bernoulli's. Draws are
    zeros and ones.
    """

    support = constraints.unit_interval
    has_enumerate_support = False
