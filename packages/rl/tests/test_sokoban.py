"""Sokoban: rules, A*, symmetric copies, tokens, and what data, environment and Searchformer make of them.

Levels, A* and vocabulary of the official code (facebookresearch/searchformer) were read, not run.
"""

from collections import deque
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch

from headway.core.errors import UserError
from headway.core.weights import from_pretrained, save_pretrained
from headway.rl.data import BootstrappedSearchData, SokobanSearchData
from headway.rl.environments import SOKOBAN, SOKOBANS, SokobanPush, astar_move, make_vector
from headway.rl.mazes import scattered_maze
from headway.rl.metrics import evaluate
from headway.rl.models import ScriptedPolicy, Searchformer
from headway.rl.planning import astar, judge
from headway.rl.planning.tokens import Written
from headway.rl.sokoban import Level, Levels, SokobanTokens, signature, variants

UP, DOWN, LEFT, RIGHT = range(4)


def level(*rows: str) -> Level:
    """Returns the level that rows of ``#`` wall, ``.`` dock, ``$`` box, ``*`` box on dock, ``@`` worker draw."""
    drawn = np.array([list(row) for row in rows])

    def cells(*kinds: str) -> tuple[int, ...]:
        return tuple(np.flatnonzero(np.isin(drawn, kinds)).tolist())

    return Level(drawn == "#", cells(".", "*"), cells("$", "*"), cells("@")[0])


def drawn(number: int, **kind) -> list[Level]:
    random = np.random.default_rng(0)
    return [Levels(**kind).draw_solved(random)[0] for _ in range(number)]


def fewest(problem: Level) -> int:
    """Returns the steps of a shortest plan, found without any heuristic."""
    away, queue = {problem.beginning: 0}, deque([problem.beginning])
    while queue:
        node = queue.popleft()
        if problem.solved(node):
            return away[node]
        for there in problem.following(node):
            if there not in away:
                away[there] = away[node] + 1
                queue.append(there)
    raise AssertionError


def test_boxes_are_pushed_one_at_a_time_and_never_pulled() -> None:
    one = level("######", "#@$ .#", "#    #", "#    #", "#    #", "######")
    node = one.beginning
    assert one.act(node, UP) == node
    pushed = one.act(node, RIGHT)
    assert pushed == (8, (9,))
    assert one.act(pushed, LEFT) == (7, (9,))  # the box stays
    assert one.solved(one.act(pushed, RIGHT))
    row = level("######", "#@$$.#", "#   .#", "#    #", "#    #", "######")
    assert row.act(row.beginning, RIGHT) == row.beginning
    wall = level("######", "#@$# #", "#   .#", "#    #", "#    #", "######")
    assert wall.act(wall.beginning, RIGHT) == wall.beginning


def test_a_box_in_a_corner_is_lost_unless_it_is_on_a_dock() -> None:
    rows = ["######", "#$   #", "#  @ #", "#   .#", "#    #", "######"]
    assert level(*rows).left(level(*rows).beginning) is None
    with pytest.raises(UserError, match="start of the Sokoban level to its goal"):
        astar(level(*rows))
    rows[1] = "#*   #"
    there = level(*rows[:3], "#    #", *rows[4:])
    assert there.left(there.beginning) == 0
    assert there.solved(there.beginning)


@pytest.mark.parametrize("kind", [{"size": 6, "boxes": 1, "walls": 3}, {"size": 6, "boxes": 2}])
def test_astar_finds_shortest_plans_and_never_asks_for_too_much(kind) -> None:
    random = np.random.default_rng(1)
    for one in drawn(12, **kind):
        steps = fewest(one)
        for ties in (None, random):
            search = astar(one, ties)
            assert len(search.plan) == steps + 1
            assert one.leads(search.plan)
            closed = [step for step in search.steps if step.action == "close"]
            assert max(step.cost + step.heuristic for step in closed) == steps
        node = one.beginning
        for place, action in enumerate(one.actions(astar(one).plan)):
            left = one.left(node)
            assert left is not None
            assert left <= steps - place
            node = one.act(node, action)
        assert one.solved(node)


def test_plans_that_do_not_lead() -> None:
    one = level("######", "#@$ .#", "#    #", "#    #", "#    #", "######")
    plan = [7, 8, 9]
    assert one.leads(plan)
    assert not one.leads(plan[:2])
    assert not one.leads(plan[1:])
    assert not one.leads([7, 9])
    assert not one.leads([7, 6, 7, 8, 9])  # through a wall
    assert one.actions([7, 8, 14, 40]) == [RIGHT, DOWN]
    good, longer = [7, 8, 9], [7, 13, 7, 8, 9]
    found = judge([one] * 3, [Written(0, good), Written(0, longer), Written(0, None)])
    assert [(p.solved, p.optimal) for p in found] == [(True, True), (True, False), (False, False)]


def test_turned_and_mirrored_levels_are_the_same() -> None:
    one, other = drawn(2, size=7, boxes=2)
    copies = list(variants(one))
    assert {signature(copy) for copy in copies} == {signature(one)}
    assert len({copy.seen(copy.beginning).tobytes() for copy in copies}) == 8
    assert {len(astar(copy).plan) for copy in copies} == {len(astar(one).plan)}
    assert signature(other) != signature(one)
    moved = Level(one.walls, one.docks, one.boxes, other.worker)
    assert other.worker == one.worker or signature(moved) != signature(one)


