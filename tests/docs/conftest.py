"""The package that makes the pages' tables is found beside them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "docs/_ext"))
