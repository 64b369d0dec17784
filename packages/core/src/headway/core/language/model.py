"""What a language model is to those who train it, ask it and sample from it."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.generation import Generated, Sampling
from headway.core.language.tokenizer import Tokenizer
from headway.core.module import Module


class LanguageModel(Module):
    """Scores texts token by token and writes new ones; its tokenizer is an argument and saved with it.

    Verbs, tasks and optimisers ask for this, whatever the model is made of. Further keywords of ``score`` and
    ``generate`` are conditions, tensors with one row for each text, which a model names in its own signature.

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
    def score(self, tokens: Tensor, *, lengths: Tensor | None = None, **conditions: Any) -> Tensor:
        """Returns the log-probability of each token behind the first, 0 for padding; differentiable.

        Args:
            tokens: Numbers of tokens, right-padded.
            lengths: Real tokens of each row, (B,); all if None.
            **conditions: What the model is told besides.

        Shape:
            tokens: (B, T) int64. Output: (B, T - 1).

        Raises:
            UserError: If the rows are longer than the model can be.
        """

    @abstractmethod
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        sampling: Sampling | None = None,
        batch_size: int = 256,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        progress: Callable[[int], None] | None = None,
        **conditions: Any,
    ) -> Generated:
        """Continues prompts, numbers of tokens each; see ``headway.core.generation.generate``."""

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
