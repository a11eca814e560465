"""The sites of a pair, read from its own traces, so that no page can say something else than the programs do."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Independent, MaskedDistribution
from pyro.poutine.messenger import Messenger
from torch import nn

from pages.tables import code, table
from ppvae.pair.sites import event_dims, latent_sites, observed_sites, recorded_sites, sample_sites

__all__ = ["Pair", "SiteRow", "site_rows", "site_table"]

HEAD = ("site", "symbol", "kind", "model", "guide", "shape", "drawn in")


@dataclass(frozen=True)
class Pair:
    """A small pair, what it is called with, and what the paper calls its sites."""

    model: nn.Module
    guide: nn.Module
    data: tuple[torch.Tensor, ...]
    symbols: Mapping[str, str]


@dataclass(frozen=True)
class SiteRow:
    """A site of either program: its kind, its distribution in each, its shape, the classes that draw it."""

    site: str
    symbol: str
    kind: str
    model: str
    guide: str
    shape: str
    drawn_in: tuple[str, ...]


class _Drawers(Messenger):
    """Notes the module of ours in whose ``forward`` each sample statement stands."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, str] = {}

    def _pyro_sample(self, message: dict[str, Any]) -> None:
        frame = sys._getframe()
        while frame is not None:
            owner = frame.f_locals.get("self")
            if isinstance(owner, nn.Module) and type(owner).__module__.partition(".")[0] in ("ppvae", "guides"):
                self.names[message["name"]] = type(owner).__name__
                return
            frame = frame.f_back


def site_rows(pair: Pair) -> list[SiteRow]:
    """A row a site, in the order of the model, then what the guide alone has; the random state stays as it is."""
    with torch.random.fork_rng(), torch.no_grad():
        pyro.set_rng_seed(0)
        guide, in_guide = _traced(pair.guide, pair.data)
        model, in_model = _traced(poutine.replay(pair.model, trace=guide), pair.data)
    names = dict.fromkeys(site["name"] for trace in (model, guide) for site in sample_sites(trace))
    return [_row(name, pair.symbols, (model, guide), (in_model, in_guide)) for name in names]


def site_table(pair: Pair) -> str:
    """The rows as Markdown."""
    return table(HEAD, [_cells(row) for row in site_rows(pair)])


def _traced(program: Any, data: Sequence[torch.Tensor]) -> tuple[poutine.Trace, dict[str, str]]:
    with _Drawers() as drawers:
        trace = poutine.trace(program).get_trace(*data)
    return trace, drawers.names


def _row(name: str, symbols: Mapping[str, str], traces: Sequence[poutine.Trace], drawn: Sequence[dict]) -> SiteRow:
    sites = [trace.nodes.get(name) for trace in traces]
    first = next(site for site in sites if site is not None)
    model, guide = (_distribution(site) for site in sites)
    drawn_in = tuple(dict.fromkeys(names[name] for names in drawn if name in names))
    return SiteRow(name, symbols.get(name, ""), _kind(first, traces), model, guide, _shape(first), drawn_in)


def _kind(site: dict[str, Any], traces: Sequence[poutine.Trace]) -> str:
    named = {
        "latent": latent_sites(traces[1]),
        "observed": observed_sites(traces[0]),
        "recorded": recorded_sites(traces[1]),
    }
    kinds = [kind for kind, sites in named.items() if site["name"] in {s["name"] for s in sites}]
    return kinds[0] if kinds else "shared randomness"


def _distribution(site: dict[str, Any] | None) -> str:
    """The class beneath its wrappers."""
    if site is None or site["infer"].get("_deterministic"):
        return ""
    distribution = site["fn"]
    while isinstance(distribution, Independent | MaskedDistribution):
        distribution = distribution.base_dist
    return type(distribution).__name__


def _shape(site: dict[str, Any]) -> str:
    dims = event_dims(site)
    sizes = site["value"].shape[-len(dims) :] if dims else ()
    return ", ".join(["image", *(f"{dim} {size}" for dim, size in zip(dims, sizes, strict=True))])


def _cells(row: SiteRow) -> list[str]:
    drawn = ", ".join(map(code, row.drawn_in))
    return [code(row.site), row.symbol, row.kind, code(row.model), code(row.guide), f"({row.shape})", drawn]
