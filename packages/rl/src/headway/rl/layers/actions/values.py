"""What actions are worth, number by number."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.init import init_transformer_
from headway.core.stacks import Decoder
from headway.rl.layers.actions.base import ActionHead
from headway.rl.layers.streams import Streams
from headway.rl.layers.token_table import TokenTable
from headway.rl.layers.tokens import UniformTokens, tokens_for
from headway.rl.spaces import Box, Discrete, MultiDiscrete, Space


class AutoregressiveValues(ActionHead):
    """Says what each value of a number of the action is worth, given the numbers before it.

    Each number is one token of a small causal decoder: so there are as many values as bins of all numbers
    together, not as many as combinations of them, and what is best for one number depends on those that were
    chosen. ``QTransformer`` teaches it.

    Args:
        dim: Channels of a token.
        space: ``Box``, whose numbers are cut into bins, ``Discrete`` or ``MultiDiscrete``.
        bins: Of each number of a ``Box``.
        depth: Blocks of the decoder.
        heads: Heads of its attention.
        autoregressive: Whether a number is judged given those before it; otherwise each by itself.

    Shape:
        actions: (B, T, *shape). features: (..., dim).

    Source:
        Chebotar et al. 2023, https://arxiv.org/abs/2309.10150, section 4.1.
    """

    knows: ClassVar[tuple[type[Any], ...]] = (Box, Discrete, MultiDiscrete)

    def __init__(
        self,
        dim: int,
        space: Space | int,
        *,
        bins: int = 256,
        depth: int = 1,
        heads: int = 1,
        autoregressive: bool = True,
    ) -> None:
        super().__init__(dim, space)
        self.tokens = tokens_for(self.space, lambda box: UniformTokens(box, bins=bins))
        self.sizes = self.tokens.sizes
        self.autoregressive = autoregressive
        self.table = TokenTable(dim, self.sizes)
        self.decoder = Decoder(dim, depth, heads)
        init_transformer_(self.decoder)

    def __setattr__(self, name: str, value: Any) -> None:
        # Where choices start, and what bounds numbers have, is said once for both.
        if name == "space" and "tokens" in self._modules:
            self.tokens.space = value
        super().__setattr__(name, value)

    def encode(self, actions: Tensor) -> Tensor:
        """Returns the tokens of actions, (..., N)."""
        return self.tokens.encode(actions)

    def values(self, features: Tensor, chosen: Tensor) -> list[Tensor]:
        """Returns what the values of the first numbers are worth.

        Args:
            features: What is known before the action, (..., dim).
            chosen: Tokens of the first numbers, (..., K); the values are those of one number more.

        Returns:
            Of each number, (..., how many tokens it has).
        """
        number = chosen.shape[-1] + 1
        x = features[..., None, :] + self.table.places[:number]
        if self.autoregressive and number > 1:
            x = x + F.pad(self.table.embed(chosen), (0, 0, 1, 0))
        known = self.decoder(x.reshape(-1, number, self.dim))[0].reshape(x.shape)
        return [self.table.logits(known[..., k, :], k) for k in range(number)]

    def best(self, features: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns the tokens of the best action, number by number, (..., N), and all values on the way."""
        chosen = torch.zeros(*features.shape[:-1], 0, dtype=torch.int64, device=features.device)
        found: list[Tensor] = []
        for _ in self.sizes:
            found.append(self.values(features, chosen)[-1])
            chosen = torch.cat([chosen, found[-1].argmax(dim=-1, keepdim=True)], dim=-1)
        return chosen, found

    def embed(self, actions: Tensor) -> Tensor:
        """Returns the tokens."""
        return self.table.embed(self.encode(actions)).sum(dim=-2)

    def predict(self, features: Tensor) -> Tensor:
        """Returns the best actions; of choices, what they are worth, given the best ones before them."""
        chosen, found = self.best(features)
        if isinstance(self.space, Box):
            return self.tokens.decode(chosen)
        return torch.cat(found, dim=-1)

    def loss(self, features: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Refuses: what actions are worth is not learned from them alone."""
        raise UserError(
            f"{type(self).__name__} learns what actions are worth, which they do not say themselves; use it "
            "with a QTransformer"
        )

    def sample(self, features: Tensor, streams: Streams | None = None) -> Tensor:
        """Returns the best actions: there is no distribution to draw from."""
        return self.tokens.decode(self.best(features)[0])

    def blank(self, *shape: int) -> Tensor:
        """Returns the actions of the first tokens."""
        first = torch.zeros(*shape, len(self.sizes), dtype=torch.int64, device=self.device)
        return self.tokens.decode(first)

    def prepare(self, actions: Tensor) -> None:
        """Takes the bounds of numbers."""
        self.tokens.prepare(actions)

    def get_classifier(self) -> nn.Module:
        """Returns the layer that answers."""
        return self.table.head
