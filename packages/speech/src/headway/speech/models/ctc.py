"""Connectionist temporal classification: a speech encoder and a score for every token of a vocabulary."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.answers import answer
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.heads import TokenHead
from headway.core.language import Tokenizer
from headway.core.language.vocabulary import renumber
from headway.speech.batch import SpeechBatch
from headway.speech.decoding import (
    BestPath,
    Reading,
    greedy,
    guides_of,
    hypothesis_of,
    needed_tokens,
    prefix_beam_search,
)
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.front_ends import FrontEnd
from headway.speech.hypothesis import Hypothesis
from headway.speech.layers import InterCTC
from headway.speech.models.earlier import arguments_with_parts
from headway.speech.recogniser import Recogniser
from headway.speech.recognition_stream import Writer
from headway.speech.search import GREEDY, Search
from headway.speech.tokenizers import TextTokenizer, Unit

# Tokens that a picture shows by name, beside the blank.
SHOWN = 12


@answer
class CTCOutput(NamedTuple):
    """What the model returns.

    Args:
        log_probs: Log-probabilities of the vocabulary at each token of the encoder, (B, T', V).
        lengths: Real tokens of each item, (B,).
    """

    log_probs: Tensor
    lengths: Tensor


class CTC(Recogniser):
    """A recogniser: at each token of the encoder the log-probabilities of a vocabulary with a blank.

    Args:
        encoder: The encoder.
        tokenizer: What the tokens mean; characters if None. It names its ``blank``.
        front_end: What recordings go through; Kaldi's log-mel features, as many as the encoder hears, if
            None.
        dropout: Probability of dropping a channel before the head in training.
        intermediate: Which blocks in the middle of the encoder the head reads, too; none if None.

    Shape:
        inputs: (B, T, F) features or (B, T) samples. lengths: (B,), all T if None.
        Output: ``log_probs`` (B, T', V) and ``lengths`` (B,).

    Raises:
        UserError: If the tokenizer has no blank, or the front end gives what the encoder does not hear.

    Source:
        Graves et al. 2006, https://doi.org/10.1145/1143844.1143891.
    """

    def __init__(
        self,
        *,
        encoder: SpeechEncoder,
        tokenizer: Tokenizer | None = None,
        front_end: FrontEnd | None = None,
        dropout: float = 0.0,
        intermediate: InterCTC | None = None,
    ) -> None:
        super().__init__(encoder=encoder, tokenizer=tokenizer, front_end=front_end)
        self.blank = blank_of(self.tokenizer)
        self.head = TokenHead(encoder.dim, len(self.tokenizer), dropout=dropout)
        self.intermediate = intermediate

    @classmethod
    def arguments_today(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns arguments with vocabulary and front end as parts, where earlier releases had neither."""
        return arguments_with_parts(arguments)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> CTCOutput:
        """Returns the log-probabilities and lengths."""
        return self._scores(self.encode(inputs, lengths))

    def _scores(self, encoded: Encoded) -> CTCOutput:
        return ctc_output(self.head, encoded)

    def loss(self, batch: SpeechBatch, encoded: Encoded | None = None) -> dict[str, Tensor]:
        """Returns the negative log-likelihood of the texts by all their alignments."""
        if encoded is not None or self.intermediate is None or not self.training:
            output = self._scores(self.encoded(batch, encoded))
            return {"loss": ctc_loss(output, batch, self.blank)}
        with self.intermediate.listening(self.encoder) as middle:
            output = self._scores(self.encoded(batch))
        last = ctc_loss(output, batch, self.blank)
        outputs = [self._scores(Encoded(x, output.lengths)) for x in middle]
        each = [ctc_loss(one, batch, self.blank) for one in outputs]
        loss = self.intermediate.mixed(last, each)
        return {"loss": loss, "ctc": last, "intermediate_ctc": torch.stack(each).mean()}

    def needed(self, targets: Sequence[int]) -> int:
        """Returns one token of the encoder for each token and each repetition, at least one."""
        return max(1, needed_tokens(targets))

    def transcribe(self, encoded: Encoded, *, search: Search = GREEDY) -> list[Hypothesis]:
        """Returns the text of the best path of each item, or with a beam that of all alignments."""
        output = self._scores(encoded)
        if search.beam > 1:
            found = self._searched(output, search)
        else:
            found = [[one] for one in greedy(*output, blank=self.blank)]
        heard = []
        rows = zip(found, output.log_probs, output.lengths.tolist(), strict=True)
        for row, (readings, log_probs, length) in enumerate(rows):
            begins = encoded.begins(row)
            step = self.seconds_per_token
            one = hypothesis_of(readings, self.tokenizer, begins=begins, seconds_per_token=step)
            if search.curves:
                lasting = torch.tensor(begins).diff()
                curves = self._curves(one.tokens, log_probs[:length].cpu(), lasting)
                one = replace(one, curves=curves)
            heard.append(one)
        return heard

    def writer(self) -> Writer:
        """Returns the best path while it comes."""
        return PathWriter(self.head, self.blank)

    def _searched(self, output: CTCOutput, search: Search) -> list[list[Reading]]:
        """Returns the likeliest texts of each item, each with all its alignments."""
        guides = guides_of(search, self.tokenizer)
        return [
            prefix_beam_search(
                log_probs[:length],
                blank=self.blank,
                beams=search.beam,
                best=search.alternatives,
                guides=guides,
            )
            for log_probs, length in zip(output.log_probs, output.lengths.tolist(), strict=True)
        ]

    def _curves(
        self, tokens: Sequence[int], log_probs: Tensor, lasting: Tensor
    ) -> dict[str, Tensor]:
        """Returns the probabilities of the tokens heard first, and of the blank, at every stride."""
        shown = list(dict.fromkeys(tokens))[:SHOWN]
        probabilities = log_probs.float().exp().repeat_interleave(lasting, 0)
        names = self.tokenizer.vocabulary
        return {names[token]: probabilities[:, token] for token in (*shown, self.blank)}

    def get_classifier(self) -> Any:
        """Returns the layer that computes the scores."""
        return self.head.classifier

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them."""
        new = self.tokenizer.with_vocabulary(vocabulary)
        renumber(self.get_classifier(), self.tokenizer, new)
        self.take_tokenizer(new)

    def begin_vocabulary(self, unit: Unit) -> None:
        """Forgets its tokens and begins a vocabulary of characters or words."""
        tokenizer = TextTokenizer(unit=unit)
        self.blank = blank_of(tokenizer)
        old = next(self.head.parameters())
        dropout: Dropout = self.head.dropout
        self.head = TokenHead(self.encoder.dim, len(tokenizer), dropout=dropout.p)
        self.head.to(old.device, old.dtype)
        self.take_tokenizer(tokenizer)


class PathWriter:
    """Writes the best path.

    Args:
        head: Scores the entries at a token of the encoder.
        blank: Token that stands for nothing.
    """

    def __init__(self, head: TokenHead, blank: int) -> None:
        self.head, self.path = head, BestPath(blank)

    def add(self, encoded: Tensor) -> None:
        """Goes on with more tokens of the encoder, (1, N, C)."""
        lengths = torch.tensor([encoded.shape[1]])
        scores, best = ctc_output(self.head, Encoded(encoded, lengths)).log_probs[0].max(dim=-1)
        self.path.add(best.cpu(), scores.float().cpu())

    def reading(self) -> Reading:
        """Returns what was heard so far."""
        return self.path.reading()


def ctc_output(head: TokenHead, encoded: Encoded) -> CTCOutput:
    """Returns the log-probabilities of a head at the tokens of an encoder, in float32 at least."""
    scores = head(encoded.encoded)
    if scores.dtype in (torch.float16, torch.bfloat16):
        scores = scores.float()  # the loss sums hundreds of logarithms
    return CTCOutput(scores.log_softmax(dim=-1), encoded.lengths)


def ctc_loss(output: CTCOutput, batch: SpeechBatch, blank: int) -> Tensor:
    """Returns the CTC loss of a batch: per token of the text, then the mean over the items.

    Args:
        output: Log-probabilities at the tokens of an encoder.
        batch: The texts.
        blank: Token that stands for nothing.
    """
    return F.ctc_loss(
        output.log_probs.transpose(0, 1),
        batch.targets,
        output.lengths,
        batch.target_lengths,
        blank=blank,
        # A recording too short for its text, such as one cut by augmentation, teaches nothing.
        zero_infinity=True,
    )


def blank_of(tokenizer: Tokenizer) -> int:
    """Returns the token that stands for nothing.

    Raises:
        UserError: If the tokenizer has none.
    """
    if tokenizer.blank is None:
        raise UserError(
            "this recogniser answers with a blank where nothing is said; give the tokenizer a blank"
        )
    return tokenizer.blank
