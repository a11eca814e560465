"""The short names of `ppvae` and where each is described."""

import importlib
import inspect
from functools import cache
from types import ModuleType

from pages.tables import table

__all__ = ["homes", "name_table"]


@cache
def homes(package: ModuleType) -> dict[str, str]:
    """Each of a package's names that is no module, and the public module below it that has it too: its home."""
    below = [name for name in package.__all__ if isinstance(getattr(package, name), ModuleType)]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in (*below, "checks", "errors")]
    found = {}
    for name in sorted(set(package.__all__) - set(below)):
        owners = [m.__name__ for m in modules if getattr(m, name, None) is getattr(package, name)]
        found[name] = owners[0] if owners else package.__name__
    return found


def name_table(package: ModuleType) -> str:
    """The names with a link to each and the first sentence of what it says."""
    rows = [
        (f"{{py:obj}}`{name} <{home}.{name}>`", _first_line(getattr(package, name)))
        for name, home in homes(package).items()
    ]
    return table(("name", "what it is"), rows)


def _first_line(described: object) -> str:
    return (inspect.getdoc(described) or "").partition("\n")[0]
