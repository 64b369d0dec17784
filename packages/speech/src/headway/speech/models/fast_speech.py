"""FastSpeech: a text in, mel features out, in one pass; durations are learned without an external aligner."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.init import init_transformer_
from headway.core.language import Tokenizer
from headway.core.language.vocabulary import renumber
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.positions import Rotary
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.speech.batch import SpeechBatch
from headway.speech.front_ends import LogMel
from headway.speech.layers import ConvolutionalMLP
from headway.speech.layers.alignment import spread
from headway.speech.layers.padding import mask_of, zero_beyond
from headway.speech.layers.variance import VariancePredictor
from headway.speech.models.aligners import Aligner, MixtureAligner
from headway.speech.models.variances import Variances
from headway.speech.synthesiser import AS_LEARNED, Manner, Spoken, Synthesiser
from headway.speech.tokenizers import TextTokenizer

FRAME = ("<pad>", "<start>", "<end>")
CONVOLUTIONS = partial(ConvolutionalMLP, dropout=0.1)
# Places are told to attention alone: sinusoids added to the embeddings drown them while they are small.
ROTARY_ATTENTION = partial(SelfAttention, position=Rotary)


def spoken_text() -> TextTokenizer:
    """Returns characters with a token for the silence at each end."""
    return TextTokenizer(vocabulary=FRAME, padding=0, start=1, end=2, blank=None)


def framed(tokenizer: Tokenizer, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Returns texts between start and end, and their lengths."""
    assert tokenizer.start is not None
    assert tokenizer.end is not None
    around = F.pad(tokens, (1, 1), value=tokenizer.filling)
    around[:, 0] = tokenizer.start
    place = torch.arange(around.shape[1], device=tokens.device)
    last = place == lengths[:, None] + 1
    around = around.masked_fill(place > lengths[:, None], tokenizer.filling)
    return around.masked_fill(last, tokenizer.end), lengths + 2


