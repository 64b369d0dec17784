"""Pitch and energy of each token: FastSpeech 2's variance adaptor."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.speech.front_ends import LogMel
from headway.speech.layers.alignment import token_means
from headway.speech.layers.padding import mask_of
from headway.speech.layers.pitch import pitch
from headway.speech.layers.variance import VariancePredictor
from headway.speech.synthesiser import Manner

NAMES = ("pitch", "energy")
PredictorFactory = Callable[[int], VariancePredictor]


class Variances(Module):
    """Predicts pitch and energy of each token and adds what was measured, or predicted, to the token.

    Pitch is in octaves above 200 Hz, the mean over the voiced steps of a token; energy is the mean of its
    mel features.

    Args:
        dim: Channels of a token.
        predictor: Builds a predictor, ``(dim)``; that of pitch and that of energy, if they are two.

    Raises:
        UserError: If they are neither one nor two.

    Source:
        Ren et al. 2020 (FastSpeech 2), https://arxiv.org/abs/2006.04558, section 2.3, by tokens as its
        later readers do.
    """

    def __init__(
        self,
        dim: int,
        *,
        predictor: Sequence[PredictorFactory] | PredictorFactory = VariancePredictor,
    ) -> None:
        super().__init__()
        each = predictor if isinstance(predictor, Sequence) else [predictor] * len(NAMES)
        if len(each) != len(NAMES):
            raise UserError(
                f"got {len(each)} predictors; give one for all, or one for each of {NAMES}"
            )
        made = zip(NAMES, each, strict=True)
        self.predictors = nn.ModuleDict({name: make(dim) for name, make in made})
        self.embeddings = nn.ModuleDict({name: nn.Linear(1, dim) for name in NAMES})

    @torch.no_grad()
    def measure(
        self, waveforms: Tensor, mels: Tensor, steps: Tensor, durations: Tensor, front_end: LogMel
    ) -> dict[str, Tensor]:
        """Returns pitch and energy of each token of recordings, (B, U)."""
        real = mask_of(steps, mels.shape[1]).to(mels)
        octaves, voiced = pitch(waveforms, sample_rate=front_end.sample_rate, hop=front_end.hop)
        weight = voiced.to(mels)[:, : mels.shape[1]] * real
        return {
            "pitch": token_means(octaves[:, : mels.shape[1]], durations, weight),
            "energy": token_means(mels.mean(dim=2), durations, real),
        }

    def forward(
        self,
        read: Tensor,
        lengths: Tensor,
        wanted: dict[str, Tensor] | None = None,
        *,
        manner: Manner | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the tokens with pitch and energy, and how far the predictions are from the wanted ones.

        Args:
            read: Tokens.
            lengths: Tokens of each item.
            wanted: What was measured; the predictions are taken if None.
            manner: By how much they are changed.

        Shape:
            read: (B, U, dim). lengths: (B,). Output: (B, U, dim).
        """
        real = mask_of(lengths, read.shape[1])
        errors, added = {}, read
        manner = manner or Manner()
        shifts = {"pitch": manner.pitch / 12, "energy": manner.energy}
        for name in NAMES:
            guessed = self.predictors[name](read.detach(), lengths)
            value = guessed + shifts[name] if wanted is None else wanted[name]
            if wanted is not None:
                errors[name] = (guessed - wanted[name]).square()[real].mean()
            added = added + self.embeddings[name](value[..., None])
        return added, errors
