"""The Llama decoder as a language model of molecules."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.cache import Cache, CacheGroup
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.feedforward import SwiGLU
from headway.core.generation import Generated, Sampling, generate
from headway.core.init import init_transformer_, truncated_normal_
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.module import Module
from headway.core.norms import RMSNorm
from headway.core.positions import Rotary
from headway.core.stacks import Decoder
from headway.core.stacks.stack import BlockFactory
from headway.core.systems import system

RotaryAttention = partial(
    SelfAttention, causal=True, position=Rotary, qkv_bias=False, out_bias=False
)
# <pad>, <bos> and <eos> in front: what the arguments padding, start and end say by default.
SPECIALS = ("<pad>", "<bos>", "<eos>")


@system(
    id=None,
    name="Llama",
    paper="https://arxiv.org/abs/2302.13971",
    claim="a decoder with rotations, RMS norms and gated units, equal to transformers' with copied weights",
    test="packages/molecules/tests/models/test_llama_parity.py",
)
class Llama(Module):
    """A causal decoder over the tokens of a line notation of molecules (SMILES).

    The vocabulary is part of the model, so a checkpoint says what its tokens mean, where a molecule
    starts and ends, and how long it may be.

    Args:
        vocabulary: The tokens in the order of their numbers, the special ones among them.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        max_length: Most tokens of a molecule, start and end included; generation stops there.
        mixer: Builds the causal token mixer, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        tied: Whether the head shares the weights of the embedding.
        dropout: Probability of dropping a channel of an embedded token in training.
        drop_path: Rate of stochastic depth of the last block.
        padding: Number of the padding token.
        start: Number of the token that starts a molecule.
        end: Number of the token that ends it.

    Shape:
        tokens: (B, T) int64. Output: logits (B, T, V) of the token that follows each.

    Raises:
        UserError: If the vocabulary lacks a special token or names one twice.

    Source:
        Touvron et al. 2023, https://arxiv.org/abs/2302.13971, section 2.2.
    """

    def __init__(
        self,
        *,
        vocabulary: Sequence[str] = SPECIALS,
        dim: int = 256,
        depth: int = 4,
        heads: int = 8,
        max_length: int = 128,
        mixer: MixerFactories = RotaryAttention,
        feedforward: FeedForwardFactory = SwiGLU,
        norm: Callable[[int], nn.Module] = RMSNorm,
        block: BlockFactory = PreNormBlock,
        tied: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        padding: int = 0,
        start: int = 1,
        end: int = 2,
    ) -> None:
        super().__init__()
        self.padding, self.start, self.end = padding, start, end
        self.vocabulary = _checked(vocabulary, (padding, start, end))
        if max_length < 2:
            raise UserError(f"max_length is {max_length}; a molecule needs at least 2 tokens")
        self.max_length, self.tied = max_length, tied
        self.embedding = nn.Embedding(len(self.vocabulary), dim)
        self.dropout = Dropout(dropout)
        self.decoder = Decoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            block=block,
            drop_path=drop_path,
        )
        init_transformer_(self.decoder)
        truncated_normal_(self.embedding.weight)
        self.head = nn.Linear(dim, len(self.vocabulary), bias=False)
        if tied:
            self.head.weight = self.embedding.weight
        else:
            truncated_normal_(self.head.weight)

    def forward(
        self, tokens: Tensor, *, lengths: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Returns the logits of the token that follows each.

        Args:
            tokens: Numbers of tokens, right-padded. A token sees only itself and those before, so
                padding needs no ``lengths`` unless the mixer reads the whole row.
            lengths: Real tokens of each row, (B,).
            cache: What the rows have seen before; from ``init_cache``.
        """
        layout = Layout(lengths=lengths) if lengths is not None else None
        x, _ = self.decoder(self.dropout(self.embedding(tokens)), layout, cache=cache)
        return self.head(x)

    def init_cache(self, batch: int, max_length: int | None = None) -> CacheGroup:
        """Returns an empty cache for ``batch`` molecules."""
        return self.decoder.init_cache(batch, max_length or self.max_length)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        sampling: Sampling | None = None,
        batch_size: int = 256,
        generator: torch.Generator | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Generated:
        """Continues prompts that begin with the start token; see ``headway.core.generation.generate``."""
        return generate(
            self,
            prompts,
            end=self.end,
            max_length=self.max_length,
            sampling=sampling,
            batch_size=batch_size,
            padding=self.padding,
            generator=generator,
            device=self.embedding.weight.device,
            progress=progress,
        )

    def set_max_length(self, max_length: int) -> None:
        """Allows molecules of another length; rotations reach any position."""
        self.max_length = self.init_args["max_length"] = max_length

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them.

        Args:
            vocabulary: The new tokens; the special ones stay at their numbers.
        """
        new = _checked(vocabulary, (self.padding, self.start, self.end))
        old = {token: place for place, token in enumerate(self.vocabulary)}
        kept = [(place, old[token]) for place, token in enumerate(new) if token in old]
        self.vocabulary = new
        self.init_args["vocabulary"] = new
        weight = self.embedding.weight
        embedding = nn.Embedding(
            len(new), weight.shape[1], device=weight.device, dtype=weight.dtype
        )
        head = nn.Linear(weight.shape[1], len(new), bias=False).to(weight)
        for layer, before in ((embedding, self.embedding), (head, self.head)):
            truncated_normal_(layer.weight)
            with torch.no_grad():
                for place, known in kept:
                    layer.weight[place] = before.weight[known]
        self.embedding, self.head = embedding, head
        if self.tied:
            self.head.weight = self.embedding.weight


def _checked(vocabulary: Sequence[str], specials: tuple[int, int, int]) -> tuple[str, ...]:
    tokens = tuple(vocabulary)
    if len(set(tokens)) != len(tokens):
        twice = next(token for token in tokens if tokens.count(token) > 1)
        raise UserError(f"the vocabulary names {twice!r} twice; every token stands once")
    if max(specials) >= len(tokens) or min(specials) < 0:
        raise UserError(
            f"padding, start and end are tokens {specials}, but the vocabulary has {len(tokens)}; "
            f"begin it with {', '.join(SPECIALS)}"
        )
    return tokens
