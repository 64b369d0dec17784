"""Runs and models that were saved when fields had no room of their own."""

import json
from pathlib import Path

import pytest
import torch

from headway.core.cli.main import main
from headway.core.weights import from_pretrained, save_pretrained
from headway.timeseries.fields.models import FactFormer

OLD = """
model:
  class_path: headway.timeseries.tasks.PredictFields
  init_args:
    backbone:
      class_path: headway.timeseries.models.FactFormer
      init_args: {dim: 16, depth: 1, heads: 2}
    optimizer: {class_path: headway.core.training.AdamW}
data:
  class_path: headway.timeseries.simulation.trajectories.Simulations
  init_args:
    equation: {class_path: headway.timeseries.simulation.equations.BurgersFlow}
"""


def test_a_saved_model_with_its_old_path_loads(tmp_path: Path) -> None:
    model = FactFormer(dim=16, depth=1, heads=2).eval()
    folder = tmp_path / "model"
    save_pretrained(model, folder)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    assert config["class_path"] == "headway.timeseries.fields.models.FactFormer"
    config["class_path"] = "headway.timeseries.models.FactFormer"
    file.write_text(json.dumps(config))
    frames = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(from_pretrained(str(folder)).eval()(frames), model(frames))


def test_a_recipe_with_old_paths_is_read(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(OLD)
    assert main(["fit", "-c", str(file), "--print_config"]) == 0
    printed = capsys.readouterr().out
    for path in ("fields.tasks.PredictFields", "fields.models.FactFormer", "fields.simulation"):
        assert f"headway.timeseries.{path}" in printed
