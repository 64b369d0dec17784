"""Where a verb computes."""

import torch

from headway.core.errors import UserError


def choose_device(name: str | None) -> torch.device:
    """Returns the device that ``--device`` means.

    Args:
        name: ``auto`` or None for a GPU if there is one, else the name of a device.

    Raises:
        UserError: If the name is none that torch knows.
    """
    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name!r} is not known; use auto, cpu, cuda or cuda:1") from None
