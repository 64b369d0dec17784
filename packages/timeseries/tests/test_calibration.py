"""Split conformal intervals."""

import numpy as np
import pytest
import torch

from headway.core.errors import UserError
from headway.timeseries.data.intervals import conformal_offsets
from headway.timeseries.tasks.calibration import MOST, PERCENTS, Residuals, conformal_radius


def test_the_radius_is_the_rank_that_keeps_the_promise() -> None:
    errors = torch.arange(1.0, 10.0)[torch.randperm(9)][:, None]
    # (9 + 1) * 0.8 = 8: the 8th of 9.
    assert conformal_radius(errors, 80).tolist() == [8.0]
    assert conformal_radius(errors, 81).tolist() == [9.0]
    assert conformal_radius(errors, 90).tolist() == [9.0]
    assert conformal_radius(errors, 91).tolist() == [float("inf")]
    holes = torch.cat([errors, torch.full((5, 1), torch.nan)])
    assert conformal_radius(holes, 80).tolist() == [8.0]


@pytest.mark.parametrize("number", [9, 30])
def test_a_new_value_lies_inside_as_often_as_promised(number: int) -> None:
    generator = torch.Generator().manual_seed(0)
    errors = torch.rand(number, 40000, generator=generator).square()
    new = torch.rand(40000, generator=generator).square()
    inside = (new <= conformal_radius(errors, 80)).float().mean()
    # Exactly ceil((n + 1) 0.8) / (n + 1): a plain quantile of few values would cover too little.
    assert inside == pytest.approx(np.ceil((number + 1) * 0.8) / (number + 1), abs=0.01)


def test_windows_are_thinned_evenly_and_kept_by_series() -> None:
    residuals = Residuals()
    for start in range(0, 5000, 100):
        place = torch.arange(start, start + 100.0)[:, None, None]
        residuals.add(place.expand(-1, 2, 1) / 5000, None, None)
    kept = residuals.intervals()
    assert MOST / 2 <= kept["windows"] <= MOST
    np.testing.assert_allclose(kept["all"][PERCENTS.index(80)], 0.8, atol=0.01)
    residuals.clear()
    assert residuals.intervals() is None
    errors = torch.ones(40, 3, 1)
    errors[1::2] = 5.0
    residuals.add(errors, None, torch.arange(40) % 2)
    kept = residuals.intervals()
    assert kept["series"]["0"][PERCENTS.index(90)] == [1.0, 1.0, 1.0]
    assert kept["series"]["1"][PERCENTS.index(90)] == [5.0, 5.0, 5.0]
    assert kept["series"]["0"][PERCENTS.index(99)] == [None] * 3  # 20 windows promise 95 at most


def test_offsets_are_of_the_series_or_of_all() -> None:
    rows = [[float(p), 2.0 * p] for p in PERCENTS]
    notes = {
        "names": ["a", "b"],
        "conformal": {
            "windows": 7,
            "percents": list(PERCENTS),
            "all": rows,
            "series": {"1": [[None, None] if p == 99 else [1.0, 1.0] for p in PERCENTS]},
        },
    }
    found = conformal_offsets(notes, ["b", "new"], [0.1, 0.5, 0.9, 0.875], "m")
    np.testing.assert_allclose(found[:, 0, :3], [[-1, 0, 1], [-1, 0, 1]])
    np.testing.assert_allclose(found[:, 1], [[-80, 0, 80, 75], [-160, 0, 160, 150]])
    # "b" saw too few windows for 99 percent, all series together did not.
    found = conformal_offsets(notes, ["b"], [0.005, 0.995], "m")
    np.testing.assert_allclose(found[:, 0], [[-99, 99], [-198, 198]])
    notes["conformal"]["all"] = [
        [None, None] if p == 99 else r for p, r in zip(PERCENTS, rows, strict=True)
    ]
    with pytest.raises(UserError, match="7 windows, too few for an interval of 99 percent"):
        conformal_offsets(notes, ["b"], [0.005], "m")
