"""Deformable attention as a mixer: the published module with the same weights, places, padding, errors."""

import pytest
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import DeformableAttention

LEVELS = ((5, 7), (3, 4))
TOKENS = 5 * 7 + 3 * 4


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def mixer() -> DeformableAttention:
    made = DeformableAttention(32, 4, levels=2, points=3)
    with torch.no_grad():
        for number, weight in enumerate(made.parameters()):
            weight.add_(0.2 * normal(*weight.shape, seed=number))
    return made


def published(ours: DeformableAttention) -> torch.nn.Module:
    """The module of transformers with our weights."""
    pytest.importorskip("transformers")
    from transformers import DeformableDetrConfig
    from transformers.models.deformable_detr.modeling_deformable_detr import (
        DeformableDetrMultiscaleDeformableAttention,
    )

    config = DeformableDetrConfig(d_model=32, num_feature_levels=2, disable_custom_kernels=True)
    theirs = DeformableDetrMultiscaleDeformableAttention(config, num_heads=4, n_points=3)
    names = {"sampling_offsets": "offsets", "attention_weights": "weights"}
    names |= {"value_proj": "v", "output_proj": "projection"}
    for name, own in names.items():
        getattr(theirs, name).load_state_dict(getattr(ours, own).state_dict())
    return theirs


@pytest.mark.parametrize("padded", [False, True])
def test_cross_attention_equals_the_published_module(padded: bool) -> None:
    ours = mixer()
    x, context, places = normal(2, 6, 32), normal(2, TOKENS, 32, seed=1), normal(2, 6, 2).sigmoid()
    embedding = normal(1, 6, 32, seed=2)
    valid = torch.arange(TOKENS) % 5 > 0 if padded else torch.ones(TOKENS).bool()
    valid = valid.expand(2, -1)
    found = ours(
        x,
        Layout(positions=places, embedding=embedding),
        context=context,
        context_layout=Layout(levels=LEVELS, valid=valid if padded else None),
    )
    wanted, _ = published(ours)(
        hidden_states=x,
        attention_mask=valid,
        encoder_hidden_states=context,
        position_embeddings=embedding,
        reference_points=places.flip(-1)[:, :, None].expand(-1, -1, 2, -1),
        spatial_shapes=torch.tensor(LEVELS),
        spatial_shapes_list=list(LEVELS),
    )
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_tokens_of_several_maps_read_around_their_own_centres() -> None:
    ours = mixer()
    x = normal(1, TOKENS, 32)
    rows = [
        ((row + 0.5) / height, (column + 0.5) / width)
        for height, width in LEVELS
        for row in range(height)
        for column in range(width)
    ]
    wanted, _ = published(ours)(
        hidden_states=x,
        encoder_hidden_states=x,
        reference_points=torch.tensor(rows).flip(-1)[None, :, None].expand(-1, -1, 2, -1),
        spatial_shapes=torch.tensor(LEVELS),
        spatial_shapes_list=list(LEVELS),
    )
    torch.testing.assert_close(ours(x, Layout(levels=LEVELS)), wanted, atol=1e-5, rtol=1e-5)


def test_a_query_with_a_box_steps_in_shares_of_it() -> None:
    ours = mixer()
    x, context = normal(2, 5, 32), normal(2, TOKENS, 32)
    boxes = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(0))  # x, y, width, height
    wanted, _ = published(ours)(
        hidden_states=x,
        encoder_hidden_states=context,
        reference_points=boxes[:, :, None].expand(-1, -1, 2, -1),
        spatial_shapes=torch.tensor(LEVELS),
        spatial_shapes_list=list(LEVELS),
    )
    places = boxes[..., [1, 0, 3, 2]]
    found = ours(x, Layout(positions=places), context=context, context_layout=Layout(levels=LEVELS))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_at_first_each_head_looks_into_a_direction_of_its_own_with_equal_weights() -> None:
    made = DeformableAttention(32, 4, levels=1, points=2)
    with torch.no_grad():
        made.v.weight.copy_(torch.eye(32))
        made.projection.weight.copy_(torch.eye(32))
        made.v.bias.zero_()
        made.projection.bias.zero_()
    # A map whose values are their own columns and rows, and a query at the centre of token (3, 3).
    row, column = torch.meshgrid(torch.arange(7.0), torch.arange(7.0), indexing="ij")
    context = torch.stack([column, row], dim=-1).flatten(0, 1).repeat(1, 16)[None]
    layout = Layout(positions=torch.full((1, 1, 2), 0.5))
    out = made(torch.zeros(1, 1, 32), layout, context=context, context_layout=Layout(grid=(7, 7)))
    wanted = torch.tensor([[4.5, 3.0], [3.0, 4.5], [1.5, 3.0], [3.0, 1.5]]).repeat_interleave(4, 0)
    torch.testing.assert_close(out.view(16, 2), wanted, atol=1e-5, rtol=1e-5)


def test_half_precision_reads_the_places_that_float32_does() -> None:
    ours = mixer()
    x, layout = normal(1, TOKENS, 32), Layout(levels=LEVELS)
    wanted = ours(x, layout)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ours(x, layout)
    assert found.dtype == torch.bfloat16
    error = (found.float() - wanted).abs().max() / wanted.abs().max()
    assert error < 0.05, error


WRONG = {
    "no positions": (Layout(), Layout(levels=LEVELS), "needs the positions of its queries"),
    "two kinds of positions": (
        Layout(positions=torch.zeros(1, 6, 2), grid=(2, 3)),
        Layout(levels=LEVELS),
        "not both",
    ),
    "one map too few": (
        Layout(grid=(2, 3)),
        Layout(grid=(5, 7)),
        "needs a memory of 2 maps",
    ),
    "prefix": (Layout(grid=(2, 3)), Layout(levels=LEVELS, prefix=1), "prefix 1"),
}


@pytest.mark.parametrize(("layout", "memory", "message"), WRONG.values(), ids=WRONG)
def test_layouts_that_do_not_fit_are_refused(layout: Layout, memory: Layout, message: str) -> None:
    with pytest.raises(UserError, match=message):
        mixer()(normal(1, 6, 32), layout, context=normal(1, TOKENS, 32), context_layout=memory)
