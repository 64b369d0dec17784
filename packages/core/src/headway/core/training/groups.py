"""Parameter groups: which weights decay, and how fast each depth learns."""

import re
from collections.abc import Iterator

from torch import nn

from headway.core.errors import UserError
from headway.core.module import undecayed_names
from headway.core.training.optimizers import ParameterGroups

# Greedy: of nested blocks the innermost counts.
_BLOCK = re.compile(r"(?:.*\.)?blocks\.\d+\.")


def layer_depths(model: nn.Module) -> dict[str, int]:
    """Returns the depth of every parameter of a model by its name.

    What stands before the blocks has depth 0, block ``i`` has ``i + 1``, what follows the last block
    (final norm, head) has one more. Blocks of several stages are counted on, and what stands between
    two blocks belongs to the one before it. A model that knows better has ``layer_depth(name) -> int``.
    """
    names = [name for name, _ in model.named_parameters()]
    own = getattr(model, "layer_depth", None)
    if own is not None:
        return {name: own(name) for name in names}
    blocks: dict[str, int] = {}
    for name in names:
        if match := _BLOCK.match(name):
            blocks.setdefault(match.group(), len(blocks) + 1)
    depths: dict[str, int] = {}
    current = 0
    for name in names:
        if match := _BLOCK.match(name):
            current = blocks[match.group()]
        depths[name] = current
    for name in reversed(names):
        if _BLOCK.match(name):
            break
        if blocks:
            depths[name] = len(blocks) + 1
    return depths


def _trained(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in module.named_parameters() if p.requires_grad)


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    layer_decay: float | None = None,
    others: nn.Module | None = None,
) -> ParameterGroups:
    """Sorts the trained parameters of a model into groups of an optimiser.

    Biases, norms and other parameters with one axis never decay, nor does what a part calls
    ``undecayed`` or a model of another library names in ``no_weight_decay() -> set[str]``. Frozen
    parameters are in no group.

    Args:
        model: Its parameters learn at a rate that falls by ``layer_decay`` from each depth to the
            one before it.
        lr: Learning rate of the last depth.
        layer_decay: Ratio of the rates of neighbouring depths, or None for one rate.
        others: A module that holds ``model`` and perhaps more; what is not the model's has the full rate.
    """
    if layer_decay is not None and not 0 < layer_decay <= 1:
        raise UserError(
            f"layer_decay is {layer_decay}; it lies above 0 and at most at 1 (0.65 to 0.9)"
        )
    spared = undecayed_names(model) | set(getattr(model, "no_weight_decay", set)())
    depths = layer_depths(model) if layer_decay is not None else {}
    last = max(depths.values(), default=0)

    groups: dict[tuple[int, bool], dict] = {}

    def add(name: str, parameter: nn.Parameter, depth: int) -> None:
        decays = parameter.ndim > 1 and name not in spared
        group = groups.setdefault((depth, decays), {"params": [], "lr": lr})
        group["lr"] = lr * (layer_decay or 1.0) ** (last - depth)
        if not decays:
            group["weight_decay"] = 0.0
        group["params"].append(parameter)

    for name, parameter in _trained(model):
        add(name, parameter, depths.get(name, 0))
    own = {id(parameter) for parameter in model.parameters()}
    for name, parameter in _trained(others) if others is not None else ():
        if id(parameter) not in own:
            add(name, parameter, last)
    if not groups:
        raise UserError("every parameter is frozen: there is nothing to train")
    return [groups[key] for key in sorted(groups)]
