"""Finished runs at the command line: ``encode``, ``sample``, ``score``, ``reconstruct`` and ``export``."""

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging import StreamHandler
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import xarray as xr

from ppvae.datasets.fitting import Fit
from ppvae.diagnostics.pareto import good_pareto_k
from ppvae.errors import UserError
from ppvae.files import replace_atomically

from ..arguments import Parser
from .run import DRAWS, FinishedRun, load

__all__ = ["COMMANDS", "encode", "export", "main", "reconstruct", "sample", "score"]

PICTURES = (".png", ".npz")


@dataclass(frozen=True)
class Command:
    """What a word does: ``arguments`` tells the parser, ``run`` does it and returns what to print."""

    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[FinishedRun, argparse.Namespace], str]


def main(arguments: Sequence[str] | None = None, program: str = "python -m experiments.finished") -> None:
    """Run ``WORD RUN …`` and print what came of it; UserError for a mistake."""
    parser = Parser(prog=program, description="What the pair of a finished run does with images.")
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD", parser_class=Parser)
    for word, command in COMMANDS.items():
        own = words.add_parser(word, help=command.help, description=command.help)
        own.add_argument("run", help="folder of a finished run, runs/NAME/TIME, or of an exported one")
        own.add_argument("--allow", action="append", default=[], metavar="NAME", help="trust parts below this package")
        command.arguments(own)
    asked = parser.parse_args(arguments)
    with _told():
        print(COMMANDS[asked.word].run(load(asked.run, allow=asked.allow), asked))


@contextmanager
def _told() -> Iterator[None]:
    """What is logged about a run and its images, on stderr."""
    loggers, handler = [logging.getLogger(name) for name in ("ppvae", __name__.partition(".")[0])], StreamHandler()
    before = [one.level for one in loggers]
    for one in loggers:
        one.addHandler(handler)
        one.setLevel(logging.INFO)
    try:
        yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.removeHandler(handler)
            one.setLevel(level)


def encode(words: Sequence[str]) -> None:
    """``ppvae encode RUN IMAGES``, as the others of these names: :func:`main` with the word in front."""
    main(["encode", *words], "ppvae")


def sample(words: Sequence[str]) -> None:
    """``ppvae sample RUN``."""
    main(["sample", *words], "ppvae")


def score(words: Sequence[str]) -> None:
    """``ppvae score RUN IMAGES``."""
    main(["score", *words], "ppvae")


def reconstruct(words: Sequence[str]) -> None:
    """``ppvae reconstruct RUN IMAGES``."""
    main(["reconstruct", *words], "ppvae")


def export(words: Sequence[str]) -> None:
    """``ppvae export RUN FOLDER``."""
    main(["export", *words], "ppvae")


def _takes_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "images", nargs="+", help="a folder or .zip of pictures, pictures, .npz, .npy, .zarr; or a table"
    )
    parser.add_argument("--fit", choices=get_args(Fit), help="what becomes of pictures of another shape")
    _takes_given(parser)


def _takes_given(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--given", help="a label, by number or name, or label=NAME; images for a run given images")


def _takes_table(parser: argparse.ArgumentParser) -> None:
    _takes_images(parser)
    parser.add_argument("--out", type=Path, help="a .csv file; without it the table is printed")


def _takes_scores(parser: argparse.ArgumentParser) -> None:
    _takes_table(parser)
    parser.add_argument("--draws", type=int, default=DRAWS, help=f"of each image, from the guide; {DRAWS}")


def _takes_pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="a .png of all, an .npz; or of a table a .csv")


def _takes_sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", type=int, default=16, help="how many; 16")
    parser.add_argument("--temperature", type=float, default=1.0, help="that multiplies the latents' noise; 1")
    parser.add_argument("--sites", nargs="+", help="the latents whose temperature it is; all")
    parser.add_argument("--seed", type=int, default=0)
    _takes_given(parser)
    _takes_pictures(parser)


def _takes_reconstruction(parser: argparse.ArgumentParser) -> None:
    _takes_images(parser)
    _takes_pictures(parser)


def _takes_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--license", help="as the card names it, such as apache-2.0")
    parser.add_argument(
        "--codes", action="store_true", help="with codes.csv, a row a training image, files and factors"
    )
    parser.add_argument("--posterior", action="store_true", help="with the posterior, which holds training images")


def _encode(run: FinishedRun, asked: argparse.Namespace) -> str:
    return _written_table(lambda: run.encode(_images(asked), given=_given(asked), fit=asked.fit), asked.out)


