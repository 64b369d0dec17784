"""PEM: its parts against loops and torchvision, and that a query reads one token."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import PositionedCrossAttention
from headway.core.testing.stirring import stir_
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.layers.deformable_convolution import DeformableConvolution
from headway.vision.layers.prototype_attention import PrototypeAttention
from headway.vision.models import PEM, Features, Swin


def small(**options: Any) -> PEM:
    swin = Swin(image_size=32, num_classes=0, dim=8, depths=(1, 1, 1), heads=(2, 2, 2))
    sizes: dict[str, Any] = {"dim": 16, "pixel_dim": 8, "mask_dim": 8, "heads": 2, "queries": 6}
    backbone = Features(swin, [0, 1, 2])
    return PEM(num_classes=4, backbone=backbone, depth=2, **{**sizes, **options})


def test_a_deformable_convolution_equals_torchvisions() -> None:
    torch.manual_seed(0)
    ours = DeformableConvolution(5, 7)
    stir_(ours)
    with torch.no_grad():
        # Far enough that points leave the map.
        ours.steps.weight.mul_(10)
    x = torch.randn(2, 5, 6, 9, requires_grad=True)
    found = ours.steps(x)
    expected = deform_conv2d(x, found[:, :18], ours.weight, padding=1, mask=found[:, 18:].sigmoid())
    mine = ours(x)
    assert found[:, :18].abs().max() > 3
    torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)
    inputs = [x, ours.weight, ours.steps.weight]
    weights = torch.randn_like(mine)
    for one, other in zip(
        torch.autograd.grad((mine * weights).sum(), inputs, retain_graph=True),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def attention() -> tuple[PrototypeAttention, Tensor, Tensor, Layout, Tensor]:
    torch.manual_seed(0)
    mixer = PrototypeAttention(16, 2).eval()
    stir_(mixer)
    queries, context = torch.randn(2, 3, 16), torch.randn(2, 20, 16)
    layout = Layout(grid=(4, 5), embedding=torch.randn(1, 20, 16))
    mask = torch.rand(2, 1, 3, 20) > 0.4
    return mixer, queries, context, layout, mask


def test_prototypes_are_those_of_a_loop() -> None:
    mixer, queries, context, layout, mask = attention()
    embedding = torch.randn(1, 3, 16)
    found = mixer(
        queries, Layout(embedding=embedding), context=context, context_layout=layout, mask=mask
    )
    for item in range(2):
        there = (context[item] + layout.embedding[0]).T.view(1, 16, 4, 5)  # pyright: ignore[reportOptionalSubscript]
        keys = mixer.k(mixer.local(mixer.map_norm(there)).flatten(2)[0].T)
        asked = mixer.q(mixer.query_norm(queries[item] + embedding[0]))
        keys, asked = F.normalize(keys, dim=-1), F.normalize(asked, dim=-1)
        read = torch.zeros(3, 16)
        for query in range(3):
            for head in (slice(0, 8), slice(8, 16)):
                best, most = 0, -float("inf")
                for token in range(20):
                    alike = (keys[token, head] @ asked[query, head]).item()
                    if mask[item, 0, query, token] and alike > most:
                        best, most = token, alike
                read[query, head] = keys[best, head]
        # Over queries, as in the authors' code.
        agreement = F.normalize(mixer.agreement(read * asked), dim=0)
        expected = mixer.projection(agreement * mixer.scale[0] + read)
        torch.testing.assert_close(found[item], expected, atol=1e-5, rtol=1e-5)


def tokens_read(mixer: Any) -> int:
    """Returns of how many tokens, well apart, the answer to one query depends."""
    _, queries, _, layout, _ = attention()
    context = torch.randn(1, 20, 16, requires_grad=True)
    out = mixer(queries[:1, :1], Layout(), context=context, context_layout=layout)
    [gradient] = torch.autograd.grad(out.square().sum(), [context])
    return int((gradient.abs().sum(-1) > 1e-9).sum())


def test_a_query_reads_one_token_and_its_neighbours_for_each_head() -> None:
    """Fails with cross-attention in its place, which reads all."""
    mixer = attention()[0]
    assert tokens_read(mixer) <= 2 * 9
    plain = PositionedCrossAttention(16, 2)
    assert tokens_read(plain) == 20


def test_queries_without_a_mask() -> None:
    masks = torch.full((2, 3, 4, 4), -1.0)
    masks[0, 1] = 1
    read = small().may_read(masks, (2, 2))
    assert read[0, 0].tolist() == [[False] * 4, [True] * 4, [False] * 4]
    assert read[1].all()


def test_what_is_saved_comes_back_and_takes_other_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small()
    # A map of an odd height is enlarged beyond the next one.
    images = torch.rand(2, 3, 36, 52)
    answer = model(images)
    assert answer.masks.shape == (2, 6, 9, 13)
    assert len(answer.aux) == 2
    answer.masks.square().mean().backward()
    assert all(p.grad is not None for p in model.pixels.parameters())
    model.eval()
    found = model(images)
    save_pretrained(model, tmp_path / "model")
    other = from_pretrained(tmp_path / "model", num_classes=7).eval()
    assert isinstance(other, PEM)
    assert other(images).logits.shape == (2, 6, 8)
    torch.testing.assert_close(other(images).masks, found.masks, rtol=0, atol=0)


def test_what_it_cannot_be_is_one_line() -> None:
    with pytest.raises(UserError, match="queries 0"):
        small(queries=0)
    one = Features(Swin(image_size=32, num_classes=0, dim=8, depths=(1,), heads=(2,)), [0])
    with pytest.raises(UserError, match="two maps or more, the backbone has 1"):
        PEM(num_classes=2, backbone=one)
    with pytest.raises(UserError, match="channels 0"):
        DeformableConvolution(0, 3)
    mixer, queries, context, _, _ = attention()
    with pytest.raises(UserError, match="a grid in its layout"):
        mixer(queries, context=context)
