"""What every speech encoder is."""

from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor

from headway.core.answers import answer
from headway.core.errors import UserError
from headway.core.language import Tokenizer
from headway.core.module import Module
from headway.speech.batch import SpeechBatch
from headway.speech.layers.chunks import ChunkStream, Context


@answer
class Encoded(NamedTuple):
    """What a speech encoder returns.

    Args:
        encoded: Tokens, (B, T', C).
        lengths: Real tokens of each item, (B,).
        sizes: How many strides of the encoder each token stands for, (B, T'); one each if None.
        guesses: What an encoder that merges by what it hears took for said at each stride: scores of the
            tokens of texts, (B, T, V). None for the others.
    """

    encoded: Tensor
    lengths: Tensor
    sizes: Tensor | None = None
    guesses: Tensor | None = None

    def begins(self, row: int) -> list[int]:
        """Returns the stride at which each token of an item begins, and the one at which the last ends."""
        count = int(self.lengths[row])
        if self.sizes is None:
            return list(range(count + 1))
        return [0, *self.sizes[row, :count].long().cumsum(0).tolist()]


class SpeechEncoder(Module):
    """Turns features or samples into tokens; any recogniser takes any of them.

    An item's tokens depend on its own input alone, not on its batch.
    """

    dim: int
    """Channels of a token."""

    @property
    @abstractmethod
    def bands(self) -> int | None:
        """Features of a step that it hears; None for samples."""

    @property
    @abstractmethod
    def stride(self) -> int:
        """Steps of the input for a token."""

    @abstractmethod
    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many tokens items of these lengths give at least, (B,).

        That is how many they give, but where similar tokens are merged.
        """

    def take_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Is told what the texts of its recogniser are cut into; most encoders need not know."""

    def learn(self, encoded: Encoded, batch: SpeechBatch) -> None:
        """Is told what was said in a training batch; most encoders learn through the recogniser alone.

        Args:
            encoded: What it returned.
            batch: What it was given, and the texts.
        """

    @abstractmethod
    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Encoded:
        """Returns the tokens.

        Args:
            inputs: Features or samples.
            lengths: Steps of each item; all if None.

        Shape:
            inputs: (B, T, bands) or (B, T). lengths: (B,). Output: (B, T', dim) and (B,).
        """

    def stream(self, *, rows: int = 1, context: Context | None = None) -> ChunkStream:
        """Returns what computes the tokens while the input comes.

        Args:
            rows: Items that come side by side.
            context: Tokens of a chunk, and how many chunks of the past they see; as the encoder has it if
                None.

        Raises:
            UserError: If a part looks at the whole item: it names the part and what to do.
        """
        raise UserError(
            f"{type(self).__name__} hears whole recordings; for speech that still comes train a Conformer "
            "with contexts"
        )
