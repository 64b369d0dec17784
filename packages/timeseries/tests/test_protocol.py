"""The protocol of the published tables, on the file that they use."""

import json
import os

import pytest

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.timeseries.data.protocol import counted_windows

KNOWN = {
    "full": {96: 1.2944, 192: 1.3249, 336: 1.3299, 720: 1.3351},
    "legacy-drop-last:32": {96: 1.2946, 192: 1.3251, 336: 1.3233, 720: 1.3386},
}


@pytest.mark.slow
@pytest.mark.skipif("HEADWAY_ETTH1" not in os.environ, reason="HEADWAY_ETTH1 names no ETTh1.csv")
@pytest.mark.parametrize("protocol", KNOWN)
def test_repeating_the_last_value_on_etth1(
    protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--borders", "ett_hour", "--context-length", "336", "--simple", "naive", "--json"]
    words += ["--protocol", protocol]
    horizons = [str(horizon) for horizon in KNOWN[protocol]]
    assert main(["backtest", os.environ["HEADWAY_ETTH1"], "--horizon", *horizons, *words]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert {row["horizon"]: round(row["mse"], 4) for row in scores} == KNOWN[protocol]


def test_a_protocol_counts_windows_by_whole_batches() -> None:
    assert counted_windows("full", 70) == 70
    assert counted_windows("legacy-drop-last:32", 70) == 64
    for wrong in ("legacy-drop-last:0", "legacy", "legacy-drop-last:x"):
        with pytest.raises(UserError, match="is unknown"):
            counted_windows(wrong, 70)
    with pytest.raises(UserError, match="leaves none of the 70 test windows"):
        counted_windows("legacy-drop-last:71", 70)