def test_a_search_is_written_and_read() -> None:
    tokens = SokobanTokens(7)
    for one in drawn(5, size=7, boxes=2):
        search = astar(one, np.random.default_rng(0))
        assert tokens.has_words_for(search)
        trace = tokens.trace(search)
        assert tokens.read(trace).plan == search.plan
        # Worker and loose boxes, with a word each, and two costs.
        lengths = sum(1 + 2 * len(step.cells) + 2 for step in search.steps)
        assert tokens.read(trace).length == lengths
        assert tokens.read(tokens.trace(search, reasoning=False)) == (0, search.plan)
        prompt = tokens.prompt(one)
        assert len(prompt) == 2 * (1 + 2 + 2 + int(one.walls.sum()))
        assert max(*prompt, *trace) < len(tokens.vocabulary)
    said = [tokens.vocabulary[token] for token in prompt[:6:2]]
    assert said == ["worker", "box", "box"]
    with pytest.raises(UserError, match="the model knows Sokoban levels of 7"):
        tokens.prompt(drawn(1, size=6, boxes=1)[0])


def test_no_part_has_a_copy_of_another() -> None:
    data = SokobanSearchData(size=6, boxes=1, walls=3, number=60, val=20, test=20, longest=256)
    data.setup()
    parts = data.parts
    marks = [signature(one) for part in parts.values() for one in part]
    assert len(marks) == len(set(marks)) == 100
    assert max(map(data.tokens_of, data.train_set.rows)) <= 256
    assert all(one.leads(astar(one).plan) for one in parts["val"])
    assert data.preprocessing()["environment"] == "headway/Sokoban6-v0"
    other = SokobanSearchData(size=6, boxes=1, walls=3, number=9, val=20, test=20, longest=256)
    other.setup()
    assert [signature(one) for one in other.parts["test"]] == marks[20:40]


def test_the_environment_shows_pushes_and_ends() -> None:
    env = SokobanPush(size=6, boxes=1, render_mode="rgb_array")
    one = level("######", "#@$ .#", "#    #", "#    #", "#    #", "######")
    seen, info = env.reset(seed=0, options={"problem": one})
    assert env.observation_space.contains(seen)
    assert info == {"shortest": 2}
    assert signature(Level.of_planes(seen)) == signature(one)
    picture = env.render()
    assert picture is not None
    assert picture.shape == (6 * 24, 6 * 24, 3)
    env.step(np.int64(LEFT))  # a wall
    env.step(np.int64(RIGHT))
    _, reward, ended, late, _ = env.step(np.int64(RIGHT))
    assert (ended, late) == (True, False)
    assert reward == pytest.approx(2 / 3)
    env.reset(seed=0, options={"problem": one})
    assert [env.step(np.int64(UP))[3] for _ in range(72)] == [False] * 71 + [True]
    first, second = (gymnasium.make(SOKOBAN).reset(seed=7)[0] for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", [SOKOBAN, *SOKOBANS])
def test_a_script_pushes_shortest_ways(name: str) -> None:
    envs = make_vector(name, 2)
    found = evaluate(ScriptedPolicy(partial(astar_move, problem=Level)), envs, episodes=3, seed=5)
    envs.close()
    assert [one.total for one in found] == [1.0] * 3


def build(**options) -> Searchformer:
    torch.manual_seed(0)
    sizes = {"size": 6, "dim": 16, "depth": 1, "encoder_depth": 1, "heads": 2, "max_length": 60}
    return Searchformer(**(sizes | {"tokens": SokobanTokens} | options)).eval()


def test_searchformer_plans_in_levels(monkeypatch) -> None:
    monkeypatch.setattr(
        Searchformer, "plan", lambda self, some, generators=None: [astar(one).plan for one in some]
    )
    envs = make_vector("headway/Sokoban6-v0", 3)
    found = evaluate(build(), envs, episodes=5, seed=3)
    envs.close()
    assert [one.total for one in found] == [1.0] * 5


def test_searchformer_writes_of_what_it_was_built_for(tmp_path) -> None:
    model, some = build(), drawn(3, size=6, boxes=1, walls=3)
    written = model.write(some)
    save_pretrained(model, tmp_path / "model")
    again = from_pretrained(str(tmp_path / "model"))
    assert again.write(some) == written
    with pytest.raises(UserError, match="this is a maze, the model knows Sokoban levels"):
        model.write([scattered_maze(6, np.random.default_rng(0))])
    data = BootstrappedSearchData(
        problems=Levels(size=6, boxes=1, walls=3),
        source=str(tmp_path / "model"),
        samples=2,
        number=4,
        val=2,
        test=0,
    )
    data.setup("fit")
    assert len(data.train_set.rows) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 4}, "size is 4"),
        ({"boxes": 0}, "boxes is 0"),
        ({"size": 5, "boxes": 2}, "has 1 to 1"),
        ({"walls": 30}, "walls is 30"),
    ],
)
def test_levels_that_cannot_be(options, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SokobanPush(**options)
