"""The diagonal state space against its differential equation, its recurrence and a memory without oscillations."""

import math

import pytest
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import DiagonalStateSpace


def small(**options) -> DiagonalStateSpace:
    torch.manual_seed(0)
    return DiagonalStateSpace(6, **{"states": 5, **options}).double().eval()


def published(model: DiagonalStateSpace, x: Tensor) -> Tensor:
    """The discretised equation token by token, in complex numbers: x' = A x + u, y = 2 Re(C x) + D u."""
    step = model.log_step.exp()[:, None]
    rates = torch.complex(-model.log_decay.exp(), model.frequency)
    kept = torch.exp(step * rates)
    enter = (kept - 1) / rates
    read = torch.complex(model.read[0], model.read[1])
    state, out = torch.zeros(len(x), *rates.shape, dtype=torch.complex128), []
    for token in x.unbind(1):
        state = kept * state + enter * token[..., None]
        out.append(2 * (read * state).sum(dim=-1).real + model.skip * token)
    values = model.projection(torch.nn.functional.gelu(torch.stack(out, dim=1)))
    return torch.nn.functional.glu(values, dim=-1)


def test_all_tokens_at_once_are_the_published_recurrence() -> None:
    model, x = small(), torch.randn(2, 23, 6, dtype=torch.float64)
    torch.testing.assert_close(model(x), published(model, x), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("sizes", [[1] * 17, [5, 1, 11], [17]], ids=str)
def test_a_cache_gives_what_all_tokens_at_once_give(sizes: list[int]) -> None:
    model, x = small(), torch.randn(3, 17, 6, dtype=torch.float64)
    cache = model.init_cache(3, 99, torch.float64)
    found = torch.cat([model(part, cache=cache) for part in x.split(sizes, dim=1)], dim=1)
    torch.testing.assert_close(found, model(x), atol=1e-12, rtol=1e-12)


def test_padding_leaves_the_state_as_it_was() -> None:
    model, x = small(), torch.randn(2, 9, 6, dtype=torch.float64)
    cache, padded = model.init_cache(2, 99, torch.float64), x[:, :5].clone()
    padded[1, 3:] = torch.nan
    model(padded, Layout(lengths=torch.tensor([5, 3])), cache=cache)
    assert cache.lengths.tolist() == [5, 3]
    found = model(torch.stack([x[0, 5:7], x[1, 3:5]]), cache=cache)
    torch.testing.assert_close(found[0], model(x)[0, 5:7])
    torch.testing.assert_close(found[1], model(x)[1, 3:5])


def test_without_frequencies_it_cannot_remember_by_oscillations() -> None:
    """The best readout of a pulse 30 tokens ago: its states oscillate; those of the plain part only decay."""
    tokens, late = 200, 30
    errors = {}
    for name, states, turning in (("oscillating", 16, 1.0), ("decaying", 32, 0.0)):
        model = small(states=states, step_range=(1 / late, 1 / late))
        if not turning:
            with torch.no_grad():
                model.frequency.zero_()
                model.log_decay.copy_(torch.linspace(math.log(0.05), math.log(30), states))
        left = model.powers(torch.arange(tokens, dtype=torch.float64))
        responses = torch.cat([left[0][0], left[1][0]]) if turning else left[0][0]
        wanted = torch.zeros(tokens, dtype=torch.float64)
        wanted[late - 4 : late + 5] = torch.hann_window(9, periodic=False, dtype=torch.float64)
        found = torch.linalg.lstsq(responses.T, wanted[:, None], driver="gelsd").solution
        errors[name] = (responses.T @ found - wanted[:, None]).norm() / wanted.norm()
    assert errors["oscillating"] < 0.5 < errors["decaying"], errors


def test_wrong_sizes_are_one_line() -> None:
    with pytest.raises(UserError, match="states must be at least 1"):
        small(states=0)
    with pytest.raises(UserError, match="two positive steps in order"):
        small(step_range=(0.1, 0.01))
