"""Continuous actions as choices: clusters, and how far an action lies from the middle of its own."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.rl.layers.actions.continuous import ScaledActions, Scaling
from headway.rl.layers.clusters import k_means
from headway.rl.layers.focal import focal_loss
from headway.rl.layers.streams import Streams
from headway.rl.spaces import Space


class BinsAndOffsets(ScaledActions):
    """Says which cluster of the training actions an action belongs to, and its offset from the middle.

    A squared error averages what can be done; a distribution over clusters keeps all of it. Clusters are
    those of scaled actions, found when the training data come; a head that has learned some keeps them, and
    its scaling, when it is trained further.

    Args:
        dim: Channels of a token.
        space: A ``Box``, or how many numbers.
        bins: Clusters.
        focus: Exponent of the focal loss: how little counts what is known well; 0 for cross-entropy.
        offset_weight: Weight of the squared error of the offset.
        seed: Of the clusters.
        scaling: By ``bounds`` or by ``statistics``.

    Shape:
        actions: (B, T, *shape). features: (..., dim).

    Raises:
        UserError: If ``bins`` or a weight is too small.

    Source:
        Shafiullah et al. 2022, https://arxiv.org/abs/2206.11251, sections 3.1 to 3.3.
    """

    middles: Tensor

    def __init__(
        self,
        dim: int,
        space: Space | int,
        *,
        bins: int = 24,
        focus: float = 2.0,
        offset_weight: float = 10.0,
        seed: int = 0,
        scaling: Scaling = "bounds",
    ) -> None:
        super().__init__(dim, space, scaling=scaling)
        if bins < 1 or focus < 0 or offset_weight < 0:
            raise UserError(
                f"bins is {bins}, focus {focus} and offset_weight {offset_weight}; at least 1, 0 and 0 "
                "are needed"
            )
        self.bins, self.focus, self.offset_weight, self.seed = bins, focus, offset_weight, seed
        self.embedding = nn.Linear(self.action_dim, dim)
        self.head = nn.Linear(dim, bins)
        self.offset = nn.Linear(dim, bins * self.action_dim)
        self.register_buffer("middles", torch.zeros(bins, self.action_dim))

    @property
    def has_bins(self) -> bool:
        """Whether clusters were ever found."""
        return bool((self.middles != 0).any())

    def prepare(self, actions: Tensor) -> None:
        """Finds the clusters, unless it has some."""
        if self.has_bins:
            return
        super().prepare(actions)
        self.middles.copy_(k_means(self.scaled(actions.to(self.low)), self.bins, seed=self.seed))

    def embed(self, actions: Tensor) -> Tensor:
        """Returns the tokens."""
        return self.embedding(self.scaled(actions))

    def bin_of(self, actions: Tensor) -> Tensor:
        """Returns the nearest cluster of each action, (...)."""
        inside = self.scaled(actions)
        flat = torch.cdist(inside.reshape(-1, self.action_dim), self.middles).argmin(dim=-1)
        return flat.reshape(inside.shape[:-1])

    def loss(self, features: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Returns the focal loss of the cluster and the weighted squared error of the offset, (B, T)."""
        wanted = self.bin_of(batch["actions"])
        focal = focal_loss(self.head(features), wanted, self.focus)
        error = self._at(features, wanted) - self.scaled(batch["actions"])
        return focal + self.offset_weight * error.square().mean(dim=-1)

    def predict(self, features: Tensor) -> Tensor:
        """Returns the actions of the likeliest clusters."""
        return self.unscaled(self._at(features, self.head(features).argmax(dim=-1)))

    def sample(self, features: Tensor, streams: Streams | None = None) -> Tensor:
        """Returns the actions of the likeliest clusters, or of clusters that are drawn."""
        if streams is None:
            return self.predict(features)
        chosen = streams.choose(self.head(features).softmax(dim=-1))
        return self.unscaled(self._at(features, chosen))

    def _at(self, features: Tensor, bins: Tensor) -> Tensor:
        """Returns middle and offset of some clusters, (..., action_dim)."""
        offsets = self.offset(features).unflatten(-1, (self.bins, self.action_dim))
        place = bins[..., None, None].expand(*bins.shape, 1, self.action_dim)
        return self.middles[bins] + offsets.gather(-2, place)[..., 0, :]
