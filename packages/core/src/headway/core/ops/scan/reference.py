"""Recurrences token by token, in plain PyTorch."""

import torch
from torch import Tensor


def associative_scan(decay: Tensor, added: Tensor) -> Tensor:
    """``h[t] = decay[t] * h[t - 1] + added[t]`` along the last axis, from zero.

    Shape:
        decay, added: (M, N). Output: (M, N).
    """
    state = torch.zeros_like(added[:, 0]) if added.shape[1] else added.new_zeros(0)
    steps = []
    for a, b in zip(decay.unbind(1), added.unbind(1), strict=True):
        state = a * state + b
        steps.append(state)
    return torch.stack(steps, dim=1) if steps else torch.zeros_like(added)


def selective_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The recurrence of a selective state space, and the state after the last token.

    Shape:
        u, delta (B, N, D); A (D, S); B, C (B, N, S); state (B, D, S). Output: (B, N, D) and the state.
    """
    found = []
    for token in range(u.shape[1]):
        decay = (delta[:, token, :, None] * A).exp()
        added = (delta[:, token] * u[:, token])[..., None] * B[:, token, None]
        state = decay * state + added
        found.append((state * C[:, token, None]).sum(dim=-1))
    return torch.stack(found, dim=1) if found else torch.zeros_like(u), state
