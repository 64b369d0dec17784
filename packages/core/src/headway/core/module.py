"""The base of every headway module: it remembers its arguments and makes its constants anew."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from headway.core.changes import watch
from headway.core.passed import arguments, passed_options


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model is in evaluation mode inside the block; afterwards every part has the mode that it had.

    Frozen normalisation may be in evaluation mode while the rest trains: ``train(True)`` would wake it.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def undecayed_names(model: nn.Module) -> set[str]:
    """Returns the names of parameters that the parts of a model call ``undecayed``."""
    return {
        f"{path}.{name}".lstrip(".")
        for path, module in model.named_modules()
        for name in getattr(module, "undecayed", ())
        if getattr(module, name) is not None
    }


def with_new_names(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns tensors of an earlier release by the names that they have now."""
    names = {
        f"{path}.{old}".lstrip("."): f"{path}.{new}".lstrip(".")
        for path, module in model.named_modules()
        for old, new in getattr(module, "renamed", {}).items()
    }
    return {names.get(name, name): tensor for name, tensor in state.items()}


class Module(nn.Module):
    """An ``nn.Module`` that records its bound constructor arguments in ``init_args``.

    The record is what ``save_pretrained`` writes to ``config.json``; defaults are included, so a
    checkpoint does not change its meaning when a default does.

    Tensors that follow from the arguments alone are ``constants``: buffers that no checkpoint holds. They
    are made anew whenever the module is moved, so that a module built on the meta device, emptied with
    ``to_empty`` and loaded has them, and they keep their type when the weights change theirs.

    Attributes:
        undecayed: Names of own parameters that weight decay leaves alone, such as a table of places.
        renamed: Names below this module that tensors had in earlier releases, and those that they have now.
    """

    init_args: dict[str, Any]
    undecayed: ClassVar[tuple[str, ...]] = ()
    renamed: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        """Watches the methods that change a built model (``headway.core.changes``)."""
        super().__init_subclass__(**options)
        watch(cls)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Binds the arguments before ``__init__`` sees them."""
        module = super().__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind(module, *args, **kwargs)
        except TypeError:
            # Wrong arguments: __init__ is about to say so. No arguments: copy and pickle call
            # __new__ alone and restore the record with the rest of __dict__.
            return module
        bound.apply_defaults()
        record = dict(bound.arguments)
        del record[next(iter(record))]  # self
        if passed_options(cls.__init__) is not None:
            _, options = record.popitem()  # what goes on to the base stands last
            for name, (parameter, _) in arguments(cls).items():
                record.setdefault(name, options.get(name, parameter.default))
        # nn.Module.__setattr__ would register modules, and works only after __init__.
        module.__dict__["init_args"] = record
        return module

    @classmethod
    def arguments_today(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns arguments that an earlier release wrote into a configuration as those of today.

        Args:
            arguments: As they stand there: parts are class paths and their arguments.
        """
        return dict(arguments)

    def constants(self) -> dict[str, Tensor]:
        """Returns the tensors that follow from the arguments, by name; computed on the CPU."""
        return {}

    def register_constants(self) -> None:
        """Makes buffers of ``constants``; called once, at the end of a constructor that has some."""
        device = torch.get_default_device()
        for name, tensor in self._made_constants().items():
            self.register_buffer(name, tensor.to(device), persistent=False)

    def _made_constants(self) -> dict[str, Tensor]:
        # Not in vain: a constructor may run under torch.device("meta").
        with torch.device("cpu"), torch.no_grad():
            return self.constants()

    def _renew_constants(self, device: torch.device | None = None) -> None:
        """Makes the constants anew where they are, or on a device."""
        for name, tensor in self._made_constants().items():
            kept = self._buffers.get(name)
            if kept is None:
                continue
            in_place = device is None and kept.dtype == tensor.dtype
            if in_place and not kept.is_meta and not kept.is_inference():
                # In place, since other processes may share the memory.
                kept.copy_(tensor)
            else:
                self._buffers[name] = tensor.to(kept.device if device is None else device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._renew_constants()
        return self

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        *rest: Any,
        **others: Any,
    ) -> None:
        for old, new in self.renamed.items():
            if f"{prefix}{old}" in state_dict:
                state_dict[f"{prefix}{new}"] = state_dict.pop(f"{prefix}{old}")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest, **others)
        if not local_metadata.get("assign_to_params_buffers"):
            return
        # Weights that are put in the place of meta tensors bring their device with them.
        loaded = next((x for x in state_dict.values() if isinstance(x, Tensor)), None)
        if loaded is None or loaded.is_meta:
            return
        for module in self.modules():
            if isinstance(module, Module) and any(
                x is not None and x.is_meta for x in module._buffers.values()
            ):
                module._renew_constants(loaded.device)
