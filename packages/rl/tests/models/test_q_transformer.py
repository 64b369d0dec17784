"""Q-Transformer: the worth of an action, number by number.

Its authors have published no code, so nothing was compared; what is learned is computed by hand instead.
"""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.training import AdamW
from headway.core.weights import from_pretrained, save_pretrained
from headway.rl.data import InMemoryTrajectories, TandemData, Trajectory
from headway.rl.environments import TANDEM, make_vector
from headway.rl.layers import AutoregressiveValues, ContinuousActions
from headway.rl.metrics import evaluate
from headway.rl.models import BehaviourCloning, QTransformer
from headway.rl.spaces import Box, Discrete, MultiDiscrete, Space, Spaces
from headway.rl.tasks import OfflineActorCritic
from headway.rl.tasks.offline_actor_critic import check_discount

ARMS = MultiDiscrete(n=(3, 4), start=(0, 2))
SPACES = {
    "box": Box(shape=(2, 1), low=-2.0, high=2.0),
    "discrete": Discrete(n=5, start=-1),
    "multi_discrete": ARMS,
}


def build(action: Space = ARMS, **options: Any) -> QTransformer:
    torch.manual_seed(0)
    spaces = Spaces(observation=Box(shape=(3,)), action=action)
    model = QTransformer(
        spaces=spaces.to_json(),
        actions=partial(AutoregressiveValues, bins=6),
        **{"dim": 16, "depth": 1, "heads": 2, "context_length": 4, "max_timestep": 9, **options},
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def some(action: Space = ARMS, *, terminated: bool = True, **options: Any) -> Any:
    """Returns a batch of stretches of 4 steps and one of 3, which ends an episode."""
    random, found = np.random.default_rng(0), []
    for steps in (4, 3):
        if isinstance(action, Box):
            taken = random.uniform(-2, 2, (steps, *action.shape)).astype(np.float32)
        elif isinstance(action, Discrete):
            taken = random.integers(action.n, size=steps) + action.start
        else:
            assert isinstance(action, MultiDiscrete)
            taken = random.integers(action.n, size=(steps, 2)) + np.array(action.start)
        found.append(
            Trajectory(
                observations=random.normal(size=(steps + 1, 3)).astype(np.float32),
                actions=taken,
                rewards=random.normal(size=steps).astype(np.float32),
                terminated=terminated,
            )
        )
    data = InMemoryTrajectories(
        found, context_length=4, next_observations=True, val=0, discount=0.9, **options
    )
    data.setup()
    return data, data.collate([data.train_set[k] for k in range(8)])


def brute_force(model: QTransformer, batch: Any, row: int, step: int) -> list[float]:
    """Returns what the numbers of one action are worth by the definition, of ``MultiDiscrete`` actions."""
    judge, scale = model.slow.judge, float(model.return_scale)
    length = int(batch["lengths"][row])

    def features(until: int) -> Tensor:
        seen = torch.cat([batch["observations"][row, :1], batch["next_observations"][row]])
        times = batch["timesteps"][row, 0] + torch.arange(until + 1)
        given = (torch.zeros(1, until + 1, 2, dtype=torch.int64), torch.zeros(1, until + 1))
        steps = (seen[None, : until + 1], *given, times[None])
        return model.slow._features(steps, None, None)[0, -1]

    def best(until: int) -> float:
        none = torch.zeros(0, dtype=torch.int64)
        return float(judge.values(features(until), none)[0].max())

    worth, weight, k = 0.0, 1.0, step
    for _ in range(model.n_steps):
        worth += weight * float(batch["rewards"][row, k]) / scale
        weight *= model.discount
        if batch["terminated"][row, k]:
            weight = 0.0
        k += 1
        if k == length:
            break
    worth += weight * best(k)
    chosen = judge.encode(batch["actions"][row, step])
    second = float(judge.values(features(step), chosen[:1])[1].max())
    return [second, worth]


@pytest.mark.parametrize("n_steps", [1, 2, 9])
@pytest.mark.parametrize("terminated", [True, False])
def test_numbers_are_worth_what_the_definition_says(n_steps: int, terminated: bool) -> None:
    """The next number's best; of the last one, rewards and the best first number of a later step."""
    model = build(n_steps=n_steps, monte_carlo=False, discount=0.9)
    data, batch = some(terminated=terminated)
    model.prepare(data.statistics())
    with torch.no_grad():
        for parameter in model.slow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    found, _ = model._wanted(batch, model.judge.encode(batch["actions"]))
    for row in range(3):
        for step in range(int(batch["lengths"][row])):
            wanted = torch.tensor(brute_force(model, batch, row, step))
            torch.testing.assert_close(found[row, step], wanted, atol=1e-5, rtol=1e-4)
    bounded = build(n_steps=n_steps, discount=0.9)
    bounded.load_state_dict(model.state_dict())
    least = batch["returns_to_go"] / model.return_scale
    higher, _ = bounded._wanted(batch, model.judge.encode(batch["actions"]))
    torch.testing.assert_close(higher, torch.maximum(found, least[..., None]))


def test_what_came_about_counts_later_rewards_less() -> None:
    _, batch = some()
    rewards, steps = batch["rewards"][0], int(batch["lengths"][0])
    wanted = [
        sum(0.9 ** (k - s) * float(rewards[k]) for k in range(s, steps)) for s in range(steps)
    ]
    np.testing.assert_allclose(batch["returns_to_go"][0, :steps], wanted, atol=1e-5)
    with pytest.raises(UserError, match=r"discount is 1\.5"):
        InMemoryTrajectories([], discount=1.5)


def test_the_loss_is_that_of_the_data_and_of_what_it_did_not_do() -> None:
    model = build(conservative=0.5, least_return=-3.0)
    data, batch = some()
    model.prepare(data.statistics())
    chosen = model.judge.encode(batch["actions"])
    wanted, _ = model._wanted(batch, chosen)
    values = model.judge.values(model.features(batch), chosen[..., :1])
    least, total, real = -3.0 / model.return_scale, torch.zeros(()), batch["mask"]
    for row, step in real.nonzero().tolist():
        for k, number in enumerate((3, 4)):
            said, taken = values[k][row, step], int(chosen[row, step, k])
            total = total + (said[taken] - wanted[row, step, k]).square() / 2 / 2
            others = [said[one] for one in range(number) if one != taken]
            low = torch.stack(others).sub(least).square().mean()
            total = total + 0.5 * low / 2 / 2
    torch.testing.assert_close(model.loss(batch)["loss"], total / real.sum())


@pytest.mark.parametrize("kind", SPACES)
def test_padding_is_not_learned_from_and_the_copy_learns_nothing_itself(kind: str) -> None:
    model = build(SPACES[kind])
    data, batch = some(SPACES[kind])
    model.prepare(data.statistics())
    wanted = model.loss(batch)["loss"]
    wanted.backward()
    assert all(one.grad is None for one in model.slow.parameters())
    for name in ("observations", "rewards", "next_observations"):
        batch[name][~batch["mask"]] = 7.0
    batch["actions"][~batch["mask"]] = 99
    torch.testing.assert_close(model.loss(batch)["loss"], wanted)
    fast, copied = model.judge.table.head.weight, model.slow.judge.table.head.weight
    with torch.no_grad():
        fast.add_(1.0)
    model.follow()
    torch.testing.assert_close(copied, fast - 1 + model.target_rate)


@pytest.mark.parametrize("kind", SPACES)
def test_it_plays_the_best_number_after_the_best_number_from_its_folder(kind, tmp_path) -> None:
    space = SPACES[kind]
    model = build(space)
    data, _ = some(space)
    model.prepare(data.statistics())
    save_pretrained(model, tmp_path)
    copy = from_pretrained(tmp_path).eval()
    state, again, random = None, None, np.random.default_rng(1)
    seen = []
    for _ in range(6):  # past the end of the context
        seen.append(random.normal(size=(3, 3)).astype(np.float32))
        acted, state = model.policy().predict(seen[-1], state)
        same, again = copy.policy().predict(seen[-1], again)
        np.testing.assert_array_equal(same, acted)
    last = torch.from_numpy(np.stack(seen[-4:], axis=1))
    times = torch.arange(2, 6).expand(3, -1)
    steps = (last, model.actions.blank(3, 4), torch.zeros(3, 4), times)
    features = model._features(steps, None, None)[:, -1]
    chosen = torch.zeros(3, 0, dtype=torch.int64)
    for k in range(len(model.judge.sizes)):
        best = model.judge.values(features, chosen)[k].argmax(dim=-1)
        chosen = torch.cat([chosen, best[:, None]], dim=1)
    np.testing.assert_allclose(model.judge.tokens.decode(chosen), acted, atol=1e-6)
    if isinstance(space, Discrete):
        assert set(acted.tolist()) <= set(range(-1, 4))


def test_what_comes_first_changes_what_is_best_next_only_where_numbers_are_judged_together() -> (
    None
):
    for together in (True, False):
        head = AutoregressiveValues(8, ARMS, autoregressive=together)
        features = torch.randn(8)
        one, other = (head.values(features, torch.tensor([k]))[1] for k in (0, 1))
        assert torch.equal(one, other) != together


def test_wrong_use_is_named() -> None:
    with pytest.raises(UserError, match="needs headway.rl.layers.AutoregressiveValues"):
        QTransformer(actions=ContinuousActions)
    with pytest.raises(UserError, match="conservative is -1"):
        build(conservative=-1.0)
    with pytest.raises(UserError, match="discount is 0"):
        build(discount=0.0)
    with pytest.raises(UserError, match="use it with a QTransformer"):
        AutoregressiveValues(8, ARMS).loss(torch.zeros(1, 1, 8), {})
    _, batch = some()
    del batch["next_observations"]
    with pytest.raises(UserError, match="set the data's next_observations to true"):
        build().loss(batch)
    with pytest.raises(UserError, match="does not judge actions"):
        OfflineActorCritic(backbone=BehaviourCloning(), optimizer=AdamW(lr=1e-3))
    data, _ = some()
    check_discount(build(discount=0.9), data)
    check_discount(build(discount=0.8, monte_carlo=False), data)
    with pytest.raises(UserError, match=r"the data's discount to 0\.8"):
        check_discount(build(discount=0.8), data)


WAYS: dict[str, Any] = {
    "whole": {},
    "each number by itself": {"actions": partial(AutoregressiveValues, autoregressive=False)},
    "unseen actions left alone": {"conservative": 0.0},
}


@pytest.mark.learns
@pytest.mark.parametrize("way", WAYS)
def test_it_does_better_than_the_data_where_numbers_must_agree(
    way: str, seed: int, measured
) -> None:
    """Mean return, where .83 is possible, the data have .17 and the best of their 600 episodes about .7.

    Seeds 0 to 4: .65, .49, .63, .56, .48; numbers judged each by itself .06, .20, .09, .02, .23. What the first
    action promises beyond what came: at most .01; with unseen actions left alone .8 to 1.6.
    """
    data = TandemData(
        episodes=600, data_seed=seed, batch_size=64, val=0, next_observations=True, discount=0.98
    )
    data.setup()
    torch.manual_seed(seed)
    sizes = {"dim": 32, "depth": 1, "heads": 2, "context_length": 5, "max_timestep": 6}
    model = QTransformer(
        spaces=data.spaces.to_json(),
        **{"conservative": 0.3, "target_rate": 0.02, "dropout": 0.0, **sizes, **WAYS[way]},
    )
    model.prepare(data.statistics())
    whole: Any = data.collate([data.train_set[0] for _ in range(2000)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    steps = 220
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps, pct_start=0.1)
    for _ in range(steps):
        rows = torch.randint(2000, (64,))
        optimizer.zero_grad()
        model.loss({name: values[rows] for name, values in whole.items()})["loss"].backward()
        optimizer.step()
        schedule.step()
        model.follow()
    found = evaluate(model, make_vector(TANDEM, 50), episodes=100, seed=10**6)
    mean = np.mean([one.total for one in found])
    with torch.no_grad():
        first = model.features(whole)[:, 0]
        none = torch.zeros(len(first), 0, dtype=torch.int64)
        promised = float(
            model.judge.values(first, none)[0].amax(dim=-1).mean() * model.return_scale
        )
    if way == "unseen actions left alone":
        measured("promised beyond what came", promised - mean, above=0.3)
    elif way == "whole":
        measured("promised beyond what came", promised - mean, below=0.2)
        measured("return", mean, above=0.38)
    else:
        measured("return", mean, below=0.32)
