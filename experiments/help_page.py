"""``ppvae --help`` and ``ppvae --version``."""

from ppvae import __version__

from .listing import SECTIONS, choices
from .subcommands import SUBCOMMANDS

__all__ = ["print_help", "print_version"]

PAGE = """\
ppvae {version}: variational auto-encoders as Pyro model/guide pairs

Usage: ppvae COMMAND [WORDS …]

Commands
{commands}

Words of ppvae train
  group=choice replaces a part, key=value sets a number, as
    ppvae train prior=normal guide=mean_field objective.beta=4 trainer.epochs=10
    ppvae train experiment=ngvae_table1                  a paper's table
    ppvae train --multirun objective.beta=1,4,16         a run for each, then one table
    ppvae train resume=FOLDER, rerun=FOLDER              goes on with a run; repeats it and compares

{groups}

More
  ppvae list GROUP               its choices, a line each
  ppvae train --help             every key with its value; ppvae train prior=vamp --help: of that
  ppvae train --hydra-help       the flags, such as --multirun, --cfg job and --config-dir
  ppvae -sc install=bash         prints what completes words in bash and zsh; install=fish
  ppvae --version
"""


def print_help() -> None:
    """Print the commands, and the groups of words that a training takes."""
    commands = [f"  {f'{name} {one.words}':20} {one.does}" for name, one in SUBCOMMANDS.items()]
    groups = map(_section, SECTIONS)
    print(PAGE.format(version=__version__, commands="\n".join(commands), groups="\n\n".join(groups)), end="")


def print_version() -> None:
    """Print the version."""
    print(f"ppvae {__version__}")


def _section(title: str) -> str:
    lines = [f"  {group:17} {len(choices(group)):3}  {does}" for group, does in SECTIONS[title].items()]
    return "\n".join([title, *lines])
