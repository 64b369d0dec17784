"""Connectionist temporal classification: a speech encoder and a score for every token of a vocabulary."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from headway.core.answers import answer
from headway.core.errors import UserError
from headway.core.heads import TokenHead
from headway.core.module import Module
from headway.speech.models.conformer import Conformer


@answer
class CTCOutput(NamedTuple):
    """What a recogniser returns.

    Args:
        log_probs: Log-probabilities of the vocabulary at each token, (B, T', V).
        lengths: Real tokens of each item, (B,).
    """

    log_probs: Tensor
    lengths: Tensor


class CTC(Module):
    """A recogniser: at each token of the encoder the log-probabilities of a vocabulary with a blank.

    Args:
        encoder: The encoder.
        vocab_size: Entries of the vocabulary, the blank counted.
        blank: Entry that stands for nothing.
        dropout: Probability of dropping a channel before the head in training.

    Attributes:
        pretrained_cfg: What the audio of the loaded weights must go through and what the entries of the
            vocabulary mean (``frontend``, ``tokenizer``), as ``preprocessing.json`` has it; empty for a
            new model.

    Shape:
        inputs: (B, T, F) features or (B, T) waveforms. lengths: (B,), all T if None.
        Output: ``log_probs`` (B, T', vocab_size) and ``lengths`` (B,).

    Source:
        Graves et al. 2006, https://doi.org/10.1145/1143844.1143891.
    """

    def __init__(
        self, *, encoder: Conformer, vocab_size: int, blank: int = 0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        _check(vocab_size, blank)
        self.vocab_size, self.blank = vocab_size, blank
        self.encoder = encoder
        self.head = TokenHead(encoder.dim, vocab_size, dropout=dropout)
        self.pretrained_cfg: dict[str, Any] = {}

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many tokens items of these lengths give, (B,)."""
        return self.encoder.output_lengths(lengths)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> CTCOutput:
        """Returns the log-probabilities and lengths."""
        encoded, tokens = self.encoder(inputs, lengths)
        scores = self.head(encoded)
        if scores.dtype in (torch.float16, torch.bfloat16):
            scores = scores.float()  # the loss sums hundreds of logarithms
        return CTCOutput(scores.log_softmax(dim=-1), tokens)

    def get_classifier(self) -> nn.Module:
        """Returns the layer that computes the scores."""
        return self.head.classifier

    def set_vocab_size(self, vocab_size: int) -> None:
        """Replaces the head by a new one for another vocabulary, whose blank is entry 0."""
        _check(vocab_size, 0)
        old = next(self.head.parameters())
        self.head = TokenHead(self.encoder.dim, vocab_size, dropout=self.head.dropout.p)
        self.head.to(old.device, old.dtype)
        self.vocab_size, self.blank = vocab_size, 0
        self.init_args.update(vocab_size=vocab_size, blank=0)
        self.pretrained_cfg = {
            key: value for key, value in self.pretrained_cfg.items() if key != "tokenizer"
        }


def _check(vocab_size: int, blank: int) -> None:
    if vocab_size < 2:
        raise UserError(f"vocab_size is {vocab_size}; it counts the blank and at least one token")
    if not 0 <= blank < vocab_size:
        raise UserError(f"blank {blank} is no entry of a vocabulary of {vocab_size}")
