"""CTC and a decoder with attention over one encoder."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.heads import TokenHead
from headway.core.language import DecoderLanguageModel, Tokenizer
from headway.core.language.vocabulary import renumber
from headway.core.mixers import CrossAttention, SelfAttention
from headway.core.positions import Rotary
from headway.core.systems import system
from headway.speech.batch import SpeechBatch
from headway.speech.decoding import (
    PrefixScores,
    Reading,
    Written,
    aligned,
    guides_of,
    joint_search,
    needed_tokens,
)
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.front_ends import FrontEnd
from headway.speech.hypothesis import Hypothesis
from headway.speech.layers import InterCTC
from headway.speech.models.ctc import CTCOutput, blank_of, ctc_loss, ctc_output
from headway.speech.models.decoders import step_of, told_loss
from headway.speech.recogniser import Recogniser
from headway.speech.search import GREEDY, Search
from headway.speech.tokenizers import TextTokenizer, Unit

RotaryCausalAttention = partial(SelfAttention, causal=True, position=Rotary)
TextDecoder = partial(
    DecoderLanguageModel, dim=256, depth=6, heads=4, max_length=1024, mixer=RotaryCausalAttention
)


@system(
    id=None,
    name="Hybrid CTC/attention",
    paper="https://doi.org/10.1109/JSTSP.2017.2763455",
    claim="in one search the prefix scores of CTC keep a decoder from ending a text before it was heard",
    test="packages/speech/tests/decoding/test_attention_search.py",
)
class CTCAttention(Recogniser):
    """A recogniser with a decoder that writes from left to right, and CTC that says what was heard.

    Both learn from one encoder, and both have a say in every token. Where the tokenizer names no start and
    end, the blank stands for both: CTC alone writes it.

    Args:
        encoder: The encoder.
        tokenizer: What the tokens mean; characters if None. It names its ``blank``.
        front_end: What recordings go through; Kaldi's log-mel features, as many as the encoder hears, if
            None.
        decoder: Builds the decoder, ``(tokenizer=, cross=)``.
        ctc_weight: Share of CTC in the loss, and in the score of a text.
        label_smoothing: Share of a target of the decoder that is spread evenly over all tokens.
        intermediate: Which blocks in the middle CTC reads, too; none if None.
        dropout: Probability of dropping a channel before the head of CTC in training.

    Shape:
        inputs: (B, T, F) features or (B, T) samples. lengths: (B,), all T if None.
        Output: ``log_probs`` (B, T', V) of CTC and ``lengths`` (B,).

    Raises:
        UserError: If the tokenizer has no blank, or a share is not in 0 to 1.

    Source:
        Watanabe et al. 2017, https://doi.org/10.1109/JSTSP.2017.2763455.
    """

    def __init__(
        self,
        *,
        encoder: SpeechEncoder,
        tokenizer: Tokenizer | None = None,
        front_end: FrontEnd | None = None,
        decoder: Callable[[], DecoderLanguageModel] = TextDecoder,
        ctc_weight: float = 0.3,
        label_smoothing: float = 0.1,
        intermediate: InterCTC | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(encoder=encoder, tokenizer=tokenizer, front_end=front_end)
        for name, share in (("ctc_weight", ctc_weight), ("label_smoothing", label_smoothing)):
            if not 0 <= share <= 1:
                raise UserError(f"{name} is {share}, not in 0 to 1")
        self.blank = blank_of(self.tokenizer)
        self.ctc_weight, self.label_smoothing = ctc_weight, label_smoothing
        self.intermediate = intermediate
        self.head = TokenHead(encoder.dim, len(self.tokenizer), dropout=dropout)
        make: Any = decoder
        cross = partial(CrossAttention, context_dim=encoder.dim)
        self.decoder: DecoderLanguageModel = make(tokenizer=self.tokenizer, cross=cross)

    @property
    def start(self) -> int:
        """The token in front of every text of the decoder."""
        return self.blank if self.tokenizer.start is None else self.tokenizer.start

    @property
    def end(self) -> int:
        """The token behind it."""
        return self.blank if self.tokenizer.end is None else self.tokenizer.end

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> CTCOutput:
        """Returns what CTC says."""
        return ctc_output(self.head, self.encode(inputs, lengths))

    def loss(self, batch: SpeechBatch, encoded: Encoded | None = None) -> dict[str, Tensor]:
        """Returns the loss of both, and each by itself."""
        middle: list[Tensor] = []
        if encoded is None and self.intermediate is not None and self.training:
            with self.intermediate.listening(self.encoder) as middle:
                encoded = self.encoded(batch)
        encoded = self.encoded(batch, encoded)
        parts = {"ctc": ctc_loss(ctc_output(self.head, encoded), batch, self.blank)}
        both = parts["ctc"]
        if self.intermediate is not None and middle:
            outputs = [ctc_output(self.head, encoded._replace(encoded=x)) for x in middle]
            each = [ctc_loss(output, batch, self.blank) for output in outputs]
            parts["intermediate_ctc"] = torch.stack(each).mean()
            both = self.intermediate.mixed(both, each)
        parts["attention"] = told_loss(
            self.decoder,
            encoded,
            batch,
            start=self.start,
            end=self.end,
            label_smoothing=self.label_smoothing if self.training else 0.0,
        )
        loss = self.ctc_weight * both + (1 - self.ctc_weight) * parts["attention"]
        return {"loss": loss, **parts}

    def needed(self, targets: Sequence[int]) -> int:
        """Returns what CTC needs: a frame for each token and each repetition, at least one."""
        return max(1, needed_tokens(targets))

    def transcribe(self, encoded: Encoded, *, search: Search = GREEDY) -> list[Hypothesis]:
        """Returns the texts that decoder and CTC agree on."""
        lengths = encoded.lengths
        log_probs = ctc_output(self.head, encoded).log_probs
        longest = min(int(lengths.max()) + 1, self.decoder.max_length)
        cache = self.decoder.init_cache(len(lengths), longest + 1)

        found = joint_search(
            step_of(self.decoder, encoded),
            cache,
            PrefixScores(log_probs, lengths, blank=self.blank) if self.ctc_weight else None,
            start=self.start,
            end=self.end,
            most=[min(length, longest - 1) for length in lengths.tolist()],
            beams=search.beam,
            best=search.alternatives,
            ctc_weight=self.ctc_weight,
            guides=guides_of(search, self.tokenizer),
        )
        readings = [
            [self._placed(text, log_probs[item, :length]) for text in texts]
            for item, (texts, length) in enumerate(zip(found, lengths.tolist(), strict=True))
        ]
        return self.hypotheses(readings, encoded)

    def _placed(self, text: Written, log_probs: Tensor) -> Reading:
        """Returns a text with its places in time, by CTC; without them if it is too long for that."""
        if not text.tokens or needed_tokens(text.tokens) > len(log_probs):
            return Reading(text.tokens, (), (), text.log_probs, text.score)
        placed = aligned(log_probs, text.tokens, blank=self.blank, score=text.score)
        return placed._replace(log_probs=text.log_probs)

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them."""
        new = self.tokenizer.with_vocabulary(vocabulary)
        self.decoder.set_vocabulary(vocabulary)
        renumber(self.get_classifier(), self.tokenizer, new)
        self.take_tokenizer(new)

    def begin_vocabulary(self, unit: Unit) -> None:
        """Forgets its tokens and begins a vocabulary of characters or words."""
        new = TextTokenizer(unit=unit)
        self.decoder.set_vocabulary(new.vocabulary)
        self.decoder.tokenizer = new
        renumber(self.get_classifier(), self.tokenizer, new)
        self.take_tokenizer(new)
        self.blank = blank_of(new)

    def get_classifier(self) -> Any:
        """Returns the layer of CTC that computes the scores."""
        return self.head.classifier
