"""What all ways to fine-tune share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from torch import nn

from headway.core.changes import train_new_parameters
from headway.core.errors import UserError


class FineTuning(ABC):
    """A way to fine-tune: decides which parameters of a model learn, before the optimiser is built.

    Whatever it freezes, a task then lets the parameters learn that nothing was learned about: a new head,
    the entries of a larger vocabulary, the input layer of another environment.
    """

    @abstractmethod
    def apply(self, model: nn.Module) -> None:
        """Freezes parameters of the model, or puts new ones beside them, in place."""


def heads_of(model: nn.Module) -> list[nn.Module]:
    """Returns the modules that compute the answers: what ``get_classifier`` returns, or ``head``.

    Raises:
        UserError: If the model has neither.
    """
    heads = find_heads(model)
    if not heads:
        raise UserError(
            f"{type(model).__name__} has no head to train; give it get_classifier() or an attribute head"
        )
    return heads


def find_heads(model: nn.Module) -> list[nn.Module]:
    """Returns what ``get_classifier`` returns, or ``head``; nothing where the model has neither."""
    get: Callable[[], object] | None = getattr(model, "get_classifier", None)
    found = get() if callable(get) else getattr(model, "head", None)
    modules = found if isinstance(found, tuple) else (found,)
    return [module for module in modules if isinstance(module, nn.Module)]


def freeze_all_but_heads(model: nn.Module) -> None:
    """Freezes every parameter but those of the heads and those that nothing was learned about."""
    freeze_all_but(model, heads_of(model))


def freeze_all_but(model: nn.Module, modules: Iterable[nn.Module]) -> None:
    """Freezes every parameter but those of some modules and those that nothing was learned about."""
    model.requires_grad_(False)
    for module in modules:
        module.requires_grad_(True)
    train_new_parameters(model)


def hold_frozen_statistics(model: nn.Module) -> None:
    """Puts every normalisation whose scale is frozen into evaluation mode.

    It would otherwise follow the new data without learning: the model would change where it should not,
    and neither its parameters nor an adapter would show it.
    """
    for name, module in model.named_modules():
        if getattr(module, "running_mean", None) is None:
            continue
        if not any(parameter.requires_grad for parameter in _scale_of(model, name)):
            module.eval()


def _scale_of(model: nn.Module, name: str) -> list[nn.Parameter]:
    """Returns the scale of a normalisation, or the parameters around one that has none."""
    weight = getattr(model.get_submodule(name), "weight", None)
    if isinstance(weight, nn.Parameter):
        return [weight]
    while not (found := list(model.get_submodule(name).parameters())) and name:
        name = name.rpartition(".")[0]
    return found


def trainable_parameters(model: nn.Module) -> tuple[int, int]:
    """Returns how many numbers learn, and how many there are."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, learns in sizes if learns), sum(size for size, _ in sizes)
