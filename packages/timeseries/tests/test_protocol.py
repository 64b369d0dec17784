"""The protocol of the published tables, on the file that they use."""

import json
import os

import pytest

from headway.core.cli.main import main

PUBLISHED = {96: 1.2944, 192: 1.3249, 336: 1.3299, 720: 1.3351}


@pytest.mark.slow
@pytest.mark.skipif("HEADWAY_ETTH1" not in os.environ, reason="HEADWAY_ETTH1 names no ETTh1.csv")
def test_repeating_the_last_value_on_etth1(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--borders", "ett_hour", "--context-length", "336", "--simple", "naive", "--json"]
    horizons = [str(horizon) for horizon in PUBLISHED]
    assert main(["backtest", os.environ["HEADWAY_ETTH1"], "--horizon", *horizons, *words]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert {row["horizon"]: round(row["mse"], 4) for row in scores} == PUBLISHED
