"""What parts of a model ask of training besides the loss of the task."""

from typing import Any

from torch import Tensor, nn

from headway.core.module import Module


class Penalised(Module):
    """A part whose training passes leave a ``penalty``, which the task adds to its loss.

    Attributes:
        penalty: Scalar of the last training pass; None where there was none since it was taken.
    """

    penalty: Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Returns what a copy holds: not the graph of a pass."""
        return {**self.__dict__, "penalty": None}


def take_penalty(model: nn.Module) -> Tensor | None:
    """Returns the sum of all penalties that the last training pass left, and forgets them."""
    found = []
    for module in model.modules():
        if isinstance(module, Penalised) and module.penalty is not None:
            found.append(module.penalty)
            module.penalty = None
    return sum(found[1:], found[0]) if found else None
