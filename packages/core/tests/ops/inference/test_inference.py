"""The fused steps are their references, and stand aside where something is differentiated or traced."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.feedforward import GLU
from headway.core.norms import RMSNorm
from headway.core.ops import inference
from headway.core.ops.inference import native
from headway.core.positions import Rotary


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


@pytest.fixture
def compiled() -> None:
    if not native.fits(torch.ones(1)):
        pytest.skip("no C++ kernels here")


WIDTHS = (1, 2, 7, 16, 33, 192)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_norm_is_its_reference(width: int, compiled: None) -> None:
    x, weight = numbers(3, 5, width, dtype=torch.float64), numbers(width, dtype=torch.float64)
    expected = x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * weight
    found = native.rms_norm(x.float(), weight.float(), 1e-5)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    across = numbers(5, 3, width).transpose(0, 1)
    torch.testing.assert_close(
        inference.rms_norm(across, weight.float(), 1e-5),
        F.rms_norm(across, (width,), weight.float(), 1e-5),
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_the_gate_is_its_reference(width: int, compiled: None) -> None:
    x = numbers(4, 3, 2 * width, dtype=torch.float64) * 20
    gate, value = x.chunk(2, dim=-1)
    found = native.silu_gate(x.float())
    torch.testing.assert_close(found.double(), F.silu(gate) * value, rtol=1e-5, atol=1e-6)
    narrow = x.float()[..., 1:-1]  # rows that do not lie side by side
    first, second = narrow.chunk(2, dim=-1)
    torch.testing.assert_close(inference.silu_gate(narrow), F.silu(first) * second)


def test_a_gate_far_from_zero_is_shut_or_open(compiled: None) -> None:
    gate = torch.tensor([-1e30, -200.0, -90.0, 0.0, 90.0, 200.0, 1e30, float("nan")])
    found = native.silu_gate(torch.stack([gate, torch.ones(8)], dim=-1))[:, 0]
    expected = F.silu(gate)
    torch.testing.assert_close(found[1:], expected[1:], equal_nan=True)
    assert found[0] <= 0


@pytest.mark.parametrize("width", [2, 6, 32, 66])
@pytest.mark.parametrize("rows", [1, 3])
def test_the_turn_is_its_reference(width: int, rows: int, compiled: None) -> None:
    x = numbers(3, 5, 4, width, dtype=torch.float64).transpose(1, 2)
    angles = numbers(rows, 5, width // 2, dtype=torch.float64)
    cosines, sines = angles.cos(), angles.sin()
    expected = inference.turn(x, cosines, sines)
    found = inference.turn(x.float(), cosines.float(), sines.float())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    pairs = (
        torch.complex(*x.chunk(2, dim=-1)) * torch.polar(torch.ones_like(angles), angles)[:, None]
    )
    torch.testing.assert_close(expected, torch.cat([pairs.real, pairs.imag], dim=-1))


def test_tokens_go_where_they_belong(compiled: None) -> None:
    x, places = numbers(3, 2, 5, 7).transpose(1, 2), torch.tensor([0, 4, 2])
    buffer = torch.zeros(3, 5, 6, 7)
    inference.place_(buffer, x, places)
    expected = torch.zeros(3, 5, 6, 7)
    for row, first in enumerate(places.tolist()):
        expected[row, :, first : first + 2] = x[row]
    assert torch.equal(buffer, expected)
    wide = torch.zeros(3, 5, 6, 7, dtype=torch.float64)
    inference.place_(wide, x, places)
    assert torch.equal(wide.float(), expected)
    with pytest.raises(IndexError, match="leave a buffer of 6"):
        inference.place_(buffer, x, torch.tensor([0, 5, 2]))
    assert torch.equal(buffer, expected)


ROTARY = Rotary(2, 6)


def turned(x: Tensor) -> Tensor:
    heads, places = x.view(2, 3, 2, 6).transpose(1, 2), torch.arange(3.0)[None, :, None]
    return ROTARY.rotate(heads, heads, places, places)[0]


PARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "norm": RMSNorm(12),
    "gate": GLU(12, hidden_dim=20),
    "turn": turned,
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_say_the_same_with_and_without_a_gradient(name: str) -> None:
    part, x = PARTS[name], numbers(2, 3, 12)
    expected = part(x.clone().requires_grad_()).detach()
    with torch.no_grad():
        found = part(x)
        compiled = torch.compile(part, fullgraph=True, backend="eager")(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(compiled, expected)


def test_what_is_differentiated_or_narrow_goes_the_plain_way(compiled: None) -> None:
    x = numbers(2, 4)
    assert native.fits(x)
    assert not native.fits(x.bfloat16())
    assert not native.fits(x, torch.nn.Parameter(x))
    assert not native.fits(torch.empty(2, 4, device="meta"))
    with torch.no_grad():
        assert native.fits(x, torch.nn.Parameter(x))
    weight = torch.ones(4, requires_grad=True)
    inference.rms_norm(x, weight, 1e-5).sum().backward()
    assert weight.grad is not None
    mapped = torch.vmap(lambda row: inference.rms_norm(row, torch.ones(4), 1e-5))(x)
    torch.testing.assert_close(mapped, inference.rms_norm(x, torch.ones(4), 1e-5))


def test_a_gain_that_is_no_row_of_memory_is_read_right(compiled: None) -> None:
    x, weight = numbers(64, 4096), numbers(4096, 2)[:, 0]
    found = native.rms_norm(x, weight, 1e-5)
    torch.testing.assert_close(found, F.rms_norm(x, (4096,), weight.contiguous(), 1e-5))
