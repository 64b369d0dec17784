"""TimesFM against transformers' on random weights."""

import json
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor
from wide_tables import panel

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import FourierMixer
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_pretrained
from headway.timeseries.models import TimesFM

transformers = pytest.importorskip("transformers")
SIZES = {"patch_length": 4, "context_length": 24, "horizon_length": 6, "num_hidden_layers": 3}
WIDTHS = {"hidden_size": 16, "intermediate_size": 20, "head_dim": 6, "num_attention_heads": 2}


def theirs(folder: Path, **options):
    torch.manual_seed(0)
    config = transformers.TimesFmConfig(**{**SIZES, **WIDTHS, **options})
    model = transformers.TimesFmModelForPrediction(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model.eval()


def series(*lengths: int) -> list[Tensor]:
    torch.manual_seed(1)
    return [5 + 2 * torch.randn(length).cumsum(0) for length in lengths]


def padded(rows: list[Tensor], length: int) -> tuple[Tensor, Tensor]:
    """Series side by side, aligned at their end, and what of them is known."""
    x = torch.full((1, length, len(rows)), torch.nan)
    for place, row in enumerate(rows):
        x[0, length - len(row) :, place] = row
    return x, ~x.isnan()


@pytest.mark.parametrize(
    "options",
    [{}, {"quantiles": [0.1, 0.5, 0.9], "rms_norm_eps": 1e-3, "freq_size": 2}],
    ids=str,
)
def test_forecasts_and_gradients_equal(options: dict, tmp_path: Path) -> None:
    peer = theirs(tmp_path, **options)
    check_round_trip(tmp_path, tmp_path / "back")
    ours = from_pretrained(tmp_path, frequency=1)
    assert isinstance(ours, TimesFM)
    assert ours.load_report.unexpected == ours.load_report.missing == ()
    # Whole and short contexts, one with a patch that is known in part, one of nothing but two values.
    rows = series(24, 17, 4, 2)
    expected = peer(past_values=rows, freq=[1] * 4).full_predictions
    x, mask = padded(rows, 24)
    found = ours.means_and_quantiles(x, mask=mask)[0].transpose(0, 1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours(x, mask=mask)[0].transpose(0, 1), expected[..., 1:])
    expected[:3].square().mean().backward()
    found[:3].square().mean().backward()
    their = {name: parameter.grad for name, parameter in peer.named_parameters()}
    outside = {"embedding": "decoder.input_ff_layer", "head": "horizon_ff_layer"}
    layers = {"fc1": "input_layer", "fc2": "output_layer", "skip": "residual_layer"}
    pairs = {"kind.weight": ["decoder.freq_emb.weight"]}
    for part, name in outside.items():
        for ours_name, theirs_name in layers.items():
            for kind in ("weight", "bias"):
                pairs[f"{part}.{ours_name}.{kind}"] = [f"{name}.{theirs_name}.{kind}"]
    for place in range(3):
        block, layer = f"decoder.blocks.{place}", f"decoder.layers.{place}"
        pairs[f"{block}.mixer.norm.weight"] = [f"{layer}.input_layernorm.weight"]
        pairs[f"{block}.mixer.function.query_norm.scale"] = [f"{layer}.self_attn.scaling"]
        for kind in ("weight", "bias"):
            inside = f"{layer}.self_attn"
            pairs[f"{block}.mixer.function.qkv.{kind}"] = [
                f"{inside}.{letter}_proj.{kind}" for letter in "qkv"
            ]
            pairs[f"{block}.mixer.function.projection.{kind}"] = [f"{inside}.o_proj.{kind}"]
            pairs[f"{block}.feedforward.norm.{kind}"] = [f"{layer}.mlp.layer_norm.{kind}"]
            pairs[f"{block}.feedforward.function.fc1.{kind}"] = [f"{layer}.mlp.gate_proj.{kind}"]
            pairs[f"{block}.feedforward.function.fc2.{kind}"] = [f"{layer}.mlp.down_proj.{kind}"]
    parameters = dict(ours.named_parameters())
    assert pairs.keys() == parameters.keys()
    for name, names in pairs.items():
        wanted = torch.cat([their[key] for key in names])
        error = (parameters[name].grad - wanted).norm()
        assert error <= 1e-5 * wanted.norm() + 1e-6, name


def test_beyond_what_it_gives_at_once_it_reads_its_own_means(tmp_path: Path) -> None:
    peer = theirs(tmp_path)
    ours = from_pretrained(tmp_path, horizon=15)
    [row] = series(24)
    x = row[None, :, None]
    found = ours(x)
    assert found.shape == (1, 15, 1, 9)
    with torch.no_grad():
        parts = []
        for _ in range(3):
            answer = peer(past_values=[row])
            parts.append(answer.full_predictions[0, :, 1:])
            row = torch.cat([row, answer.mean_predictions[0]])[-24:]
    torch.testing.assert_close(found[0, :, 0], torch.cat(parts)[:15], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(from_pretrained(tmp_path, horizon=4)(x), found[:, :4])


def small(**options) -> TimesFM:
    torch.manual_seed(0)
    sizes = {"context_length": 16, "horizon": 4, "dim": 12, "depth": 2, "heads": 2, "patch": 4}
    widths = {"output": 4, "hidden": 8, "feedforward": partial(MLP, hidden_dim=8)}
    return TimesFM(**{**sizes, **widths, **options}).eval()


def test_what_is_missing_at_the_start_is_as_if_it_were_not_there() -> None:
    model = small()
    x = torch.randn(2, 16, 3)
    mask = torch.ones(2, 16, 3, dtype=torch.bool)
    mask[:, :8] = False
    short = small(context_length=8)
    torch.testing.assert_close(model(x.masked_fill(~mask, torch.nan), mask=mask), short(x[:, 8:]))
    # A mixer that does not leave padding out is refused, not wrong.
    with pytest.raises(UserError, match="FourierMixer"):
        small(mixer=FourierMixer)(x, mask=mask)


def test_patches_see_only_what_came_before_them() -> None:
    model = small()
    states = []
    model.decoder.register_forward_hook(lambda *parts: states.append(parts[2][0]))
    x = torch.randn(1, 16, 1)
    later = x.clone()
    later[:, 12:] += 1
    model(x), model(later)
    torch.testing.assert_close(states[0][:, :3], states[1][:, :3])
    assert (states[0][:, 3] - states[1][:, 3]).abs().max() > 1e-3


def test_it_comes_back_from_its_folder(tmp_path: Path) -> None:
    model = small(quantiles=(0.25, 0.5))
    again = from_pretrained(save_pretrained(model, tmp_path)).eval()
    x = torch.randn(1, 16, 2)
    torch.testing.assert_close(again(x), model(x))


def test_a_folder_of_transformers_forecasts_a_file(tmp_path: Path) -> None:
    theirs(tmp_path / "model")
    panel(60, "ab").to_csv(tmp_path / "f.csv", index=False)
    out = tmp_path / "out.csv"
    words = ["forecast", "-m", str(tmp_path / "model"), str(tmp_path / "f.csv"), "-o", str(out)]
    assert main([*words, "--level", "80", "--horizon", "6"]) == 0
    frame = pd.read_csv(out)
    assert list(frame.columns) == ["date", "a", "a-lo-80", "a-hi-80", "b", "b-lo-80", "b-hi-80"]
    assert main([*words, "--horizon", "20", "--overwrite"]) == 0
    far = pd.read_csv(out)
    assert len(far) == 20
    pd.testing.assert_frame_equal(far[["a", "b"]][:6], frame[["a", "b"]])


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    theirs(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["use_positional_embedding"] = True
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="use_positional_embedding=True"):
        from_pretrained(tmp_path)
    with pytest.raises(UserError, match="context_length 10 must be a multiple of patch 4"):
        small(context_length=10)
    with pytest.raises(UserError, match="frequency 3 must lie between 0 and 2"):
        small(frequency=3)
