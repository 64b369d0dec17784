"""The model that a verb asks."""

from typing import TypeVar

import torch
from torch import nn

from headway.core.cli.device import choose_device
from headway.core.errors import UserError
from headway.core.weights import from_pretrained

M = TypeVar("M", bound=nn.Module)


def load_model(
    source: str, device: str | None, kind: type[M], otherwise: str = ""
) -> tuple[M, torch.device]:
    """Returns a model in evaluation mode, and the device that it is on.

    Args:
        source: What ``-m`` was given: a run folder, a checkpoint, a directory or a hub id.
        device: What ``--device`` was given.
        kind: What the model must be.
        otherwise: What is wrong with another one, such as ``"which generates no molecules"``.

    Raises:
        UserError: If it is another one, or torch knows no such device.
    """
    model = from_pretrained(source)
    if not isinstance(model, kind):
        raise UserError(f"{source} holds a {type(model).__name__}, {otherwise}")
    place = choose_device(device)
    return model.eval().to(place), place
