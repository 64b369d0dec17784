"""Which steps of a recording belong to which token of its text."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.systems import system
from headway.speech.layers.alignment import alignment_loss, best_durations, uniform_durations
from headway.speech.layers.padding import zero_beyond

# Logarithm of the least deviation of a band, whose values have deviation 1.
SHARPEST = math.log(0.05)


class Aligner(Module):
    """Finds the durations of tokens in speech.

    Args:
        dim: Channels of a token.
        bands: Bands of a step.
    """

    def __init__(self, dim: int, bands: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(
        self, read: Tensor, lengths: Tensor, mels: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns the durations, which sum to the steps of each item, and the loss of the alignment.

        Shape:
            read: (B, U, dim), the embeddings of the tokens. lengths: (B,). mels: (B, T, bands).
            steps: (B,). Output: (B, U), ().
        """


@system(
    id=490,
    name="AlignTTS",
    paper="https://arxiv.org/abs/2003.01950",
    claim="all alignments of text and speech under a mixture density network give durations, no aligner",
    test="packages/speech/tests/models/test_fast_speech.py",
)
class MixtureAligner(Aligner):
    """A Gaussian for each token says how its steps look; the likeliest alignment under them gives durations.

    The loss is the negative log-likelihood of all alignments, so nothing but text and speech is needed.

    Args:
        dim: Channels of a token.
        bands: Bands of a step.
        hidden_dim: Channels between; ``dim`` if None.
        window: Tokens that decide how a token sounds, odd. With a wide one a token may own what its
            neighbours sound like.
        prior: How far a token may lie from its place on the diagonal of text and speech, as the deviation
            of a Gaussian in shares of their lengths; without one (None) training may begin with a token
            that owns nearly everything.

    Raises:
        UserError: If ``prior`` is not above 0.

    Source:
        Zeng et al. 2020 (AlignTTS), https://arxiv.org/abs/2003.01950, sections 2.2 and 2.3; a prior on the
        diagonal: Badlani et al. 2021, https://arxiv.org/abs/2108.10447, section 3.2, which has another form.
    """

    def __init__(
        self,
        dim: int,
        bands: int,
        *,
        hidden_dim: int | None = None,
        window: int = 3,
        prior: float | None = 0.2,
    ) -> None:
        super().__init__(dim, bands)
        if window < 1 or window % 2 == 0:
            raise UserError(f"window is {window}; give an odd number of tokens")
        if prior is not None and prior <= 0:
            raise UserError(f"prior is {prior}; a deviation is above 0, or None for no prior")
        self.prior = prior
        hidden = hidden_dim or dim
        self.near = nn.Conv1d(dim, hidden, window, padding=window // 2)
        self.network = nn.Sequential(nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, 2 * bands))

    def forward(
        self, read: Tensor, lengths: Tensor, mels: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns the likeliest durations and the loss."""
        scores = self.scores(zero_beyond(read, lengths), mels)
        if self.prior is not None:
            scores = scores + diagonal(lengths, steps, read.shape[1], mels.shape[1]) / self.prior**2
        loss = alignment_loss(scores, lengths, steps)
        return best_durations(scores, lengths, steps), loss.mean() / mels.shape[2]

    def scores(self, read: Tensor, mels: Tensor) -> Tensor:
        """Returns the log-likelihood of each step under the Gaussian of each token, (B, T, U)."""
        near = self.near(read.transpose(1, 2)).transpose(1, 2)
        mean, spread = self.network(near).float().chunk(2, dim=2)
        spread = spread.clamp_min(SHARPEST)
        precision = (-2 * spread).exp()
        mels = mels.float()
        # The square of the difference, without a tensor of tokens times steps times bands.
        squares = mels.square() @ precision.transpose(1, 2)
        crossed = mels @ (mean * precision).transpose(1, 2)
        own = (mean.square() * precision + 2 * spread + math.log(2 * math.pi)).sum(dim=2)
        return -0.5 * (squares - 2 * crossed + own[:, None])


def diagonal(lengths: Tensor, steps: Tensor, tokens: int, longest: int) -> Tensor:
    """Returns minus half the squared distance from the diagonal, in shares of the lengths, (B, T, U)."""
    token = (torch.arange(tokens, device=lengths.device) + 0.5) / lengths[:, None]
    step = (torch.arange(longest, device=steps.device) + 0.5) / steps[:, None]
    return -0.5 * (step[:, :, None] - token[:, None]).square()


class UniformAligner(Aligner):
    """Shares the steps out evenly: what an alignment is measured against.

    Args:
        dim: Channels of a token.
        bands: Bands of a step.
    """

    def forward(
        self, read: Tensor, lengths: Tensor, mels: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns even durations, and no loss."""
        return uniform_durations(lengths, steps, read.shape[1]), torch.zeros_like(read[0, 0, 0])
