"""What a built model can become afterwards: other classes, channels, horizon, vocabulary.

A class of headway that defines one of these methods is watched: the model knows which of its parameters were
replaced, so that fine-tuning trains what is new and adapter files can say what was changed.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn


class Change(NamedTuple):
    """How an argument of a built model is changed.

    Args:
        method: Name of the method that takes the new value.
        effect: What becomes of the parameters that it replaces: ``resized`` (computed from the old ones),
            ``extended`` (kept in part), ``reinitialised`` (started anew).
    """

    method: str
    effect: str


CHANGES = {
    "num_classes": Change("reset_classifier", "reinitialised"),
    "classes": Change("set_classes", "reinitialised"),
    "image_size": Change("set_input_size", "resized"),
    "channels": Change("set_channels", "extended"),
    "horizon": Change("set_horizon", "reinitialised"),
    "observation_dim": Change("set_observation_dim", "reinitialised"),
    "spaces": Change("set_spaces", "reinitialised"),
    "action_dim": Change("set_action_dim", "reinitialised"),
    "properties": Change("set_properties", "reinitialised"),
    "new_vocabulary": Change("begin_vocabulary", "reinitialised"),
    "vocabulary": Change("set_vocabulary", "extended"),
    "max_length": Change("set_max_length", "resized"),
}
EFFECTS = ("resized", "extended", "reinitialised")


def watch(cls: type) -> None:
    """Lets the methods of ``CHANGES`` that a class defines note what they replace."""
    for name, change in CHANGES.items():
        method = cls.__dict__.get(change.method)
        if callable(method):
            setattr(cls, change.method, _watched(method, name, change.effect))


def changed_arguments(model: nn.Module) -> dict[str, Any]:
    """Returns the arguments that were changed since the model was built or loaded, with their values."""
    return dict(model.__dict__.get("_changed_arguments", {}))


def changed_parameters(model: nn.Module, effect: str) -> set[str]:
    """Returns the names of the parameters of a model that changes had an effect on.

    Args:
        model: The model; what its parts have changed by themselves counts.
        effect: One of ``EFFECTS``.
    """
    found = set()
    for prefix, module in model.named_modules():
        for name, what in module.__dict__.get("_changed_parameters", {}).items():
            if what == effect:
                found.add(f"{prefix}.{name}" if prefix else name)
    return found & {name for name, _ in model.named_parameters(remove_duplicate=False)}


def new_parameters(model: nn.Module) -> set[str]:
    """Returns the parameters that hold something that nothing was learned about.

    Those that a change started anew or extended, and those that the checkpoint did not hold.
    """
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    found = changed_parameters(model, "reinitialised") | changed_parameters(model, "extended")
    report = getattr(model, "load_report", None)
    for kind in ("missing", "extended", "reinitialised"):
        found |= set(getattr(report, kind, ()))
    return found & names


def train_new_parameters(model: nn.Module) -> None:
    """Lets every new parameter learn, whatever was frozen."""
    new = new_parameters(model)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if name in new:
            parameter.requires_grad_(True)


def _watched(method: Callable[..., Any], argument: str, effect: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def run(self: nn.Module, value: Any, *args: Any, **options: Any) -> Any:
        before = dict(self.named_parameters(remove_duplicate=False))
        result = method(self, value, *args, **options)
        replaced = {
            name: effect
            for name, parameter in self.named_parameters(remove_duplicate=False)
            if parameter is not before.get(name)
        }
        record = self.__dict__
        record["_changed_parameters"] = {**record.get("_changed_parameters", {}), **replaced}
        record["_changed_arguments"] = {**record.get("_changed_arguments", {}), argument: value}
        # New layers are born in training mode.
        self.train(self.training)
        return result

    return run
