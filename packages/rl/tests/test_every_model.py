"""Every model of the domain, copied, moved, saved and exported with a free batch and free time."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headway.core.testing.models import Case, check_copies, check_graph
from headway.rl import models
from headway.rl.layers import (
    AutoregressiveValues,
    TokenActions,
    TokenObservations,
    UniformMasking,
    UniformTokens,
)
from headway.rl.models import (
    ACT,
    RATE,
    BehaviorTransformer,
    BehaviourCloning,
    DecisionConvFormer,
    DecisionS4,
    DecisionTransformer,
    DiffusionPolicy,
    DiffusionUNet,
    OnlineDecisionS4,
    OnlineDecisionTransformer,
    SkillTransformer,
    VQBeT,
)
from headway.rl.sokoban import SokobanTokens
from headway.rl.spaces import Box, Dict, Discrete, Spaces

KINDS = (
    BehaviorTransformer,
    BehaviourCloning,
    DecisionConvFormer,
    DecisionS4,
    DecisionTransformer,
    OnlineDecisionS4,
    OnlineDecisionTransformer,
    RATE,
    SkillTransformer,
)

SIZES = {
    "observation_dim": 4,
    "action_dim": 2,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "context_length": 8,
}


def steps(batch: int, number: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(number)
    shapes = ((4,), (2,), ())
    drawn = (torch.randn(batch, number, *shape, generator=generator) for shape in shapes)
    return *drawn, torch.arange(number).expand(batch, -1)


def tried(batch: int, number: int) -> tuple[Tensor, ...]:
    observations, actions, rewards, _ = steps(batch, number)
    return observations, actions, rewards, observations + 1


CASES = {
    cls.__name__: Case(make=lambda cls=cls: cls(**SIZES), inputs=steps, sizes=(5, 3, 8))
    for cls in KINDS
}

CHUNKS = {"observation_dim": 4, "action_dim": 2, "dim": 16, "depth": 1, "heads": 2, "horizon": 6}


def seen(history: int, batch: int, number: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(batch)
    return (torch.randn(batch, history, 4, generator=generator),)


CASES["ACT"] = Case(make=lambda: ACT(style_depth=1, **CHUNKS), inputs=partial(seen, 1))
CASES["DiffusionPolicy"] = Case(
    make=lambda: DiffusionPolicy(**CHUNKS, taken=3), inputs=partial(seen, 2)
)
CASES["DiffusionUNet"] = Case(
    make=lambda: DiffusionUNet(
        observation_dim=4, action_dim=2, dim=16, widths=(16, 32), horizon=5, taken=3
    ),
    inputs=partial(seen, 2),
)
CASES["VQBeT"] = Case(make=lambda: VQBeT(**CHUNKS, history=3), inputs=partial(seen, 3))


def pictures(batch: int, number: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(batch)
    return (torch.randint(256, (batch, number, 16, 16, 3), generator=generator).to(torch.uint8),)


SCREEN = {
    "observation": {"kind": "box", "shape": [16, 16, 3], "low": 0, "high": 255, "dtype": "uint8"},
    "action": {"kind": "discrete", "n": 3, "start": 0},
}
CASES["DART"] = Case(
    make=lambda: models.DART(dim=16, depth=1, heads=2, max_timestep=8, spaces=SCREEN),
    inputs=pictures,
    sizes=(3,),
)


CASES["DecisionPretrainedTransformer"] = Case(
    make=lambda: models.DecisionPretrainedTransformer(
        observation_dim=4, action_dim=2, dim=16, depth=1, heads=2, horizon=8
    ),
    inputs=tried,
    sizes=(5, 3, 8),
)


def maze_tokens(vocabulary: int, *lengths: int | None):
    """Draws rows of tokens other than padding; a length of None is the free one."""

    def draw(batch: int, number: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(number)
        return tuple(
            torch.randint(4, vocabulary, (batch, length or number), generator=generator)
            for length in lengths
        )

    return draw


PLANS = {"size": 4, "dim": 16, "depth": 1, "heads": 2, "max_length": 20}
CASES["Searchformer"] = Case(
    make=lambda: models.Searchformer(encoder_depth=1, **PLANS),
    inputs=maze_tokens(41, 10, None),
    sizes=(5, 3, 8),
)
CASES["Searchformer of Sokoban"] = Case(
    make=lambda: models.Searchformer(encoder_depth=1, tokens=SokobanTokens, **PLANS),
    inputs=maze_tokens(58, 10, None),
    sizes=(5, 3, 8),
)
CASES["MazeTransformer"] = Case(
    make=lambda: models.MazeTransformer(**PLANS), inputs=maze_tokens(29, None), sizes=(5, 3, 8)
)
CASES["MazeTransformer with MLM-U"] = Case(
    make=lambda: models.MazeTransformer(objective=UniformMasking(), **PLANS),
    inputs=maze_tokens(29, None),
    sizes=(5, 3, 8),
)
CASES["BodyTransformer"] = Case(
    make=lambda: models.BodyTransformer(body="HalfCheetah-v5", dim=16, depth=2, heads=2),
    inputs=lambda batch, number: (torch.randn(batch, number, 17),),
    sizes=(5, 3, 8),
)


def tries(batch: int, number: int) -> tuple[Tensor, ...]:
    observations, actions, rewards, times = steps(batch, number)
    return observations, actions, rewards, times % 4, rewards, times % 4 == 3, times // 4


CASES["AgenticTransformer"] = Case(
    make=lambda: models.AgenticTransformer(**SIZES, trials=2, max_timestep=4),
    inputs=tries,
    sizes=(5, 3, 8),
)

JUDGED = {"observation_dim": 4, "action_dim": 2, "dim": 16}


def looked(batch: int, number: int) -> tuple[Tensor, ...]:
    return steps(batch, number)[:1]


for kind in (models.ImplicitQLearning, models.TD3BC):
    CASES[kind.__name__] = Case(
        make=lambda kind=kind: kind(**JUDGED), inputs=looked, sizes=(5, 3, 8)
    )


CASES["QTransformer"] = Case(
    make=lambda: models.QTransformer(**SIZES, actions=partial(AutoregressiveValues, bins=5)),
    inputs=steps,
    sizes=(5, 3, 8),
    narrow=False,  # the best bin is another where two are nearly as good
)


CASES["TDM"] = Case(
    make=lambda: models.TDM(
        observation_dim=4,
        action_dim=2,
        dim=16,
        depth=1,
        heads=2,
        context_length=9,
        observations=partial(TokenObservations, tokens=partial(UniformTokens, bins=5)),
        actions=partial(TokenActions, tokens=partial(UniformTokens, bins=5)),
    ),
    inputs=lambda batch, number: steps(batch, number)[:3],
    sizes=(5, 3, 8),
    narrow=False,  # a number at the edge of its bin belongs to the next one
)


def kitchen(batch: int, number: int) -> tuple[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(batch)
    drawn = (torch.randn(batch, number, 4, 5, generator=generator) for _ in range(2))
    return (dict(zip(("objects", "prompt"), drawn, strict=True)),)


SCENE = Dict(parts={name: Box(shape=(4, 5)) for name in ("objects", "prompt")})
CASES["TaskPlanner"] = Case(
    make=lambda: models.TaskPlanner(
        dim=16,
        depth=1,
        heads=2,
        spaces=Spaces(observation=SCENE, action=Discrete(n=8)).to_json(),
    ),
    inputs=kitchen,
    sizes=(5, 3, 8),
)


def test_every_model_has_a_case() -> None:
    assert CASES.keys() >= set(models.list_models())


@pytest.mark.parametrize("name", CASES)
def test_copies_of_a_model_answer_as_it_does(name: str, tmp_path: Path) -> None:
    check_copies(CASES[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_it_exports_with_free_sizes(name: str, tmp_path: Path) -> None:
    check_graph(CASES[name], tmp_path / "model.pt2")
