"""The model: two convolutions and a stack hear, a language model with cross-attention writes."""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any


import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.language import DecoderLanguageModel, NumberedTokens, Tokenizer
from headway.core.mixers import CrossAttention, SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import PositionTable
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.speech.front_ends import WhisperMel
from headway.speech.models.whisper.marks import Marks
from headway.speech.recogniser import Encoded, Recogniser


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


@system(
    id=None,
    name="Whisper",
    paper="https://arxiv.org/abs/2212.04356",
    claim="an encoder and a decoder that write what is said, equal to transformers' with copied weights",
    test="packages/speech/tests/models/test_whisper.py",
)
class Whisper(Recogniser):
    """Hears windows of 30 seconds and writes what was said, in what language and when.

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
        super().__init__()
        # What follows from a default is written down, too.
        tokenizer = NumberedTokens() if tokenizer is None else tokenizer
        self.front_end = WhisperMel() if front_end is None else front_end
        self.init_args.update(tokenizer=tokenizer, front_end=self.front_end)
        decoder_depth = depth if decoder_depth is None else decoder_depth
        self.dim, self.max_length, self.multilingual = dim, max_length, multilingual
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
        parts: dict[str, Any] = {
            "feedforward": partial(MLP, hidden_dim=hidden_dim),
            "norm": partial(LayerNorm, eps=1e-5),
        }
        mixer = partial(SelfAttention, key_bias=False)
        self.stem = WhisperStem(self.front_end.mels, dim)
        # Never learned, but part of every checkpoint.
        self.register_buffer("position", _sinusoids(self.front_end.frames // 2, dim))
        self.encoder = Encoder(
            dim, depth, heads, mixer=mixer, final_norm=True, **parts
        )
        init_transformer_(self.encoder)
        self.decoder = DecoderLanguageModel(
            tokenizer=tokenizer,
            dim=dim,
            depth=decoder_depth,
            heads=heads,
            max_length=max_length,
            mixer=partial(mixer, causal=True),
            cross=partial(CrossAttention, key_bias=False),
            position=PositionTable,
            dropout=dropout,
            **parts,
        )

    @property
    def tokenizer(self) -> Tokenizer:
        """What the tokens mean."""
        return self.decoder.tokenizer

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

    @property
    def seconds_per_token(self) -> float:
        """How long a token of the encoder is."""
        return 2 / self.front_end.rate

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.decoder.device

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many tokens of the encoder hear something, of so many frames."""
        return (lengths + 1) // 2

    def encode(self, inputs: Tensor, lengths: Tensor | None = None) -> Encoded:
        """Returns what is heard in windows, the filling at their ends included.

        Args:
            inputs: Features of the front end.
            lengths: Frames that are no filling; all if None.

        Raises:
            UserError: If a window is shorter or longer than the model has positions.
        """
        if inputs.ndim != 3 or inputs.shape[1] != 2 * self.position.shape[0]:
            raise UserError(
                f"got features of shape {tuple(inputs.shape)}; Whisper hears windows of "
                f"{2 * self.position.shape[0]} frames, (B, T, mels), which its front_end makes"
            )
        if lengths is None:
            lengths = torch.full((len(inputs),), inputs.shape[1], device=inputs.device)
        x, _ = self.encoder(self.stem(inputs) + self.position)
        return Encoded(x, self.output_lengths(lengths))

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

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them.

        Args:
            vocabulary: The new tokens, behind those that there are.
        """
        self.decoder.set_vocabulary(vocabulary)
        self.init_args["tokenizer"] = self.decoder.tokenizer
        self.__dict__.pop("_marks", None)


def _sinusoids(positions: int, dim: int) -> Tensor:
    """Returns sines and, behind them, cosines of positions, (positions, dim)."""
    if dim % 2 or dim < 4:
        raise UserError(f"dim is {dim}; it must be an even number of at least 4")
    steps = torch.arange(dim // 2) / (dim // 2 - 1)
    angles = torch.arange(positions)[:, None] * 10000.0**-steps
    return torch.cat([angles.sin(), angles.cos()], dim=1)


