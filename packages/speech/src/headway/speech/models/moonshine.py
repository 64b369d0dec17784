"""Moonshine: samples of any length in, text out, by an encoder and a decoder with rotations."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.language import DecoderLanguageModel, Tokenizer
from headway.core.language.vocabulary import renumber
from headway.core.mixers import CrossAttention
from headway.core.systems import system
from headway.speech.batch import SpeechBatch
from headway.speech.decoding import Reading, guides_of, joint_search
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.front_ends import FrontEnd, Waveform
from headway.speech.hypothesis import Hypothesis
from headway.speech.layers import SpeechStem
from headway.speech.layers.padding import zero_beyond
from headway.speech.layers.waveform import ItemNorm
from headway.speech.models.decoders import step_of, told_loss
from headway.speech.recogniser import Recogniser
from headway.speech.search import GREEDY, Search
from headway.speech.tokenizers import TextTokenizer, Unit

# Kernel and stride of the convolutions.
CONVOLUTIONS = ((127, 64), (7, 3), (3, 2))


class MoonshineStem(SpeechStem):
    """Three convolutions over the samples: one token for 24 ms at 16 kHz.

    Args:
        dim: Channels of a token.

    Shape:
        inputs: (B, T). lengths: (B,). Output: (B, N, dim), and lengths.

    Source:
        Jeffries et al. 2024, https://arxiv.org/abs/2410.15608, section 3.1.
    """

    stride = math.prod(stride for _, stride in CONVOLUTIONS)

    def __init__(self, dim: int) -> None:
        super().__init__()
        widths = (1, dim, 2 * dim, dim)
        (first, step), *_ = CONVOLUTIONS
        self.conv1 = nn.Conv1d(widths[0], widths[1], first, stride=step, bias=False)
        self.norm = ItemNorm(dim, together=True)
        self.conv2 = nn.Conv1d(widths[1], widths[2], CONVOLUTIONS[1][0], stride=CONVOLUTIONS[1][1])
        self.conv3 = nn.Conv1d(widths[2], widths[3], CONVOLUTIONS[2][0], stride=CONVOLUTIONS[2][1])

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns the lengths behind the convolutions."""
        for kernel, stride in CONVOLUTIONS:
            lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
        return lengths

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Convolves.

        Raises:
            UserError: If the inputs are no samples.
        """
        if inputs.ndim != 2:
            raise UserError(
                f"got an input of shape {tuple(inputs.shape)}; this stem takes waveforms (B, T)"
            )
        tokens = self.checked_lengths(lengths)
        kernel, stride = CONVOLUTIONS[0]
        steps = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
        x = self.conv1(zero_beyond(inputs, lengths)[:, None]).tanh()
        x = F.gelu(self.conv2(self.norm(x, steps)))
        return F.gelu(self.conv3(x)).transpose(1, 2).contiguous(), tokens


@system(
    id=None,
    name="Moonshine",
    paper="https://arxiv.org/abs/2410.15608",
    claim="what a recording costs grows with its length, and with copied weights its text is that of "
    "transformers, whatever stands beside it in a batch",
    test="packages/speech/tests/models/test_moonshine.py",
)
class Moonshine(Recogniser):
    """A decoder with attention writes what an encoder over samples heard.

    Any encoder and any decoder that reads a context will do; the published ones rotate queries and keys.

    Args:
        encoder: The encoder.
        tokenizer: What the tokens mean; it names its start and end.
        front_end: What recordings go through; samples as they are if None.
        decoder: Builds the decoder, ``(tokenizer=, cross=)``.
        cross: Builds the mixer by which the decoder reads what was heard, ``(dim, heads)``.
        tokens_per_second: A text ends when it has so many tokens for each second heard: a decoder that
            repeats itself would never stop. 6.5 is enough for English.
        label_smoothing: Share of a target that is spread evenly over all tokens in training.

    Shape:
        inputs: (B, S) samples. tokens: (B, L) int64. Output: logits (B, L, V).

    Raises:
        UserError: If the tokenizer lacks a start or an end, or a number is outside its range.

    Source:
        Jeffries et al. 2024, https://arxiv.org/abs/2410.15608.
    """

    def __init__(
        self,
        *,
        encoder: SpeechEncoder,
        tokenizer: Tokenizer | None = None,
        front_end: FrontEnd | None = None,
        decoder: Callable[..., DecoderLanguageModel] = DecoderLanguageModel,
        cross: Callable[[int, int], CrossAttention] = CrossAttention,
        tokens_per_second: float = 13.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(
            encoder=encoder,
            tokenizer=begun("characters") if tokenizer is None else tokenizer,
            front_end=Waveform(normalise="none") if front_end is None else front_end,
        )
        if not tokens_per_second > 0 or not 0 <= label_smoothing < 1:
            raise UserError(
                f"tokens_per_second is {tokens_per_second} and label_smoothing {label_smoothing}; they are "
                "above 0, and from 0 to below 1"
            )
        self.tokens_per_second, self.label_smoothing = tokens_per_second, label_smoothing
        self.start, self.end = _frame(self.tokenizer)
        make: Any = cross
        self.decoder = decoder(
            tokenizer=self.tokenizer, cross=partial(make, context_dim=encoder.dim)
        )

    def forward(self, inputs: Tensor, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns the logits of the token that follows each.

        Args:
            inputs: Samples.
            tokens: The start and what was written, right-padded.
            lengths: Samples of each item; all if None.
        """
        encoded = self.encode(inputs, lengths)
        return self.decoder(tokens, context=encoded.encoded, context_lengths=encoded.lengths)

    def loss(self, batch: SpeechBatch, encoded: Encoded | None = None) -> dict[str, Tensor]:
        """Returns the cross-entropy of a token of the texts, each told what stands before it."""
        smoothing = self.label_smoothing if self.training else 0.0
        heard = self.encoded(batch, encoded)
        frame = {"start": self.start, "end": self.end}
        return {"loss": told_loss(self.decoder, heard, batch, label_smoothing=smoothing, **frame)}

    def transcribe(self, encoded: Encoded, *, search: Search = GREEDY) -> list[Hypothesis]:
        """Returns the texts that the decoder writes."""
        seconds = encoded.lengths * self.seconds_per_token
        rooms = (seconds * self.tokens_per_second).ceil().long().tolist()
        most = [min(max(1, room), self.decoder.max_length - 2) for room in rooms]
        found = joint_search(
            step_of(self.decoder, encoded),
            self.decoder.init_cache(len(most), max(most) + 2),
            None,
            start=self.start,
            end=self.end,
            most=most,
            beams=search.beam,
            best=search.alternatives,
            ctc_weight=0.0,
            guides=guides_of(search, self.tokenizer),
        )
        # When each token was said, nothing here knows.
        readings = [
            [Reading(text.tokens, (), (), text.log_probs, text.score) for text in texts]
            for texts in found
        ]
        return self.hypotheses(readings, encoded)

    def get_classifier(self) -> Any:
        """Returns the layer that computes the scores."""
        return self.decoder.head

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them."""
        self.decoder.set_vocabulary(vocabulary)
        self.take_tokenizer(self.decoder.tokenizer)

    def begin_vocabulary(self, unit: Unit) -> None:
        """Forgets its tokens and begins a vocabulary of characters or words."""
        old, new = self.tokenizer, begun(unit)
        decoder = self.decoder
        decoder.tokenizer = decoder.init_args["tokenizer"] = new
        for layer in (decoder.embedding, decoder.head):
            renumber(layer, old, new)
        if decoder.tied:
            decoder.head.weight = decoder.embedding.weight
        self.take_tokenizer(new)
        self.start, self.end = _frame(new)


def begun(unit: Unit) -> TextTokenizer:
    """Returns a vocabulary that has a start and an end, and nothing else yet."""
    return TextTokenizer(unit=unit, vocabulary=("<s>", "</s>"), start=0, end=1, blank=None)


def _frame(tokenizer: Tokenizer) -> tuple[int, int]:
    """Returns the tokens in front of every text and behind it.

    Raises:
        UserError: If the tokenizer lacks one.
    """
    if tokenizer.start is None or tokenizer.end is None:
        raise UserError(
            "a decoder begins and ends its texts; give the tokenizer a start and an end"
        )
    return tokenizer.start, tokenizer.end
