"""The stem of encoders whose front end has done the subsampling."""

from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.norms import LayerNorm
from headway.speech.layers.padding import zero_beyond
from headway.speech.layers.stem import SpeechStem


class ProjectedFeatures(SpeechStem):
    """A norm and a projection of each step of features: one token for a step.

    Args:
        dim: Channels of a token.
        features: Features of a step.
        eps: Added to the variance by the norm.
        dropout: Probability of dropping a channel of a token in training.

    Shape:
        inputs: (B, T, features). lengths: (B,). Output: (B, T, dim), and lengths.

    Source:
        Barrault et al. 2023, https://arxiv.org/abs/2308.11596, section 4.1.1 (w2v-BERT 2.0).
    """

    stride = 1

    def __init__(
        self, dim: int, *, features: int = 160, eps: float = 1e-5, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.bands = features
        self.norm = LayerNorm(features, eps=eps)
        self.projection = nn.Linear(features, dim)
        self.dropout = Dropout(dropout)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns the lengths."""
        return lengths

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Normalises and projects."""
        if inputs.ndim != 3 or inputs.shape[2] != self.bands:
            raise UserError(
                f"got features of shape {tuple(inputs.shape)}; this stem takes (B, T, {self.bands})"
            )
        tokens = self.checked_lengths(lengths)
        x = self.projection(self.norm(zero_beyond(inputs, lengths)))
        return self.dropout(x), tokens
