"""``ppvae explore RUN``: the explorer of a finished run in a browser, as a saved page, or as an animation."""

import argparse
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import xarray as xr

from ppvae.datasets import ImageDataset
from ppvae.datasets.fitting import Fit
from ppvae.errors import UserError, check_whole
from ppvae.files import replace_atomically

from ..arguments import Parser
from ..finished import FinishedRun, load
from ..signals import ignore_signals
from .animation import gif, mp4
from .explorer import Explorer, Setting
from .page import saved_page
from .server import MOST_STEPS, Server, animated

__all__ = ["explorer_of", "main"]

IMAGES = 200
ENCODERS = {"gif": gif, "mp4": mp4}
ENDINGS = {"save": (".html", ".htm"), "gif": (".gif",), "mp4": (".mp4",)}


def main(arguments: Sequence[str] | None = None, program: str = "ppvae explore") -> None:
    """Serve the page until it is interrupted, or write what is asked for; UserError for a mistake."""
    asked = _parser(program).parse_args(arguments)
    _check(asked)
    run = load(asked.run, allow=asked.allow)
    explorer = explorer_of(run, asked.images, asked.folder, fit=asked.fit, given=asked.given)
    written = [_written(explorer, asked, word) for word in ENDINGS if getattr(asked, word) is not None]
    if written:
        print("\n".join(written))
    else:
        _serve(Server(explorer, asked.port), browser=not asked.no_browser)


def explorer_of(
    run: FinishedRun,
    images: int = IMAGES,
    folder: str | None = None,
    *,
    fit: Fit | None = None,
    given: str | None = None,
) -> Explorer:
    """Of the run's first ``images``: those of its stored posterior; of an export without one those of its data where
    they are made; or of a ``folder``, pictures or other files that the run takes.

    ``fit``, ``given``: as for :meth:`~experiments.finished.FinishedRun.encode`, of a folder.
    Errors: :class:`~ppvae.UserError` for what the run does not take.
    """
    check_whole("images", images, 1)
    if folder is None and (fit is not None or given is not None):
        raise UserError("--fit and --given are of images in --folder: give it, or leave them out")
    if folder is None and (run.folder / "posterior.zarr").exists():
        tree = run.moments()
        known = tree["constant_data"].to_dataset() if "constant_data" in tree.children else xr.Dataset()
        return Explorer(run, tree, images, known.load())
    data = _own(run) if folder is None else run.intake.dataset(folder, fit)
    few = data.subset(slice(images))
    level = int(given) if given is not None and given.isdigit() else given
    return Explorer(run, run.moments(few, given=level), len(few), _known(few))


def _own(run: FinishedRun) -> ImageDataset:
    try:
        return run.data
    except UserError as error:  # an export does not know where they lie
        raise UserError(f"{error}; an export has no images: give some as --folder, or export the posterior") from error


def _known(data: ImageDataset) -> xr.Dataset:
    return data.table.drop_vars("image", errors="ignore")


def _parser(program: str) -> argparse.ArgumentParser:
    parser = Parser(prog=program, description="A finished run's codes moved by hand, in a browser on this machine.")
    parser.add_argument("run", help="folder of a finished run, runs/NAME/TIME, or of an exported one")
    parser.add_argument("--images", type=int, default=IMAGES, metavar="N", help=f"the first N of the run's; {IMAGES}")
    parser.add_argument("--folder", help="other images: a folder or .zip of pictures, .npz, .npy, .zarr; or a table")
    parser.add_argument("--fit", choices=get_args(Fit), help="what becomes of pictures of another shape")
    parser.add_argument("--given", help="of a conditional run, with --folder: the level, by number or name")
    parser.add_argument("--port", type=int, default=0, help="of the local server; by default any that is free")
    parser.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    parser.add_argument("--allow", action="append", default=[], metavar="NAME", help="trust parts below this package")
    written = parser.add_argument_group("write a file instead")
    written.add_argument("--save", type=Path, metavar="PAGE.html", help="one page that needs no server and no model")
    written.add_argument("--gif", type=Path, metavar="FILE", help="a traversal, there and back")
    written.add_argument("--mp4", type=Path, metavar="FILE", help="the same, where ffmpeg is installed")
    written.add_argument("--site", help="the code that a traversal is of, where there are several")
    written.add_argument("--latent", type=int, help="which of its latents, or of maps which principal direction")
    written.add_argument("--image", type=int, default=0, help="where it starts; 0")
    written.add_argument("--steps", type=int, default=25, help="one way; 25")
    return parser


def _check(asked: argparse.Namespace) -> None:
    """Before the run is loaded."""
    for word, endings in ENDINGS.items():
        out = getattr(asked, word)
        if out is not None and out.suffix not in endings:
            raise UserError(f"--{word} {out}: expected a file that ends in {endings[0]}")
    check_whole("--images", asked.images, 1)
    if not 2 <= asked.steps <= MOST_STEPS:
        raise UserError(f"--steps {asked.steps}: expected a number from 2 to {MOST_STEPS}")
    if not 0 <= asked.port < 2**16:
        raise UserError(f"--port {asked.port}: expected a number below 65536, or 0 for any that is free")


def _written(explorer: Explorer, asked: argparse.Namespace, word: str) -> str:
    out: Path = getattr(asked, word)
    body = saved_page(explorer).encode() if word == "save" else _animation(explorer, asked, ENCODERS[word])
    replace_atomically(out, lambda path: path.write_bytes(body))
    return f"{out}: {len(body) / 1e6:.1f} MB"


def _animation(explorer: Explorer, asked: argparse.Namespace, encode: Callable) -> bytes:
    sites = explorer.codes
    if asked.site is None and len(sites) != 1:
        raise UserError(f"the run has the codes {', '.join(sites) or 'none'}; give --site, one of them")
    axes = explorer.axes(sites[0] if asked.site is None else asked.site)
    number = axes.numbers[axes.order[0]] if asked.latent is None else asked.latent
    return encode(animated(explorer, Setting(asked.image), axes.site, number, asked.steps))


def _serve(server: Server, *, browser: bool) -> None:
    with server:
        _ = server.page  # what is wrong with it is said before a browser opens
        shown = f"{server.explorer.count} {'rows' if server.explorer.of_rows else 'images'}"
        print(f"{server.url} shows {shown} of {server.explorer.run.folder}; Ctrl-C ends it", flush=True)
        if browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:  # the way in which it ends
            ignore_signals()
            print("ended")
