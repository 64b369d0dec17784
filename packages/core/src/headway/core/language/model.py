"""What a language model is to those who train it, ask it and sample from it."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from headway.core.generation import Generated, Sampling
from headway.core.language.text import TextModel


class LanguageModel(TextModel):
    """Scores texts token by token and writes new ones.

    Verbs, tasks and optimisers ask for this, whatever the model is made of. Further keywords of ``score`` and
    ``generate`` are conditions, tensors with one row for each text, which a model names in its own signature.

    Args:
        tokenizer: As of every ``TextModel``.
        max_length: As of every ``TextModel``.
    """

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
