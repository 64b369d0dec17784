"""GP-MoLFormer: its state has a fixed size, and it is the algorithm of the published body."""

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.language import SPECIALS
from headway.core.language.presets import RotaryAttention
from headway.core.weights import from_pretrained, save_pretrained
from headway.molecules.models import GPMoLFormer
from headway.molecules.notation import SmilesTokenizer


def build(**options) -> GPMoLFormer:
    torch.manual_seed(0)
    tokenizer = SmilesTokenizer(vocabulary=(*SPECIALS, *"CNO()=1"))
    model = GPMoLFormer(
        tokenizer=tokenizer, dim=16, depth=2, heads=2, max_length=40, **options
    ).double()
    with torch.no_grad():
        model.embedding.weight.normal_()
        for bias in (value for name, value in model.named_parameters() if name.endswith("bias")):
            bias.normal_(std=0.1)
    return model.eval()


def texts(batch: int = 3, length: int = 17) -> Tensor:
    return torch.randint(3, 10, (batch, length), generator=torch.Generator().manual_seed(1))


def size(state: object) -> int:
    """Numbers that tensors below an object hold."""
    if isinstance(state, Tensor):
        return state.numel()
    parts = (
        state
        if isinstance(state, (list, tuple))
        else vars(state).values()
        if hasattr(state, "__dict__")
        else ()
    )
    parts = parts if not isinstance(state, dict) else state.values()
    return sum(size(part) for part in parts)


def test_token_by_token_from_a_state_of_fixed_size() -> None:
    model, tokens = build(), texts()
    whole = model(tokens)
    cache = model.init_cache(3)
    steps = [model(tokens[:, place : place + 1], cache=cache) for place in range(tokens.shape[1])]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)
    assert size(model.init_cache(3, 32)) == size(model.init_cache(3, 4096))
    plain = build(mixer=RotaryAttention)
    assert size(plain.init_cache(3, 4096)) > 100 * size(plain.init_cache(3, 32))


def test_features_are_saved_with_the_weights(tmp_path: Path) -> None:
    model, tokens = build(), texts()
    save_pretrained(model, tmp_path / "model")
    again = from_pretrained(str(tmp_path / "model")).double().eval()
    torch.testing.assert_close(again(tokens), model(tokens), rtol=1e-5, atol=1e-5)
    assert torch.equal(model(tokens), model(tokens))
    with torch.no_grad():
        again.decoder.blocks[0].mixer.function.feature_map.directions.normal_()
    assert (again(tokens) - model(tokens)).abs().max() > 1e-3


def turned(x: Tensor) -> Tensor:
    """The rotation of halves, (B, H, N, D)."""
    width, places = x.shape[-1], torch.arange(x.shape[2], dtype=x.dtype)
    angles = places[:, None] / 10000 ** (torch.arange(0, width, 2).to(x) / width)
    first, second = x.chunk(2, dim=-1)
    return torch.cat(
        [
            first * angles.cos() - second * angles.sin(),
            second * angles.cos() + first * angles.sin(),
        ],
        dim=-1,
    )


def test_it_is_the_published_body_with_sums_over_what_came_before() -> None:
    """A transcription of the published algorithm; the causal model's own code could not be had."""
    model, tokens = build(), texts()
    x = model.embedding(tokens)
    for block in model.decoder.blocks:
        mixer, forward = block.mixer.function, block.feedforward.function
        heads = [
            part.unflatten(-1, (2, 8)).transpose(1, 2) for part in mixer.qkv(x).chunk(3, dim=-1)
        ]
        query, key = (F.relu(turned(part) @ mixer.feature_map.directions.mT) for part in heads[:2])
        weights = (query @ key.mT).tril()
        mixed = weights @ heads[2] / weights.sum(-1, keepdim=True).clamp(min=1e-6)
        x = block.mixer.norm(x + mixer.projection(mixed.transpose(1, 2).flatten(2)))
        hidden = forward.fc1(x)
        hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        x = block.feedforward.norm(x + forward.fc2(hidden))
        assert forward.fc1.out_features == 16
    wanted = model.head(model.decoder.norm(x))
    torch.testing.assert_close(model(tokens), wanted)
