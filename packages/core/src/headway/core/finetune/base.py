"""What all ways to fine-tune share."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import nn

from headway.core.errors import UserError


class FineTuning(ABC):
    """A way to fine-tune: decides which parameters of a model learn, before the optimiser is built."""

    @abstractmethod
    def apply(self, model: nn.Module) -> None:
        """Freezes parameters of the model, or puts new ones beside them, in place."""


def heads_of(model: nn.Module) -> list[nn.Module]:
    """Returns the modules that compute the answers: what ``get_classifier`` returns, or ``head``.

    Raises:
        UserError: If the model has neither.
    """
    get: Callable[[], object] | None = getattr(model, "get_classifier", None)
    found = get() if callable(get) else getattr(model, "head", None)
    modules = found if isinstance(found, tuple) else (found,)
    heads = [module for module in modules if isinstance(module, nn.Module)]
    if not heads:
        raise UserError(
            f"{type(model).__name__} has no head to train; give it get_classifier() or an attribute head"
        )
    return heads


def freeze_all_but_heads(model: nn.Module) -> None:
    """Freezes every parameter but those of the heads."""
    heads = heads_of(model)
    model.requires_grad_(False)
    for head in heads:
        head.requires_grad_(True)


def trainable_parameters(model: nn.Module) -> tuple[int, int]:
    """Returns how many numbers learn, and how many there are."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, learns in sizes if learns), sum(size for size, _ in sizes)
