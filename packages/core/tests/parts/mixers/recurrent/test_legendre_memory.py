"""The memory against its differential equation, its past, and itself token by token."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm, solve
from torch import Tensor

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import ConvolutionMixer, LegendreMemory
from headway.core.mixers.recurrent.legendre_memory import legendre_polynomials, legendre_transition
from headway.core.stacks import Decoder


def small(**options) -> LegendreMemory:
    torch.manual_seed(0)
    return LegendreMemory(8, 2, **{"order": 5, "window": 12, **options}).double().eval()


def steps(model: LegendreMemory, x: Tensor, sizes: list[int]) -> Tensor:
    cache = model.init_cache(len(x), 99, torch.float64)
    return torch.cat([model(part, cache=cache) for part in x.split(sizes, dim=1)], dim=1)


@pytest.mark.parametrize("order", [1, 2, 7])
def test_the_step_is_the_held_input_of_the_published_equation(order: int) -> None:
    A = np.zeros((order, order))
    for i in range(order):
        for j in range(order):
            A[i, j] = (2 * i + 1) * (-1 if i < j else (-1.0) ** (i - j + 1))
    B = np.array([(2 * i + 1) * (-1.0) ** i for i in range(order)])
    expected = expm(A / 9)
    transition, entry = legendre_transition(order, 9)
    np.testing.assert_allclose(transition.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(entry.numpy(), solve(A, (expected - np.eye(order)) @ B), atol=1e-12)


def test_all_tokens_at_once_equal_the_recurrence() -> None:
    model = small()
    u = torch.randn(2, 23, 2, dtype=torch.float64)
    state, states = torch.zeros(2, 2, 5, dtype=torch.float64), []
    for token in u.unbind(1):
        state = state @ model.transition.T + token[..., None] * model.entry
        states.append(state)
    torch.testing.assert_close(model.remember(u), torch.stack(states, 1), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("sizes", [[1] * 17, [5, 1, 11], [17]], ids=str)
def test_a_cache_gives_what_all_tokens_at_once_give(sizes: list[int]) -> None:
    model = small()
    x = torch.randn(3, 17, 8, dtype=torch.float64)
    torch.testing.assert_close(steps(model, x, sizes), model(x), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("degree", [0, 2, 4])
def test_the_memory_of_a_polynomial_is_its_window(degree: int) -> None:
    window, order = 400, 5
    model = small(order=order, window=window)
    time = torch.arange(2000, dtype=torch.float64) / 1000
    memory = model.remember((time**degree).expand(1, 2, -1).transpose(1, 2))[0, -1, 0]
    places = torch.linspace(0, 1, 9, dtype=torch.float64)
    past = memory @ legendre_polynomials(order, places)
    expected = (time[-1] - places * window / 1000) ** degree
    # Between two tokens the input is held: what is remembered is half a token old.
    torch.testing.assert_close(past, expected, atol=0.0, rtol=4e-3)


def test_a_memory_of_the_same_size_without_the_polynomials_forgets_the_order() -> None:
    """Leaky averages of as many rates, read by the best linear map, against the Legendre memory."""
    torch.manual_seed(0)
    window, order, tokens = 40, 8, 4000
    model = small(order=order, window=window)
    noise = torch.randn(tokens, dtype=torch.float64)
    kernel = torch.hann_window(24, dtype=torch.float64)
    signal = torch.nn.functional.conv1d(noise[None, None], kernel[None, None], padding=12)[0, 0]
    signal = signal[:tokens]
    legendre = model.remember(signal[None, :, None].expand(-1, -1, 2))[0, :, 0]
    rates = torch.exp(-1 / torch.logspace(0, 2, order, dtype=torch.float64))
    state, leaky = torch.zeros(order, dtype=torch.float64), []
    for value in signal:
        state = rates * state + (1 - rates) * value
        leaky.append(state)
    wanted = signal.unfold(0, window, 1)  # the window that ends at each token

    def error(memory: Tensor) -> float:
        features = memory[window - 1 :]
        best = torch.linalg.lstsq(features, wanted).solution
        return float((features @ best - wanted).norm() / wanted.norm())

    assert error(legendre) < 0.2
    assert error(torch.stack(leaky)) > 2 * error(legendre)


def test_padding_changes_neither_results_nor_the_memory() -> None:
    model = small()
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    lengths = torch.tensor([9, 4])
    padded = x.clone()
    padded[1, 4:] = torch.nan
    padded.requires_grad_()
    cache = model.init_cache(2, 99, torch.float64)
    out = model(padded, Layout(lengths=lengths), cache=cache)
    torch.testing.assert_close(out[1, :4], model(x[1:, :4])[0])
    after = model(x[:, :1], cache=cache)
    torch.testing.assert_close(after[1], model(torch.cat([x[1, :4], x[1, :1]])[None])[0, 4:])
    out[0].sum().add(out[1, :4].sum()).backward()
    assert padded.grad.isfinite().all()


def test_it_sees_no_future_and_all_of_the_past() -> None:
    model = small(write_activation=torch.nn.Identity)
    x = torch.randn(1, 30, 8, dtype=torch.float64, requires_grad=True)
    model(x)[0, 20].sum().backward()
    reach = x.grad[0].abs().sum(dim=1)
    assert reach[21:].max() < 1e-12
    assert (reach[5:21] > 1e-6).all()
    near = ConvolutionMixer(8, axes=1, window=4, causal=True).double()
    x.grad = None
    near(x)[0, 20].sum().backward()
    assert (x.grad[0, :17] == 0).all()


def test_a_decoder_of_memories_runs_step_by_step() -> None:
    torch.manual_seed(0)
    decoder = Decoder(8, 2, 2, mixer=LegendreMemory).double().eval()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    cache = decoder.init_cache(2, 6)
    found = torch.cat([decoder(token, cache=cache)[0] for token in x.split(1, dim=1)], dim=1)
    torch.testing.assert_close(found, decoder(x)[0])


def test_what_is_written_is_positive_unless_asked_otherwise() -> None:
    """The layer, written out.

    The authors' code of the LMUFormer (zeyuliu1037/LMUFormer at 5debadd, src/blocks/lmu_cell.py) with copied
    weights in float64, 8 polynomials, 128 tokens: the largest
    difference is 8e-16 of the largest value.
    """
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    for options, wanted in (
        ({}, torch.relu),
        ({"write_activation": torch.nn.Identity}, lambda u: u),
    ):
        model = small(**options)
        memory = model.remember(wanted(model.write[0](x))).flatten(2)
        read = model.read(torch.cat([memory, x], dim=2))
        torch.testing.assert_close(model(x), model.projection(read.relu()))


def test_an_empty_batch_has_an_empty_memory() -> None:
    model = small()
    assert model(torch.zeros(0, 3, 8, dtype=torch.float64)).shape == (0, 3, 8)


def test_gradients_are_right() -> None:
    model = small()
    x = torch.randn(1, 4, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, x)


def test_half_precision_weights_keep_a_wide_memory() -> None:
    wide, narrow = small(window=64).float(), small(window=64).to(torch.bfloat16)
    x = torch.randn(1, 200, 8)
    error = (narrow(x.to(torch.bfloat16)).float() - wide(x)).norm() / wide(x).norm()
    assert error < 0.05


def test_nonsense_is_refused() -> None:
    with pytest.raises(UserError, match="order must be at least 1, got 0"):
        LegendreMemory(8, 1, order=0)
    with pytest.raises(UserError, match="does not support mask"):
        small()(torch.zeros(1, 3, 8).double(), mask=torch.ones(3, 3, dtype=torch.bool))


def test_it_compiles_and_is_built_without_memory() -> None:
    model = small()
    x = torch.randn(2, 11, 8, dtype=torch.float64)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))
    with torch.device("meta"):
        empty = LegendreMemory(8, 2, order=5, window=12)
    assert empty.transition.device.type == "cpu"
    torch.testing.assert_close(empty.transition, model.transition)
