"""Actions of several numbers that are drawn: a Gaussian within bounds, as wide as it may stay."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.rl.layers.actions.continuous import ScaledActions
from headway.rl.layers.streams import Streams
from headway.rl.spaces import Space

# Logarithm of the deviation.
NARROW, WIDE = -5.0, 2.0
# An action at the very edge of its bounds would be infinitely far from their middle.
EDGE = 1e-3


class GaussianActions(ScaledActions):
    """A Gaussian of each number, squashed into the bounds by tanh, whose entropy is kept up.

    The loss is the negative log-likelihood of the actions of the data, less ``temperature * entropy``; the
    temperature is learned, and rises while the entropy is below ``entropy``. What is sure of itself too early
    finds nothing new when it tries.

    Args:
        dim: Channels of a token.
        space: A ``Box``, or how many numbers.
        entropy: The entropy that it shall keep, in nats of the actions inside (all numbers together); minus
            their number if None.
        temperature: At the beginning.

    Shape:
        actions: (B, T, *shape). features: (..., dim).

    Note:
        Inside, actions end 0.001 before their bounds; in the authors' code 0.000001.

    Source:
        Zheng et al. 2022, https://arxiv.org/abs/2202.05607, section 4.1; the temperature as in Haarnoja et
        al. 2018, https://arxiv.org/abs/1812.05905, section 5.
    """

    def __init__(
        self,
        dim: int,
        space: Space | int,
        *,
        entropy: float | None = None,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(dim, space)
        if temperature <= 0:
            raise UserError(f"temperature is {temperature}; it must be positive")
        self.entropy = -float(self.action_dim) if entropy is None else entropy
        self.embedding = nn.Linear(self.action_dim, dim)
        self.head = nn.Linear(dim, 2 * self.action_dim)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def embed(self, actions: Tensor) -> Tensor:
        """Returns the tokens."""
        return self.embedding(self.scaled(actions))

    def predict(self, features: Tensor) -> Tensor:
        """Returns the actions at the middle of each Gaussian."""
        return self.unscaled(self._gaussian(features)[0].tanh())

    def loss(self, features: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Returns the loss of each step in nats, that of the temperature with it."""
        mean, log_std = self._gaussian(features)
        inside = self.scaled(batch["actions"]).clamp(EDGE - 1, 1 - EDGE)
        surprise = -_log_density(torch.atanh(inside), mean, log_std)
        drawn = mean + log_std.exp() * torch.randn_like(mean)
        entropy = -_log_density(drawn, mean, log_std)
        temperature = self.log_temperature.exp()
        kept = temperature * (entropy.detach() - self.entropy)
        return surprise - temperature.detach() * entropy + kept

    def sample(self, features: Tensor, streams: Streams | None = None) -> Tensor:
        """Returns actions that are drawn; those at the middle without ``streams``."""
        mean, log_std = self._gaussian(features)
        if streams is not None:
            mean = mean + log_std.exp() * streams.normal(self.action_dim).to(mean)
        return self.unscaled(mean.tanh())

    def _gaussian(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and logarithm of the deviation before squashing, (..., action_dim) each."""
        mean, spread = self.head(features).chunk(2, dim=-1)
        return mean, NARROW + (WIDE - NARROW) / 2 * (spread.tanh() + 1)


def _log_density(place: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Returns the logarithm of the density of ``tanh(place)``, summed over the numbers of an action."""
    gaussian = -((place - mean) / log_std.exp()).square() / 2 - log_std - math.log(2 * math.pi) / 2
    # log(1 - tanh(x)^2), without loss of digits far out.
    squashing = 2 * (math.log(2) - place - F.softplus(-2 * place))
    return (gaussian - squashing).sum(dim=-1)
