"""What a maze transformer knows of its maze, and which of its heads look passages up."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.core.errors import UserError
from headway.core.explain import Probe, linear_probes
from headway.core.module import evaluating
from headway.core.systems import system
from headway.core.taps import record
from headway.core.weights.config import build, describe
from headway.rl.mazes import Maze
from headway.rl.models.maze_transformer import MazeTransformer
from headway.rl.models.search_writer import padded
from headway.rl.planning import PADDING, astar

BATCH = 128


class MazeProbing(NamedTuple):
    """What was found.

    Args:
        trained: Probes of the model at each depth; their questions are ``passages_of`` the mazes.
        untrained: The same of a model of the same kind that has learned nothing.
        heads: Share of the attention of each head that goes from cells of the path to passages of that cell,
            (depth, heads).
        evenly: The same share of attention that is spread over all tokens before.
    """

    trained: list[Probe]
    untrained: list[Probe]
    heads: NDArray[np.float64]
    evenly: float


def passages_of(maze: Maze) -> NDArray[np.bool_]:
    """Returns which neighbours are connected: down, row by row, and then right, (2 size (size - 1),)."""
    return np.concatenate([maze.down[:-1].ravel(), maze.right[:, :-1].ravel()])


def maze_of(passages: NDArray[np.bool_], like: Maze) -> Maze:
    """Returns the maze of such answers, with start and goal of another one."""
    size = like.size
    down, right = np.zeros_like(like.down), np.zeros_like(like.right)
    half = size * (size - 1)
    down[:-1], right[:, :-1] = passages[:half].reshape(-1, size), passages[half:].reshape(size, -1)
    return Maze(down, right, like.start, like.goal)


@system(
    id=195,
    name="Maze probing",
    paper="https://arxiv.org/abs/2312.02566",
    claim="a linear probe of the one token before the path reads passages of its own maze beyond chance, of "
    "another maze none; heads that look up the passages of a cell score above even attention",
    test="packages/rl/tests/models/test_maze_probing.py",
)
def probe_maze(
    model: MazeTransformer, mazes: Sequence[Maze], *, held_out: float = 0.25, seed: int = 0
) -> MazeProbing:
    """Reads the whole maze out of the one token in front of the path, and scores the heads.

    Args:
        model: A maze transformer.
        mazes: Mazes that it was not trained on; the last ones are those that probes are asked about.
        held_out: Share of them.
        seed: Of the untrained model.

    Raises:
        UserError: If there are too few.

    Source:
        Ivanitskiy et al. 2023, https://arxiv.org/abs/2312.02566, sections 3 and 4.
    """
    if len(mazes) < 4:
        raise UserError(
            f"{len(mazes)} mazes are too few to fit probes and to ask them; give hundreds"
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = build(describe(model), expected=MazeTransformer).to(
            model.embedding.row.weight.device
        )
    questions = torch.from_numpy(np.stack([passages_of(maze) for maze in mazes]))
    trained, untrained = (
        linear_probes(one, _prompts(model, mazes), questions, held_out=held_out)
        for one in (model, fresh)
    )
    heads, evenly = adjacency_heads(model, mazes[: 2 * BATCH])
    return MazeProbing(trained, untrained, heads, evenly)


def _prompts(model: MazeTransformer, mazes: Sequence[Maze]) -> list[tuple[Tensor]]:
    """Returns the mazes as far as ``<PATH_START>``, which is the last token of each."""
    rows, device = model.prompts(mazes), model.embedding.row.weight.device
    if len({len(row) for row in rows}) > 1:
        raise UserError(
            "the mazes differ in their number of passages; probe perfect ones of one size"
        )
    return [
        (torch.tensor(rows[at : at + BATCH], device=device),) for at in range(0, len(rows), BATCH)
    ]


@torch.no_grad()
def adjacency_heads(
    model: MazeTransformer, mazes: Sequence[Maze]
) -> tuple[NDArray[np.float64], float]:
    """Returns how much each head looks from a cell of the path to passages of that cell.

    Args:
        model: A maze transformer whose mixers attend.
        mazes: The mazes.

    Returns:
        The mean share of its attention, (depth, heads), and that of even attention.
    """
    sums: list[Tensor] = []
    evenly, cells = 0.0, 0
    for at in range(0, len(mazes), BATCH):
        some = mazes[at : at + BATCH]
        prompts = model.prompts(some)
        rows = [
            prompt + model.tokens.way(astar(maze).plan)
            for prompt, maze in zip(prompts, some, strict=True)
        ]
        tokens = padded(rows, PADDING, model.embedding.row.weight.device)
        own = _own_passages(model, tokens)
        with evaluating(model), record(model, "weights") as taken:
            model(tokens)
        layers = [one[0] for one in taken["weights"].values()]
        if not layers:
            raise UserError(f"{type(model).__name__} reports no attention weights")
        asking = own.any(dim=-1)
        share = torch.stack([(one.float() * own[:, None]).sum(dim=(0, 2, 3)) for one in layers])
        sums.append(share.cpu())
        seen = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
        evenly += float((own.sum(dim=-1) / seen)[asking].sum())
        cells += int(asking.sum())
    return (torch.stack(sums).sum(dim=0) / cells).double().numpy(), evenly / cells


def _own_passages(model: MazeTransformer, tokens: Tensor) -> Tensor:
    """Returns which tokens of the list belong to a passage of each cell of the path, (B, T, T)."""
    vocabulary = model.tokens
    cell = tokens >= vocabulary.first_cell
    on_path = model.on_path(tokens) & cell
    listed = cell & ((tokens == vocabulary.words["<ADJLIST_END>"]).cumsum(dim=1) == 0)
    # The passages stand as A B ; from the second token on: its other end is one to the left or right.
    places = torch.arange(tokens.shape[1], device=tokens.device)
    other = torch.where(places % 3 == 1, places + 1, places - 1).clamp(0, tokens.shape[1] - 1)
    same = tokens[:, :, None] == tokens[:, None, :]
    return on_path[:, :, None] & listed[:, None, :] & (same | same[:, :, other])
