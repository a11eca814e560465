"""Where the information is: what the codes say about the images, and how much of it the decoder makes use of."""

from collections.abc import Callable, Sequence

import numpy as np
import pyro
import torch
import xarray as xr
from pyro import poutine

from ppvae.checks import check_data
from ppvae.datasets import ImageDataset
from ppvae.diagnostics.information_findings import judged
from ppvae.errors import UserError, check_whole
from ppvae.examination.surgery import Codes, chunks_of, cut, estimate, scores_of
from ppvae.nouns import noun_of
from ppvae.pair.program import Data
from ppvae.pair.sites import discrete, latent_sites, observed_sites, parameter_of, scaled
from ppvae.pair.terms import best_rate
from ppvae.pair.untouched import device_of, evaluating
from ppvae.posterior.handlers import Given, latent_part, prior_part, traced
from ppvae.posterior.image_groups import mean_and_variance

__all__ = ["information_split"]

PAIRS = 65_536  # of a code and an image that the guide scores at a time
FROM_PRIOR = 4  # codes from the prior under which each image is scored
ACTIVE = 0.01  # variance of the mean codes over the images, as published

type Values = dict[str, torch.Tensor]


def information_split(
    model: Callable,
    guide: Callable,
    images: Data | ImageDataset,
    num_samples: int = 1,
    *,
    others: int = 16,
    decoded: int = 200,
    batch_size: int = 1024,
    seed: int = 0,
) -> xr.Dataset:
    """How much z says about the images, how much of that the decoder uses, and the verdict: collapsed, weak or used.

    Of all N images, as :func:`~ppvae.elbo_surgery`: ``rate`` = ``mutual_information`` + ``marginal_kl``, with
    I(z; x) at most log N, the attribute ``cap``. Of the first ``decoded`` images, by decoding each under codes of its
    own, z ~ q(z | x), of ``others`` images, and of the prior:

    - ``distortion`` = −E_q(z|x) log p(x | z);
    - ``gain`` = E_q(z|x) log p(x | z) − log ∫ q(z) p(x | z) dz, with q(z) the mean of q(z | x_j) over all N images:
      what knowing the code adds to the log likelihood. 0, exactly, where the decoder does not listen;
    - ``gain_over_swapped`` and ``gain_over_prior``: the same less the mean log likelihood under other images' codes,
      and under codes z ~ p(z).

    **Which of them cannot be fooled.** The first, and on it and I(z; x) stands the verdict: it is the lower bound of
    I(z; x) with p(x | z) as critic, mean KL(q(z | x) ‖ q(z)) ≥ mean gain, so that a decoder which is badly wrong under
    a wrong code gains no more than what the code says. The other two have no such bound: one confident bit is worth any
    number of nats there. ``gain_over_prior`` is large besides where codes are far from the prior, though all images
    share one. The rate is no information where free bits hold it up (``marginal_kl`` is the rest), and a unit whose
    mean moves by a tenth counts as active beside a deviation of one.

    The integral is a self-normalised mean over the image's own and the others' codes, weighted by q(z) over the mixture
    that they come from (the balance heuristic): right for a decoder that uses up to log ``others`` nats whatever the
    guide writes, and above that where the guide writes little more than is used; else too low, the gain too high, by at
    most I(z; x) less what is used.

    Beside them ``active_units`` of so many ``latents`` (a feature map is one): variance of the mean codes over the
    images above 0.01. Of several latent sites, over ``site``: ``site_rate``, and ``site_gain`` over the site's values
    alone swapped for those of another image, which is what the likelihood itself reads of the site.
    Attributes: ``verdict``, ``what``, ``advice``, ``cap``, ``images``, ``decoded``, ``others``, ``seed``. Thresholds:
    see :func:`~ppvae.diagnostics.information_findings.judged`.

    Shapes: images (image, C, H, W), as the pair takes them, or a tuple of them and what else it takes of each. All
    numbers in nats, scalars, each with ``*_error``, a standard error as over new images. The model scores ``decoded`` ·
    (``num_samples`` + ``others`` + 4) images, and one more a site of several, ``batch_size`` at a time; the guide as in
    :func:`~ppvae.elbo_surgery`. Modules, random state and parameter store stay as they were; one ``seed`` (and batch
    size) gives one result.
    Errors: :class:`~ppvae.errors.UserError` for images that the pair cannot take, fewer than two, arguments out of
    range, or a guide with latent sites that the model lacks.
    Sources: Hoffman and Johnson 2016, "ELBO surgery"; Barber and Agakov 2003 and Poole et al. 2019, "On variational
    bounds of mutual information", for a critic's lower bound; Veach and Guibas 1995 for the weights; Burda et al. 2016
    for active units.
    """
    inputs = check_data(images, model, guide, seed=seed)
    count = len(inputs[0])
    if count < 2:
        raise UserError(f"{count} image came; expected at least two, of which each is scored under another's code")
    for name, value in (("others", others), ("decoded", decoded)):
        check_whole(name, value, 2)
    check_whole("batch_size", batch_size, 1)
    surgery, codes = cut(model, guide, inputs, num_samples, batch_size=PAIRS, seed=seed)
    device = device_of(model, guide)
    few = tuple(values[:decoded].to(device) for values in inputs)
    with (
        evaluating(model, guide, device=device, seed=seed + 1),
        pyro.validation_enabled(False),
    ):  # not the guide's noise
        variables = _units(model, guide, chunks_of(inputs, device))
        terms = _terms(model, guide, few, codes, num_samples, _others(len(few[0]), count, others), batch_size)
    names = {"average_kl": "rate"}
    for name in ("average_kl", "mutual_information", "marginal_kl"):
        for suffix in ("", "_error"):
            variables[names.get(name, name) + suffix] = surgery[name + suffix].variable
    for name, long_name in LONG_NAMES.items():
        values = terms[name].cpu().numpy()
        variables |= estimate(name, values, values, long_name)
    coords = {}
    if len(codes.values) > 1:
        coords, gains = {"site": list(codes.values)}, terms["site_gain"].cpu().numpy()
        long_name = "log likelihood gained by one site's own values over another image's"
        variables["site_gain"] = ("site", gains.mean(1), {"long_name": long_name, "units": "nats"})
    attributes = {"cap": surgery.attrs["cap"], "images": count, "decoded": len(few[0])}
    attributes |= {"others": min(others, count - 1), "seed": seed}
    found = xr.Dataset(variables, coords, attributes)
    finding = judged(found, noun_of(images))
    return found.assign_attrs(verdict=finding.word, what=finding.what, advice=finding.advice)


