"""Positions that attention adds in each layer, and decoders of queries."""

import math

import pytest
import torch

from headway.core.blocks import PostNormBlock
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import (
    CrossAttention,
    PositionedCrossAttention,
    PositionedSelfAttention,
    SelfAttention,
)
from headway.core.positions import NormalizedSinusoidalPosition
from headway.core.resample import PatchMerging, TokenMerging
from headway.core.stacks import QueryDecoder


def test_normalised_places_are_shares_of_the_real_picture() -> None:
    position = NormalizedSinusoidalPosition(8)
    valid = torch.zeros(2, 3, 4, dtype=torch.bool)
    valid[0, :2, :3], valid[1] = True, True
    padded = position(Layout(grid=(3, 4), valid=valid.flatten(1)), 12).unflatten(1, (3, 4))
    alone = position(Layout(grid=(2, 3)), 6).unflatten(1, (2, 3))
    torch.testing.assert_close(padded[0, :2, :3], alone[0])
    torch.testing.assert_close(padded[1], position(Layout(grid=(3, 4)), 12)[0].unflatten(0, (3, 4)))
    # Row 1 of 2 and column 2 of 3: half and two thirds of a turn, wavelengths 1 and 100.
    row, column = math.pi * (1 - 5e-7), 2 * math.pi * 2 / 3
    expected = [f(a) for a in (row, row / 100, column, column / 100) for f in (math.sin, math.cos)]
    torch.testing.assert_close(alone[0, 0, 1], torch.tensor(expected), atol=1e-5, rtol=1e-5)
    assert torch.isfinite(padded).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="multiple of 4"):
        NormalizedSinusoidalPosition(6)
    with pytest.raises(UserError, match="without prefix"):
        NormalizedSinusoidalPosition(8, prefix=1)
    with pytest.raises(UserError, match="needs a layout with a grid"):
        NormalizedSinusoidalPosition(8)(Layout(), 4)
    x, layout = torch.randn(1, 16, 8), Layout(grid=(4, 4), embedding=torch.randn(1, 16, 8))
    for part in (SelfAttention(8, 2), PatchMerging(8), TokenMerging(2)):
        with pytest.raises(UserError, match="embedding"):
            part(x, layout)
    with pytest.raises(UserError, match="does not support embedding"):
        CrossAttention(8, 2)(x, Layout(), context=x, context_layout=layout)
    packed = Layout(offsets=torch.tensor([0, 16]), max_length=16)
    with pytest.raises(UserError, match="does not support a packed context"):
        PositionedCrossAttention(8, 2)(x, Layout(), context=x, context_layout=packed)


@pytest.mark.parametrize("kind", ["lengths", "valid"])
def test_padding_changes_neither_queries_nor_gradients(kind: str) -> None:
    torch.manual_seed(0)
    decoder = QueryDecoder(
        8, 2, 2, mixer=PositionedSelfAttention, cross=PositionedCrossAttention
    ).double()
    queries, places = torch.randn(2, 2, 3, 8).double().unbind(0)
    memory, embedding = torch.randn(2, 2, 5, 8).double().unbind(0)
    lengths = torch.tensor([3, 5])
    real = torch.arange(5) < lengths[:, None]
    memory = memory.masked_fill(~real[..., None], torch.nan)
    padding = {"lengths": lengths} if kind == "lengths" else {"valid": real}
    out, _ = decoder(
        queries, Layout(embedding=places), context=memory,
        context_layout=Layout(embedding=embedding, **padding),
    )  # fmt: skip
    parameters = list(decoder.parameters())
    together = torch.autograd.grad(out.square().sum(), parameters)
    total = torch.zeros((), dtype=torch.float64)
    for i, n in enumerate(lengths.tolist()):
        alone, _ = decoder(
            queries[i : i + 1], Layout(embedding=places[i : i + 1]), context=memory[i : i + 1, :n],
            context_layout=Layout(embedding=embedding[i : i + 1, :n]),
        )  # fmt: skip
        torch.testing.assert_close(out[i], alone[0])
        total = total + alone.square().sum()
    for a, b in zip(together, torch.autograd.grad(total, parameters), strict=True):
        torch.testing.assert_close(a, b)


def test_each_block_of_a_query_decoder_answers() -> None:
    torch.manual_seed(0)
    decoder = QueryDecoder(8, 3, 2).eval()
    queries, memory = torch.randn(2, 4, 8), torch.randn(2, 5, 8)
    outs = decoder.after_each(queries, context=memory)
    assert len(outs) == 3
    torch.testing.assert_close(outs[-1], decoder(queries, context=memory)[0])
    first = QueryDecoder(8, 1, 2).eval()
    first.blocks[0].load_state_dict(decoder.blocks[0].state_dict())
    torch.testing.assert_close(outs[0], first(queries, context=memory)[0])
    assert isinstance(decoder.blocks[0], PostNormBlock)
    # Queries see each other in no order: shuffled queries give shuffled answers.
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(
        decoder(queries[:, order], context=memory)[0], outs[-1][:, order], atol=1e-5, rtol=1e-5
    )
    decoder.checkpointing = True
    again = decoder.train().after_each(queries, context=memory)
    torch.testing.assert_close(again[-1], outs[-1])
