import copy
import json

import torch
from headway_toy import ToyModel
from safetensors.torch import load_file
from torch import nn

from headway.core.finetune import LoRA
from headway.core.training.export import export_model


def test_low_rank_products_are_merged_in_the_export_and_not_in_training(tmp_path):
    torch.manual_seed(0)
    model = ToyModel(dim=8, dropout=0.0).eval()
    model.blocks[0] = nn.Linear(8, 8)
    LoRA(rank=2, targets=("0",)).apply(model)
    with torch.no_grad():
        for parameter in model.blocks[0].parameters():
            parameter.add_(torch.randn_like(parameter))
    x = torch.randn(5, 4)
    before, names = model(x), set(copy.deepcopy(model.state_dict()))
    export_model(model, tmp_path / "model", {"classes": ["a"]})
    plain = ToyModel(dim=8, dropout=0.0).eval()
    plain.load_state_dict(load_file(tmp_path / "model" / "model.safetensors"))
    torch.testing.assert_close(plain(x), before)
    assert set(model.state_dict()) == names
    assert json.loads((tmp_path / "model/preprocessing.json").read_text()) == {"classes": ["a"]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "model"]
