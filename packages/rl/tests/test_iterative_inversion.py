"""Learning by trying: hindsight, noise, episodes that are added, and what the iteration is good for."""

from pathlib import Path

import lightning
import numpy as np
import pytest
import torch

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.core.training import AdamW
from headway.rl.data import InMemoryTrajectories, RandomPlay, Trajectory, checked, hindsight
from headway.rl.environments import CURVES, make_vector
from headway.rl.metrics import evaluate, summarise
from headway.rl.models import (
    BehaviourCloning,
    DecisionTransformer,
    NoisyPolicy,
    RandomPolicy,
    ScriptedPolicy,
)
from headway.rl.spaces import Box, Discrete, MultiDiscrete, Spaces
from headway.rl.tasks import IterativeInversion


def reached(steps: int, wanted: tuple[int, ...], *, ended: bool = True) -> Trajectory:
    rows = steps + ended
    place = np.arange(2.0 * rows).reshape(rows, 2)
    return checked(
        "walk",
        observations={"achieved_goal": place, "desired_goal": np.full((rows, *wanted), -1.0)},
        actions=np.zeros((steps, 1)),
        rewards=np.zeros(steps),
    )


def test_in_hindsight_the_goal_is_the_last_place_or_the_path() -> None:
    seen = hindsight(reached(3, (2,))).observations
    np.testing.assert_array_equal(seen["desired_goal"], [[6.0, 7.0]] * 4)
    path = [[2, 3], [4, 5], [6, 7], [6, 7], [6, 7]]
    np.testing.assert_array_equal(
        hindsight(reached(3, (5, 2))).observations["desired_goal"], [path] * 4
    )
    np.testing.assert_array_equal(
        hindsight(reached(3, (2, 2))).observations["desired_goal"], [path[:2]] * 4
    )
    with pytest.raises(UserError, match="what was seen at the end"):
        hindsight(reached(3, (2,), ended=False))
    with pytest.raises(
        UserError, match=r"desired_goal has \(3,\) numbers and achieved_goal \(2,\)"
    ):
        hindsight(reached(3, (3,)))
    plain = checked(
        "x", observations=np.zeros((4, 2)), actions=np.zeros((3, 1)), rewards=np.zeros(3)
    )
    with pytest.raises(UserError, match="needs observations achieved_goal and desired_goal"):
        hindsight(plain)


@pytest.mark.parametrize(
    "action",
    [
        Box(shape=(2,), low=(-1.0, None), high=(3.0, None)),
        Discrete(n=5, start=2),
        MultiDiscrete(n=(3, 4), start=(0, 1)),
    ],
    ids=["numbers", "a choice", "choices"],
)
def test_noise_stays_within_bounds_and_belongs_to_its_row(action) -> None:
    spaces = Spaces(observation=Box(shape=(1,)), action=action)
    still = ScriptedPolicy(
        lambda _: (
            np.zeros(2, np.float32)
            if isinstance(action, Box)
            else RandomPolicy(spaces).predict(np.zeros((1, 1)))[0][0]
        )
    )
    still.spaces = spaces
    seeds = np.arange(6)
    wide, state = NoisyPolicy(still, noise=0.7).predict(np.zeros((6, 1)), seeds=seeds)
    narrow, _ = NoisyPolicy(still, noise=0.7).predict(np.zeros((3, 1)), seeds=seeds[3:])
    np.testing.assert_array_equal(wide[3:], narrow)
    assert len(np.unique(wide, axis=0)) > 2
    many, state = NoisyPolicy(still, noise=0.7).predict(np.zeros((2000, 1)), seeds=np.arange(2000))
    if isinstance(action, Box):
        assert many[:, 0].min() == -1
        assert many[:, 0].max() > 2
        # Half of the range is 2; without bounds the noise is in units.
        assert many[:, 1].std() == pytest.approx(0.7, rel=0.1)
    else:
        base, _ = still.predict(np.zeros((1, 1)))
        other = (many.reshape(2000, -1) != base.reshape(1, -1)).any(1).mean()
        shares = 1 - 1 / np.prod(action.n)
        assert other == pytest.approx(0.7 * shares, abs=0.05)
    quiet, _ = NoisyPolicy(still, noise=0.0).predict(np.zeros((6, 1)), seeds=seeds)
    np.testing.assert_array_equal(quiet, still.predict(np.zeros((6, 1)))[0])
    forked = NoisyPolicy(still, noise=0.7)
    _, state = forked.predict(np.zeros((6, 1)), seeds=seeds)
    copy = forked.fork(state, np.array([4]))
    again, _ = forked.predict(np.zeros((6, 1)), state)
    alone, _ = forked.predict(np.zeros((1, 1)), copy)
    np.testing.assert_array_equal(again[4], alone[0])
    with pytest.raises(UserError, match="noise is -1"):
        NoisyPolicy(still, noise=-1)


