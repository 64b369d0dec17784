"""Pictures as words of a learned vocabulary."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.vector_quantizer import VectorQuantizer
from headway.rl.layers.observations.base import ObservationEncoder, Observations
from headway.rl.spaces import Box, Space


class PictureTokens(ObservationEncoder):
    """A picture as a grid of words, by convolutions, and a way back to the picture.

    In front of a model of actions a picture is the mean of its tokens; a world model asks for ``codes`` and
    ``embed``.

    Args:
        dim: Channels of a token.
        space: A ``Box`` of bytes with channels last, (height, width, channels).
        words: Size of the vocabulary.
        halvings: How often height and width are halved; they must be multiples of 2 to that power.
        width: Channels of the first convolution; each halving doubles them.

    Shape:
        Observations: (B, T, H, W, C) uint8. Output: (B, T, dim).

    Source:
        van den Oord et al. 2017, https://arxiv.org/abs/1711.00937; as the eyes of a world model in Micheli et
        al. 2023, https://arxiv.org/abs/2209.00588, and Agarwal et al. 2024, https://arxiv.org/abs/2406.01361.
    """

    reads: ClassVar[tuple[type[Any], ...]] = (Box,)

    def __init__(
        self, dim: int, space: Space, *, words: int = 64, halvings: int = 3, width: int = 16
    ) -> None:
        super().__init__(dim, space)
        assert isinstance(space, Box)
        if len(space.shape) != 3 or space.dtype != "uint8":
            raise UserError(
                f"tokens are made of pictures of bytes, (height, width, channels), not of {space}"
            )
        height, high, channels = space.shape
        factor = 2**halvings
        if halvings < 1 or height % factor or high % factor:
            raise UserError(
                f"halvings is {halvings}, and pictures have {height} x {high} pixels; those must be "
                f"multiples of {factor}, and halvings at least 1"
            )
        self.grid = (height // factor, high // factor)
        sizes = [width * 2**place for place in range(halvings)]
        eyes: list[nn.Module] = []
        hands: list[nn.Module] = []
        for before, after in zip([channels, *sizes[:-1]], sizes, strict=True):
            eyes += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.GELU()]
            hands = [nn.GELU(), nn.ConvTranspose2d(after, before, 4, stride=2, padding=1), *hands]
        self.eyes = nn.Sequential(*eyes, nn.Conv2d(sizes[-1], dim, 1))
        self.quantizer = VectorQuantizer(dim, words=words)
        self.hands = nn.Sequential(nn.Conv2d(dim, sizes[-1], 1), *hands)
        self.embedding = nn.Embedding(words, dim)

    @property
    def tokens_per_picture(self) -> int:
        """Words of a picture."""
        return self.grid[0] * self.grid[1]

    def forward(self, observations: Observations) -> Tensor:
        """Returns the mean of the tokens."""
        assert isinstance(observations, Tensor)
        return self.embedding(self.codes(observations)).mean(dim=-2)

    def codes(self, pictures: Tensor) -> Tensor:
        """Returns the words of pictures (..., H, W, C), (..., tokens)."""
        found = self.quantizer.codes(self._seen(pictures))
        return found.unflatten(0, pictures.shape[:-3])

    def embed(self, codes: Tensor) -> Tensor:
        """Returns tokens for words, (..., dim)."""
        return self.embedding(codes)

    def decode(self, codes: Tensor) -> Tensor:
        """Returns pictures (..., H, W, C), between 0 and 1, of words (..., tokens)."""
        x = self._painted(self.quantizer.vectors(codes.flatten(0, -2)))
        return x.clamp(0, 1).unflatten(0, codes.shape[:-1])

    def loss(self, pictures: Tensor) -> Tensor:
        """Returns how much is lost on the way to words and back, a scalar.

        Args:
            pictures: (N, H, W, C).
        """
        found = self.quantizer(self._seen(pictures))
        error = F.mse_loss(self._painted(found.vectors), self._scaled(pictures))
        # Pictures are mostly the same: what is left of their variance.
        return error / self._scaled(pictures).var(dim=0).mean().clamp_min(1e-4) + found.loss

    def _scaled(self, pictures: Tensor) -> Tensor:
        return pictures.to(self.embedding.weight.dtype) / 255.0

    def _seen(self, pictures: Tensor) -> Tensor:
        """Returns a vector for each place, (N, tokens, dim)."""
        x = self._scaled(pictures).flatten(0, -4) if pictures.ndim > 4 else self._scaled(pictures)
        return self.eyes(x.movedim(-1, 1)).flatten(2).movedim(1, 2)

    def _painted(self, vectors: Tensor) -> Tensor:
        """Returns pictures (N, H, W, C) of vectors (N, tokens, dim)."""
        x = vectors.movedim(2, 1).unflatten(2, self.grid)
        return self.hands(x).movedim(1, -1)

    def blank(self, *shape: int) -> Observations:
        """Returns black pictures."""
        assert isinstance(self.space, Box)
        return torch.zeros(*shape, *self.space.shape, dtype=torch.uint8, device=self.device)
