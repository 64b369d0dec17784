"""The product of the kernels of the axes against the kernel of all pairs."""

from functools import partial

import pytest
import torch

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import FactorizedAttention
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
    expected = mixer.projection((pairs @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixer(x, Layout(grid=grid)), expected)


def test_a_kernel_is_of_the_field_averaged_over_the_other_axes() -> None:
    mixer = small()
    x = torch.randn(1, 3, 4, 8, dtype=torch.float64)
    rolled = x.roll(1, dims=2)
    torch.testing.assert_close(mixer.kernel(x, 0), mixer.kernel(rolled, 0))
    assert (mixer.kernel(x, 1) - mixer.kernel(rolled, 1)).abs().max() > 1e-4


def test_a_finer_grid_gives_the_same_field() -> None:
    mixer = small()
    x = torch.randn(1, 4, 6, 8, dtype=torch.float64)
    fine = x.repeat_interleave(2, dim=1).repeat_interleave(3, dim=2)
    coarse = mixer(x.flatten(1, 2), Layout(grid=(4, 6))).unflatten(1, (4, 6))
    found = mixer(fine.flatten(1, 2), Layout(grid=(8, 18))).unflatten(1, (8, 18))
    torch.testing.assert_close(found[:, ::2, ::3], coarse)


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