def test_episodes_that_were_added_are_drawn_and_come_back() -> None:
    def walk(value: float) -> Trajectory:
        return checked(
            f"walk {value}",
            observations={"x": np.full((5, 2), value)},
            actions=np.full((4, 1), value),
            rewards=np.ones(4),
        )

    data = InMemoryTrajectories([walk(0.0)] * 10, context_length=4, val=2)
    data.setup()
    data.add([walk(1.0)] * 6, keep=10)
    values = {float(data.train_set[0]["actions"][0, 0]) for _ in range(40)}
    assert values == {0.0, 1.0}
    again = InMemoryTrajectories([walk(0.0)] * 10, context_length=4, val=2)
    again.setup()
    again.load_state_dict(data.state_dict())
    assert [one.actions[0, 0] for one in again.parts["train"]] == [0.0] * 4 + [1.0] * 6
    assert again.state_dict()["loaded"] == 4
    assert again.parts["train"][-1].observations["x"].shape == (5, 2)
    busy = InMemoryTrajectories([walk(0.0)] * 10, context_length=4, val=2, workers=1)
    busy.setup()
    with pytest.raises(UserError, match="workers is 1; episodes are added while it trains"):
        busy.add([walk(1.0)])


def test_a_run_that_was_broken_off_goes_on_with_what_was_tried(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path))
    words = ["fit", "-c", "rl/iterative_inversion_curves", "--trainer.enable_progress_bar", "false"]
    words += ["--data.episodes", "20", "--data.number", "64", "--model.episodes", "0"]
    words += ["--model.rollouts", "8", "--model.keep", "20"]
    words += ["--model.backbone.dim", "16", "--model.backbone.depth", "1"]
    assert main([*words, "--trainer.max_epochs", "3"]) == 0
    assert main([*words, "--trainer.max_epochs", "2"]) == 0
    runs = tmp_path / "rl" / "iterative_inversion_curves"
    assert main(["fit", "--resume", str(runs / "2"), "--trainer.max_epochs", "3"]) == 0
    weights = [
        torch.load(runs / n / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for n in ("1", "2")
    ]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


@pytest.mark.learns
@pytest.mark.parametrize("rollouts", [40, pytest.param(0, marks=pytest.mark.slow)])
def test_what_is_wanted_is_reached_by_iterating(rollouts: int, seed: int, measured) -> None:
    """Sum of the distances to a curve over 32 steps; 31.8 by chance, and the second without iterating.

    Worst of seeds 0 to 2: 6.84.
    """
    torch.manual_seed(seed)
    model = BehaviourCloning(
        dim=48, depth=1, heads=2, context_length=32, max_timestep=32, dropout=0.0
    )
    task = IterativeInversion(
        backbone=model, rollouts=rollouts, keep=300, environments=40, optimizer=AdamW(lr=3e-3)
    )
    data = RandomPlay(
        environment=CURVES,
        episodes=100,
        data_seed=seed,
        relabel=hindsight,
        context_length=32,
        batch_size=32,
        number=960,
        seed=seed,
    )
    trainer = lightning.Trainer(
        max_epochs=13,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        accelerator="cpu",
        enable_model_summary=False,
    )
    trainer.fit(task, data)
    envs = make_vector(CURVES, 50)
    missed = -summarise(evaluate(model.eval(), envs, target=0.0, episodes=50))["return_mean"]
    measured("distance", missed, **({"below": 8.5} if rollouts else {"above": 9.5}))


def test_the_next_step_reads_what_was_done_and_not_what_was_meant() -> None:
    torch.manual_seed(0)
    spaces = Spaces(observation=Box(shape=(2,)), action=Discrete(n=4, start=1))
    options = {"dim": 16, "depth": 1, "context_length": 4, "max_timestep": 20}
    model = DecisionTransformer(**options, spaces=spaces.to_json()).eval()
    noisy = NoisyPolicy(model.policy(target_return=1.0), noise=1.0)
    seen = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)
    done, state = [], None
    for step in range(3):
        actions, state = noisy.predict(seen[step], state, seeds=np.arange(5))
        noisy.observe(state, np.zeros(5))
        done.append(actions)
        np.testing.assert_array_equal(state.inner.taken.numpy(), actions)
    own, _ = model.policy(target_return=1.0).predict(seen[0], seeds=np.arange(5))
    assert (own != done[0]).any()
