"""MoLFormer: files with the names of the published class, and what its equations say of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.language import EncoderLanguageModel
from headway.core.mixers import SelfAttention
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained
from headway.molecules.models import MoLFormer, PropertyPredictor

DIM, HEADS, FEATURES, INNER, SIZE = 16, 2, 5, 24, 11
CONFIG: dict[str, Any] = {
    "model_type": "molformer",
    "architectures": ["MolformerForMaskedLM"],
    "auto_map": {"AutoModel": "modeling_molformer.MolformerModel"},
    "vocab_size": SIZE,
    "hidden_size": DIM,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "num_random_features": FEATURES,
    "feature_map_kernel": "relu",
    "deterministic_eval": False,
    "linear_attention_eps": 1e-6,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 40,
}


def tensors() -> dict[str, Tensor]:
    """What a file of the published class holds."""
    shapes: dict[str, tuple[int, ...]] = {
        "molformer.embeddings.word_embeddings": (SIZE, DIM),
        "molformer.LayerNorm": (DIM,),
        "lm_head.transform.dense": (DIM, DIM),
        "lm_head.transform.LayerNorm": (DIM,),
    }
    for layer in range(2):
        front = f"molformer.encoder.layer.{layer}."
        shapes |= {
            f"{front}attention.self.{name}": (DIM, DIM) for name in ("query", "key", "value")
        }
        shapes |= {
            f"{front}attention.output.dense": (DIM, DIM),
            f"{front}attention.output.LayerNorm": (DIM,),
            f"{front}intermediate.dense": (INNER, DIM),
            f"{front}output.dense": (DIM, INNER),
            f"{front}output.LayerNorm": (DIM,),
            f"{front}attention.self.feature_map": (DIM // HEADS, FEATURES),
        }
    generator = torch.Generator().manual_seed(0)
    state = {
        f"{name}.weight": torch.randn(shape, generator=generator) for name, shape in shapes.items()
    }
    for name, shape in shapes.items():
        if "word_embeddings" not in name and "feature_map" not in name:
            state[f"{name}.bias"] = torch.randn(shape[0], generator=generator)
    state["lm_head.decoder.weight"] = state["molformer.embeddings.word_embeddings.weight"].clone()
    return state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "theirs"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    save_file(tensors(), path / "model.safetensors")
    return path


def turned(x: Tensor) -> Tensor:
    width, places = x.shape[-1], torch.arange(x.shape[2], dtype=x.dtype)
    angles = places[:, None] / 10000 ** (torch.arange(0, width, 2).to(x) / width)
    first, second = x.chunk(2, dim=-1)
    both = (
        first * angles.cos() - second * angles.sin(),
        second * angles.cos() + first * angles.sin(),
    )
    return torch.cat(both, dim=-1)


def equations(tokens: Tensor) -> Tensor:
    """The published forward pass of one text without padding, in float64, read off its code."""
    state = {name: value.double() for name, value in tensors().items()}

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (DIM,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-12)

    x = state["molformer.embeddings.word_embeddings.weight"][tokens]
    for layer in range(2):
        front = f"molformer.encoder.layer.{layer}."
        query, key, value = (
            linear(f"{front}attention.self.{name}", x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        directions = state[f"{front}attention.self.feature_map.weight"]
        query, key = F.relu(turned(query) @ directions), F.relu(turned(key) @ directions)
        weights = query @ key.mT
        heard = weights @ value / weights.sum(dim=-1, keepdim=True).clamp(min=1e-6)
        heard = linear(f"{front}attention.output.dense", heard.transpose(1, 2).flatten(2))
        x = norm(f"{front}attention.output.LayerNorm", heard + x)
        inner = F.gelu(linear(f"{front}intermediate.dense", x))
        x = norm(f"{front}output.LayerNorm", linear(f"{front}output.dense", inner) + x)
    x = norm("molformer.LayerNorm", x)
    x = norm("lm_head.transform.LayerNorm", F.gelu(linear("lm_head.transform.dense", x)))
    return linear("lm_head.decoder", x)


def test_a_published_folder_answers_as_its_equations_say(folder: Path, tmp_path: Path) -> None:
    check_round_trip(folder, tmp_path / "back")
    model = from_pretrained(folder).eval()
    assert isinstance(model, MoLFormer)
    tokens = torch.randint(3, SIZE, (3, 17), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([17, 9, 2])
    found = model(tokens, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        expected = equations(tokens[row : row + 1, :length])[0]
        torch.testing.assert_close(found[row, :length].double(), expected, atol=1e-4, rtol=1e-4)
    wide = from_pretrained(folder).double().eval()
    torch.testing.assert_close(wide(tokens[:1]), equations(tokens[:1]), atol=1e-6, rtol=1e-6)
    assert torch.equal(found, model(tokens, lengths=lengths))  # the features are not drawn anew


def test_softmax_in_the_place_of_the_features_is_another_model(folder: Path) -> None:
    model = from_pretrained(folder).eval()
    assert isinstance(model, EncoderLanguageModel)
    tokens = torch.randint(3, SIZE, (1, 9), generator=torch.Generator().manual_seed(1))
    for block in model.encoder.blocks:
        place = block.get_submodule("mixer")
        plain = SelfAttention(DIM, HEADS)
        plain.load_state_dict(place.function.state_dict(), strict=False)  # pyright: ignore
        place.function = plain
    assert (model(tokens).double() - equations(tokens)).abs().max() > 0.1


def test_its_files_serve_predictors_and_what_is_not_supported_is_named(folder: Path) -> None:
    body = from_pretrained(folder)
    assert isinstance(body, MoLFormer)
    predictor = PropertyPredictor(backbone=body, properties={"logS": "regression"}).eval()
    assert predictor.predict(torch.tensor([[0, 4, 5, 1]])).shape == (1, 1)
    (folder / "config.json").write_text(json.dumps({**CONFIG, "feature_map_kernel": "gelu"}))
    with pytest.raises(UserError, match="feature_map_kernel"):
        from_pretrained(folder)