@system(
    id=387,
    name="FastSpeech",
    paper="https://arxiv.org/abs/1905.09263",
    claim="spread by their durations, tokens become mel features in one pass; durations sum to the frames",
    test="packages/speech/tests/models/test_fast_speech.py",
)
class FastSpeech(Synthesiser):
    """Blocks over the text, each token repeated as long as it lasts, and blocks over the steps of speech.

    The aligner says in training which steps belong to which token; a predictor learns the durations for
    texts that nobody has spoken. With ``variances`` pitch and energy are predicted of each token and added,
    as in FastSpeech 2.

    Args:
        dim: Channels of a token.
        depth: Blocks over the text.
        decoder_depth: Blocks over the steps.
        heads: Heads of the mixers.
        tokenizer: What the tokens mean; characters if None. Its start and end stand for the silence there.
        front_end: Mel features; those of 22,050 Hz if None.
        aligner: Builds what finds the durations, ``(dim, bands)``.
        variances: Builds what predicts pitch and energy, ``(dim)``; none if None.
        mixer: Builds the token mixer, ``(dim, heads)``; it tells where a token is.
        feedforward: Builds the feed-forward, ``(dim)``.
        block: Builds a block; the paper's are post-norm, which need a longer warm-up.
        dropout: Probability of dropping a channel of a token in training.
        predictor: Builds what predicts durations, ``(dim)``.

    Shape:
        tokens: (B, U), lengths: (B,), durations: (B, U). Output: (B, T, bands).

    Source:
        Ren et al. 2019, https://arxiv.org/abs/1905.09263; Ren et al. 2020, https://arxiv.org/abs/2006.04558.
    """

    def __init__(
        self,
        *,
        dim: int = 256,
        depth: int = 4,
        decoder_depth: int = 4,
        heads: int = 2,
        tokenizer: Tokenizer | None = None,
        front_end: LogMel | None = None,
        aligner: Callable[[int, int], Aligner] = MixtureAligner,
        variances: Callable[[int], Variances] | None = Variances,
        mixer: MixerFactories = ROTARY_ATTENTION,
        feedforward: FeedForwardFactory = CONVOLUTIONS,
        block: BlockFactory = PreNormBlock,
        dropout: float = 0.1,
        predictor: Callable[[int], VariancePredictor] = VariancePredictor,
    ) -> None:
        tokenizer = spoken_text() if tokenizer is None else tokenizer
        if tokenizer.start is None or tokenizer.end is None:
            raise UserError("start and end of a text are silence; give the tokenizer both tokens")
        front_end = LogMel() if front_end is None else front_end
        super().__init__(tokenizer=tokenizer, front_end=front_end)

        def stack(blocks: int) -> Encoder:
            return Encoder(
                dim,
                blocks,
                heads,
                mixer=mixer,
                feedforward=feedforward,
                block=block,
            )

        self.embedding = nn.Embedding(len(tokenizer), dim)
        self.dropout = Dropout(dropout)
        self.encoder, self.decoder = stack(depth), stack(decoder_depth)
        self.aligner = aligner(dim, front_end.mels)
        self.variances = None if variances is None else variances(dim)
        self.durations = predictor(dim)
        self.head = nn.Linear(dim, front_end.mels)
        init_transformer_(self.encoder)
        init_transformer_(self.decoder)

    def needed(self, targets: Sequence[int]) -> int:
        """Returns one step for each token, those of start and end among them."""
        return len(targets) + 2

    def forward(
        self, tokens: Tensor, lengths: Tensor, durations: Tensor, steps: int | None = None
    ) -> Tensor:
        """Returns the features of texts whose durations are known, pitch and energy as predicted.

        Args:
            tokens: Tokens of the texts, start and end among them.
            lengths: Tokens of each.
            durations: Steps of each token.
            steps: Steps of the result; those of the longest text if None.
        """
        read = self._read(tokens, lengths)
        if self.variances is not None:
            read, _ = self.variances(read, lengths)
        return self._write(read, durations, steps)

    def loss(self, batch: SpeechBatch) -> dict[str, Tensor]:
        """Returns the error of the mel features, with those of alignment, durations, pitch and energy."""
        tokens, lengths = framed(self.tokenizer, batch.targets, batch.target_lengths)
        return self.taught(self.embedding(tokens), tokens, lengths, batch.inputs, batch.lengths)

    def taught(
        self, vectors: Tensor, tokens: Tensor, lengths: Tensor, waveforms: Tensor, samples: Tensor
    ) -> dict[str, Tensor]:
        """Returns the losses of texts that are given as vectors.

        Args:
            vectors: What is read of each token, (B, U, dim).
            tokens: The tokens, by which speech is aligned, start and end among them.
            lengths: Tokens of each.
            waveforms: Samples of the texts, spoken.
            samples: Samples of each.
        """
        with torch.no_grad():
            mels, steps = self.front_end(waveforms, samples)
        read = self._through(self.encoder, vectors, lengths)
        durations, found = self.aligner(self.embedding(tokens), lengths, mels, steps)
        losses = {"alignment": found}
        real = mask_of(lengths, tokens.shape[1])
        told = (durations.float() + 1).log()
        guessed = self.durations(read.detach(), lengths)
        losses["duration"] = (guessed - told).square()[real].mean()
        if self.variances is not None:
            wanted = self.variances.measure(waveforms, mels, steps, durations, self.mel)
            read, errors = self.variances(read, lengths, wanted)
            losses |= errors
        written = self._write(read, durations, mels.shape[1])
        kept = mask_of(steps, mels.shape[1])
        losses["mel"] = (written - mels).abs()[kept].mean()
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def speak(self, tokens: Tensor, lengths: Tensor, *, manner: Manner = AS_LEARNED) -> Spoken:
        """Returns the features of texts."""
        tokens, lengths = framed(self.tokenizer, tokens, lengths)
        return self.say(self.embedding(tokens), lengths, manner=manner)

    def say(self, vectors: Tensor, lengths: Tensor, *, manner: Manner = AS_LEARNED) -> Spoken:
        """Returns the features of texts that are given as vectors, (B, U, dim), start and end among them."""
        if self.variances is None and (manner.pitch or manner.energy):
            raise UserError("this synthesiser predicts neither pitch nor energy; leave both at 0")
        read = self._through(self.encoder, vectors, lengths)
        guessed = (self.durations(read, lengths).exp() - 1) / manner.speed
        # Every token is heard.
        durations = guessed.round().clamp_min(1).long()
        durations = zero_beyond(durations, lengths)
        if self.variances is not None:
            read, _ = self.variances(read, lengths, manner=manner)
        return Spoken(self._write(read, durations), durations.sum(dim=1), durations)

    def align(self, waveforms: Tensor, samples: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Returns the steps of each token, that of the silence at both ends among them."""
        mels, steps = self.front_end(waveforms, samples)
        tokens, lengths = framed(self.tokenizer, tokens, lengths)
        return self.aligner(self.embedding(tokens), lengths, mels, steps)[0]

    def _read(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return self._through(self.encoder, self.embedding(tokens), lengths)

    def _write(self, read: Tensor, durations: Tensor, steps: int | None = None) -> Tensor:
        lengths = durations.sum(dim=1)
        x = self._through(self.decoder, spread(read, durations, steps), lengths)
        return zero_beyond(self.head(x), lengths)

    def _through(self, stack: Encoder, x: Tensor, lengths: Tensor) -> Tensor:
        layout = Layout(lengths=lengths)
        return stack(self.dropout(x), layout)[0]

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them."""
        new = self.tokenizer.with_vocabulary(vocabulary)
        renumber(self.embedding, self.tokenizer, new)
        self.take_tokenizer(new)
