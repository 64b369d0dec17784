"""What a maze transformer knows of its maze."""

import matplotlib as mpl
import numpy as np
import pytest
import torch

from headway.core.errors import UserError
from headway.core.explain import linear_probes
from headway.rl.figures import maze_probing_figure
from headway.rl.mazes import perfect_maze, scattered_maze
from headway.rl.metrics.maze_probing import (
    adjacency_heads,
    maze_of,
    passages_of,
    probe_maze,
)
from headway.rl.models import MazeTransformer


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


def test_a_probe_reads_its_own_maze_beyond_chance_and_another_one_not() -> None:
    """Of a model that was not trained: attention that is nearly even makes a list of passages of one token.

    A model of 4 x 4 mazes trained for 1200 steps reads less (0.73; untrained 0.93, chance 0.66): see the README.
    """
    model, some = build(), mazes(500)
    found = probe_maze(model, some)
    own = found.trained[-1]
    assert own.accuracy > own.chance + 0.1
    assert found.trained[0].accuracy == pytest.approx(
        own.chance, abs=0.02
    )  # the same token everywhere
    prompts = [(torch.tensor(model.prompts(some)),)]
    questions = torch.from_numpy(np.stack([passages_of(maze) for maze in some[1:] + some[:1]]))
    others = linear_probes(model, prompts, questions, decay=0.1)
    assert others[-1].accuracy < own.chance + 0.03


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
