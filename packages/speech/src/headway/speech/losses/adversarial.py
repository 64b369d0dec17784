"""What generator and discriminators want of each other."""

from collections.abc import Sequence

import torch
from torch import Tensor

Found = Sequence[Sequence[Tensor]]


def telling(real: Found, made: Found) -> Tensor:
    """Returns the loss of discriminators: recordings sound like 1, what was made like 0 (least squares).

    Args:
        real: What each way of looking found in recordings; the last is the score.
        made: The same of what a model made.

    Source:
        Mao et al. 2016, https://arxiv.org/abs/1611.04076.
    """
    losses = [
        (1 - one[-1]).square().mean() + other[-1].square().mean()
        for one, other in zip(real, made, strict=True)
    ]
    return torch.stack(losses).sum()


def deceiving(made: Found) -> Tensor:
    """Returns the loss of a generator: what it made sounds like 1."""
    return torch.stack([(1 - look[-1]).square().mean() for look in made]).sum()


def matching(real: Found, made: Found) -> Tensor:
    """Returns how far the layers of discriminators find something else in what was made, summed over layers.

    The scores are left out; the published code has them among the layers.

    Source:
        Larsen et al. 2015, https://arxiv.org/abs/1512.09300, as Kumar et al. 2019 (MelGAN) use it.
    """
    losses = [
        (one.detach() - other).abs().mean()
        for first, second in zip(real, made, strict=True)
        for one, other in zip(first[:-1], second[:-1], strict=True)
    ]
    return torch.stack(losses).sum()
