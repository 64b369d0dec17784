"""SAFE-GPT: a GPT-2 over SAFE with a head of properties."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.init import init_transformer_
from headway.core.language import GPT2, GPT2Options, Tokenizer
from headway.core.passed import Passed
from headway.core.systems import system
from headway.molecules.notation import SafeTokenizer


@system(
    id=None,
    name="SAFE-GPT",
    paper="https://arxiv.org/abs/2310.10773",
    claim="files of the released class load and answer as it does; texts are cut as it cuts "
    "them, which plain GPT-2 reads otherwise",
    test="packages/molecules/tests/models/test_safe_gpt.py",
)
class SafeGPT(GPT2):
    """A GPT-2 whose texts are SAFE, and which says properties off the last token of a molecule.

    The published model has 12 blocks of 768 channels, 12 heads and 87 million parameters.

    Args:
        properties: Numbers that it says; 0 for none.
        summary_dim: Channels between the token and the numbers; none if None.
        summary_activation: Class of what follows them; nothing if None.
        **options: As of every ``GPT2``.

    Shape:
        As of every ``DecoderLanguageModel``; ``predict`` returns (B, properties).

    Raises:
        UserError: If a number is out of range.

    Source:
        Noutahi et al. 2023, https://arxiv.org/abs/2310.10773; the head is that of the released code.
    """

    usual_tokenizer: ClassVar[type[Tokenizer]] = SafeTokenizer

    def __init__(
        self,
        *,
        properties: int = 0,
        summary_dim: int | None = None,
        summary_activation: Callable[[], nn.Module] | None = None,
        **options: Passed[GPT2Options],
    ) -> None:
        super().__init__(**options)
        if properties < 0 or (summary_dim is not None and summary_dim < 1):
            raise UserError(
                f"properties is {properties} and summary_dim {summary_dim}; at least 0 and 1 are needed"
            )
        width = self.width if summary_dim is None else summary_dim
        self.summary = None if summary_dim is None else nn.Linear(self.width, width)
        self.activation = None if summary_activation is None else summary_activation()
        self.predictor = nn.Linear(width, properties) if properties else None
        for layer in (self.summary, self.predictor):
            if layer is not None:
                init_transformer_(layer)

    def predict(self, tokens: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Returns the properties, (B, properties), said off the last token of each row.

        Args:
            tokens: Numbers of tokens, right-padded.
            lengths: Real tokens of each row, (B,); all if None.

        Raises:
            UserError: If the model says none.
        """
        if self.predictor is None:
            raise UserError("the model says no properties; build it with properties")
        x = self.features(tokens, lengths=lengths)
        last = (
            torch.full((len(x),), x.shape[1] - 1, device=x.device)
            if lengths is None
            else lengths - 1
        )
        x = x[torch.arange(len(x), device=x.device), last]
        x = x if self.summary is None else self.summary(x)
        return self.predictor(x if self.activation is None else self.activation(x))
