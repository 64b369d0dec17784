"""Small steps between matrix products, fused in C++ where nothing is differentiated on a CPU.

PyTorch goes through memory several times for each (a norm is six operations), which is a third of the time
of a decoding step of a small model. Everywhere else, gradients, graphs that are compiled or exported, other
devices and types, the references run.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.ops.inference import native

__all__ = ["place_", "rms_norm", "silu_gate", "turn"]


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Divides each token by its root mean square and multiplies it by ``weight``.

    Args:
        x: Tokens.
        weight: Gain of each channel.
        eps: Added to the mean square.

    Shape:
        x: (..., C). weight: (C,). Output: (..., C).

    Source:
        Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467, eq. 4.
    """
    if native.fits(x, weight) and x.shape[-1:] == weight.shape:
        return native.rms_norm(x, weight, eps)
    return F.rms_norm(x, weight.shape, weight, eps)


def silu_gate(x: Tensor) -> Tensor:
    """Returns ``silu(gate) * value`` of tokens that hold both side by side.

    Shape:
        x: (..., 2 C), gate first. Output: (..., C).

    Source:
        Shazeer 2020, https://arxiv.org/abs/2002.05202, eq. 6.
    """
    if native.fits(x):
        return native.silu_gate(x)
    gate, value = x.chunk(2, dim=-1)
    return F.silu(gate) * value


def turn(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turns channel i and channel i + C / 2 of each head as a pair.

    Args:
        x: Heads of tokens.
        cosines: Of the angle of each token and pair.
        sines: Of the same.

    Shape:
        x: (B, H, T, C). cosines, sines: (B or 1, T, C / 2). Output: as x.

    Source:
        Su et al. 2021, https://arxiv.org/abs/2104.09864, eq. 34.
    """
    if native.fits(x, cosines, sines) and x.stride(-1) == 1:
        return native.turn(x, cosines, sines)
    first, second = x.to(torch.promote_types(x.dtype, torch.float32)).chunk(2, dim=-1)
    cosines, sines = cosines[:, None], sines[:, None]
    turned = (first * cosines - second * sines, second * cosines + first * sines)
    return torch.cat(turned, dim=-1).to(x.dtype)


def place_(buffer: Tensor, x: Tensor, places: Tensor) -> None:
    """Writes token t of each row to ``places + t`` of the buffer's row.

    Args:
        buffer: Changed in place.
        x: New tokens.
        places: Where the first goes, within the buffer.

    Raises:
        IndexError: If a place lies outside of the buffer (PyTorch raises a RuntimeError where it writes).

    Shape:
        buffer: (B, H, S, C). x: (B, H, T, C). places: (B,) int64.
    """
    if native.fits(buffer, x) and x.stride(-1) == buffer.stride(-1) == 1:
        native.place_(buffer, x, places)
        return
    positions = places[:, None] + torch.arange(x.shape[2], device=x.device)  # (B, T)
    index = positions[:, None, :, None].expand_as(x)
    buffer.scatter_(2, index, x.to(buffer.dtype))
