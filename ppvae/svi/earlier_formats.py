"""Checkpoints of earlier formats, as today's."""

from typing import Any

import torch
from torch import nn

from ppvae.svi.recipe import Recipe

__all__ = ["upgraded"]


def upgraded(content: dict[str, Any], module: nn.Module) -> dict[str, Any]:
    """A checkpoint of format 1 as one of format 2, for a ``module`` with the parts ``model`` and ``guide``.

    Format 1 numbered the parameters in the order in which model and guide then had them, which is the order of their
    states; a shared one counts where it first comes. It knew one recipe, and ended epochs.
    """
    own = {name: id(one) for name, one in module.named_parameters(remove_duplicate=False)}
    ordered = [f"{part}.{name}" for part in ("model", "guide") for name in content[part]]
    ordered += [f"objective_state.{name}" for name in content["objective"]]
    first = {own[name]: name for name in reversed(ordered) if name in own}
    names = {id(one): name for name, one in module.named_parameters()}
    numbered = [names[key] for key in sorted(first, key=lambda key: ordered.index(first[key]))]
    optimizer = content["optimizer"]
    states = {numbered[index]: state for index, state in optimizer["state"].items()}
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer["param_groups"]]
    recipe = {f"recipe.{name}": value for name, value in Recipe().described().items()}
    return {
        **content,
        "optimizer": {"parameters": states, "groups": groups, "schedule": {}, "norms": torch.empty(0), "skipped": 0},
        "settings": {**recipe, **content["settings"]},
    }
