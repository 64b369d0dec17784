"""FastSpeech 2 over Conformers, as published voices have it."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks import PostNormMacaronBlock
from headway.core.errors import UserError
from headway.core.init import init_transformer_
from headway.core.language import Tokenizer
from headway.core.language.vocabulary import renumber
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.positions import RelativeSinusoidal
from headway.core.stacks import Encoder, Stack
from headway.speech.batch import SpeechBatch
from headway.speech.front_ends import LogMel
from headway.speech.layers import ConvolutionalMLP, Postnet
from headway.speech.layers.alignment import spread
from headway.speech.layers.padding import zero_beyond
from headway.speech.layers.variance import VariancePredictor
from headway.speech.models.variances import Variances
from headway.speech.sound_model import Vocoder
from headway.speech.synthesiser import AS_LEARNED, Manner, Spoken, Synthesiser
from headway.speech.tokenizers import TextTokenizer

CONFORMER = partial(
    Encoder,
    depth=4,
    heads=2,
    mixer=partial(SelfAttention, position=RelativeSinusoidal),
    feedforward=partial(ConvolutionalMLP, kernels=(3, 3)),
    block=PostNormMacaronBlock,
    final_norm=False,
)
FRAME = ("<blank>", "<unk>", "<sos/eos>")


class ConformerVoice(Synthesiser):
    """A Conformer over the text, each token repeated as long as it lasts, and one over the steps of speech.

    It speaks as it learned elsewhere: how long tokens of recordings last, nobody tells it (``aligns``). A
    ``FastSpeech`` learns from recordings.

    Args:
        dim: Channels of a token.
        encoder: Builds the blocks over the text, ``(dim)``.
        decoder: Builds the blocks over the steps, ``(dim)``.
        tokenizer: What the tokens mean; its end stands behind every text. Phonemes between spaces if None.
        front_end: Mel features; those of 22,050 Hz if None.
        variances: Builds what predicts pitch and energy, ``(dim)``.
        predictor: Builds what predicts durations, ``(dim)``.
        postnet: Builds what mends the features, ``(bands)``; none if None.
        vocoder: What makes sound of its features where no other is asked for; none if None.

    Shape:
        tokens: (B, U), lengths: (B,), durations: (B, U). Output: (B, T, bands).

    Raises:
        UserError: If the tokenizer has no end, or the vocoder reads other bands.

    Source:
        Ren et al. 2020 (FastSpeech 2), https://arxiv.org/abs/2006.04558, and its form in ESPnet and
        transformers (FastSpeech2Conformer), without languages and speakers.
    """

    aligns = False

    def __init__(
        self,
        *,
        dim: int = 384,
        encoder: Callable[[int], Stack] = CONFORMER,
        decoder: Callable[[int], Stack] = CONFORMER,
        tokenizer: Tokenizer | None = None,
        front_end: LogMel | None = None,
        variances: Callable[[int], Variances] = Variances,
        predictor: Callable[[int], VariancePredictor] = VariancePredictor,
        postnet: Callable[[int], Postnet] | None = Postnet,
        vocoder: Vocoder | None = None,
    ) -> None:
        if tokenizer is None:
            tokenizer = TextTokenizer(
                unit="words", case="keep", vocabulary=FRAME, padding=0, unknown=1, end=2, blank=None
            )
        if tokenizer.end is None:
            raise UserError("a text ends in silence; give the tokenizer an end")
        front_end = LogMel() if front_end is None else front_end
        super().__init__(tokenizer=tokenizer, front_end=front_end, vocoder=vocoder)
        if vocoder is not None:
            vocoder.mel.check_same_bands(front_end)
        self.dim = dim
        self.embedding = nn.Embedding(len(tokenizer), dim)
        self.encoder, self.decoder = encoder(dim), decoder(dim)
        self.variances, self.durations = variances(dim), predictor(dim)
        self.head = nn.Linear(dim, front_end.mels)
        self.postnet = None if postnet is None else postnet(front_end.mels)
        init_transformer_(self.encoder)
        init_transformer_(self.decoder)

    def forward(
        self, tokens: Tensor, lengths: Tensor, durations: Tensor, steps: int | None = None
    ) -> Tensor:
        """Returns the features of texts whose durations are known, pitch and energy as predicted.

        Args:
            tokens: Tokens of the texts, the end among them.
            lengths: Tokens of each.
            durations: Steps of each token.
            steps: Steps of the result; those of the longest text if None.
        """
        read, _ = self.variances(self._read(tokens, lengths), lengths)
        return self._write(read, durations, steps)

    def loss(self, batch: SpeechBatch) -> dict[str, Tensor]:
        """Raises: it cannot learn from recordings.

        Raises:
            UserError: Always.
        """
        raise UserError(
            "a published voice does not learn from recordings: it knows no durations of theirs; train one "
            "with headway fit -c speech/fast_speech"
        )

    def align(self, waveforms: Tensor, samples: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Raises: it does not know.

        Raises:
            UserError: Always.
        """
        raise UserError("a published voice does not know where tokens are in recordings")

    def speak(self, tokens: Tensor, lengths: Tensor, *, manner: Manner = AS_LEARNED) -> Spoken:
        """Returns the features of texts; a token may last no step at all.

        Raises:
            UserError: If another pitch is asked for: in which unit it was learned, no file says.
        """
        if manner.pitch:
            raise UserError(
                "in which unit this voice learned its pitch, no file says; leave --pitch at 0"
            )
        tokens, lengths = self._ended(tokens, lengths)
        read = self._read(tokens, lengths)
        guessed = (self.durations(read, lengths).exp() - 1) / manner.speed
        durations = zero_beyond(guessed.round().clamp_min(0).long(), lengths)
        silent = durations.sum(dim=1, keepdim=True) == 0
        durations = torch.where(silent, zero_beyond(torch.ones_like(durations), lengths), durations)
        read, _ = self.variances(read, lengths, manner=manner)
        return Spoken(self._write(read, durations), durations.sum(dim=1), durations)

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them."""
        new = self.tokenizer.with_vocabulary(vocabulary)
        renumber(self.embedding, self.tokenizer, new)
        self.take_tokenizer(new)

    def _ended(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Returns texts with their end, and their lengths."""
        assert self.tokenizer.end is not None
        place = torch.arange(tokens.shape[1] + 1, device=tokens.device)
        longer = F.pad(tokens, (0, 1), value=self.tokenizer.filling)
        longer = longer.masked_fill(place == lengths[:, None], self.tokenizer.end)
        return longer.masked_fill(place > lengths[:, None], self.tokenizer.filling), lengths + 1

    def _read(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return self._through(self.encoder, self.embedding(tokens), lengths)

    def _write(self, read: Tensor, durations: Tensor, steps: int | None = None) -> Tensor:
        lengths = durations.sum(dim=1)
        x = self.head(self._through(self.decoder, spread(read, durations, steps), lengths))
        return zero_beyond(x if self.postnet is None else self.postnet(x, lengths), lengths)

    def _through(self, stack: Stack, x: Tensor, lengths: Tensor) -> Tensor:
        return stack(math.sqrt(self.dim) * x, Layout(lengths=lengths))[0]
