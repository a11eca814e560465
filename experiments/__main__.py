"""The command line: ``uv run -m experiments [group=choice] [key=value] …``."""

import os
import pkgutil
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from experiments.configuration_folders import check_composed, check_configuration_folders
from experiments.resolvers import register_resolvers
from ppvae import UserError

EXIT_USER_ERROR = 2


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def _job(configuration: DictConfig) -> None:
    try:  # not by Hydra, which would announce the error in a line of its own
        job = pkgutil.resolve_name(configuration.job)
    except (ImportError, AttributeError, ValueError) as error:
        _end_on_users_mistake(UserError(f"job={configuration.job}: {error}"))
    try:
        check_composed(configuration)
        job(configuration, Path(HydraConfig.get().runtime.output_dir))
    except (HydraException, OmegaConfBaseException, UserError) as error:
        _end_on_users_mistake(error)


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit code 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and the line below is ours
    register_resolvers()
    try:
        check_configuration_folders(sys.argv[1:])
        _check_resume(sys.argv[1:])
        _job()
    except (HydraException, OmegaConfBaseException, UserError) as error:
        _end_on_users_mistake(error)
    except KeyboardInterrupt:
        print("interrupted; resume=DIRECTORY continues from the last epoch's checkpoint", file=sys.stderr)
        sys.exit(130)


def _check_resume(arguments: list[str]) -> None:
    """Refuse a directory that is not there, before Hydra would make it."""
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == "resume" and value != "null" and not Path(value).is_dir():
            raise UserError(f"there is no directory resume={value}; give the directory of a run, runs/NAME/TIME")


def _end_on_users_mistake(error: Exception) -> None:
    """Print one line and exit with code 2; an error of the program's own keeps its traceback."""
    while isinstance(error, InstantiationException) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if not isinstance(error, HydraException | OmegaConfBaseException | UserError | TypeError | ImportError):
        raise error
    line = " ".join(str(error).split()).split(" Config search path:")[0]
    print(f"error: {line}", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()
