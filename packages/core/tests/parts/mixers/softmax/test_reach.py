"""Windows to either side, and attention in chunks."""

from typing import Any

import pytest
import torch

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import GatedConvolutionMixer, PoolingMixer, SelfAttention
from headway.core.positions import Rotary

DIM, HEADS, TOKENS = 12, 2, 10


def seen_by(**options: Any) -> torch.Tensor:
    """Which tokens (columns) reach the answer for which (rows)."""
    torch.manual_seed(0)
    mixer = SelfAttention(DIM, HEADS, **options).double().eval()
    x = torch.randn(1, TOKENS, DIM, dtype=torch.float64)
    gradient = torch.autograd.functional.jacobian(mixer, x)
    return gradient.abs().sum(dim=(0, 2, 3, 5)) > 0


def offsets() -> torch.Tensor:
    places = torch.arange(TOKENS)
    return places - places[:, None]


@pytest.mark.parametrize(
    ("window", "causal", "left", "right"),
    [
        (2, False, 2, 2),
        ((3, 1), False, 3, 1),
        ((0, 2), False, 0, 2),
        ((None, 1), False, TOKENS, 1),
        ((4, None), False, 4, TOKENS),
        (2, True, 2, 0),
        ((3, 0), True, 3, 0),
        ((3, None), True, 3, 0),
    ],
)
def test_a_window_reaches_as_far_as_it_says(
    window: Any, causal: bool, left: int, right: int
) -> None:
    away = offsets()
    assert torch.equal(seen_by(window=window, causal=causal), (away >= -left) & (away <= right))


@pytest.mark.parametrize(("chunks", "left"), [(3, TOKENS), ((3, 1), 1), ((4, 0), 0), ([2, 2], 2)])
def test_a_token_sees_its_chunk_and_those_before(chunks: Any, left: int) -> None:
    size = chunks if isinstance(chunks, int) else chunks[0]
    chunk = torch.arange(TOKENS) // size
    ago = chunk[:, None] - chunk
    assert torch.equal(seen_by(chunks=chunks), (ago >= 0) & (ago <= left))


def test_a_mixer_says_how_many_tokens_it_takes_at_once_and_takes_other_chunks() -> None:
    mixer = SelfAttention(DIM, HEADS)
    assert mixer.at_once is None
    assert SelfAttention(DIM, HEADS, causal=True).at_once == 1
    assert GatedConvolutionMixer(DIM).at_once is None
    assert GatedConvolutionMixer(DIM, causal=True).at_once == 1
    assert PoolingMixer(DIM).at_once is None
    mixer.set_chunks((3, 1))
    fixed = SelfAttention(DIM, HEADS, chunks=(3, 1))
    fixed.load_state_dict(mixer.state_dict())
    assert (mixer.at_once, fixed.at_once) == (3, 3)
    x = torch.randn(2, TOKENS, DIM)
    assert torch.equal(mixer(x), fixed(x))
    cache = mixer.init_cache(2, TOKENS)
    parts = [mixer(part, cache=cache) for part in x.split(3, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), mixer(x), atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match="chunks is"):
        mixer.set_chunks((0, 1))
    with pytest.raises(UserError, match="leave one of them out"):
        SelfAttention(DIM, HEADS, causal=True).set_chunks(2)


def test_chunks_and_a_window_both_hold() -> None:
    away, chunk = offsets(), torch.arange(TOKENS) // 5
    expected = (away.abs() <= 2) & (chunk <= chunk[:, None])
    assert torch.equal(seen_by(chunks=5, window=2), expected)


@pytest.mark.parametrize("window", [None, (4, 1)])
@pytest.mark.parametrize("chunks", [3, (3, 1)])
def test_chunk_after_chunk_equals_all_at_once(chunks: Any, window: Any) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"chunks": chunks, "window": window, "kv_heads": 1}
    mixer = SelfAttention(DIM, HEADS, position=Rotary, **options).double().eval()
    x = torch.randn(2, TOKENS, DIM, dtype=torch.float64)
    lengths = torch.tensor([TOKENS, 7])
    whole = mixer(x, Layout(lengths=lengths))
    cache = mixer.init_cache(2, TOKENS)
    for start in range(0, TOKENS, 3):
        part = x[:, start : start + 3]
        real = (lengths - start).clamp(0, part.shape[1])
        heard = mixer(part, Layout(lengths=real), cache=cache)
        for row, count in enumerate(real.tolist()):
            expected = whole[row, start : start + count]
            torch.testing.assert_close(heard[row, :count], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"window": -1}, "window is -1"),
        ({"window": (2, -1)}, r"window is \(2, -1\)"),
        ({"window": (2, 1), "causal": True}, r"use window=\(2, 0\)"),
        ({"chunks": 0}, "chunks is 0"),
        ({"chunks": (2, -1)}, r"chunks is \(2, -1\)"),
        ({"chunks": 2, "causal": True}, "leave one of them out"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(UserError, match=match):
        SelfAttention(DIM, HEADS, **options)


def test_chunks_refuse_packed_items() -> None:
    mixer = SelfAttention(DIM, HEADS, chunks=2)
    with pytest.raises(UserError, match="no packing"):
        mixer(torch.randn(1, 4, DIM), Layout(offsets=torch.tensor([0, 2, 4]), max_length=2))
