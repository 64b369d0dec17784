"""What adapters share: published names into ours, separate projections into fused ones."""

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


class Renaming:
    """Renames tensors by regular expressions, all of them in order.

    Args:
        rules: Pairs of a pattern and its replacement, as ``re.sub`` takes them.
    """

    def __init__(self, rules: Iterable[tuple[str, str]]) -> None:
        self.rules = [(re.compile(theirs), ours) for theirs, ours in rules]

    def __call__(self, name: str) -> str:
        """Returns our name."""
        for pattern, replacement in self.rules:
            name = pattern.sub(replacement, name)
        return name


def join_sections(state: dict[str, Tensor], joined: str, parts: Sequence[str]) -> None:
    """Stacks the tensors of separate projections, in place: ``x.q``, ``x.k``, ``x.v`` to ``x.qkv``.

    Only sets that are complete are joined.

    Args:
        state: Tensors by name.
        joined: Name of the fused layer.
        parts: Names of its sections, in the order of the rows.
    """
    for kind in ("weight", "bias"):
        ending = f".{parts[0]}.{kind}"
        for name in [name for name in state if name.endswith(ending)]:
            stem = name.removesuffix(ending[1:])
            names = [f"{stem}{part}.{kind}" for part in parts]
            if all(part in state for part in names):
                state[f"{stem}{joined}.{kind}"] = torch.cat([state.pop(part) for part in names])
