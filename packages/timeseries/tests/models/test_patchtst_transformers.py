"""PatchTST with weights of Hugging Face transformers."""

import json
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PatchTSTConfig, PatchTSTForPrediction, PatchTSTForPretraining

from headway.core.errors import UserError
from headway.core.testing.damage import damaged_json, refusals
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_published
from headway.timeseries.models import PatchTST

SIZES = {"context_length": 48, "prediction_length": 24, "patch_length": 8, "patch_stride": 4}
WIDTHS = {"d_model": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "ffn_dim": 24}


def theirs(folder: Path, **options) -> PatchTSTForPrediction:
    torch.manual_seed(0)
    usual = {"num_input_channels": 3, "pooling_type": None, "positional_encoding_type": "random"}
    model = PatchTSTForPrediction(PatchTSTConfig(**{**SIZES, **WIDTHS, **usual, **options}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        # Statistics of a batch norm that has seen something.
        model.train()(past_values=torch.randn(8, 48, 3))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pre_norm": False, "activation_function": "relu"},
        {"norm_type": "layernorm", "patch_stride": 6, "patch_length": 7},
        {"pooling_type": "mean"},
    ],
    ids=str,
)
def test_forecasts_and_gradients_equal(options: dict, training: bool, tmp_path: Path) -> None:
    peer = theirs(tmp_path, **options).train(training)
    if "pooling_type" not in options:
        check_round_trip(tmp_path, tmp_path / "back")
    ours = from_pretrained(tmp_path).train(training)
    assert isinstance(ours, PatchTST)
    assert ours.load_report.unexpected == ours.load_report.missing == ()
    x = 3 + 2 * torch.randn(4, 48, 3)
    mine = x.clone().requires_grad_()
    forecast, expected = ours(mine), peer(past_values=x).prediction_outputs
    torch.testing.assert_close(forecast, expected, atol=1e-5, rtol=1e-5)
    forecast.square().mean().backward()
    expected.square().mean().backward()
    their = dict(peer.named_parameters())
    same = {
        "embedding.weight": "model.encoder.embedder.input_embedding.weight",
        "position": "model.encoder.positional_encoder.position_enc",
        "encoder.blocks.1.feedforward.function.fc2.weight": "model.encoder.layers.1.ff.3.weight",
        "encoder.blocks.0.mixer.function.projection.weight": (
            "model.encoder.layers.0.self_attn.out_proj.weight"
        ),
        "head.bias": "head.projection.bias",
    }
    for name, key in same.items():
        found, wanted = ours.get_parameter(name).grad, their[key].grad
        assert (found - wanted).norm() <= 1e-4 * wanted.norm() + 1e-6, name
    parts = [f"model.encoder.layers.0.self_attn.{part}_proj.weight" for part in "qkv"]
    wanted = torch.cat([their[part].grad for part in parts])
    found = ours.get_parameter("encoder.blocks.0.mixer.function.qkv.weight").grad
    assert (found - wanted).norm() <= 1e-4 * wanted.norm() + 1e-6


def test_the_order_of_the_head_matters(tmp_path: Path) -> None:
    peer = theirs(tmp_path).eval()
    ours = from_pretrained(tmp_path).eval()
    x = torch.randn(2, 48, 3)
    expected = peer(past_values=x).prediction_outputs
    with torch.no_grad():
        ours.head.weight.copy_(peer.head.projection.weight)
    error: Tensor = (ours(x) - expected).norm() / expected.norm()
    assert error > 0.1


def test_missing_values_are_left_out_of_the_scale(tmp_path: Path) -> None:
    theirs(tmp_path)
    ours = from_pretrained(tmp_path).eval()
    x, mask = torch.randn(2, 48, 5), torch.rand(2, 48, 5) > 0.3
    first = ours(x.masked_fill(~mask, torch.nan), mask=mask)
    assert first.shape == (2, 24, 5)
    assert first.isfinite().all()


def test_what_is_not_read_is_refused_by_name(tmp_path: Path) -> None:
    theirs(tmp_path / "a", share_embedding=False)
    with pytest.raises(UserError, match=r"share_embedding=False, .* train it with .*=True"):
        from_pretrained(tmp_path / "a")
    theirs(tmp_path / "b", pooling_type="max")
    with pytest.raises(
        UserError, match="pooling_type='max', which is not read; known: 'mean', None"
    ):
        from_pretrained(tmp_path / "b")
    config = PatchTSTConfig(**SIZES, **WIDTHS)
    PatchTSTForPretraining(config).save_pretrained(tmp_path / "c")
    with pytest.raises(UserError, match="PatchTSTForPrediction"):
        from_pretrained(tmp_path / "c")


def test_damaged_configurations_are_one_line(tmp_path: Path) -> None:
    theirs(tmp_path)
    file, drawn = tmp_path / "config.json", random.Random(0)
    config = json.loads(file.read_text())

    def use() -> None:
        file.write_text(json.dumps(damaged_json(config, drawn)))
        from_pretrained(tmp_path)

    assert len(refusals(use for _ in range(80))) > 40


def test_what_was_fine_tuned_loads_in_transformers_with_a_head_that_reads_every_patch(
    tmp_path: Path,
) -> None:
    theirs(tmp_path / "theirs", pooling_type="mean")
    ours = from_pretrained(tmp_path / "theirs", horizon=9).eval()
    written = save_published(ours, tmp_path / "out", like=tmp_path / "theirs")
    back, x = PatchTSTForPrediction.from_pretrained(written).eval(), torch.randn(4, 48, 3)
    expected = back(past_values=x).prediction_outputs
    torch.testing.assert_close(ours(x), expected, atol=1e-6, rtol=1e-5)
