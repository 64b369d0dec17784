"""Diffusion policies: chunks of actions out of noise, by diffusion or flow matching, with blocks or convolutions.

The authors' code of the DiT policy (github.com/sudeepdasari/dit-policy) could not be had, so nothing was compared with
it; that answers of the U-Net are those of lerobot's stands in test_lerobot_chunks.py.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from headway.core.errors import UserError
from headway.core.weights import from_pretrained, save_pretrained
from headway.rl.environments import REACH_PUSH, make_vector
from headway.rl.layers import (
    ContinuousActions,
    DenoisingActions,
    DiffusionNoising,
    FlowNoising,
    Streams,
)
from headway.rl.metrics import evaluate
from headway.rl.models import ACT, BehaviourCloning, DiffusionPolicy, DiffusionUNet

NOISINGS = {"diffusion": DiffusionNoising, "flow": FlowNoising}


def small(**options) -> DiffusionPolicy:
    torch.manual_seed(0)
    sizes = {"observation_dim": 3, "action_dim": 2, "dim": 16, "depth": 2, "heads": 2, "horizon": 5}
    model = DiffusionPolicy(**{"taken": 3, **sizes, **options})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def batch(lengths=(6, 6, 2, 1), starts=(0, 4, 0, 7), steps: int = 6) -> dict:
    number = torch.tensor(lengths)
    return {
        "observations": torch.randn(len(lengths), steps, 3),
        "actions": torch.rand(len(lengths), steps, 2) * 2 - 1,
        "timesteps": torch.arange(steps) + torch.tensor(starts)[:, None],
        "lengths": number,
        "mask": torch.arange(steps) < number[:, None],
    }


@pytest.mark.parametrize("name", NOISINGS)
def test_an_exact_model_leads_from_noise_to_the_actions(name: str) -> None:
    """With what was wanted as the answer of the model, for actions that are always the same."""
    noising, actions = NOISINGS[name](), torch.tensor([[0.3, -0.7]])

    def exact(x, step):
        if name == "flow":
            left = 1 - (step / 1000)[:, None]
            return (actions - x) / left
        place = (step * noising.process.steps / 1000).round().long()
        return noising.process.noise_in(x, place, actions)

    found = noising.generate(exact, lambda: torch.randn(4, 2))
    torch.testing.assert_close(found, actions.expand(4, 2), atol=1e-4, rtol=0.0)
    example = noising.example(actions.expand(50, 2))
    torch.testing.assert_close(exact(example.x, example.step), example.wanted, atol=2e-3, rtol=2e-3)
    with pytest.raises(UserError, match="steps is 0"):
        NOISINGS[name](steps=0)


def convolutions(**options) -> DiffusionUNet:
    torch.manual_seed(0)
    sizes = {"observation_dim": 3, "action_dim": 2, "dim": 8, "widths": (8, 16), "horizon": 5}
    return DiffusionUNet(**{"taken": 3, "groups": 4, **sizes, **options}).eval()


@pytest.mark.parametrize("make", [small, convolutions])
@pytest.mark.parametrize("name", NOISINGS)
def test_what_pads_a_chunk_changes_nothing_even_as_nan(name: str, make) -> None:
    model = make(noising=NOISINGS[name]).train()
    given, found = batch(), []
    for filled in (0.0, float("nan")):
        torch.manual_seed(0)
        given["actions"] = given["actions"].masked_fill(~given["mask"][..., None], filled)
        model.zero_grad()
        loss = model.loss(given)["loss"]
        loss.backward()
        assert loss.isfinite()
        found.append([parameter.grad.clone() for parameter in model.parameters()])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_a_chunk_begins_with_the_action_of_the_present_observation() -> None:
    model, given = small(history=2), batch()
    chunk = model.chunk(given)
    seen, actions = given["observations"], given["actions"]
    # The first observation of an episode stands in for the one before it.
    assert torch.equal(chunk.seen[0], seen[0, [0, 0]])
    assert torch.equal(chunk.actions[0], actions[0, :5])
    assert torch.equal(chunk.seen[1], seen[1, :2])
    assert torch.equal(chunk.actions[1], actions[1, 1:6])
    assert chunk.mask.sum(dim=1).tolist() == [5, 5, 2, 1]
    starts = set()
    for number in range(20):
        torch.manual_seed(number)
        shown = model.train().chunk(given).seen[0]
        starts.add(bool(torch.equal(shown[0], shown[1])))
    assert starts == {False, True}


def test_convolutions_take_noise_off_the_past_too_and_answer_from_the_present_on() -> None:
    model, given = convolutions(), batch()
    seen = given["observations"][:, :2]
    chunk = model.plan(seen, Streams([3, 4, 5, 6]))
    assert chunk.shape == (4, 5, 2)
    whole = model.head.generate([model.see(seen)], 6, Streams([3, 4, 5, 6]))
    assert torch.equal(chunk, whole[:, 1:])
    torch.testing.assert_close(model.plan(seen[1:2], Streams([4])), chunk[1:2])
    model.set_observation_dim(7)
    assert model(torch.randn(2, 2, 7)).shape == (2, 5, 2)
    with pytest.raises(UserError, match="must be a multiple of 2, for 2 widths"):
        convolutions(horizon=4)
    with pytest.raises(UserError, match="multiples of 4 groups"):
        convolutions(widths=(6, 8))


def test_what_is_drawn_depends_on_neither_the_number_of_environments_nor_their_order() -> None:
    model = small(observation_dim=6)
    found = []
    for number in (1, 3):
        envs = make_vector(REACH_PUSH, number)
        found.append(evaluate(model, envs, episodes=3, seed=5))
    for one, other in zip(*found, strict=True):
        assert (one.steps, one.total) == (other.steps, pytest.approx(other.total, abs=1e-5))
    seen = torch.randn(2, 2, 6)
    both = model.plan(seen, Streams([3, 4]))
    torch.testing.assert_close(both[1:], model.plan(seen[1:], Streams([4])))
    assert not torch.allclose(both, model.plan(seen, Streams([5, 6])))


def test_it_lies_in_a_folder_with_its_bounds(tmp_path: Path) -> None:
    model = small(noising=FlowNoising)
    model.actions.prepare(5 * torch.rand(50, 2))
    save_pretrained(model, tmp_path)
    again, seen = from_pretrained(tmp_path).eval(), torch.randn(2, 2, 3)
    assert torch.equal(again(seen), model(seen))
    assert torch.equal(again.plan(seen, Streams([1, 2])), model.plan(seen, Streams([1, 2])))


MODELS = {
    "diffusion": lambda: DiffusionPolicy(dim=32, depth=2, heads=2, horizon=4, taken=4, history=1),
    "flow": lambda: DiffusionPolicy(
        dim=32, depth=2, heads=2, horizon=4, taken=4, history=1, noising=FlowNoising
    ),
    "convolutions": lambda: DiffusionUNet(dim=16, widths=(32, 64), horizon=4, taken=4, history=1),
    "squared error": lambda: ACT(
        dim=32,
        depth=1,
        style_depth=1,
        heads=2,
        horizon=4,
        actions=ContinuousActions,
    ),
    "head of single steps": lambda: BehaviourCloning(
        dim=32, depth=1, context_length=1, actions=DenoisingActions
    ),
}


@pytest.mark.learns
@pytest.mark.parametrize("name", MODELS)
def test_whole_chunks_of_either_kind_are_drawn_where_a_squared_error_takes_their_mean(
    name: str, seed: int, measured, train, two_choices
) -> None:
    """Seed 0 was tried, about 12 CPU-seconds for each model."""
    torch.manual_seed(seed)
    model, data = MODELS[name](), two_choices(seed)
    if name == "head of single steps":
        data.context_length = 1
    train(model, data, steps=250, rate=2e-3)
    state, starts, said = None, np.ones(64, bool), []
    policy = model.policy(seed=seed)
    for _ in range(4 if name != "head of single steps" else 1):
        drawn, state = policy.predict(np.ones((64, 1), np.float32), state, starts, False)
        said.append(drawn[:, 0])
        starts = np.zeros(64, bool)
    chunks = np.stack(said, axis=1)
    near = [(abs(chunks - side) < 0.3).all(axis=1).mean() for side in (1, -1)]
    if name == "squared error":
        measured("near either", sum(near), below=0.3)
    else:
        measured("near either", sum(near), above=0.5)
        measured("rarer of them", min(near), above=0.2)
