"""What every model of texts is, whether it writes them or reads them alone."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.language.tokenizer import Tokenizer
from headway.core.module import Module


class TextModel(Module):
    """Has a vector for each token of a text; its tokenizer is an argument and saved with it.

    Heads on top of a language model ask for this, causal or not.

    Args:
        tokenizer: What the tokens mean.
        max_length: Most tokens of a text, start and end included.

    Raises:
        UserError: If ``max_length`` leaves no room for start and end.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        super().__init__()
        if max_length < 2:
            raise UserError(f"max_length is {max_length}; a text needs at least 2 tokens")
        # What follows from a default is written down, too.
        self.tokenizer = self.init_args["tokenizer"] = tokenizer
        self.max_length = max_length

    @abstractmethod
    def features(self, tokens: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Returns the vector of each token that a head reads.

        Args:
            tokens: Numbers of tokens, right-padded.
            lengths: Real tokens of each row, (B,); all if None.

        Shape:
            tokens: (B, T) int64. Output: (B, T, width).

        Raises:
            UserError: If the rows are longer than the model can be.
        """

    @property
    @abstractmethod
    def width(self) -> int:
        """Channels of the vector of a token."""

    @abstractmethod
    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them.

        Args:
            vocabulary: The new tokens; the special ones stay at their numbers.
        """

    @abstractmethod
    def set_max_length(self, max_length: int) -> None:
        """Allows texts of another length.

        Raises:
            UserError: If the model cannot be as long.
        """

    def set_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Takes another way to cut texts into the same tokens.

        Raises:
            UserError: If the tokens are others; ``set_vocabulary`` changes those.
        """
        if tokenizer.vocabulary != self.vocabulary:
            raise UserError(
                f"the {len(tokenizer)} tokens given are not the {len(self.tokenizer)} of the model; "
                "set_vocabulary changes those"
            )
        self.tokenizer = self.init_args["tokenizer"] = tokenizer

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The tokens in the order of their numbers."""
        return self.tokenizer.vocabulary

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.parameters()).device
