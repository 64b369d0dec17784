"""What a maze transformer knows of its maze."""

import matplotlib as mpl
import numpy as np
import pytest
import torch

from headway.core.errors import UserError
from headway.rl.figures import maze_probing_figure
from headway.rl.mazes import astar, perfect_maze, scattered_maze
from headway.rl.mazes.tokens import PADDING
from headway.rl.metrics.maze_probing import (
    adjacency_heads,
    maze_of,
    passages_of,
    probe_maze,
)
from headway.rl.models import MazeTransformer
from headway.rl.models.search_writer import padded


def mazes(number: int, size: int = 3, seed: int = 0):
    random = np.random.default_rng(seed)
    return [perfect_maze(size, random) for _ in range(number)]


def build(**options) -> MazeTransformer:
    torch.manual_seed(0)
    return MazeTransformer(**({"size": 3, "dim": 32, "depth": 2, "heads": 2} | options)).eval()


def test_passages_are_the_maze() -> None:
    for maze in mazes(5, size=4):
        assert np.array_equal(maze_of(passages_of(maze), maze).picture, maze.picture)


def test_heads_that_attend_evenly_score_evenly_and_one_that_looks_up_scores_more() -> None:
    model = build()
    with torch.no_grad():
        for block in model.stack.blocks:
            block.mixer.function.qkv.weight[:64] = 0  # queries and keys
    heads, evenly = adjacency_heads(model, mazes(20))
    assert heads == pytest.approx(np.full((2, 2), evenly), rel=1e-4)
    # The first layer's queries and keys are the same matrix: tokens look to those of the same cell.
    with torch.no_grad():
        qkv = model.stack.blocks[0].mixer.function.qkv.weight
        qkv[:32] = qkv[32:64] = 6 * torch.eye(32)
        model.stack.blocks[0].mixer.function.position = None
    looking, _ = adjacency_heads(model, mazes(20))
    assert looking[0].max() > 2 * evenly
    assert looking[1] == pytest.approx(heads[1], rel=1e-3)


@pytest.mark.learns
def test_training_puts_the_maze_into_the_token_before_the_path(seed: int, measured) -> None:
    """On mazes of 2 x 2 cells; with the untrained model in its place the gain is nought."""
    torch.manual_seed(seed)
    model = MazeTransformer(size=2, dim=32, depth=2, heads=2, max_length=5)
    random = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(150):
        rows = []
        for _ in range(32):
            maze = perfect_maze(2, random)
            rows.append(model.tokens.prompt(maze, random.permutation))
            rows[-1] += model.tokens.way(astar(maze).plan)
        optimizer.zero_grad()
        model.loss({"tokens": padded(rows, PADDING)})["loss"].backward()
        optimizer.step()
    found = probe_maze(model, mazes(400, size=2, seed=seed + 1), seed=seed)
    trained, untrained = (
        max(one.accuracy for one in probes) for probes in (found.trained, found.untrained)
    )
    measured("passages read of the trained over the untrained", trained - untrained, above=0.02)
    measured("over chance", trained - found.trained[0].chance, above=0.03)


def test_what_was_found_is_drawn(tmp_path) -> None:
    mpl.use("Agg")
    some = mazes(40)
    found = probe_maze(build(), some)
    assert [one.layer for one in found.trained] == ["input", "stack.blocks.0", "stack.blocks.1"]
    assert found.heads.shape == (2, 2)
    maze_probing_figure(found, some).savefig(tmp_path / "probing.png")
    assert (tmp_path / "probing.png").stat().st_size > 5000


def test_wrong_use_is_one_line() -> None:
    with pytest.raises(UserError, match="2 mazes are too few"):
        probe_maze(build(), mazes(2))
    random = np.random.default_rng(0)
    with pytest.raises(UserError, match="differ in their number of passages"):
        probe_maze(build(), [scattered_maze(3, random, (0.1, 0.4)) for _ in range(20)])