def _score(run: FinishedRun, asked: argparse.Namespace) -> str:
    options = {"given": _given(asked), "fit": asked.fit, "draws": asked.draws}
    return _written_table(
        lambda: run.score(_images(asked), **options), asked.out, lambda scores: _doubted(scores, asked.draws)
    )


def _doubted(scores: pd.DataFrame, draws: int) -> str:
    """Whether log p(x) is to be believed; nothing where it is."""
    good = good_pareto_k(draws)
    doubted = int((scores["pareto_k"] > good).sum())
    if not doubted:
        return ""
    return f"; k̂ is above {good:.2g} for {doubted}: log p(x) is too low there by an unknown amount, give more --draws"


def _sample(run: FinishedRun, asked: argparse.Namespace) -> str:
    options = {"given": _given(asked), "sites": asked.sites, "seed": asked.seed}
    return _written_draws(run, lambda: run.sample(asked.n, asked.temperature, **options), asked.out)


def _reconstruct(run: FinishedRun, asked: argparse.Namespace) -> str:
    return _written_draws(run, lambda: run.reconstruct(_images(asked), given=_given(asked), fit=asked.fit), asked.out)


def _export(run: FinishedRun, asked: argparse.Namespace) -> str:
    options = {"license": asked.license, "posterior": asked.posterior, "codes": asked.codes}
    return f"Exported: {run.export(asked.folder, **options)}"


COMMANDS = {
    "encode": Command("means and standard deviations of the latents of images, as a table", _takes_table, _encode),
    "sample": Command("draws of the model", _takes_sample, _sample),
    "score": Command("log p(x) of images, and how rare it is among the training images", _takes_scores, _score),
    "reconstruct": Command("images redrawn from their codes", _takes_reconstruction, _reconstruct),
    "export": Command("the run as safetensors with a model card", _takes_folder, _export),
}
"""By the word that comes first."""


def _images(asked: argparse.Namespace) -> str | list[str]:
    return asked.images[0] if len(asked.images) == 1 else asked.images


def _given(asked: argparse.Namespace) -> Any:
    """A number, a name, or either under the name of what is given."""
    if asked.given is None:
        return None
    name, equals, value = asked.given.partition("=")
    named = equals and name.isidentifier()
    word = value if named else asked.given
    given = int(word) if word.lstrip("-").isdigit() else word
    return {name: given} if named else given


def _written_table(
    made: Callable[[], pd.DataFrame], out: Path | None, remark: Callable[[pd.DataFrame], str] = lambda _: ""
) -> str:
    _check_ending(out, (".csv",))
    table = made()
    if out is None:
        return table.to_csv(float_format="%.7g").rstrip("\n")
    replace_atomically(out, lambda path: table.to_csv(path, float_format="%.7g"))
    return f"{len(table)} rows: {out}{remark(table)}"


def _written_draws(run: FinishedRun, made: Callable[[], xr.DataArray], out: Path) -> str:
    """Rows as a table, images as one picture or as an array."""
    if run.intake.of_rows:
        return _written_table(lambda: made().to_pandas(), out)
    _check_ending(out, PICTURES)
    drawn = made()
    write = _picture if out.suffix == ".png" else _archive
    replace_atomically(out, lambda path: write(drawn, path))
    return f"{len(drawn)} images: {out}"


def _check_ending(out: Path | None, endings: Sequence[str]) -> None:
    if out is not None and out.suffix not in endings:
        raise UserError(f"--out {out}: expected a file that ends in {' or '.join(endings)}")


def _picture(drawn: xr.DataArray, path: Path) -> None:
    """All images in a square of tiles, with a pixel of white between them."""
    from PIL import Image
    from torch import from_numpy
    from torchvision.utils import make_grid

    images = from_numpy(np.clip(drawn.values, 0, 1))
    if images.shape[1] not in (1, 3):
        raise UserError(f"images of {images.shape[1]} channels are no picture: give --out a name that ends in .npz")
    tiles = make_grid(images, nrow=int(np.ceil(len(images) ** 0.5)), padding=1, pad_value=1.0)
    pixels = (tiles * 255).round().byte().permute(1, 2, 0).numpy()
    with path.open("wb") as file:
        Image.fromarray(pixels).save(file, "png")


def _archive(drawn: xr.DataArray, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, images=drawn.values.astype(np.float32))
