"""Discrete sites that only the model has: summed out in training, drawn from their exact posterior here."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from opt_einsum import shared_intermediates
from pyro import poutine
from pyro.infer import infer_discrete
from pyro.ops.contract import contract_to_tensor
from pyro.poutine.util import prune_subsample_sites

from ppvae.errors import UserError
from ppvae.posterior.handlers import traced
from ppvae.posterior.runs import DRAWS, Call, batch_dims, checked, plate, same, spread

__all__ = ["Summed"]

type Values = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Summed:
    """A model's sites ``names`` that are to be summed out; its program's plates take ``plates`` dims."""

    call: Call
    example: poutine.Trace
    names: Collection[str]
    plates: int

    def draw(self, given: Values, count: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Draws of the sites from p(names | given, observations), and log p(given, observations), in nats.

        Shapes: given (count, ...) by site → values (count, ...) by site, (count,). Several draws are made at once.
        Errors: :class:`~ppvae.errors.UserError` where that gives another sum than a draw on its own.
        """
        if count == 1:
            program = self._conditioned({name: value[0] for name, value in given.items()})
            drawn, log_sums = self._drawn(program, self.plates), self._log_sum(program, self.plates)[None]
        else:
            drawn, log_sums = self._at_once(given, count)
        shapes = {name: self.example.nodes[name]["value"].shape for name in self.names}
        return {name: value.reshape(count, *shapes[name]) for name, value in drawn.items()}, log_sums

    def _at_once(self, given: Values, count: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        many, plates = spread(given, self.example), batch_dims(self.example) + 1
        program = plate(count, self.example)(self._conditioned(many))
        drawn, log_sums = self._drawn(program, plates), self._log_sum(program, plates).expand(count)
        for index in checked(count):
            alone = self._conditioned({name: value[index] for name, value in given.items()})
            if not same(self._log_sum(alone, self.plates), log_sums[index]):
                raise UserError("the sum over discrete sites is another under a plate of draws")
        return drawn, log_sums

    def _drawn(self, program: Callable, plates: int) -> dict[str, torch.Tensor]:
        """By forward filtering and backward sampling."""
        drawn = infer_discrete(program, first_available_dim=-1 - plates)
        trace = traced(drawn, self.call.args, self.call.kwargs)
        return {name: trace.nodes[name]["value"] for name in self.names}

    def _log_sum(self, program: Callable, plates: int) -> torch.Tensor:
        """log Σ over the sites of p(names, given, observations), () or, under the plate of draws, (count,)."""
        enumerating = poutine.enum(program, first_available_dim=-1 - plates)
        trace = prune_subsample_sites(traced(enumerating, self.call.args, self.call.kwargs))
        trace.compute_log_prob()
        trace.pack_tensors()
        symbols, terms = trace.plate_to_symbol, OrderedDict()
        for site in trace.nodes.values():
            if site["type"] == "sample":
                ordinal = frozenset(symbols[frame.name] for frame in site["cond_indep_stack"] if frame.vectorized)
                terms.setdefault(ordinal, []).append(site["packed"]["log_prob"])
        kept = frozenset({symbols[DRAWS]}) if DRAWS in symbols else frozenset()
        with shared_intermediates() as cache:
            return contract_to_tensor(terms, set(trace.symbol_to_dim) - set(symbols.values()), kept, cache=cache)

    def _conditioned(self, given: Values) -> Callable:
        """The program with its sites marked and ``given`` observed: a site that is merely replayed, Pyro's enumeration
        passes over, and then knows nothing of the enumerated sites that it depends on."""
        marked = poutine.infer_config(
            self.call.program, lambda site: {"enumerate": "parallel" if site["name"] in self.names else None}
        )
        return poutine.condition(marked, data=dict(given))
