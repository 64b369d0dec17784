"""Searchformer."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.blocks.block import FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.blocks.residual import NormFactory
from headway.core.feedforward import SwiGLU
from headway.core.generation import Sampling, generate
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import CrossAttention, SelfAttention
from headway.core.module import evaluating
from headway.core.norms import RMSNorm
from headway.core.positions import Rotary
from headway.core.stacks import Decoder, Encoder
from headway.core.systems import system
from headway.rl.layers.place_embedding import PlaceEmbedding
from headway.rl.mazes import MazeTokens
from headway.rl.models.planning_model import PlanningModel
from headway.rl.models.search_writer import SearchWriter, padded
from headway.rl.planning import END, PADDING, START, Problem, SearchTokens, Written

RotaryAttention = partial(SelfAttention, position=Rotary, qkv_bias=False, out_bias=False)
CausalRotaryAttention = partial(RotaryAttention, causal=True)
PlainCrossAttention = partial(CrossAttention, qkv_bias=False, out_bias=False)
# Problems that are written about at a time.
SIDE_BY_SIDE = 256


@system(
    id=21,
    name="Searchformer",
    paper="https://arxiv.org/abs/2402.14083",
    claim="it writes what A* does and then a plan; the shortest of several tries is far shorter than "
    "the search of A*, and taught those it searches less",
    test="packages/rl/tests/models/test_searchformer.py",
)
class Searchformer(PlanningModel):
    """Reads a maze, or a level of Sokoban, and writes what A* would do in it, and then a plan.

    Prompt and search are the tokens of the paper, with one token for each cell in the place of two
    coordinates; its vector is the sum of one for its row and one for its column (and one of its own).
    Encoder and decoder have rotary positions; cross-attention has none.

    Args:
        size: Cells along one side of the problems.
        dim: Channels of a token.
        depth: Number of blocks of the decoder.
        encoder_depth: Number of blocks of the encoder.
        heads: Heads of attention.
        max_length: Most tokens that it writes, start and end included.
        tokens: What it reads and writes, ``(size)``: of mazes, or ``headway.rl.sokoban.SokobanTokens``.
        mixer: Builds the causal mixer of the decoder, ``(dim, heads)``.
        cross: Builds what reads the problem, ``(dim, heads)``.
        reading: Builds the mixer of the encoder, ``(dim, heads)``.
        feedforward: Builds the feed-forwards, ``(dim)``.
        norm: Builds the norms, ``(dim)``.

    Shape:
        prompts: (B, M) int64, right-padded. traces: (B, T) int64. Output: logits (B, T, V) of the token that
        follows each.

    Source:
        Lehnert et al. 2024, https://arxiv.org/abs/2402.14083, section 3.
    """

    def __init__(
        self,
        *,
        size: int = 10,
        dim: int = 64,
        depth: int = 3,
        encoder_depth: int = 2,
        heads: int = 4,
        max_length: int = 256,
        tokens: Callable[[int], SearchTokens] = MazeTokens,
        mixer: MixerFactories = CausalRotaryAttention,
        cross: MixerFactory = PlainCrossAttention,
        reading: MixerFactories = RotaryAttention,
        feedforward: FeedForwardFactory = SwiGLU,
        norm: NormFactory = RMSNorm,
    ) -> None:
        known = tokens(size)
        super().__init__(problem=known.problem, size=size, max_length=max_length)
        self.tokens = known
        self.embedding = PlaceEmbedding(
            len(self.tokens.vocabulary), dim, size=size, first=self.tokens.first_cell
        )
        parts = {"feedforward": feedforward, "norm": norm}
        self.encoder = Encoder(dim, encoder_depth, heads, mixer=reading, **parts)
        self.decoder = Decoder(dim, depth, heads, mixer=mixer, cross=cross, **parts)
        init_transformer_(self.encoder)
        init_transformer_(self.decoder)

    def read(self, prompts: Tensor) -> tuple[Tensor, Layout]:
        """Returns what the encoder makes of prompts (B, M), and how long each is."""
        layout = Layout(lengths=(prompts != PADDING).sum(dim=1))
        context, _ = self.encoder(self.embedding(prompts), layout)
        return context, layout

    def forward(self, prompts: Tensor, traces: Tensor) -> Tensor:
        """Returns the logits of what follows each token of the traces."""
        context, layout = self.read(prompts)
        # A causal decoder never sees the padding on the right of what it writes.
        x, _ = self.decoder(self.embedding(traces), context=context, context_layout=layout)
        return self.embedding.logits(x)

    def loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the loss per token, and the share of tokens that are the likeliest ones.

        Args:
            batch: ``prompts`` (B, M) and ``traces`` (B, T), right-padded int64.
        """
        traces = batch["traces"]
        logits, wanted = self(batch["prompts"], traces[:, :-1]), traces[:, 1:]
        loss = F.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten(), ignore_index=PADDING)
        real = wanted != PADDING
        right = ((logits.argmax(dim=-1) == wanted) & real).sum() / real.sum()
        return {"loss": loss, "accuracy": right}

    @torch.no_grad()
    def write(
        self,
        problems: Sequence[Problem],
        *,
        temperature: float = 0.0,
        generators: Sequence[torch.Generator] | None = None,
    ) -> list[list[int]]:
        """Returns the tokens that it writes for each problem, start and end included, as of ``search``.

        There is no end where ``max_length`` came before.
        """
        found: list[list[int]] = []
        for at in range(0, len(problems), SIDE_BY_SIDE):
            part = slice(at, at + SIDE_BY_SIDE)
            rows = [self.tokens.prompt(problem) for problem in problems[part]]
            prompts = padded(rows, PADDING, self.embedding.row.weight.device)
            with evaluating(self):
                context, layout = self.read(prompts)
                writer = SearchWriter(
                    self.decoder, embed=self.embedding, logits=self.embedding.logits
                )
                made = generate(
                    writer,
                    [[START]] * len(rows),
                    end=END,
                    max_length=self.max_length,
                    sampling=Sampling(temperature=temperature),
                    batch_size=len(rows),
                    padding=PADDING,
                    generator=None if generators is None else list(generators[part]),
                    device=prompts.device,
                    conditions={"context": context, "context_lengths": layout.lengths},
                )
            lengths = made.lengths.tolist()
            found += [
                row[:length] for row, length in zip(made.tokens.tolist(), lengths, strict=True)
            ]
        return found

    def search(
        self,
        problems: Sequence[Problem],
        *,
        temperature: float = 0.0,
        generators: Sequence[torch.Generator] | None = None,
    ) -> list[Written]:
        """Returns the length of the search that it writes for each problem, and the plan."""
        found = self.write(problems, temperature=temperature, generators=generators)
        return [self.tokens.read(row) for row in found]
