"""DART: words, a world, an actor with a memory, and the loss of each where it belongs."""

import numpy as np
import pytest
import torch

from headway.core.errors import UserError
from headway.core.weights import from_pretrained, save_pretrained
from headway.rl.environments import Catch
from headway.rl.layers.observations.picture_tokens import PictureTokens
from headway.rl.models import DART
from headway.rl.models.dart.imagination import imagine, lambda_returns
from headway.rl.spaces import Box, Discrete, Spaces

SCREEN = Spaces(
    observation=Box(shape=(16, 16, 3), low=0, high=255, dtype="uint8"),
    action=Discrete(n=3, start=1),
)


def build(**options) -> DART:
    torch.manual_seed(options.pop("seed", 0))
    options = {"dim": 16, "depth": 1, "heads": 2, "max_timestep": 6, "waits": (0, 0), **options}
    return DART(spaces=SCREEN.to_json(), **options)


def noisy(**options) -> DART:
    model = build(**options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def batch(rows: int = 3, steps: int = 6):
    generator = torch.Generator().manual_seed(rows)
    lengths = torch.tensor([steps, steps - 2, 1][:rows])
    mask = torch.arange(steps) < lengths[:, None]
    pictures = torch.randint(256, (rows, steps, 16, 16, 3), generator=generator).to(torch.uint8)
    return {
        "observations": pictures,
        "actions": torch.randint(1, 4, (rows, steps), generator=generator),
        "rewards": torch.randn(rows, steps, generator=generator),
        "terminated": torch.arange(steps) == lengths[:, None] - 1,
        "lengths": lengths,
        "mask": mask,
    }


def test_each_loss_moves_its_own_part() -> None:
    model = build()
    parts = {
        "pictures": ("observation_embedding.eyes", "observation_embedding.hands"),
        "words": ("observation_embedding.embedding", "dynamics", "actions.embedding"),
        "rewards": ("observation_embedding.embedding", "dynamics", "actions.embedding"),
        "ends": ("observation_embedding.embedding", "dynamics", "actions.embedding"),
        "actor": ("actor", "actions.head"),
        "critic": ("actor",),
    }
    losses = model.train().loss(batch())
    for name, own in parts.items():
        model.zero_grad()
        losses[name].backward(retain_graph=True)
        moved = {key for key, value in model.named_parameters() if value.grad is not None}
        assert moved
        assert all(key.startswith(own) for key in moved), name
    torch.testing.assert_close(losses["loss"], sum(losses[name] for name in parts))


def test_parts_wait_for_those_before() -> None:
    model = build(waits=(1, 2)).train()
    names = [set(model.loss(batch())) for _ in range(3)]
    assert "words" not in names[0]
    assert "words" in names[1]
    assert "actor" not in names[1]
    assert "actor" in names[2]


def test_padding_changes_no_loss_of_the_world() -> None:
    model, given = noisy(), batch()
    parts = ("pictures", "words", "rewards", "ends")
    wanted = [model.loss(given)[name] for name in parts]
    hidden = ~given["mask"]
    given["observations"][hidden] = 7
    given["rewards"][hidden] = torch.nan
    given["actions"][hidden] = 99
    torch.testing.assert_close([model.loss(given)[name] for name in parts], wanted)


@torch.no_grad()
def test_the_world_step_by_step_is_the_world_in_one_pass() -> None:
    """What is read from the cache while imagining, against the full pass over what was imagined."""
    torch.manual_seed(0)
    model, given = noisy(), batch(2)
    codes = model.eyes.codes(given["observations"])
    for real in (1, 3):
        found = imagine(model, codes[:, :real], given["actions"][:, : real - 1], 5)
        assert torch.equal(found.codes[:, :real], codes[:, :real])
        assert torch.equal(found.actions[:, : real - 1], given["actions"][:, : real - 1] - 1)
        tokens = model.eyes.embed(found.codes[:, :-1])
        taken = model.actions.embed(found.actions + 1)
        _, outcome = model.dynamics(tokens, taken, torch.full((2,), 5))
        torch.testing.assert_close(outcome.rewards, found.rewards, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(1 - outcome.ends.sigmoid(), found.goes_on, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_imagined_words_are_drawn_from_what_the_world_says() -> None:
    """Frequencies of the first word behind one step, over many draws, against the logits of the full pass."""
    torch.manual_seed(0)
    model, given = noisy(), batch(1)
    codes = model.eyes.codes(given["observations"])[:, :2].expand(4000, -1, -1)
    taken = given["actions"][:, :1].expand(4000, -1)
    found = imagine(model, codes, taken, 2)
    tokens = model.eyes.embed(found.codes[:, :3])
    actions = model.actions.embed(torch.cat([found.actions, found.actions[:, :1]], dim=1) + 1)
    logits, _ = model.dynamics(tokens, actions, torch.full((4000,), 3))
    said = logits[:, 1, 0].softmax(dim=-1).mean(dim=0)
    seen = torch.bincount(found.codes[:, 2, 0], minlength=len(said)) / 4000
    torch.testing.assert_close(seen, said, atol=0.03, rtol=0.0)


def test_lambda_returns() -> None:
    rewards = torch.tensor([[1.0, 2.0, 3.0]])
    values = torch.tensor([[10.0, 20.0, 30.0, 40.0]])
    on = torch.ones(1, 3)
    every = lambda_returns(rewards, on, values, discount=0.5, lambda_=1.0)
    torch.testing.assert_close(every, torch.tensor([[1 + 1 + 0.75 + 5, 2 + 1.5 + 10, 3 + 20.0]]))
    one = lambda_returns(rewards, on, values, discount=0.5, lambda_=0.0)
    torch.testing.assert_close(one, torch.tensor([[11.0, 17.0, 23.0]]))
    ended = lambda_returns(
        rewards, torch.tensor([[1.0, 0.0, 1.0]]), values, discount=1.0, lambda_=1.0
    )
    torch.testing.assert_close(ended[0, :2], torch.tensor([3.0, 2.0]))


@torch.no_grad()
def test_a_policy_acts_as_the_full_pass_and_begins_anew() -> None:
    model, given = noisy(), batch(2)
    wanted = model(given["observations"]).argmax(dim=-1) + 1
    policy, state = model.policy(), None
    for time in range(6):
        seen = given["observations"][:, time].numpy()
        actions, state = policy.predict(seen, state, np.full(2, time == 0))
        assert actions.tolist() == wanted[:, time].tolist()
    again, state = policy.predict(
        given["observations"][:, 0].numpy(), state, np.array([True, False])
    )
    assert again[0] == wanted[0, 0]
    fork = policy.fork(state, np.array([1]))
    there, _ = policy.predict(given["observations"][1:, 3].numpy(), fork)
    both, _ = policy.predict(given["observations"][:, 3].numpy(), state)
    assert there[0] == both[1]


def test_an_earlier_picture_reaches_a_later_action_through_memory_alone() -> None:
    for tokens in (1, 0):
        model, given = noisy(memory_tokens=tokens), batch(1)
        other = given["observations"].clone()
        other[:, 0] = 255 - other[:, 0]
        with torch.no_grad():
            same = torch.equal(model(other)[:, -1], model(given["observations"])[:, -1])
        assert same == (tokens == 0)


def test_it_learns_spaces_late_and_comes_back_from_its_folder(tmp_path) -> None:
    model = DART(dim=16, depth=1, heads=2, max_timestep=6)
    model.set_spaces(SCREEN.to_json())
    assert model.eyes.tokens_per_picture == 4
    save_pretrained(model, tmp_path)
    pictures = batch()["observations"]
    with torch.no_grad():
        torch.testing.assert_close(
            from_pretrained(tmp_path).eval()(pictures), model.eval()(pictures)
        )


def test_wrong_use_is_one_clear_line() -> None:
    model = DART(dim=16, depth=1, heads=2, max_timestep=6)
    numbers = Spaces(observation=Box(shape=(3,)), action=Discrete(n=2, start=0))
    with pytest.raises(UserError, match="tokens are made of pictures of bytes"):
        model.set_spaces(numbers.to_json())
    wide = Spaces(observation=SCREEN.observation, action=Box(shape=(2,)))
    with pytest.raises(UserError, match="chooses one of several actions"):
        model.set_spaces(wide.to_json())
    with pytest.raises(UserError, match="multiples of 8"):
        PictureTokens(8, Box(shape=(20, 16, 3), low=0, high=255, dtype="uint8"))
    with pytest.raises(UserError, match="raise the model's max_timestep"):
        build(max_timestep=4).loss(batch())
    for options in (
        {"real_steps": 6},
        {"discount": 1.5},
        {"memory_tokens": -1},
        {"waits": (1,)},
        {"imagined": 0},
    ):
        with pytest.raises(UserError):
            build(**options)


def test_the_ball_is_shown_once_and_lands_where_it_fell() -> None:
    env = Catch(shown=1)
    for seed in range(8):
        first, _ = env.reset(seed=seed)
        column = int(first[0].any(axis=-1).argmax()) // 3
        seen, rewards = first, []
        for _ in range(7):
            paddle = int(seen[-1].any(axis=-1).argmax()) // 3
            seen, reward, ended, _, _ = env.step(1 + np.sign(column - paddle))
            assert not seen[:-3].any()
            rewards.append(reward)
        assert ended
        assert rewards == [0.0] * 6 + [1.0]
    with pytest.raises(UserError, match="shown is 5"):
        Catch(shown=5)


def choices(rows: int) -> dict:
    """Pictures of two kinds, a random action each, and a reward where it is the right one."""
    kind = torch.randint(2, (rows,))
    pictures = torch.randint(40, (rows, 1, 8, 8, 3))
    pictures[:, :, :, :4] += 200 * kind[:, None, None, None, None]
    actions = torch.randint(2, (rows, 1))
    return {
        "observations": pictures.to(torch.uint8),
        "actions": actions,
        "rewards": (actions[:, 0] == kind)[:, None].float(),
        "terminated": torch.ones(rows, 1, dtype=torch.bool),
        "lengths": torch.ones(rows, dtype=torch.int64),
        "mask": torch.ones(rows, 1, dtype=torch.bool),
        "kind": kind,
    }


@pytest.mark.learns
def test_an_actor_learns_what_is_rewarded_in_imagination(seed: int, measured) -> None:
    """Share of right choices, half by chance; the actor sees no reward but those that its world imagines.

    Worst of seeds 0 to 4, with the C++ kernels and without: 1.
    """
    space = Box(shape=(8, 8, 3), low=0, high=255, dtype="uint8")
    spaces = Spaces(observation=space, action=Discrete(n=2, start=0)).to_json()
    torch.manual_seed(seed)
    sizes = {"dim": 16, "depth": 1, "heads": 2, "max_timestep": 2}
    model = DART(spaces=spaces, waits=(100, 200), entropy=0.003, **sizes).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(350):
        optimizer.zero_grad()
        model.loss(choices(64))["loss"].backward()
        optimizer.step()
    given = choices(400)
    with torch.no_grad():
        said = model.eval()(given["observations"])[:, 0].argmax(dim=1)
    measured("share", float((said == given["kind"]).float().mean()), above=0.9)
