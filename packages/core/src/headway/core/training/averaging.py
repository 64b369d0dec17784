"""The running average of weights and buffers (EMA), validated and exported in place of the last ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average of the trained weights and floating-point buffers of a module.

    The decay grows with the number of updates, ``min(decay, (1 + n) / (10 + n))``, so that the first
    random weights are soon forgotten.

    Args:
        module: What is averaged; its present values are the first average.
        decay: How much of the average stays at each update.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.step = 0
        self._held: dict[str, Tensor] | None = None
        # fp32: an average of half-precision weights would stop moving at usual decays.
        self.tensors = {name: t.detach().float().clone() for name, t in _moving(module).items()}

    @property
    def swapped(self) -> bool:
        """Whether the module has the averaged values at the moment."""
        return self._held is not None

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Moves the average towards the present values."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, tensor in _moving(module).items():
            self._at(name, tensor).lerp_(tensor.detach().float(), 1 - decay)

    @torch.no_grad()
    def swap(self, module: nn.Module) -> None:
        """Exchanges trained and averaged values, in place: compiled graphs keep their tensors."""
        moving = _moving(module)
        if self._held is None:
            self._held = {name: tensor.detach().clone() for name, tensor in moving.items()}
            for name, tensor in moving.items():
                tensor.detach().copy_(self._at(name, tensor))
        else:
            for name, tensor in moving.items():
                tensor.detach().copy_(self._held[name])
            self._held = None

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """The module has the averaged values inside the block."""
        if self.swapped:
            yield
            return
        self.swap(module)
        try:
            yield
        finally:
            self.swap(module)

    def _at(self, name: str, tensor: Tensor) -> Tensor:
        # A loaded average starts on the CPU.
        average = self.tensors[name]
        if average.device != tensor.device:
            average = self.tensors[name] = average.to(tensor.device)
        return average

    def state_dict(self) -> dict[str, Any]:
        """Returns the average and its count."""
        return {"updates": self.updates, "step": self.step, "tensors": dict(self.tensors)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what ``state_dict`` returned."""
        self.updates = state["updates"]
        self.step = state["step"]
        self.tensors = {name: tensor.clone() for name, tensor in state["tensors"].items()}


def _moving(module: nn.Module) -> dict[str, Tensor]:
    """Returns the tensors that move in training, each once even where names share it."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor) or id(tensor) in seen or not tensor.is_floating_point():
            continue
        seen.add(id(tensor))
        if not isinstance(tensor, nn.Parameter) or tensor.requires_grad:
            found[name] = tensor
    return found