LONG_NAMES = {
    "distortion": "distortion −log p(x|z)",
    "gain": "log likelihood gained by knowing the code",
    "gain_over_swapped": "log likelihood gained over other images' codes",
    "gain_over_prior": "log likelihood gained over codes from the prior",
}


def _units(model: Callable, guide: Callable, chunks: Sequence[tuple[torch.Tensor, ...]]) -> dict[str, tuple]:
    """Active units and latents of the sites that are codes; where none is, each site is one latent, and none active.
    Of several sites, the rate of each."""
    means: dict[str, list[torch.Tensor]] = {}
    rates: dict[str, list[torch.Tensor]] = {}
    for chunk in chunks:
        sites = latent_sites(poutine.trace(guide).get_trace(*chunk))
        priors = latent_part(model, {site["name"]: site["value"] for site in sites}, *chunk).nodes
        for site in sites:
            rate = best_rate(site, priors[site["name"]]).double()
            rates.setdefault(site["name"], []).append(rate.reshape(len(rate), -1).sum(1))
            if not (discrete(site) or parameter_of(site)):
                means.setdefault(site["name"], []).append(mean_and_variance(site)[0])
    active, latents = 0, 0
    for parts in means.values():
        mean = torch.cat(parts).double()
        activity = mean.var(0, correction=1).reshape(mean.shape[1] if mean.dim() > 1 else 1, -1).mean(1)
        active, latents = active + int((activity > ACTIVE).sum()), latents + len(activity)
    variables = {
        "active_units": ((), active, {"long_name": "active units", "units": "latents"}),
        "latents": ((), latents or len(rates), {"long_name": "latents", "units": "latents"}),
    }
    if len(rates) > 1:
        values = [float(torch.cat(parts).mean()) for parts in rates.values()]
        variables["site_rate"] = ("site", values, {"long_name": "rate of each site", "units": "nats"})
    return variables


