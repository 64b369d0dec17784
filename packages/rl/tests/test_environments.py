"""The environments that headway brings along, and the scripts that play them."""

import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from headway.core.errors import UserError
from headway.rl.data import BabyAIData, CrossingData, ReachPushData, RearrangeData, TwoWayData
from headway.rl.environments import (
    CROSSING,
    KEY_TO_DOOR,
    REACH_PUSH,
    REARRANGE,
    SLED,
    TANDEM,
    TWO_WAY,
    Crossing,
    ReachPush,
    Sled,
    Tandem,
    TwoWay,
    make_vector,
)
from headway.rl.environments.babyai import WORDS, words_of
from headway.rl.environments.reach_push import BLOCK, overlap
from headway.rl.environments.sled import BODIES


@pytest.mark.filterwarnings("ignore::UserWarning:gymnasium")
@pytest.mark.parametrize("name", [CROSSING, KEY_TO_DOOR, REACH_PUSH, REARRANGE, TWO_WAY])
def test_an_environment_is_one_of_gymnasium_and_draws_itself(name: str) -> None:
    env = gymnasium.make(name, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (160, 160, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 0


@pytest.mark.parametrize("kind", [TwoWayData, ReachPushData, RearrangeData])
def test_a_script_succeeds_and_depends_on_its_seed_alone(kind) -> None:
    first, again, other = (kind(episodes=60, data_seed=seed).load() for seed in (0, 0, 1))
    assert min(one.total for one in first) > 0.99
    for one, same in zip(first, again, strict=True):
        assert np.array_equal(one.observations, same.observations)
        assert np.array_equal(one.actions, same.actions)
    assert not np.array_equal(first[0].observations, other[0].observations)
    assert {one.actions.dtype for one in first} == {np.dtype(np.float32)}


def test_both_ways_are_taken_and_the_middle_is_closed() -> None:
    over = [one.observations[len(one) // 2, 1] > 0 for one in TwoWayData(episodes=200).load()]
    assert 0.4 < np.mean(over) < 0.6
    env = TwoWay()
    env.reset(seed=0)
    ended, steps = False, 0
    while not ended:
        _, reward, ended, _, said = env.step(np.array([1.0, 0.0]))
        steps += 1
    assert (reward, said["success"], steps < 10) == (0.0, False, True)


def test_a_block_moves_away_from_the_hand_and_covers_its_target() -> None:
    assert overlap(0.0) == pytest.approx(1.0)
    assert overlap(2 * BLOCK) == pytest.approx(0.0)
    assert overlap(BLOCK) == pytest.approx(0.391, abs=1e-3)  # 2/3 - sqrt(3) / (2 pi)
    env = ReachPush()
    env.reset(seed=0)
    env.block, env.hand, env.target = np.zeros(2), np.array([-0.3, 0.0]), np.array([0.5, 0.0])
    total, ended = 0.0, False
    while not ended:
        seen, reward, ended, cut, said = env.step(np.array([0.3, 0.0]))
        total += reward
        assert not cut
    assert total == pytest.approx(1.0)
    assert said["coverage"] == 1.0
    assert seen[3] == pytest.approx(0.0, abs=1e-6)


def test_of_two_paths_that_cross_one_is_paid() -> None:
    played = CrossingData(episodes=100).load()
    for one in played:
        low, ends_low = one.observations[0, 1] < 0, one.observations[-1, 1] < 0
        assert low != ends_low  # straight on
        assert one.total == float(not low)
    assert 0.35 < np.mean([one.total for one in played]) < 0.65
    with pytest.raises(UserError, match="start is 'left'; it is low, high or both"):
        Crossing(start="left")


def test_the_missions_of_babyai_are_words_and_its_bot_does_them() -> None:
    pytest.importorskip("minigrid")
    played = BabyAIData(level="GoToLocal", episodes=12).load()
    assert {one.total for one in played} == {1.0}
    missions = {tuple(one.observations["mission"][0]) for one in played}
    assert len(missions) > 3
    assert {WORDS[row[0]] for row in missions} == {"go"}
    first, again = (BabyAIData(episodes=3, data_seed=4).load() for _ in range(2))
    for one, same in zip(first, again, strict=True):
        assert np.array_equal(one.observations["cells"], same.observations["cells"])
    assert WORDS[words_of("go to the red ball")[3]] == "red"
    with pytest.raises(UserError, match="the mission 'put the ball next to the key' is no such"):
        words_of("put the ball next to the key")


def test_without_minigrid_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "minigrid", None)
    with pytest.raises(UserError, match="pip install minigrid"):
        make_vector("headway/GoToLocal-v0", 1)
    with pytest.raises(UserError, match="pip install minigrid"):
        BabyAIData(episodes=2).load()


@pytest.mark.parametrize("name", [SLED, TANDEM])
def test_an_environment_without_pictures_is_one_of_gymnasium(name: str) -> None:
    check_env(gymnasium.make(name).unwrapped, skip_render_check=True)


def test_arms_that_agree_carry_the_tray_and_others_tip_it_over() -> None:
    env = Tandem()
    ground, _ = env.reset(seed=0)
    total, ended, steps = 0.0, False, 0
    while not ended:
        ground, reward, ended, _, _ = env.step(np.array([4, (4 + ground) % 6]))
        total, steps = total + reward, steps + 1
    assert (steps, total) == (5, pytest.approx(5 / 6))
    for left, off in ((4, 1), (5, 0)):
        ground, _ = env.reset(seed=1)
        assert env.step(np.array([left, (left + ground + off) % 6]))[1:3] == (0.0, True)


def test_a_sled_moves_as_its_engines_do_and_those_held_out_are_others() -> None:
    env = Sled(bodies="one")
    for seed in range(5):
        (event, place), _ = env.reset(seed=seed)
        assert event == 0
        (event, there), *_ = env.step(np.int64(1))
        assert (event - 1 - 7, there) == (there - place + 3, min(place + BODIES["one"][0][1], 12))
    assert not set(BODIES["many"]) & set(BODIES["held out"])
    with pytest.raises(UserError, match="bodies is 'none'"):
        Sled(bodies="none")  # type: ignore[arg-type]
