"""The transformer task planner: one demonstration says how somebody likes it. Official code was not run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headway.core.errors import UserError
from headway.core.weights import from_pretrained, save_pretrained
from headway.rl.data import DishwasherData
from headway.rl.environments import (
    DISHWASHER,
    HELD_OUT_DISHES,
    Dishwasher,
    load_as_shown,
    make_vector,
)
from headway.rl.environments.dishwasher import PREFERENCES, Preference, edit_distance
from headway.rl.layers import PointingActions
from headway.rl.metrics import evaluate, summarise
from headway.rl.models import ScriptedPolicy, TaskPlanner


def small(**options: Any) -> TaskPlanner:
    torch.manual_seed(0)
    model = TaskPlanner(dim=16, depth=1, heads=2, **options)
    model.set_spaces(DishwasherData().given_spaces.to_json())
    return model.eval()


def scenes(batch: int = 3, steps: int = 2) -> dict[str, torch.Tensor]:
    drawn = torch.Generator().manual_seed(0)
    return {name: torch.rand(batch, steps, 6, 9, generator=drawn) for name in ("objects", "prompt")}


def test_preferences_are_different_and_a_third_is_held_out() -> None:
    known = {
        (*Preference(number).order, *Preference(number).racks) for number in range(PREFERENCES)
    }
    assert len(known) == PREFERENCES == 384
    training, kept = (
        set(Dishwasher(preferences=which).numbers) for which in ("training", "held out")
    )
    assert not training & kept
    assert (len(training | kept), len(kept)) == (PREFERENCES, 128)


def test_the_script_does_what_was_shown_and_another_demonstration_misleads_it() -> None:
    for name, arguments in ((DISHWASHER, {}), (HELD_OUT_DISHES, {})):
        envs = make_vector(name, 4, **arguments)
        found = evaluate(ScriptedPolicy(load_as_shown), envs, episodes=12, seed=1)
        assert [one.total for one in found] == pytest.approx([1.0] * 12)
    envs = make_vector(HELD_OUT_DISHES, 4, prompt="another")
    found = evaluate(ScriptedPolicy(load_as_shown), envs, episodes=40, seed=1)
    assert summarise(found)["return_mean"] < 0.5


def test_an_episode_says_how_well_it_is_packed_and_in_which_order() -> None:
    env = Dishwasher()
    seen, said = env.reset(seed=3)
    assert said == {"packed": 0.0, "disorder": 1.0}
    for _ in range(6):
        seen, _, ended, _, said = env.step(load_as_shown(seen))
    assert ended
    assert said == {"packed": 1.0, "disorder": 0.0}
    env.reset(seed=3)
    env.step(np.int64(0))
    assert env.step(np.int64(1))[1] == 0.0  # it is loaded already, and stays in its rack
    assert env.places[0] == 1
    assert edit_distance([1, 2, 3], [2, 3, 1]) == 2
    assert edit_distance([], [1]) == 1


def test_tokens_point_at_objects_in_whatever_order_they_stand() -> None:
    model, seen = small(), scenes()
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    moved = {**seen, "objects": seen["objects"][:, :, order]}
    wanted = model(seen).unflatten(-1, (6, 2))[:, :, order].flatten(-2)
    torch.testing.assert_close(model(moved), wanted)
    # The steps of a demonstration stand in an order that matters.
    other = {**seen, "prompt": seen["prompt"][:, :, order]}
    assert (model(other) - model(seen)).abs().max() > 1e-4
    blind = small(prompted=False)
    assert torch.equal(blind(other), blind(seen))


def test_it_lies_in_a_folder_and_plays(tmp_path: Path) -> None:
    model = small()
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path).eval()
    assert torch.equal(again(scenes()), model(scenes()))
    found = [evaluate(again, make_vector(DISHWASHER, n), episodes=4, seed=2) for n in (1, 3)]
    assert [one.total for one in found[0]] == [one.total for one in found[1]]


def test_what_is_no_scene_is_refused() -> None:
    with pytest.raises(UserError, match="a scene has objects"):
        TaskPlanner(
            dim=16,
            heads=2,
            spaces={
                "observation": {
                    "kind": "dict",
                    "parts": {"objects": {"kind": "box", "shape": [3]}},
                },
                "action": {"kind": "discrete", "n": 6},
            },
        )
    with pytest.raises(UserError, match="5 actions are no 2 for each object"):
        PointingActions(16, 5, ways=2)


@pytest.mark.slow
@pytest.mark.learns
@pytest.mark.parametrize("prompted", [True, False], ids=["with a demonstration", "without"])
def test_a_demonstration_is_enough_for_a_new_preference(
    prompted: bool, seed: int, measured, train
) -> None:
    """Share of steps that are as wanted, for preferences that are not in training.

    Seeds 0 and 1: 1.000, and 0.307 with the demonstration of another preference; trained without one 0.347 (seed 0).
    """
    torch.manual_seed(seed)
    data = DishwasherData(data_seed=seed, batch_size=32)
    model = TaskPlanner(dim=48, depth=2, heads=4, prompted=prompted)
    train(model, data, steps=600, rate=2e-3)
    found = evaluate(model, make_vector(HELD_OUT_DISHES, 50), episodes=200, seed=5)
    bound = {"above": 0.8} if prompted else {"below": 0.4}
    measured("steps as wanted", summarise(found)["return_mean"], **bound)
