"""Actions whose numbers are tokens."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.rl.layers.actions.base import ActionHead
from headway.rl.layers.streams import Streams
from headway.rl.layers.token_table import TokenTable
from headway.rl.layers.tokens import TokensFactory, UniformTokens, tokens_for
from headway.rl.spaces import Box, Discrete, MultiDiscrete, Space


class TokenActions(ActionHead):
    """One token for each number of an action, each learned by cross-entropy by itself.

    Args:
        dim: Channels of a token.
        space: ``Box``, ``Discrete`` or ``MultiDiscrete``.
        tokens: Makes tokens of the numbers of a ``Box``, ``(space)``.

    Shape:
        actions: (B, T, *shape). features: (..., dim).
    """

    knows: ClassVar[tuple[type[Any], ...]] = (Box, Discrete, MultiDiscrete)

    def __init__(
        self, dim: int, space: Space | int, *, tokens: TokensFactory = UniformTokens
    ) -> None:
        super().__init__(dim, space)
        self.binning = tokens_for(self.space, tokens)
        self.table = TokenTable(dim, self.binning.sizes)

    def __setattr__(self, name: str, value: Any) -> None:
        # Where choices start, and what bounds numbers have, is said once for both.
        if name == "space" and "binning" in self._modules:
            self.binning.space = value
        super().__setattr__(name, value)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many tokens each number has."""
        return self.binning.sizes

    def encode(self, actions: Tensor) -> Tensor:
        """Returns the tokens, (..., N) int64."""
        return self.binning.encode(actions)

    def logits(self, features: Tensor) -> list[Tensor]:
        """Returns those of each number, (..., size)."""
        return [self.table.logits(features, k) for k in range(len(self.sizes))]

    def embed(self, actions: Tensor) -> Tensor:
        """Returns the sum of the tokens."""
        return self.table.embed(self.encode(actions)).sum(dim=-2)

    def predict(self, features: Tensor) -> Tensor:
        """Returns the likeliest actions; of choices, the logits, one behind the other."""
        said = self.logits(features)
        if not isinstance(self.space, Box):
            return torch.cat(said, dim=-1)
        return self.binning.decode(torch.stack([one.argmax(dim=-1) for one in said], dim=-1))

    def loss(self, features: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Returns the sum of the cross-entropies of each step."""
        wanted = self.encode(batch["actions"]).unbind(dim=-1)
        said = zip(self.logits(features), wanted, strict=True)
        losses = [F.cross_entropy(one.movedim(-1, 1), w, reduction="none") for one, w in said]
        return torch.stack(losses).sum(dim=0)

    def choose(self, features: Tensor, streams: Streams | None) -> Tensor:
        """Returns tokens of the likeliest actions or of drawn ones, (B, ..., N)."""
        said = self.logits(features)
        if streams is None:
            return torch.stack([one.argmax(dim=-1) for one in said], dim=-1)
        return torch.stack([streams.choose(one.softmax(dim=-1)) for one in said], dim=-1)

    def sample(self, features: Tensor, streams: Streams | None = None) -> Tensor:
        """Returns the likeliest actions, or draws them."""
        return self.binning.decode(self.choose(features, streams))

    def blank(self, *shape: int) -> Tensor:
        """Returns the actions of the first tokens."""
        first = torch.zeros(*shape, len(self.sizes), dtype=torch.int64, device=self.device)
        return self.binning.decode(first)

    def prepare(self, actions: Tensor) -> None:
        """Takes the bounds of numbers."""
        self.binning.prepare(actions)

    def get_classifier(self) -> nn.Module:
        """Returns the layer that answers."""
        return self.table.head
