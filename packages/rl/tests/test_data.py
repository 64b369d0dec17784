import os

import numpy as np
import pytest
import torch

from headway.core.errors import InputError, UserError
from headway.core.training.loader import Seeded
from headway.rl.data import (
    BalancedReturns,
    InMemoryTrajectories,
    KeyToDoorData,
    MinariData,
    Sampling,
    ShortFirst,
    Trajectory,
    UniformSteps,
    checked,
)
from headway.rl.data.windows import AllWindows, DrawnWindows, cut
from headway.rl.environments import KeyToDoor, make_vector


def walk(steps: int, reward: float = 1.0, seed: int = 0) -> Trajectory:
    random = np.random.default_rng(seed)
    return checked(
        f"episode {seed}",
        observations=random.standard_normal((steps + 1, 3)),
        actions=random.standard_normal((steps, 2)),
        rewards=np.full(steps, reward),
    )


def test_returns_to_go_and_totals() -> None:
    one = walk(4, 0.5)
    assert one.observations.shape == (5, 3)  # the last is what was seen at the end
    assert one.returns_to_go.tolist() == [2.0, 1.5, 1.0, 0.5]
    assert one.total == 2.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rewards": np.ones(3)}, "4 actions, 3 rewards and 5 observations"),
        ({"observations": np.ones((7, 3))}, "7 observations do not belong together"),
        ({"actions": np.ones((0, 2))}, "the episode has no steps"),
        ({"rewards": np.array([0, 1, np.nan, 0])}, "rewards hold NaN or infinity at step 2"),
    ],
)
def test_bad_episodes_are_named(change: dict, said: str) -> None:
    parts = {"observations": np.ones((5, 3)), "actions": np.ones((4, 2)), "rewards": np.ones(4)}
    with pytest.raises(InputError, match=f"set, episode 3: .*{said}"):
        checked("set, episode 3", **{**parts, **change})


def test_a_stretch_is_padded_on_the_right() -> None:
    one = walk(5)
    window = cut(one, 3, 4)
    assert window["mask"].tolist() == [True, True, False, False]
    assert window["lengths"] == 2
    assert window["timesteps"].tolist() == [3, 4, 0, 0]
    assert window["returns_to_go"].tolist() == [2, 1, 0, 0]
    assert window["terminated"].tolist() == [False, True, False, False]
    assert not window["truncated"].any()
    seen = torch.from_numpy(one.observations).float()
    assert torch.equal(window["observations"][:2], seen[3:5])
    assert torch.equal(cut(one, 3, 4, next_observations=True)["next_observations"][:2], seen[4:6])


class Quarters(Sampling):
    """One of two is drawn in a quarter of all cases."""

    def weights(self, totals, lengths, *, epoch=0):
        return np.array([0.25, 0.75])


def test_drawn_stretches_are_full_and_as_likely_as_their_weights() -> None:
    trajectories = [walk(2, seed=0), walk(8, seed=1)]
    data = DrawnWindows(trajectories, Quarters(), length=4, number=4000)
    torch.manual_seed(0)
    drawn = [data[0] for _ in range(4000)]
    short = [window for window in drawn if not window["mask"].all()]
    assert abs(len(short) / 4000 - 0.25) < 0.03
    assert all(window["mask"].sum() == 2 for window in short)
    starts = np.bincount([int(w["timesteps"][0]) for w in drawn if w["mask"].all()], minlength=5)
    assert starts.shape == (5,)
    np.testing.assert_allclose(starts / starts.sum(), 0.2, atol=0.03)


def test_validation_sees_every_step_once() -> None:
    data = AllWindows([walk(5, seed=0), walk(4, seed=1)], length=2)
    assert sum(int(window["mask"].sum()) for window in (data[i] for i in range(len(data)))) == 9


def test_weights_of_trajectories() -> None:
    totals, lengths = np.array([0.0, 0.1, 0.2, 1.0]), np.array([10, 20, 10, 40])
    np.testing.assert_allclose(UniformSteps().weights(totals, lengths), lengths / 80)
    np.testing.assert_allclose(
        BalancedReturns().weights(totals, lengths), [0.125, 0.25, 0.125, 0.5]
    )
    # Equal returns leave nothing to balance.
    np.testing.assert_allclose(BalancedReturns().weights(np.ones(4), lengths), lengths / 80)


def test_short_trajectories_come_first() -> None:
    walks = [walk(steps, seed=steps) for steps in (3, 5, 9, 20)]
    sampling = ShortFirst(limits=[4, 9, 30], epochs=2)
    data = Seeded(DrawnWindows(walks, sampling, length=20, number=64))
    seen = [
        sorted({int(data[epoch, index]["mask"].sum()) for index in range(64)}) for epoch in range(6)
    ]
    assert seen == [[3], [3], [3, 5, 9], [3, 5, 9], [3, 5, 9, 20], [3, 5, 9, 20]]
    lengths = np.array([3, 5, 9, 20])
    np.testing.assert_allclose(
        sampling.weights(np.zeros(4), lengths, epoch=2), [3 / 17, 5 / 17, 9 / 17, 0]
    )
    with pytest.raises(UserError, match="begin with 2 steps, and the shortest trajectory has 3"):
        DrawnWindows(walks, ShortFirst(limits=[2, 9]), length=20, number=64)
    for limits in ([], [9, 4], [0, 4]):
        with pytest.raises(UserError, match="they must be steps, and grow"):
            ShortFirst(limits=limits)
    with pytest.raises(UserError, match="a stage needs at least 1"):
        ShortFirst(limits=[4], epochs=0)


