"""The command line, its jobs and its configurations."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "plugins"))  # Hydra takes plugins from a package hydra_plugins alone
