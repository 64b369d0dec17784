"""What a language model is to those who train it, ask it and sample from it."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from headway.core.generation import CausalModel, Generated, Sampling, generate
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

    def continued(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        by: CausalModel | None = None,
        max_length: int | None = None,
        **options: Any,
    ) -> Generated:
        """Continues prompts with the tokens of this model: what ``generate`` comes to.

        Args:
            prompts: Numbers of tokens each.
            by: What says the next token; the model itself if None.
            max_length: Most tokens of a text; as the model has it if None.
            **options: As of ``headway.core.generation.generate``.
        """
        return generate(
            cast(CausalModel, self) if by is None else by,
            prompts,
            end=self.tokenizer.end,
            max_length=self.max_length if max_length is None else max_length,
            padding=self.tokenizer.filling,
            device=self.device,
            **options,
        )

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


def next_token_scores(logits: Tensor, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Returns the log-probability of each token behind the first, 0 for padding, (B, T - 1).

    Args:
        logits: Of what follows each token but the last, (B, T - 1, V).
        tokens: The tokens, (B, T).
        lengths: Real tokens of each row, (B,); all if None.
    """
    nats = nn.functional.cross_entropy(
        logits.transpose(1, 2).float(), tokens[:, 1:], reduction="none"
    )
    if lengths is not None:
        places = torch.arange(nats.shape[1], device=nats.device)
        nats = nats.masked_fill(places >= lengths[:, None] - 1, 0.0)
    return -nats