def test_statistics_come_from_the_training_part_and_constants_are_left_alone() -> None:
    trajectories = [walk(6, seed=seed) for seed in range(10)]
    for one in trajectories:
        one.observations[:, 2] = 4.0
    data = InMemoryTrajectories(trajectories, val=3)
    data.setup()
    (mean, std), scale = data.statistics().observations, data.statistics().return_scale
    seen = np.concatenate([one.observations for one in data.parts["train"]])
    np.testing.assert_allclose(mean, seen.mean(0), atol=1e-6)
    assert std[2] == 1
    assert mean[2] == 4
    assert scale == 6
    assert (len(data.parts["train"]), len(data.parts["val"])) == (7, 3)
    assert data.preprocessing()["returns"] == {"least": 6.0, "median": 6.0, "most": 6.0}


def test_the_best_trajectories_alone() -> None:
    data = InMemoryTrajectories([walk(3, r, seed=r) for r in range(10)], val=0, top_fraction=0.2)
    data.setup()
    assert [one.total for one in data.parts["train"]] == [27, 24]


def test_trajectories_of_another_environment_are_refused() -> None:
    other = checked("x", observations=np.ones((3, 4)), actions=np.ones((3, 2)), rewards=np.ones(3))
    with pytest.raises(InputError, match=r"episode 1: its observations .* another environment"):
        InMemoryTrajectories([walk(3), other]).setup()
    discrete = checked(
        "x", observations=np.ones((3, 3)), actions=np.ones(3, int), rewards=np.ones(3)
    )
    with pytest.raises(InputError, match="episode 1: its actions"):
        InMemoryTrajectories([walk(3), discrete]).setup()


def test_a_minari_data_set_by_name_or_folder(minari_set: str) -> None:
    data = MinariData(path=minari_set, val=2)
    data.setup()
    assert data.environment == "headway/KeyToDoor-v0"
    assert str(data.spaces.observation) == "8 numbers of float32"
    assert str(data.spaces.action) == "one of 4 choices from 0"
    assert sum(len(part) for part in data.parts.values()) == 6
    for one in data.parts["train"]:
        assert len(one) + 1 == len(one.observations) <= 22
        assert one.terminated
    folder = MinariData(path=os.environ["MINARI_DATASETS_PATH"] + "/" + minari_set, val=2)
    folder.setup()
    pairs = zip(folder.parts["train"], data.parts["train"], strict=True)
    assert all(np.array_equal(a.observations, b.observations) for a, b in pairs)


def test_a_missing_minari_data_set_is_one_line(minari_set: str) -> None:
    with pytest.raises(UserError, match="there is no Minari data set headway/none-v0"):
        MinariData(path="headway/none-v0").setup()


def test_key_to_door_pays_for_the_key_alone() -> None:
    env = KeyToDoor(steps=(8, 5, 8))
    paid = {True: set(), False: set()}
    random = np.random.default_rng(0)
    for seed in range(400):
        seen, _ = env.reset(seed=seed)
        ended, steps = False, 0
        while not ended:
            assert env.observation_space.contains(seen)
            assert seen[:3].sum() == 1
            seen, reward, ended, cut_off, info = env.step(random.integers(4))
            steps += 1
        assert steps <= 21
        assert not cut_off
        opened = env.agent == env.object and env.room == 2
        paid[info["has_key"]].add((opened, reward))
    assert paid[True] == {(True, 1.0), (False, 0.0)}
    assert {reward for _, reward in paid[False]} == {0.0}


def test_walks_are_a_function_of_their_seed() -> None:
    one, two, other = (KeyToDoorData(episodes=5, data_seed=s).load() for s in (0, 0, 1))
    assert all(np.array_equal(a.actions, b.actions) for a, b in zip(one, two, strict=True))
    assert not all(np.array_equal(a.actions, b.actions) for a, b in zip(one, other, strict=True))


def test_an_unknown_environment_is_one_line() -> None:
    with pytest.raises(UserError, match="there is no environment Nowhere-v0"):
        make_vector("Nowhere-v0", 2)


def test_balanced_returns_change_what_training_sees() -> None:
    good, poor = [walk(4, seed=k) for k in range(3)], [walk(4, seed=k) for k in range(3, 60)]
    for one in good:
        one.rewards[:] = 10.0
    for one in poor:
        one.rewards[:] = 0.0
    shares = {}
    for sampling in (UniformSteps(), BalancedReturns()):
        data = InMemoryTrajectories(
            good + poor, context_length=4, number=400, sampling=sampling, val=0
        )
        data.setup()
        torch.manual_seed(0)
        items = [data.train_set[k] for k in range(400)]
        shares[type(sampling)] = np.mean([float(item["returns_to_go"][0]) > 1 for item in items])
    # 3 of 60 by steps, half when balanced; four deviations of 400 draws are .044 and .1.
    assert abs(shares[UniformSteps] - 0.05) < 0.044
    assert abs(shares[BalancedReturns] - 0.5) < 0.1