def _others(few: int, count: int, others: int) -> torch.Tensor:
    """For each of the first images that many others, drawn without replacement: (others, image)."""
    places = torch.rand(few, count)
    places[torch.arange(few), torch.arange(few)] = -1.0
    return places.topk(min(others, count - 1), 1).indices.T


def _terms(
    model: Callable,
    guide: Callable,
    data: tuple[torch.Tensor, ...],
    codes: Codes,
    draws: int,
    others: torch.Tensor,
    batch_size: int,
) -> dict[str, torch.Tensor]:
    """What the decoder says of each image, (image,), and of each site, (site, image)."""
    count = len(codes.log_q) // draws
    few, sites = len(data[0]), len(codes.values)
    own = torch.arange(draws)[:, None] * count + torch.arange(few)
    drawn = torch.randint(draws, others.shape) * count + others
    step = max(1, batch_size // (draws + len(drawn) + FROM_PRIOR + (sites if sites > 1 else 0)))
    parts = []
    for start in range(0, few, step):
        some = slice(start, start + step)
        rows = torch.cat([own[:, some], drawn[:, some]]).to(codes.log_q.device)
        chunk = tuple(values[some] for values in data)
        parts.append(_of_chunk(model, guide, chunk, codes, draws, rows))
    return {name: torch.cat([part[name] for part in parts], -1) for name in parts[0]}


def _of_chunk(
    model: Callable, guide: Callable, data: tuple[torch.Tensor, ...], codes: Codes, draws: int, rows: torch.Tensor
) -> dict[str, torch.Tensor]:
    """``rows`` (own draws and others, image): which of the codes each image is scored under."""
    given = {name: values[rows] for name, values in codes.values.items()}
    own_log_q = scores_of(guide, data, given, False)[0].double()
    with pyro.plate("draws", FROM_PRIOR, dim=-2):
        prior = latent_sites(prior_part(model, given, *data))
    tried = [given, {site["name"]: site["value"] for site in prior if site["name"] in given}]
    if len(given) > 1:
        tried += [
            {other: value[draws : draws + 1] if other == name else value[:1] for other, value in given.items()}
            for name in given
        ]
    every = {name: torch.cat([values[name].expand(-1, *given[name].shape[1:]) for values in tried]) for name in given}
    log_p = _log_likelihood(model, data, every).double()
    first, tail = log_p[0], log_p[len(rows) :] - log_p[0]
    scored = log_p[: len(rows)] - first  # relative, so that a decoder which does not listen gains nothing at all
    own, swapped = scored[:draws].mean(0), scored[draws:].mean(0)
    weights = _weights(own_log_q - codes.log_q[rows].double(), draws, len(rows) - draws, len(codes.log_q) // draws)
    return {
        "distortion": -(first + own),
        "gain": own - ((scored + weights).logsumexp(0) - weights.logsumexp(0)),
        "gain_over_swapped": own - swapped,
        "gain_over_prior": own - tail[:FROM_PRIOR].mean(0),
        "site_gain": -tail[FROM_PRIOR:],
    }


def _weights(ratio: torch.Tensor, draws: int, others: int, count: int) -> torch.Tensor:
    """log q(z) / mixture of codes from q(z | x) (``draws`` of them) and from the other images (``others``).

    ``ratio``: log q(z | x) − log q(z), of which log N is the most."""
    share = (ratio.exp() / count).clamp(max=1.0)  # of q(z | x) in the sum that q(z) is
    mixture = draws * count * share + others * count / (count - 1) * (1 - share)
    return np.log(draws + others) - mixture.log()


def _log_likelihood(model: Callable, data: tuple[torch.Tensor, ...], values: Values) -> torch.Tensor:
    """log p(x | z) of each image under each of its codes, (code, image)."""
    count = len(next(iter(values.values())))
    with pyro.plate("draws", count, dim=-2):
        trace = traced(model, data, {}, Given(values))
    found = sum(scaled(site, site["fn"].log_prob(site["value"])) for site in observed_sites(trace))
    return found.expand(count, len(data[0]))
