"""Normalised scores, the interquartile mean and its bounds."""

import numpy as np
import pytest
from scipy.stats import trim_mean

from headway.core.errors import UserError
from headway.rl.metrics import (
    REFERENCES,
    bootstrap_interval,
    interquartile_mean,
    normalised_score,
    task_of,
)


def test_random_play_is_0_and_an_expert_100() -> None:
    for task, (low, high) in REFERENCES.items():
        assert normalised_score(task, low) == pytest.approx(0)
        assert normalised_score(task, high) == pytest.approx(100)
    # 3234.3 + 20.27 lie between; 1500 is 46.7 % of the way.
    assert normalised_score("hopper", 1500) == pytest.approx(46.71, abs=0.01)
    with pytest.raises(UserError, match="no references are known of 'pong'"):
        normalised_score("pong", 3)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("Hopper-v5", "hopper"),
        ("mujoco/hopper/medium-v0", "hopper"),
        ("halfcheetah-medium-replay-v2", "halfcheetah"),
        ("D4RL/maze2d-umaze-dense-v1", "maze2d-umaze-dense"),
        ("maze2d-umaze-v1", "maze2d-umaze"),
        ("antmaze-umaze-v0", "antmaze"),
        ("D4RL/pen/human-v2", "pen"),
        ("CartPole-v1", None),
        ("headway/KeyToDoor-v0", None),
    ],
)
def test_a_task_is_known_by_its_names(name: str, task: str | None) -> None:
    assert task_of(name) == task


def test_the_middle_half_counts() -> None:
    scores = np.random.default_rng(0).normal(size=40)
    assert interquartile_mean(scores) == pytest.approx(trim_mean(scores, 0.25))
    assert interquartile_mean([1.0, 2.0, 3.0, 1000.0]) == 2.5
    assert interquartile_mean([7.0]) == 7.0
    # Of five scores the middle 2.5 count: 2 to a quarter less than whole.
    assert interquartile_mean([0.0, 1.0, 2.0, 3.0, 100.0]) == pytest.approx(2.0)


def test_bounds_hold_the_mean_as_often_as_they_say() -> None:
    drawn, held = np.random.default_rng(1), 0
    for trial in range(60):
        runs = drawn.normal(size=(12, 10)) + drawn.normal(size=(12, 1))
        low, high = bootstrap_interval(runs, seed=trial)
        held += low <= 0 <= high
    assert 48 <= held <= 60
    # Runs that differ leave more open than the same episodes of one run.
    runs = np.arange(5)[:, None] + np.zeros((5, 20))
    wide = np.ptp(bootstrap_interval(runs))
    assert wide > 2 * np.ptp(bootstrap_interval([runs.ravel()]))
