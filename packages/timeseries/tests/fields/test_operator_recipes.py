"""Recipes that make their own data: operators, films and order flow; and what their tasks score."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.core.weights import from_pretrained
from headway.timeseries.fields.metrics import relative_error
from headway.timeseries.fields.models.simulator import Persistence, Stencil
from headway.timeseries.fields.simulation.trajectories import Simulations
from headway.timeseries.simulation.market import NUMBERS, zero_intelligence
from headway.timeseries.simulation.order_windows import MarketData

QUICK = ["--trainer.max_steps", "2", "--trainer.accelerator", "cpu"]
FILMS = ["--data.grid", "[8, 8]", "--data.number", "4", "--data.tests", "2", "--data.steps", "3"]
RECIPES = {
    "factformer_burgers": (["--model.backbone.dim", "16"], "test_fields.png"),
    "pde_transformer_burgers": (["--model.backbone.dim", "8"], "test_fields.png"),
    "swin_lstm_tracer": (
        ["--model.backbone.dim", "8", "--data.reads", "2", "--data.train_steps", "2"],
        "test_rollout.png",
    ),
    "gnot_darcy": (
        ["--data.size", "8", "--data.number", "8", "--data.tests", "4", "--data.points", "[5, 20]"],
        "test_points.png",
    ),
    "trades_market": (
        ["--data.number", "200", "--data.tests", "4", "--model.samples", "3", "--model.steps", "3"],
        "test_orders.png",
    ),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_and_is_scored_beside_simple_models(
    recipe: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path))
    words, picture = RECIPES[recipe]
    films = FILMS if picture in ("test_fields.png", "test_rollout.png") else []
    if recipe == "swin_lstm_tracer":
        films = [*films[:1], "[16, 16]", *films[2:]]  # a window has 4 places on each side
    if recipe == "pde_transformer_burgers":
        films = [*films[:1], "[32, 32]", *films[2:]]
    assert main(["fit", "-c", f"timeseries/{recipe}", *QUICK, *films, *words]) == 0
    [run] = (tmp_path / "timeseries" / recipe).glob("*")
    capsys.readouterr()
    assert main(["test", "-m", str(run), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (run / "pictures" / picture).stat().st_size > 10_000
    simple = {"gnot_darcy": ("mean", "linear"), "trades_market": ("crps_marginal", "crps_repeat")}
    for name in simple.get(recipe, ("persistence", "linear")):
        assert 0 < scores[f"test_{name}"] < 2
    if films:
        check_scores(recipe, run, scores)


def check_scores(recipe: str, run: Path, scores: dict[str, float]) -> None:
    """The scores of a run against those of its model and of simple ones, computed here."""
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    if recipe != "factformer_burgers":
        return
    from headway.timeseries.fields.simulation.equations import BurgersFlow

    data = Simulations(
        equation=BurgersFlow(), grid=notes["grid"], number=4, tests=2, steps=3, interval=0.05
    )
    data.setup()
    frames, future = (
        torch.stack([data.test_set[k][name] for k in range(2)]) for name in ("frames", "future")
    )
    models = {"error": from_pretrained(run).eval(), "persistence": Persistence()}
    models["linear"] = Stencil(fields=2).fit(data.films())
    for name, model in models.items():
        with torch.no_grad():
            found = model.rollout(frames, 3)
        expected = relative_error(found.flatten(0, 1), future.flatten(0, 1)).mean()
        assert scores[f"test_{name}"] == pytest.approx(float(expected), rel=1e-4)


def test_the_model_must_read_what_the_equation_tells(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path))
    words = ["--model.backbone.conditions", "3", *FILMS]
    assert main(["fit", "-c", "timeseries/pde_transformer_burgers", *QUICK, *words]) == 2
    assert "set the model's conditions to 1" in capsys.readouterr().err


def test_order_flow_keeps_its_rules() -> None:
    flow = zero_intelligence(3000, memory=0.8, seed=1)
    kind, side, size, depth, wait = flow.orders.T
    assert NUMBERS[0] == "kind"
    assert set(np.unique(kind)) == {-1.0, 0.0, 1.0}
    assert set(np.unique(side)) == {-1.0, 1.0}
    # A market order repeats the side of the last one with the probability that is asked for.
    sides = side[kind == 1]
    assert (sides[1:] == sides[:-1]).mean() == pytest.approx(0.8, abs=0.05)
    assert (size[kind == 0] == 0).all()
    assert (depth[kind == -1] >= 1).all()
    assert np.isfinite(wait).all()
    # Where sellers' volume is larger, more of the cancellations are theirs.
    asks, bids = (np.expm1(flow.books[:, part]).sum(1) for part in (slice(5, 10), slice(15, 20)))
    cancelled, more_asks = kind == 0, asks > bids
    sold = side == -1
    assert sold[cancelled & more_asks].mean() > sold[cancelled & ~more_asks].mean() + 0.1
    again = zero_intelligence(3000, memory=0.8, seed=1)
    assert (again.orders == flow.orders).all()
    with pytest.raises(UserError, match="cancel is a rate above 0"):
        zero_intelligence(10, cancel=0.0)


def test_windows_of_orders_end_with_the_book_that_the_next_order_meets() -> None:
    data = MarketData(number=60, tests=5, past=4, future=2, levels=2, seed=3)
    data.setup()
    assert len(data.test_set) == 5
    assert len(data.train_set) == 60 - 6 + 1
    window = data.train_set[7]
    flow = zero_intelligence(60 + 2 * 14, levels=2, memory=0.7, seed=3)
    orders, books = data.scales
    found = window["x"].double().numpy() * orders[1] + orders[0]
    np.testing.assert_allclose(found, flow.orders[11:13], atol=1e-4)
    found = window["books"][-1].double().numpy() * books[1] + books[0]
    np.testing.assert_allclose(found, flow.books[11], atol=1e-4)
    with pytest.raises(UserError, match="number 6 must exceed past 4"):
        MarketData(number=6, past=4, future=2)
