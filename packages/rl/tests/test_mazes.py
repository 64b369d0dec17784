"""Mazes, A*, symmetric copies, and what data and environment make of them."""

from functools import partial

import gymnasium
import numpy as np
import pytest

from headway.core.errors import UserError
from headway.rl.data import MazePathData, MazeSearchData
from headway.rl.environments import MAZE, MAZES, MazeWalk, astar_move, make_vector
from headway.rl.mazes import (
    Maze,
    MazeTokens,
    distances,
    draw_maze,
    perfect_maze,
    scattered_maze,
    signature,
    variants,
)
from headway.rl.metrics import evaluate
from headway.rl.models import ScriptedPolicy
from headway.rl.planning import END, astar


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", ["scattered", "perfect"])
def test_mazes_of_both_kinds(kind) -> None:
    draws = random()
    for _ in range(20):
        maze = draw_maze(8, draws, kind=kind)
        reached = distances(maze.adjacent, maze.start)
        assert maze.goal in reached
        assert not maze.walls.flat[maze.start]
        if kind == "perfect":
            assert len(maze.connections) == 63
            assert len(reached) == 64
        else:
            assert maze.scattered
            assert reached[maze.goal] >= 7


def test_astar_finds_shortest_ways_and_says_what_it_does() -> None:
    draws = random(1)
    for _ in range(30):
        maze = scattered_maze(8, draws)
        away = distances(maze.adjacent, maze.start)
        for ties in (None, random(2)):
            search = astar(maze, ties)
            assert maze.leads(search.plan)
            assert len(search.plan) == away[maze.goal] + 1
            created, closed = set(), []
            for step in search.steps:
                row, column = np.abs(np.subtract(divmod(step.cells[0], 8), divmod(maze.goal, 8)))
                assert step.heuristic == row + column
                if step.action == "create":
                    created.add(step.cells)
                else:
                    assert step.cells in created
                    assert step.cost == away[step.cells[0]]
                    closed.append(step)
            # With a consistent heuristic the estimates never fall.
            estimates = [step.cost + step.heuristic for step in closed]
            assert estimates == sorted(estimates)


def test_ties_are_broken_by_the_cell_or_by_chance() -> None:
    maze = Maze.of_walls(np.zeros((5, 5), bool), 0, 24)
    assert astar(maze) == astar(maze)
    lengths = {len(astar(maze, random(seed)).steps) for seed in range(10)}
    assert len(lengths) > 1
    with pytest.raises(UserError, match="no way leads"):
        astar(Maze.of_walls(np.eye(3, dtype=bool)[::-1], 0, 8))


def test_turned_and_mirrored_mazes_are_the_same() -> None:
    draws = random(3)
    for maze in (scattered_maze(6, draws), perfect_maze(5, draws)):
        copies = list(variants(maze))
        assert len(copies) == 8
        assert len({copy.picture.tobytes() for copy in copies}) == 8
        assert {signature(copy) for copy in copies} == {signature(maze)}
        assert len({len(astar(copy).plan) for copy in copies}) == 1
        assert signature(draw_maze(maze.size, draws)) != signature(maze)


@pytest.mark.parametrize(
    "data",
    [
        MazeSearchData(size=4, number=40, val=30, test=30, data_seed=2),
        MazePathData(size=4, number=30, val=10, test=10),
    ],
)
def test_no_part_has_a_copy_of_another(data) -> None:
    data.setup()
    marks = [signature(maze) for part in data.parts.values() for maze in part]
    assert len(marks) == len(set(marks)) == data.number + data.val + data.test
    with pytest.raises(UserError, match="ask for fewer or larger ones"):
        type(data)(size=2, number=100).setup()


def test_what_validates_does_not_depend_on_how_much_is_learned() -> None:
    few, many = (MazeSearchData(size=4, number=number, val=5, test=5) for number in (3, 9))
    few.setup()
    many.setup()
    for part in ("val", "test"):
        pairs = zip(few.parts[part], many.parts[part], strict=True)
        assert all(np.array_equal(one.picture, other.picture) for one, other in pairs)
    assert few.val_set.rows == many.val_set.rows


def test_a_search_is_written_and_read() -> None:
    tokens, draws = MazeTokens(6), random(4)
    for _ in range(20):
        maze = scattered_maze(6, draws)
        search = astar(maze, draws)
        written = tokens.trace(search)
        assert tokens.read(written) == (4 * len(search.steps), search.plan)
        assert tokens.read(tokens.trace(search, reasoning=False)) == (0, search.plan)
        assert tokens.read(written[:-1]).plan is None  # it has not ended
        assert tokens.read([*written[:-2], END]).plan is None
        prompt = tokens.prompt(maze)
        assert len(prompt) == 4 + 2 * int(maze.walls.sum())
        assert max(*prompt, *written) < len(tokens.vocabulary)
    with pytest.raises(UserError, match="the model knows mazes of 6"):
        tokens.prompt(scattered_maze(5, draws))
    with pytest.raises(UserError, match="walls between cells"):
        tokens.prompt(perfect_maze(6, draws))


@pytest.mark.parametrize("name", [MAZE, *MAZES])
def test_a_script_walks_shortest_ways(name: str) -> None:
    envs = make_vector(name, 2)
    found = evaluate(ScriptedPolicy(partial(astar_move, problem=Maze)), envs, episodes=3, seed=5)
    envs.close()
    assert [one.total for one in found] == [1.0] * 3
    assert all(one.terminated for one in found)


def test_the_environment_shows_walls_stops_and_ends() -> None:
    env = MazeWalk(size=3, render_mode="rgb_array")
    maze = Maze.of_walls(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], bool), 0, 8)
    seen, info = env.reset(seed=0, options={"problem": maze})
    assert env.observation_space.contains(seen)
    assert info == {"shortest": 4}
    shown = Maze.of_planes(seen)
    assert (shown.start, shown.goal) == (0, 8)
    assert np.array_equal(shown.picture, maze.picture)
    seen, reward, ended, late, _ = env.step(np.int64(0))  # up, against the border
    assert (env.node, reward, ended, late) == (0, 0.0, False, False)
    for action in (1, 3, 1, 3, 3):  # down, right against a wall, down, right, right
        seen, reward, ended, late, _ = env.step(np.int64(action))
    assert ended
    assert reward == pytest.approx(4 / 6)
    picture = env.render()
    assert picture is not None
    assert picture.shape == (3 * 24 + 4 * 4,) * 2 + (3,)
    env.reset(seed=0, options={"problem": maze})
    ends = [env.step(np.int64(0))[2:4] for _ in range(9)]
    assert ends == [(False, False)] * 8 + [(False, True)]
    one, other = (gymnasium.make(MAZE).reset(seed=7)[0] for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 1}, "size is 1"),
        ({"kind": "round"}, "kind is 'round'"),
        ({"density": (0.5, 0.3)}, r"density is \[0.5, 0.3\]"),
        ({"density": (0.5, 0.9)}, "from 0 to 0.6"),
    ],
)
def test_mazes_that_cannot_be(options, message: str) -> None:
    with pytest.raises(UserError, match=message):
        MazeWalk(**options)
