"""What a run is worth, as PMO measures it."""

import random

import pytest

from headway.core.errors import UserError
from headway.molecules.optimization.measures import area_under_top, summary, top_curve, worth


def rising(count: int) -> list[float]:
    source = random.Random(count)
    return [source.random() * min(1, (place + 1) / count) for place in range(count)]


# By ``top_auc`` of wenhao-gao/mol_opt at 2da631b, which was given the same scores.
@pytest.mark.parametrize(
    ("count", "budget", "top", "wanted"),
    [
        (10000, 10000, 1, 0.491763711498),
        (10000, 10000, 10, 0.479679386366),
        (9950, 10000, 10, 0.482786261110),
        (1234, 10000, 100, 0.710075076241),
        (99, 1000, 10, 0.679012520268),
        (100, 1000, 10, 0.628520109159),
        (101, 1000, 1, 0.867387143453),
        (7, 1000, 10, 0.165695898368),
        (250, 250, 10, 0.391912791326),
    ],
)
def test_the_area_is_that_of_pmo(count: int, budget: int, top: int, wanted: float) -> None:
    assert area_under_top(rising(count), budget, top=top) == pytest.approx(wanted, abs=1e-11)


def test_the_curve_ends_where_the_run_does() -> None:
    scores = [0.1] * 100 + [0.3] * 150
    calls, means = top_curve(scores, top=10)
    assert calls == [100, 200, 250]
    assert means == pytest.approx([0.1, 0.3, 0.3])
    assert top_curve([]) == ([], [])
    assert area_under_top([], 10) == 0
    with pytest.raises(UserError, match="2 scores and a budget of 1"):
        area_under_top([0.1, 0.2], 1)


def test_a_summary_says_how_good_how_soon_and_how_different() -> None:
    said = summary({"CCO": 0.5, "CCN": 0.25, "c1ccccc1": 1.0}, 4)
    assert said["calls"] == 3
    assert (said["top_1"], said["top_10"]) == (1.0, pytest.approx(0.5833, abs=1e-4))
    assert 0 < said["auc_top_1"] < said["top_1"]
    assert 0 < said["top_100_diversity"] <= 1
    assert said["top_100_SA"] > 0
    assert worth(["CCO", "CCO"])["diversity"] == 0
    assert worth([])["SA"] is None
