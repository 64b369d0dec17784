"""A transformer of mazes as lists of passages."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.blocks.residual import NormFactory
from headway.core.cache import Cache, CacheGroup
from headway.core.feedforward import SwiGLU
from headway.core.generation import Sampling, generate
from headway.core.generation.draws import row_keys, uniform
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.module import evaluating
from headway.core.norms import RMSNorm
from headway.core.stacks import Decoder, Encoder
from headway.rl.layers.path_objectives import NextToken, PathObjective
from headway.rl.layers.place_embedding import PlaceEmbedding
from headway.rl.mazes import Maze
from headway.rl.mazes.adjacency import MASK, AdjacencyTokens, shuffled
from headway.rl.models.planning_model import PlanningModel
from headway.rl.models.search_writer import padded
from headway.rl.models.searchformer import SIDE_BY_SIDE, RotaryAttention
from headway.rl.planning import PADDING, Problem, Written


class MazeTransformer(PlanningModel):
    """Reads the passages of a maze, origin and target, and writes the path.

    With ``NextToken`` it is a causal decoder, with ``UniformMasking`` an encoder that is asked for one hidden
    token after the other; both have the same layers.

    Args:
        size: Cells along one side of the mazes.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of attention.
        max_length: Most tokens of a path, its end included.
        objective: What it is taught: ``NextToken()`` if None, or ``UniformMasking()``.
        mixer: Builds the mixer, ``(dim, heads)``, with ``causal=True`` where the objective asks for it.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.

    Shape:
        tokens: (B, T) int64, right-padded. Output: logits (B, T, V): of what follows each token, or of the
        hidden ones themselves.

    Source:
        Ivanitskiy et al. 2023, https://arxiv.org/abs/2312.02566, section 2.
    """

    def __init__(
        self,
        *,
        size: int = 6,
        dim: int = 64,
        depth: int = 4,
        heads: int = 4,
        max_length: int = 64,
        objective: PathObjective | None = None,
        mixer: MixerFactory = RotaryAttention,
        feedforward: FeedForwardFactory = SwiGLU,
        norm: NormFactory = RMSNorm,
    ) -> None:
        super().__init__(problem=Maze, size=size, max_length=max_length)
        self.objective = NextToken() if objective is None else objective
        self.tokens = AdjacencyTokens(size)
        self.embedding = PlaceEmbedding(
            len(self.tokens.vocabulary), dim, size=size, first=self.tokens.first_cell
        )
        parts = {"feedforward": feedforward, "norm": norm}
        if self.objective.causal:
            self.stack: Encoder | Decoder = Decoder(
                dim,
                depth,
                heads,
                mixer=partial(mixer, causal=True),  # pyright: ignore[reportCallIssue]
                **parts,
            )
        else:
            self.stack = Encoder(dim, depth, heads, mixer=mixer, **parts)
        init_transformer_(self.stack)

    def forward(
        self,
        tokens: Tensor,
        hidden: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Returns the logits.

        Args:
            tokens: Right-padded.
            hidden: True where a token is one that nobody but itself may look at, (B, T).
            lengths: Real tokens of each row, where a cache has to know.
            cache: What the rows have seen before; from ``init_cache``.
        """
        mask = None
        if hidden is not None:
            itself = torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device)
            mask = (~hidden[:, None, :] | itself)[:, None]
        if not self.objective.causal:
            lengths = (tokens != PADDING).sum(dim=1)
        layout = None if lengths is None else Layout(lengths=lengths)
        x, _ = self.stack(self.embedding(tokens), layout, mask=mask, cache=cache)
        return self.embedding.logits(x)

    def loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the loss of the objective.

        Args:
            batch: ``tokens`` (B, T), right-padded int64.
        """
        tokens = batch["tokens"]
        return {"loss": self.objective.loss(self, tokens, self.on_path(tokens), mask=MASK)}

    def on_path(self, tokens: Tensor) -> Tensor:
        """Returns which tokens belong to the path, its end included, (B, T)."""
        begun = (tokens == self.tokens.path).cumsum(dim=1) > 0
        return begun & (tokens != self.tokens.path) & (tokens != PADDING)

    def init_cache(self, batch: int, max_length: int) -> CacheGroup:
        """Returns an empty cache; of a causal model alone."""
        return self.stack.init_cache(batch, max_length)

    def prompts(self, mazes: Sequence[Problem]) -> list[list[int]]:
        """Returns the tokens of mazes up to the path; the order of the passages follows from their number."""
        return [self.tokens.prompt(maze, shuffled(0)) for maze in mazes]

    @torch.no_grad()
    def search(
        self,
        problems: Sequence[Problem],
        *,
        temperature: float = 0.0,
        generators: Sequence[torch.Generator] | None = None,
    ) -> list[Written]:
        """Returns the path that it writes for each maze, from left to right; there is no search before it."""
        sampling = Sampling(temperature=temperature)
        found: list[Written] = []
        for at in range(0, len(problems), SIDE_BY_SIDE):
            part = slice(at, at + SIDE_BY_SIDE)
            drawn = None if generators is None else list(generators[part])
            with evaluating(self):
                write = self._write if self.objective.causal else self._uncover
                found += write(self.prompts(problems[part]), sampling, drawn)
        return found

    def _write(
        self, prompts: list[list[int]], sampling: Sampling, drawn: list[torch.Generator] | None
    ) -> list[Written]:
        made = generate(
            self,
            prompts,
            end=self.tokens.end,
            max_length=max(map(len, prompts)) + self.max_length,
            sampling=sampling,
            batch_size=len(prompts),
            padding=PADDING,
            generator=drawn,
            device=self.embedding.row.weight.device,
        )
        rows = zip(made.tokens.tolist(), made.lengths.tolist(), prompts, strict=True)
        return [self.tokens.read(row[len(prompt) : length]) for row, length, prompt in rows]

    def _uncover(
        self, prompts: list[list[int]], sampling: Sampling, drawn: list[torch.Generator] | None
    ) -> list[Written]:
        """Asks for the next token of each path as the only one that is hidden, until all have ended."""
        rows, running = [list(prompt) for prompt in prompts], list(range(len(prompts)))
        keys = row_keys(len(prompts), drawn)
        for step in range(self.max_length):
            device = self.embedding.row.weight.device
            tokens = padded([[*rows[row], MASK] for row in running], PADDING, device)
            last = torch.tensor([len(rows[row]) for row in running], device=device)
            logits = self(tokens, tokens == MASK)[torch.arange(len(running)), last]
            numbers = uniform(keys[running], torch.tensor(step)).to(device)
            said = sampling(logits, numbers).tolist()
            for row, token in zip(running, said, strict=True):
                rows[row].append(token)
            running = [
                row for row, token in zip(running, said, strict=True) if token != self.tokens.end
            ]
            if not running:
                break
        return [
            self.tokens.read(row[len(prompt) :]) for row, prompt in zip(rows, prompts, strict=True)
        ]
