"""The product of the kernels of the axes against the kernel of all pairs; the same field on any grid."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import FactorizedAttention
from headway.core.mixers.kernelized.factorized_attention import FieldNorm
from headway.core.norms import LayerNorm
from headway.core.positions import Rotary


def small(axes: int = 2, **options) -> FactorizedAttention:
    torch.manual_seed(0)
    return FactorizedAttention(8, 2, axes=axes, **options).double()


@pytest.mark.parametrize("position", [None, Rotary], ids=["plain", "rotary"])
@pytest.mark.parametrize("grid", [(5,), (3, 4), (2, 3, 4)], ids=str)
def test_it_equals_the_kernel_of_all_pairs(grid: tuple[int, ...], position) -> None:
    mixer = small(len(grid), position=position)
    tokens = torch.tensor(grid).prod()
    x = torch.randn(2, tokens, 8, dtype=torch.float64)
    field = x.unflatten(1, grid)
    pairs = torch.ones(2, 2, 1, 1, dtype=torch.float64)
    for axis in range(len(grid)):
        kernel = mixer.kernel(field, axis)
        assert kernel.shape == (2, 2, grid[axis], grid[axis])
        pairs = torch.stack(
            [
                torch.stack([torch.kron(a, b) for a, b in zip(*pair, strict=True)])
                for pair in zip(pairs.expand(2, 2, -1, -1), kernel, strict=True)
            ]
        )
    value = mixer.v(x).unflatten(2, (2, 4)).transpose(1, 2)
    integral = pairs @ value
    spread = integral.var(dim=(2, 3), correction=0, keepdim=True)
    normal = (integral - integral.mean(dim=(2, 3), keepdim=True)) / (spread + 1e-8).sqrt()
    expected = mixer.projection(normal.transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixer(x, Layout(grid=grid)), expected)


def test_a_kernel_is_of_the_field_averaged_over_the_other_axes() -> None:
    mixer = small()
    x = torch.randn(1, 3, 4, 8, dtype=torch.float64)
    rolled = x.roll(1, dims=2)
    torch.testing.assert_close(mixer.kernel(x, 0), mixer.kernel(rolled, 0))
    assert (mixer.kernel(x, 1) - mixer.kernel(rolled, 1)).abs().max() > 1e-4


def test_a_finer_grid_gives_the_same_field() -> None:
    mixer = small(position=None)
    x = torch.randn(1, 4, 6, 8, dtype=torch.float64)
    fine = x.repeat_interleave(2, dim=1).repeat_interleave(3, dim=2)
    coarse = mixer(x.flatten(1, 2), Layout(grid=(4, 6))).unflatten(1, (4, 6))
    found = mixer(fine.flatten(1, 2), Layout(grid=(8, 18))).unflatten(1, (8, 18))
    torch.testing.assert_close(found[:, ::2, ::3], coarse)


class ByIndex(Rotary):
    """Turns by the index of a place, as if a finer grid were a longer field."""

    def rotate(
        self, query: Tensor, key: Tensor, query_positions: Tensor, key_positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        at = torch.arange(query.shape[2], dtype=torch.float32)[None, :, None]
        return super().rotate(query, key, at, at)


def refined(mixer: FactorizedAttention) -> float:
    """Relative difference of a smooth field's result on 48 x 48 places from that on 96 x 96."""
    results = []
    torch.manual_seed(1)
    waves = torch.randn(8, 2, dtype=torch.float64)
    for side in (48, 96):
        place = 2 * torch.pi * torch.arange(side, dtype=torch.float64) / side
        rows, columns = torch.meshgrid(place, place, indexing="ij")
        field = (
            waves[:, 0] * rows.sin()[..., None] + waves[:, 1] * (rows - columns).cos()[..., None]
        )
        found = mixer(field.flatten(0, 1)[None], Layout(grid=(side, side))).unflatten(
            1, (side, side)
        )
        results.append(found[:, :: side // 48, :: side // 48])
    coarse, fine = results
    return float(((coarse - fine).norm() / fine.norm()).detach())


def test_places_do_not_count_the_grid() -> None:
    """Over seeds 0 to 4 at most 0.017 by shares of an axis, at least 0.6 by indices."""
    assert refined(small()) < 0.06
    assert refined(small(position=ByIndex)) > 0.3


def test_the_default_is_told_the_places() -> None:
    """The same profile everywhere: without places its kernel is one number, with them it depends on the distance."""
    field = torch.ones(1, 6, 6, 8, dtype=torch.float64)
    kernel = small().kernel(field, 0)[0, 0]
    torch.testing.assert_close(kernel[0, 1], kernel[3, 4], atol=1e-6, rtol=1e-5)
    assert (kernel[0, 1] - kernel[0, 0]).abs() > 1e-4
    assert small(position=None).kernel(field, 0)[0, 0].std() < 1e-12


def test_places_lie_on_a_ring_or_between_walls() -> None:
    """The kernel on 6 places of a ring is that of 7 places between walls, without the last one."""
    ring, walls = small(axes=1), small(axes=1, walls=True)
    profile = torch.ones(1, 7, 8, dtype=torch.float64)
    found = 6 * ring.kernel(profile[:, :6], 0)
    torch.testing.assert_close(
        found, 7 * walls.kernel(profile, 0)[..., :6, :6], atol=1e-5, rtol=1e-5
    )


def test_both_norms_are_parts() -> None:
    """The published norm holds each head over the field; queries and keys have one only if asked for."""
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    layout = Layout(grid=(3, 4))
    exact = partial(FieldNorm, eps=1e-20)
    mixer, loud = small(norm=exact), small(norm=exact)
    with torch.no_grad():
        loud.v.weight.mul_(10)
    torch.testing.assert_close(loud(x, layout), mixer(x, layout), atol=1e-8, rtol=1e-8)
    bare = small(norm=None)
    with torch.no_grad():
        first = bare(x, layout)
        bare.v.weight.mul_(10)
    assert (bare(x, layout) - first).abs().max() > first.abs().max()
    # The kernel of normalised queries and keys does not grow with the field's profile.
    normal, plain = small(kernel_norm=LayerNorm, position=None), small(position=None)
    with torch.no_grad():
        found = []
        for part in (normal, plain):
            before = part.kernel(x.unflatten(1, (3, 4)), 0)
            part.qk[0].weight.mul_(2)
            found.append(part.kernel(x.unflatten(1, (3, 4)), 0) / before)
    torch.testing.assert_close(found[0], torch.ones_like(found[0]), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found[1], torch.full_like(found[1], 4.0))


def test_the_profile_is_normalised_before_its_network() -> None:
    mixer = small(position=None)
    x = torch.randn(1, 3, 4, 8, dtype=torch.float64)
    profile = mixer.reduce[0](mixer.enter(x)).mean(dim=2)
    query, key = mixer.qk[0](mixer.profiles[0][1](F.layer_norm(profile, (8,)))).chunk(2, dim=2)
    query, key = (part.unflatten(2, (2, -1)).transpose(1, 2) for part in (query, key))
    torch.testing.assert_close(mixer.kernel(x, 0), query @ key.transpose(2, 3) / 3)


def test_gradients_are_right_and_it_compiles() -> None:
    mixer = small(position=partial(Rotary, theta=100.0))
    x = torch.randn(1, 6, 8, dtype=torch.float64, requires_grad=True)
    layout = Layout(grid=(2, 3))
    assert torch.autograd.gradcheck(lambda tokens: mixer(tokens, layout), x)
    compiled = torch.compile(mixer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, layout), mixer(x, layout))


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(UserError, match=r"needs all tokens on a grid of 2 axes, got \(6,\)"):
        small()(torch.zeros(1, 6, 8).double())
    with pytest.raises(UserError, match="does not support lengths"):
        small()(torch.zeros(1, 6, 8).double(), Layout(grid=(2, 3), lengths=torch.tensor([4])))
    with pytest.raises(UserError, match="axes must be at least 1"):
        FactorizedAttention(8, 2, axes=0)
    with pytest.raises(UserError, match="places 0 and kernel_dim None must be above 0"):
        FactorizedAttention(8, 2, places=0)
