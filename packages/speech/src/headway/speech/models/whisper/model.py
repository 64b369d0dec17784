"""The model: two convolutions and a stack hear, a language model with cross-attention writes."""

import math
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks.block import FeedForwardFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.language import DecoderLanguageModel, NumberedTokens, Tokenizer
from headway.core.mixers import CrossAttention, SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import PositionTable
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.speech.batch import SpeechBatch
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.front_ends import WhisperMel
from headway.speech.front_ends.front_end import whole_lengths
from headway.speech.hypothesis import Hypothesis
from headway.speech.models.whisper.marks import Marks
from headway.speech.models.whisper.recordings import transcribe_recordings, transcribe_windows
from headway.speech.models.whisper.search import WhisperSearch
from headway.speech.recogniser import Recogniser
from headway.speech.search import GREEDY, Search
from headway.speech.tokenizers import Unit

# What a token that is no target is called by the loss of torch.
IGNORED = -100
# Keys have no bias, and torch's constant of norms, not that of the rest of headway.
MIXER = partial(SelfAttention, key_bias=False)
NORM = partial(LayerNorm, eps=1e-5)


class WhisperStem(nn.Module):
    """Two convolutions over time, of which the second halves it.

    Args:
        mels: Channels of a frame.
        dim: Channels of a token.

    Shape:
        features: (B, T, mels). Output: (B, T // 2, dim).
    """

    def __init__(self, mels: int, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(mels, dim, 3, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, 3, stride=2, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Convolves."""
        x = F.gelu(self.conv1(features.transpose(1, 2)))
        return F.gelu(self.conv2(x)).transpose(1, 2)


class WhisperEncoder(SpeechEncoder):
    """Two convolutions, of which the second halves the steps, sines and cosines, and blocks.

    Args:
        mels: Bands of the front end.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        positions: Tokens of a window, half as many as steps.
        feedforward: Builds the feed-forward, ``(dim)``.

    Shape:
        inputs: (B, 2 * positions, mels). Output: ``encoded`` (B, positions, dim), ``lengths`` (B,).
    """

    def __init__(
        self,
        *,
        mels: int = 80,
        dim: int = 384,
        depth: int = 4,
        heads: int = 6,
        positions: int = 1500,
        feedforward: FeedForwardFactory = MLP,
    ) -> None:
        super().__init__()
        self.dim, self.mels = dim, mels
        self.stem = WhisperStem(mels, dim)
        # Never learned, but part of every checkpoint.
        self.position: Tensor
        self.register_buffer("position", _sinusoids(positions, dim))
        self.encoder = Encoder(
            dim, depth, heads, mixer=MIXER, feedforward=feedforward, norm=NORM, final_norm=True
        )
        init_transformer_(self.encoder)

    @property
    def bands(self) -> int:
        """Bands that it hears."""
        return self.mels

    @property
    def stride(self) -> int:
        """Steps of a token."""
        return 2

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many tokens hear something that is no filling."""
        return (lengths + 1) // 2

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Encoded:
        """Returns the tokens of windows, the filling at their ends included.

        Raises:
            UserError: If a window is shorter or longer than there are positions.
        """
        steps = 2 * self.position.shape[0]
        if inputs.ndim != 3 or inputs.shape[1] != steps:
            raise UserError(
                f"got features of shape {tuple(inputs.shape)}; Whisper hears windows of {steps} frames, "
                "(B, T, mels), which its front_end makes"
            )
        if lengths is None:
            lengths = torch.full((inputs.shape[0],), steps, device=inputs.device)
        x, _ = self.encoder(self.stem(inputs) + self.position)
        return Encoded(x, self.output_lengths(lengths))


@system(
    id=None,
    name="Whisper",
    paper="https://arxiv.org/abs/2212.04356",
    claim="an encoder and a decoder that write what is said, equal to transformers' with copied weights",
    test="packages/speech/tests/models/test_whisper.py",
)
class Whisper(Recogniser):
    """Hears windows of 30 seconds and writes what was said, in what language and when.

    ``hear`` takes recordings of any length, ``transcribe`` single windows.

    Args:
        tokenizer: What the tokens mean; that of the checkpoint has the special ones by name.
        front_end: What samples go through.
        dim: Channels of a token.
        depth: Blocks of the encoder.
        decoder_depth: Blocks of the decoder; as many if None.
        heads: Heads of the mixers.
        hidden_dim: Hidden width of the feed-forwards; ``4 * dim`` if None.
        max_length: Most tokens of the decoder, prompt included.
        multilingual: Whether the decoder is told language and task.
        suppressed: Tokens that are never written.
        begin_suppressed: Tokens that are not the first.
        alignment_heads: ``(block, head)`` of the cross-attention that shows when words are said; all heads of
            the later half of the blocks if there are none.
        dropout: Probability of dropping a channel of an embedded token in training.

    Shape:
        inputs: (B, T, mels). tokens: (B, L) int64. Output: logits (B, L, V).

    Source:
        Radford et al. 2022, https://arxiv.org/abs/2212.04356, section 2.2.
    """

    longest = math.inf
    front_end: WhisperMel
    encoder: WhisperEncoder

    def __init__(
        self,
        *,
        tokenizer: Tokenizer | None = None,
        front_end: WhisperMel | None = None,
        dim: int = 384,
        depth: int = 4,
        decoder_depth: int | None = None,
        heads: int = 6,
        hidden_dim: int | None = None,
        max_length: int = 448,
        multilingual: bool = True,
        suppressed: Sequence[int] = (),
        begin_suppressed: Sequence[int] = (),
        alignment_heads: Sequence[Sequence[int]] = (),
        dropout: float = 0.0,
    ) -> None:
        tokenizer = NumberedTokens() if tokenizer is None else tokenizer
        front_end = WhisperMel() if front_end is None else front_end
        feedforward = partial(MLP, hidden_dim=hidden_dim)
        encoder = WhisperEncoder(
            mels=front_end.mels,
            dim=dim,
            depth=depth,
            heads=heads,
            positions=front_end.frames // 2,
            feedforward=feedforward,
        )
        super().__init__(encoder=encoder, tokenizer=tokenizer, front_end=front_end)
        decoder_depth = depth if decoder_depth is None else decoder_depth
        self.max_length, self.multilingual = max_length, multilingual
        self.suppressed, self.begin_suppressed = tuple(suppressed), tuple(begin_suppressed)
        self.alignment_heads = [(block, head) for block, head in alignment_heads]
        if wrong := [
            pair
            for pair in self.alignment_heads
            if not (0 <= pair[0] < decoder_depth and 0 <= pair[1] < heads)
        ]:
            raise UserError(
                f"alignment_heads has {wrong[0]}; the decoder has {decoder_depth} blocks of {heads} heads"
            )
        self.decoder = DecoderLanguageModel(
            tokenizer=tokenizer,
            dim=dim,
            depth=decoder_depth,
            heads=heads,
            max_length=max_length,
            mixer=partial(MIXER, causal=True),
            cross=partial(CrossAttention, key_bias=False),
            feedforward=feedforward,
            norm=NORM,
            position=PositionTable,
            dropout=dropout,
        )

    @property
    def marks(self) -> Marks:
        """The special tokens.

        Raises:
            UserError: If the tokenizer lacks them.
        """
        return self._marks

    @cached_property
    def _marks(self) -> Marks:
        return Marks(self.tokenizer, multilingual=self.multilingual)

    def forward(self, inputs: Tensor, tokens: Tensor) -> Tensor:
        """Returns the logits of the token that follows each.

        Args:
            inputs: Features of the front end.
            tokens: What the decoder is told and has written, right-padded.
        """
        return self.decoder(tokens, context=self.encode(inputs).encoded)

    def languages(self, encoded: Encoded) -> list[dict[str, float]]:
        """Returns how likely each language is in each window, the likeliest in front.

        Raises:
            UserError: If the model knows English alone.
        """
        marks = self.marks
        if not marks.multilingual or not marks.languages:
            raise UserError("the model writes English alone, and hears no other language")
        start = torch.full((len(encoded.encoded), 1), marks.start, device=self.device)
        numbers = torch.tensor(list(marks.languages.values()), device=self.device)
        with torch.no_grad():
            logits = self.decoder(start, context=encoded.encoded)[:, 0, numbers].float()
        shares = logits.softmax(dim=-1)
        return [
            dict(sorted(zip(marks.languages, row, strict=True), key=lambda pair: -pair[1]))
            for row in shares.tolist()
        ]

    def loss(self, batch: SpeechBatch, encoded: Encoded | None = None) -> dict[str, Tensor]:
        """Returns the cross-entropy of a token of the texts, each told what stands before it.

        Raises:
            UserError: If a text is too long, or the model needs the language and the batch does not say it.
        """
        rows, told = [], []
        targets = zip(batch.targets.tolist(), batch.target_lengths.tolist(), strict=True)
        for place, (row, length) in enumerate(targets):
            # Of de-AT the model knows de.
            language = batch.languages[place].split("-")[0].lower() if batch.languages else ""
            if self.multilingual and not language:
                raise UserError(
                    "Whisper is told the language of a text; give the manifest a column language"
                )
            prompt = self.marks.prompt(
                language=language or None, task="transcribe", timestamps=False
            )
            told.append(len(prompt))
            rows.append([*prompt, *row[:length], self.marks.end])
        longest = max(map(len, rows))
        if longest > self.max_length + 1:
            raise UserError(
                f"a text has {longest} tokens; Whisper writes {self.max_length}, leave it out"
            )
        tokens = torch.tensor([[*row, *[self.marks.end] * (longest - len(row))] for row in rows])
        tokens = tokens.to(self.device)
        wanted = tokens[:, 1:].clone()
        for place, (row, first) in enumerate(zip(rows, told, strict=True)):
            wanted[place, : first - 1] = wanted[place, len(row) - 1 :] = IGNORED
        if encoded is None:
            logits = self(batch.inputs, tokens[:, :-1])
        else:
            logits = self.decoder(tokens[:, :-1], context=encoded.encoded)
        return {
            "loss": F.cross_entropy(logits.float().transpose(1, 2), wanted, ignore_index=IGNORED)
        }

    def search(self, **wishes: Any) -> WhisperSearch:
        """Returns how the text is looked for as a user wishes.

        Args:
            **wishes: What a ``WhisperSearch`` has.

        Raises:
            UserError: If this model cannot be asked for it.
        """
        known = {field.name for field in fields(WhisperSearch)}
        if unknown := [name for name in wishes if name not in known]:
            raise UserError(f"Whisper cannot be told {unknown[0]}; leave it out")
        search = WhisperSearch(**wishes)
        if search.language is not None or not self.multilingual:
            self.marks.prompt(language=search.language, task=search.task, timestamps=True)
        return search

    def transcribe(self, encoded: Encoded, *, search: Search = GREEDY) -> list[Hypothesis]:
        """Returns what was said in windows; a plain ``Search`` asks for no times, and for no second try."""
        if not isinstance(search, WhisperSearch):
            asked = {one.name: getattr(search, one.name) for one in fields(search)}
            search = WhisperSearch(**asked, timestamps=False, temperatures=(0.0,))
        return transcribe_windows(self, encoded, search)

    def hear(
        self, waveforms: Tensor, lengths: Tensor | None = None, *, search: Search = GREEDY
    ) -> list[Hypothesis]:
        """Returns what was said in recordings of any length, window after window.

        Args:
            waveforms: Samples at 16 kHz.
            lengths: Samples of each; all of them if None.
            search: How the text is looked for; a plain ``Search`` is one with times.
        """
        if not isinstance(search, WhisperSearch):
            search = self.search(**{one.name: getattr(search, one.name) for one in fields(search)})
        sizes = whole_lengths(waveforms, lengths).tolist()
        rows = [row[:size] for row, size in zip(waveforms, sizes, strict=True)]
        found = dict(transcribe_recordings(self, rows, search=search, batch_size=len(rows)))
        return [found[place] for place in range(len(rows))]

    def begin_vocabulary(self, unit: Unit) -> None:
        """Refuses: what the model is told is part of its vocabulary.

        Raises:
            UserError: Always.
        """
        raise UserError(
            "Whisper is told what to do by tokens of its vocabulary, and keeps them; leave new_vocabulary out"
        )

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them."""
        self.decoder.set_vocabulary(vocabulary)
        self.take_tokenizer(self.decoder.tokenizer)
        self.__dict__.pop("_marks", None)


def _sinusoids(positions: int, dim: int) -> Tensor:
    """Returns sines and, behind them, cosines of positions, (positions, dim)."""
    if dim % 2 or dim < 4:
        raise UserError(f"dim is {dim}; it must be an even number of at least 4")
    # Not on the meta device, where such a product loads half of torch.
    with torch.device("cpu"):
        steps = torch.arange(dim // 2) / (dim // 2 - 1)
        angles = torch.arange(positions)[:, None] * 10000.0**-steps
        table = torch.cat([angles.sin(), angles.cos()], dim=1)
    return table.to(torch.get_default_device())
