"""The decision-pretrained transformer, and acting by what was tried before.

Compared with the official code (jon--lee/decision-pretrained-transformer, GPT-2 of transformers inside), see
``test_outputs_equal_those_of_gpt2``.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2Model

from headway.core.errors import UserError
from headway.rl.data import BanditData, InMemoryTrajectories, Trajectory
from headway.rl.environments import BANDIT, make_vector
from headway.rl.environments.bandit import Bandit
from headway.rl.metrics import evaluate
from headway.rl.models import DecisionPretrainedTransformer


def build(horizon: int = 6, **options: Any) -> DecisionPretrainedTransformer:
    torch.manual_seed(0)
    sizes = {"observation_dim": 2, "action_dim": 3, "actions": None, **options}
    model = DecisionPretrainedTransformer(dim=16, depth=2, heads=2, horizon=horizon, **sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def transitions(batch: int, steps: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    drawn = torch.Generator().manual_seed(seed)
    seen, following = (torch.randn(batch, steps, 2, generator=drawn) for _ in range(2))
    actions = torch.randn(batch, steps, 3, generator=drawn)
    return seen, actions, torch.randn(batch, steps, generator=drawn), following


def test_outputs_equal_those_of_gpt2() -> None:
    """The official model is GPT-2 over linear maps of (state, action, next state, reward); 4e-7 at most here."""
    model = build()
    config = GPT2Config(
        n_embd=16, n_layer=2, n_head=2, n_positions=7, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
    )
    peer = GPT2Model(config).eval()
    with torch.no_grad():
        peer.wpe.weight.copy_(model.positions.weight)
        for mine, theirs in zip(model.decoder.blocks, peer.h, strict=True):
            pairs = (
                (mine.mixer.function.qkv, theirs.attn.c_attn),
                (mine.mixer.function.projection, theirs.attn.c_proj),
                (mine.feedforward.function.fc1, theirs.mlp.c_fc),
                (mine.feedforward.function.fc2, theirs.mlp.c_proj),
            )
            for linear, conv in pairs:
                conv.weight.copy_(linear.weight.T)
                conv.bias.copy_(linear.bias)
            for norm, other in (
                (mine.mixer.norm, theirs.ln_1),
                (mine.feedforward.norm, theirs.ln_2),
            ):
                other.load_state_dict(norm.state_dict())
        peer.ln_f.load_state_dict(model.decoder.norm.state_dict())
        parts = (model.observation_embedding.linear, model.actions.embedding)
        parts = (*parts, model.next_embedding.linear, model.reward_embedding)
        # One linear map of all parts, whose query has zeros but for the state.
        for part in parts[1:]:
            nn.init.zeros_(part.bias)
        weight = torch.cat([part.weight for part in parts], dim=1)
        seen, actions, rewards, following = transitions(3, 6)
        rows = torch.cat([seen, actions, following, rewards[..., None]], dim=-1)
        query = F.pad(seen[:, :1], (0, rows.shape[-1] - 2))
        tokens = F.linear(torch.cat([query, rows], dim=1), weight, parts[0].bias)
        want = model.actions.predict(peer(inputs_embeds=tokens).last_hidden_state)
        torch.testing.assert_close(
            model(seen, actions, rewards, following), want, atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("moving", [False, True], ids=["one query", "another query at each step"])
def test_play_equals_the_full_pass(moving: bool) -> None:
    """Three tasks that begin anew at different times, past the horizon, where the oldest is forgotten."""
    model = build(horizon=5)
    policy, drawn = model.policy(), np.random.default_rng(0)
    tried: list[list[tuple[Any, ...]]] = [[], [], []]
    state, start, still = None, None, drawn.normal(size=(3, 2)).astype(np.float32)
    last: list[Any] = [None, None, None]
    for step in range(16):
        seen = drawn.normal(size=(3, 2)).astype(np.float32) if moving else still
        for row in range(3):
            if start is not None and start[row]:
                tried[row] = []
            elif last[row] is not None:
                tried[row].append((*last[row], seen[row]))
        actions, state = policy.predict(seen, state, start)
        for row in range(3):
            kept = tried[row][-5:]
            parts = [np.array([one[k] for one in kept], np.float32) for k in range(4)]
            shapes = ((0, 2), (0, 3), (0,), (0, 2))
            given = [
                torch.from_numpy(x if len(kept) else np.zeros(s, np.float32))
                for x, s in zip(parts, shapes, strict=True)
            ]
            query = model.embed_query(torch.from_numpy(seen[row])[None, None])
            tokens = torch.cat([query, model.embed(*(x[None] for x in given))], dim=1)
            want = model.actions.predict(model.decode(tokens)[:, -1])[0]
            np.testing.assert_allclose(actions[row], want.detach().numpy(), atol=1e-4)
        rewards = drawn.normal(size=3)
        policy.observe(state, rewards)
        last = [(seen[row], actions[row], rewards[row]) for row in range(3)]
        start = np.array([step == 2, step in (4, 11), step == 8])


def test_a_task_does_not_depend_on_those_beside_it() -> None:
    model = DecisionPretrainedTransformer(dim=16, depth=1, heads=2, horizon=100)
    data = BanditData(episodes=4)
    model.set_spaces(data.given_spaces.to_json())
    found = [
        evaluate(model, make_vector(BANDIT, number), episodes=4, seed=3, deterministic=False)
        for number in (1, 3)
    ]
    assert [one.total for one in found[0]] == pytest.approx([one.total for one in found[1]])
    assert [one.steps for one in found[0]] == [100] * 4


def tasks(number: int, seed: int) -> BanditData:
    """Bandits of two arms that hardly vary, so that little training is enough."""
    data = BanditData(episodes=number, horizon=10, data_seed=seed, val=300, number=number)
    data._env = Bandit(arms=2, horizon=10, noise=0.1)
    data.setup()
    return data


def best_arms(model: DecisionPretrainedTransformer, data: BanditData) -> float:
    """Share of new bandits whose best arm is named after all pulls."""
    batch = data.collate([data.val_set[k] for k in range(len(data.val_set))])
    given = (batch["observations"], batch["actions"], batch["rewards"], batch["next_observations"])
    with torch.no_grad():
        named = model(*given)[:, -1].argmax(dim=-1)
    return (named == batch["expert_actions"][:, 0]).float().mean().item()


@pytest.mark.learns
@pytest.mark.parametrize("reads_rewards", [True, False], ids=["as it is", "without rewards"])
def test_the_best_arm_is_known_from_the_rewards(reads_rewards: bool, seed: int, measured) -> None:
    """Share of new bandits of two arms whose best is named after 10 pulls; half by chance.

    Worst of seeds 0 to 4: 0.763; without rewards 0.53.
    """
    data = tasks(12000, seed)
    torch.manual_seed(seed)
    model = DecisionPretrainedTransformer(dim=32, depth=1, heads=2, horizon=10)
    model.set_spaces(data.spaces.to_json())
    if not reads_rewards:
        nn.init.zeros_(model.reward_embedding.weight).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for batch in data.train_dataloader():
        loss = model.loss(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    bound = {"above": 0.68} if reads_rewards else {"below": 0.6}
    measured("share", best_arms(model.eval(), data), **bound)


def test_what_it_cannot_learn_from_is_one_line(tmp_path: Path) -> None:
    plain = [
        Trajectory(
            observations=np.zeros((5, 2), np.float32),
            actions=np.zeros((4, 3), np.float32),
            rewards=np.zeros(4, np.float32),
        )
    ] * 3
    data = InMemoryTrajectories(plain, context_length=4, val=1)
    data.setup()
    batch = data.collate([data.train_set[0]])
    with pytest.raises(UserError, match="a batch has no expert_actions"):
        build().loss(batch)
    batch["expert_actions"] = batch["actions"]
    batch["next_observations"] = batch["observations"]
    with pytest.raises(
        UserError, match=r"stretches have 4 steps, the model reads 3; raise its horizon"
    ):
        build(horizon=3).loss(batch)
    with pytest.raises(UserError, match="horizon is 0"):
        build(horizon=0)


def test_arms_pay_what_they_are_said_to() -> None:
    env = Bandit(arms=3, horizon=3000, noise=0.2)
    _, info = env.reset(seed=1, options={"means": np.array([0.1, 0.9, 0.5])})
    paid = [env.step(k % 3)[1] for k in range(2999)]
    for arm, mean in enumerate((0.1, 0.9, 0.5)):
        assert np.mean(paid[arm::3]) == pytest.approx(mean, abs=0.03)
    assert np.std(paid[1::3]) == pytest.approx(0.2, abs=0.02)
    assert env.step(0)[3]
    assert not np.array_equal(env.reset(seed=2)[1]["means"], info["means"])
