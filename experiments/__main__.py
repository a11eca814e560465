"""The command line: ``uv run -m experiments [group=choice] [key=value] …``."""

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ppvae import UserError

EXIT_USER_ERROR = 2


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def _job(configuration: DictConfig) -> None:
    get_method(configuration.job)(configuration, Path(HydraConfig.get().runtime.output_dir))


def main() -> int:
    """Run the command line; a user's mistake ends in one line and exit code 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and the line below is ours
    OmegaConf.register_new_resolver("or", lambda first, second: first or second, replace=True)
    try:
        _check_resume(sys.argv[1:])
        _job()
    except (HydraException, OmegaConfBaseException, UserError) as error:
        cause = _users_mistake(error)
        if cause is None:
            raise
        print(f"error: {cause}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("interrupted; resume=DIRECTORY continues from the last epoch's checkpoint", file=sys.stderr)
        return 130
    return 0


def _check_resume(arguments: list[str]) -> None:
    """Refuse a directory that is not there, before Hydra would make it."""
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == "resume" and value != "null" and not Path(value).is_dir():
            raise UserError(f"there is no directory resume={value}; give the directory of a run, runs/NAME/TIME")


def _users_mistake(error: Exception) -> str | None:
    """One line for what the user can mend; None for an error of the program's own."""
    if isinstance(error, InstantiationException):
        cause = error.__cause__
        while isinstance(cause, InstantiationException):
            cause = cause.__cause__
        if not isinstance(cause, UserError | TypeError | ImportError | None):
            return None
        error = cause or error
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
