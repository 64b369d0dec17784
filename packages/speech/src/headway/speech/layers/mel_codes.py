"""Mel features as words of learned vocabularies, several for each token of speech."""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.residual_quantizer import ResidualQuantizer
from headway.core.vector_quantizer import VectorQuantizer
from headway.speech.layers.padding import mask_of
from headway.speech.layers.patches import cut_patches

# Every word may be learned: features are never said so well that a further one is of no use.
WORDS = partial(VectorQuantizer, decay=0.9, tolerance=0.0)
# Vectors that the words move by at once.
BATCH = 4096


class MelCodes(Module):
    """Says a few steps of mel features as one word of each of several vocabularies, from coarse to fine.

    The vocabularies are measured on recordings before training, as the statistics of a front end are, and
    stay; the weights hold them.

    Args:
        bands: Features of a step.
        frames: Steps of a token.
        words: Words of each vocabulary.
        levels: Vocabularies.
        rounds: How often the words see all that is measured.

    Shape:
        features: (B, T, bands). codes: (B, N, levels), T = N * frames.

    Raises:
        UserError: If a number is below its limit.
    """

    def __init__(
        self,
        bands: int,
        *,
        frames: int = 2,
        words: int = 256,
        levels: int = 4,
        rounds: int = 10,
    ) -> None:
        super().__init__()
        if frames < 1 or rounds < 1:
            raise UserError(f"frames is {frames} and rounds {rounds}; both begin at 1")
        self.frames, self.words, self.levels, self.rounds = frames, words, levels, rounds
        self.quantizer = ResidualQuantizer(
            frames * bands, words=words, levels=levels, quantizer=WORDS
        )

    @property
    def complete(self) -> bool:
        """Whether the words were measured."""
        return all(bool(layer.counts.any()) for layer in self.quantizer.layers)  # pyright: ignore

    @torch.no_grad()
    def measure(self, features: Iterable[Tensor]) -> None:
        """Finds the words for features of recordings, each (T, bands).

        Raises:
            UserError: If there are none.
        """
        vectors = [
            cut_patches(one[None], torch.tensor([len(one)], device=one.device), self.frames)[0][0]
            for one in features
            if len(one)
        ]
        if not vectors:
            raise UserError("there is no recording to find the words of speech in")
        x = torch.cat(vectors).flatten(1)
        self.quantizer.train()
        for _ in range(self.rounds):
            for chosen in torch.randperm(len(x)).split(BATCH):
                self.quantizer(x[chosen.to(x.device)])
        self.quantizer.eval()

    def codes(self, features: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the words of features, and how many tokens each item has."""
        patches, counts = cut_patches(features, steps, self.frames)
        return self.quantizer.codes(patches.flatten(2)), counts

    def features(self, codes: Tensor) -> Tensor:
        """Returns what words say."""
        return self.quantizer.vectors(codes).unflatten(2, (self.frames, -1)).flatten(1, 2)


def delayed(codes: Tensor, counts: Tensor, words: int) -> Tensor:
    """Returns codes of which each level comes a step after the one before: it can follow from that.

    Where a level has not begun, ``words`` stands, and where it has ended, ``words + 1``.

    Args:
        codes: Codes.
        counts: Tokens of each item.
        words: Words of a level.

    Shape:
        codes: (B, N, levels). counts: (B,). Output: (B, N + levels, levels).

    Source:
        Copet et al. 2023 (MusicGen), https://arxiv.org/abs/2306.05284, section 2.2.
    """
    levels = codes.shape[2]
    ended = ~mask_of(counts, codes.shape[1])[:, :, None]
    codes = codes.masked_fill(ended, words + 1)
    rows = []
    for level in range(levels):
        row = F.pad(codes[:, :, level], (level, 0), value=words)
        rows.append(F.pad(row, (0, levels - level), value=words + 1))
    return torch.stack(rows, dim=2)


def undelayed(rows: Tensor, count: int) -> Tensor:
    """Returns the codes of ``count`` tokens again.

    Shape:
        rows: (B, at least count + levels - 1, levels). Output: (B, count, levels).
    """
    levels = rows.shape[2]
    return torch.stack([rows[:, n : n + count, n] for n in range(levels)], dim=2)
