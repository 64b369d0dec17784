"""Scans against their recurrence token by token, and what is asked of every operator."""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from headway.core.errors import UserError
from headway.core.ops import associative_scan, selective_scan
from headway.core.ops.scan import native
from headway.core.ops.scan.operator import selective_scan_backward, selective_scan_forward
from headway.core.ops.scan.recurrence import scan_rows
from headway.core.testing.operators import operators_of, runs_under_checkpointing


def rand(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def compiled() -> None:
    reason = native.reason_against(torch.zeros(1, 1, 1), torch.zeros(1, 16))
    if reason is not None:
        pytest.skip(reason)


# --- The associative scan. ---


def by_hand(decay: Tensor, added: Tensor, state: Tensor) -> Tensor:
    found = []
    for place in range(added.shape[-1]):
        state = decay[..., place] * state + added[..., place]
        found.append(state)
    return torch.stack(found, dim=-1)


@pytest.mark.parametrize("backend", ["reference", "chunked"])
@pytest.mark.parametrize("places", [1, 2, 7, 64, 101])
def test_the_associative_scan_is_its_recurrence_with_all_gradients(
    places: int, backend: str
) -> None:
    made = [rand(1, 3, places).sigmoid(), rand(2, 3, places), rand(2, 3)]
    made = [x.requires_grad_() for x in made]
    wanted = by_hand(made[0].expand(2, -1, -1), made[1], made[2])
    found = associative_scan(made[0], made[1], state=made[2], backend=backend)
    grad = rand(2, 3, places, seed=1)
    for one, exact in zip(
        (found, *torch.autograd.grad(found, made, grad)),
        (wanted, *torch.autograd.grad(wanted, made, grad)),
        strict=True,
    ):
        torch.testing.assert_close(one, exact)


def test_it_runs_along_any_axis_of_any_shape_and_decays_may_be_zero_or_negative() -> None:
    decay, added = rand(2, 9, 4), rand(2, 9, 4, seed=1)
    decay[:, 3] = 0
    found = associative_scan(decay, added, dim=1)
    wanted = by_hand(decay.mT, added.mT, torch.zeros(2, 4).double()).mT
    torch.testing.assert_close(found, wanted)
    assert associative_scan(torch.ones(5), torch.ones(5)).tolist() == [1, 2, 3, 4, 5]
    assert associative_scan(torch.ones(2, 0), torch.ones(2, 0)).shape == (2, 0)


def test_its_derivatives_are_those_of_finite_differences() -> None:
    made = [rand(2, 5).requires_grad_(), rand(2, 5, seed=1).requires_grad_()]
    assert torch.autograd.gradcheck(associative_scan, made)
    assert torch.autograd.gradgradcheck(associative_scan, made)


def test_it_passes_the_checks_of_torch_library_compiles_maps_and_is_counted() -> None:
    made = [rand(3, 7).requires_grad_(), rand(3, 7, seed=1).requires_grad_()]
    for reverse in (False, True):
        torch.library.opcheck(scan_rows, (*made, reverse, "chunked"))
    torch.compiler.reset()
    graph = torch.compile(associative_scan, fullgraph=True, backend="aot_eager", dynamic=True)
    for places in (7, 30):
        pair = [rand(3, places), rand(3, places, seed=1)]
        torch.testing.assert_close(graph(*pair), associative_scan(*pair))
    plain = [x.detach() for x in made]
    mapped = torch.vmap(associative_scan)(*plain)
    torch.testing.assert_close(mapped, associative_scan(*plain))
    with FlopCounterMode(display=False) as counter:
        associative_scan(*plain)
    assert counter.get_total_flops() == 2 * 3 * 7


# --- The selective scan. ---


def tensors(tokens: int, channels: int = 5, states: int = 4) -> list[Tensor]:
    made = [
        rand(2, tokens, channels),
        rand(2, tokens, channels, seed=1),
        -rand(channels, states).exp(),
        rand(2, tokens, states),
        rand(2, tokens, states, seed=1),
        rand(channels),
        rand(2, tokens, channels, seed=2),
        rand(channels, seed=1),
        rand(2, channels, states),
    ]
    return [x.requires_grad_() for x in made]


def call(*made: Tensor, backend: str = "auto") -> Tensor:
    """Output and states as one tensor, so that both are compared and differentiated."""
    out, last = selective_scan(
        *made[:6],
        z=made[6],
        delta_bias=made[7],
        softplus=True,
        state=made[8],
        backend=backend,
    )
    return torch.cat([out.flatten(1), last.flatten(1)], dim=1)


def test_the_selective_scan_is_the_equations_of_the_paper() -> None:
    u, delta, A, B, C, D, z, bias, state = (x.detach() for x in tensors(6))
    out, last = selective_scan(
        u, delta, A, B, C, D, z=z, delta_bias=bias, softplus=True, state=state
    )
    for b in range(2):
        for d in range(5):
            h = state[b, d]
            for t in range(6):
                step = (1 + (delta[b, t, d] + bias[d]).exp()).log()
                h = (step * A[d]).exp() * h + step * B[b, t] * u[b, t, d]
                y = (C[b, t] * h).sum() + D[d] * u[b, t, d]
                gate = z[b, t, d] / (1 + (-z[b, t, d]).exp())
                torch.testing.assert_close(out[b, t, d], y * gate)
            torch.testing.assert_close(last[b, d], h)


@pytest.mark.parametrize(("channels", "states"), [(5, 4), (16, 16), (19, 8), (3, 1)])
@pytest.mark.parametrize("tokens", [1, 31, 70])
@pytest.mark.parametrize("backend", ["scan", "native"])
def test_every_backend_is_the_reference_in_outputs_and_all_gradients(
    backend: str, tokens: int, channels: int, states: int, compiled: None
) -> None:
    made = tensors(tokens, channels, states)
    wanted = call(*made, backend="reference")
    grad = rand(*wanted.shape)
    exact = (wanted, *torch.autograd.grad(wanted, made, grad))
    singles = [x.detach().float().requires_grad_() for x in made]
    found = call(*singles, backend=backend)
    for one, other in zip(
        (found, *torch.autograd.grad(found, singles, grad.float())), exact, strict=True
    ):
        assert (one.double() - other).abs().max() <= 2e-5 * (1 + other.abs().max())


def test_steps_that_forget_everything_or_nothing_are_exact(compiled: None) -> None:
    u, delta, A, B, C, *_, state = (x.detach().float() for x in tensors(6))
    for step, kept in ((1e4, 0.0), (0.0, 1.0)):
        delta = torch.full_like(u, step)
        A = torch.full_like(A, -1.0)
        _, last = selective_scan(u, delta, A, 0 * B, C, state=state, backend="native")
        assert torch.equal(last, kept * state)


def test_a_state_continues_a_sequence(compiled: None) -> None:
    u, delta, A, B, C, *_, state = (x.detach().float() for x in tensors(40))
    delta = delta.abs()
    wanted, last = selective_scan(u, delta, A, B, C, state=state)
    parts = []
    for here in (slice(0, 1), slice(1, 35), slice(35, 40)):
        part = (x[:, here] for x in (u, delta))
        out, state = selective_scan(*part, A, B[:, here], C[:, here], state=state)
        parts.append(out)
    torch.testing.assert_close(torch.cat(parts, dim=1), wanted)
    torch.testing.assert_close(state, last)


def test_threads_change_nothing(compiled: None) -> None:
    made = [x.detach().float().requires_grad_() for x in tensors(40, channels=40)]

    def run() -> list[Tensor]:
        out = call(*made, backend="native")
        return [out, *torch.autograd.grad(out.sin().sum(), made)]

    first, before = run(), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        second = run()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_first_and_second_derivatives_of_the_operator(compiled: None) -> None:
    doubles = tensors(5, channels=2, states=2)
    assert torch.autograd.gradcheck(lambda *x: call(*x, backend="scan"), doubles)
    assert torch.autograd.gradgradcheck(lambda *x: call(*x, backend="scan"), doubles)

    def twice(leaves: list[Tensor], backend: str) -> tuple[Tensor, ...]:
        first = torch.autograd.grad(
            call(*leaves, backend=backend).square().sum(), leaves, create_graph=True
        )
        return torch.autograd.grad(sum(x.square().sum() for x in first), leaves)

    singles = [x.detach().float().requires_grad_() for x in doubles]
    for one, exact in zip(twice(singles, "native"), twice(doubles, "reference"), strict=True):
        assert (one - exact).abs().max() <= 1e-4 * (1 + exact.abs().max())


def test_the_operators_pass_the_checks_of_torch_library(compiled: None) -> None:
    u, delta, A, B, C, *_, state = (x.detach().float().requires_grad_() for x in tensors(5))
    inputs = (u, delta, A, B, C, state)
    torch.library.opcheck(selective_scan_forward, (*inputs, "native"))
    grads = (torch.ones_like(u), torch.ones_like(state))
    torch.library.opcheck(
        selective_scan_backward,
        (*grads, *inputs, "native"),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_it_compiles_in_one_graph_for_any_number_of_tokens(compiled: None) -> None:
    torch.compiler.reset()
    graph = torch.compile(call, fullgraph=True, backend="aot_eager", dynamic=True)
    for tokens in (20, 40):
        made = [x.detach().float().requires_grad_() for x in tensors(tokens)]
        found, wanted = graph(*made), call(*made)
        torch.testing.assert_close(found, wanted)
        for one, other in zip(
            torch.autograd.grad(found.sum(), made),
            torch.autograd.grad(wanted.sum(), made),
            strict=True,
        ):
            torch.testing.assert_close(one, other)


class Call(torch.nn.Module):
    def forward(self, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        return selective_scan(u, delta, A, B, C, softplus=True)[0]


def test_it_exports_with_any_batch_and_number_of_tokens() -> None:
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", min=3)
    free = {0: batch, 1: tokens}
    example = tuple(x.detach().float() for x in tensors(20)[:5])
    program = torch.export.export(Call(), example, dynamic_shapes=(free, free, {}, free, free))
    for length in (9, 50):
        more = [x.detach().float() for x in tensors(length)[:5]]
        torch.testing.assert_close(program.module()(*more), Call()(*more))


def test_vmap_and_per_sample_gradients_are_loops(compiled: None) -> None:
    u, delta, A, B, C, *_, state = (x.detach().float() for x in tensors(6))
    delta = delta.abs()
    stacked = torch.stack([u, 0.5 * u])
    found = torch.vmap(lambda x: selective_scan_forward(x, delta, A, B, C, state, "native")[0])(
        stacked
    )
    for n in range(2):
        wanted = selective_scan_forward(stacked[n], delta, A, B, C, state, "native")[0]
        torch.testing.assert_close(found[n], wanted)

    def loss(x: Tensor, step: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return selective_scan(x[None], step[None], A, b[None], c[None])[0].sin().sum()

    grads = torch.vmap(torch.func.grad(loss))(u, delta, B, C)
    for n in range(2):
        leaf = u[n].clone().requires_grad_()
        (wanted,) = torch.autograd.grad(loss(leaf, delta[n], B[n], C[n]), leaf)
        torch.testing.assert_close(grads[n], wanted)


def test_autocast_keeps_states_wide_and_half_precision_rounds_once(compiled: None) -> None:
    u, delta, A, B, C, *_ = (x.detach().float() for x in tensors(50))
    with torch.autocast("cpu", torch.bfloat16):
        out, state = selective_scan(u.bfloat16(), delta, A, B, C, softplus=True)
    assert out.dtype == torch.bfloat16
    assert state.dtype == torch.float32
    wanted, _ = selective_scan(u.bfloat16().float(), delta, A, B, C, softplus=True)
    assert torch.equal(out, wanted.bfloat16())


def test_selective_checkpointing_keeps_it_and_operations_are_counted(compiled: None) -> None:
    made = [x.detach().float().requires_grad_() for x in tensors(20)]
    operator = torch.ops.headway.selective_scan_forward.default
    runs, grads = runs_under_checkpointing(call, made, operator)
    assert runs == 1
    wanted = torch.autograd.grad(call(*made).sin().sum(), made)
    torch.testing.assert_close(grads, list(wanted))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call(*made)
    assert counter.get_total_flops() == 8 * 2 * 20 * 5 * 4


def test_a_step_needs_no_operator() -> None:
    made = [x.detach().float() for x in tensors(1)]
    assert not any("headway" in name for name in operators_of(lambda: call(*made)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backend": "fast"}, "'fast'; use one of"),
        ({"backend": "triton"}, "triton"),
        ({"delta": torch.zeros(1, 3, 3)}, "must be .B, N, D."),
        ({"A": torch.zeros(3, 4)}, "must be .D, S. with D = 2"),
        ({"C": torch.zeros(1, 3, 5)}, "must be .B, N, S. = .1, 3, 4."),
        ({"state": torch.zeros(1, 2, 3)}, "must be .B, D, S."),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, object], message: str) -> None:
    row, inputs = torch.zeros(1, 3, 2), torch.zeros(1, 3, 4)
    given = {"u": row, "delta": row, "A": torch.zeros(2, 4), "B": inputs, "C": inputs} | change
    with pytest.raises(UserError, match=message):
        selective_scan(**given)  # pyright: ignore


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backend": "fast"}, "'fast'; use"),
        ({"dim": 2}, "dim 2 is not an axis"),
        ({"decay": torch.zeros(3)}, "cannot be broadcast"),
        ({"state": torch.zeros(3)}, "must be .2,."),
    ],
)
def test_scans_that_cannot_work_are_refused(change: dict[str, object], message: str) -> None:
    given = {"decay": torch.zeros(2, 5), "added": torch.zeros(2, 5)} | change
    with pytest.raises(UserError, match=message):
        associative_scan(**given)  # pyright: ignore
