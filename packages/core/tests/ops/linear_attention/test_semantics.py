"""Linear attention is its dense form, in outputs and all gradients, at once and step by step."""

import importlib

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.ops import linear_attention

# The package exports the function under its own name.
CHUNKED = importlib.import_module("headway.core.ops.linear_attention.chunked")


def dense(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    log_decay: Tensor | None = None,
    state: Tensor,
    normalize: bool = True,
    causal: bool = True,
) -> tuple[Tensor, Tensor]:
    """Every weight by itself."""
    tokens = query.shape[2]
    summed = torch.zeros_like(query) if log_decay is None else log_decay.cumsum(2) + 0 * query
    gaps = summed[:, :, :, None] - summed[:, :, None]
    if causal:
        future = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
        gaps = gaps.masked_fill(future[..., None], -torch.inf)
    weights = (query[:, :, :, None] * key[:, :, None] * gaps.exp()).sum(-1)
    if normalize:
        value = F.pad(value, (0, 1), value=1.0)
    sums = weights @ value + (query * summed.exp()) @ state
    last = summed[:, :, -1:]
    state = last.mT.exp() * state + (key * (last - summed).exp()).mT @ value
    return (sums[..., :-1] / sums[..., -1:] if normalize else sums), state


def tensors(tokens: int, channels: int | None, normalize: bool, width: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(tokens)

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    made = [rand(2, 3, tokens, width), rand(2, 3, tokens, width), rand(2, 3, tokens, 5) - 0.5]
    made.append(rand(2, 3, width, 5 + normalize))
    if channels is not None:
        # Some gates forget nearly all, some nothing.
        made.append(-8 * rand(2, 3, tokens, channels) ** 4)
    return [x.requires_grad_() for x in made]


def call(made: list[Tensor], normalize: bool, backend: str) -> tuple[Tensor, Tensor]:
    return linear_attention(
        *made[:3],
        causal=True,
        state=made[3],
        log_decay=made[4] if len(made) > 4 else None,
        normalize=normalize,
        backend=backend,
    )


@pytest.mark.parametrize("backend", ["reference", "chunked"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("channels", [None, 1, 6])
@pytest.mark.parametrize("tokens", [1, 7, 64, 150, 600])
def test_it_is_the_dense_form_in_outputs_states_and_all_gradients(
    tokens: int, channels: int | None, normalize: bool, backend: str
) -> None:
    made = tensors(tokens, channels, normalize)
    wanted = dense(
        *made[:3],
        state=made[3],
        log_decay=made[4] if channels else None,
        normalize=normalize,
    )
    found = call(made, normalize, backend)
    grads = [torch.sin(torch.arange(x.numel()).double()).view(x.shape) for x in wanted]
    for one, other in zip(
        (*found, *torch.autograd.grad(found, made, grads)),
        (*wanted, *torch.autograd.grad(wanted, made, grads)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_without_causal_every_key_counts() -> None:
    query, key, value, state = tensors(9, None, True)
    found, _ = linear_attention(query, key, value)
    wanted, _ = dense(query, key, value, state=torch.zeros_like(state), causal=False)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("backend", ["reference", "chunked"])
@pytest.mark.parametrize("channels", [None, 1])
def test_a_hidden_token_changes_nothing_not_even_the_decay(
    channels: int | None, backend: str
) -> None:
    made = tensors(70, channels, True)
    mask = torch.arange(70) % 3 != 1
    clean = [x if n == 3 else x[:, :, mask] for n, x in enumerate(made)]
    wanted, state = call(clean, True, backend)
    dirty = [
        x if n in (0, 3) else x.masked_fill(~mask[:, None], torch.nan) for n, x in enumerate(made)
    ]
    found, last = linear_attention(
        *dirty[:3],
        causal=True,
        state=dirty[3],
        log_decay=dirty[4] if channels else None,
        mask=mask.expand(2, -1),
        backend=backend,
    )
    torch.testing.assert_close(found[:, :, mask], wanted)
    torch.testing.assert_close(last, state)


@pytest.mark.parametrize("channels", [None, 1, 6])
def test_a_state_continues_a_sequence(channels: int | None) -> None:
    made = tensors(90, channels, True)
    wanted, last = call(made, True, "chunked")
    state, parts = made[3], []
    for here in (slice(0, 1), slice(1, 70), slice(70, 90)):
        part = [x if n == 3 else x[:, :, here] for n, x in enumerate(made)]
        part[3] = state
        out, state = call(part, True, "auto")
        parts.append(out)
    torch.testing.assert_close(torch.cat(parts, dim=2), wanted)
    torch.testing.assert_close(state, last)


@pytest.mark.parametrize("backend", ["reference", "chunked"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sums_of_half_precision_are_kept_in_float32(dtype: torch.dtype, backend: str) -> None:
    torch.manual_seed(2)
    query, key, value = (torch.rand(1, 1, 3000, 8) for _ in range(3))
    halves = [x.to(dtype) for x in (query, key, value)]
    wanted, _ = dense(*(x.double() for x in halves), state=torch.zeros(1, 1, 8, 9).double())
    found, state = linear_attention(*halves, causal=True, backend=backend)
    assert found.dtype == dtype
    assert state.dtype == torch.float32
    # One rounding at the end, no more.
    error = (found.double() - wanted).abs().max()
    assert error <= torch.finfo(dtype).eps


def test_rows_without_weights_are_zero_with_finite_gradients() -> None:
    query, key, value = (x.detach().requires_grad_() for x in tensors(70, None, True)[:3])
    mask = torch.ones(2, 70, dtype=torch.bool)
    mask[0] = False
    out, _ = linear_attention(query, key, value, causal=True, mask=mask)
    assert bool((out[0] == 0).all())
    grads = torch.autograd.grad(out.sum() + out.square().sum(), (query, key, value))
    assert all(bool((grad[0] == 0).all()) and bool(grad.isfinite().all()) for grad in grads)
    assert bool((grads[0][1] != 0).any())


def kept_bytes(tokens: int, channels: int | None) -> int:
    """Bytes that the graph keeps besides the inputs."""
    made = [x.detach().float().requires_grad_() for x in tensors(tokens, channels, True, width=32)]
    own = {x.untyped_storage().data_ptr() for x in made}
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        call(made, True, "auto")
    return sum(kept.values())


@pytest.mark.parametrize("channels", [None, 1, 32])
def test_the_backward_pass_keeps_no_states_of_tokens(channels: int | None) -> None:
    # Two items of three heads: an output of width 5 and a sum of weights per token.
    per_token = (kept_bytes(3000, channels) - kept_bytes(1000, channels)) / 2000
    assert per_token <= 2 * 3 * (5 + 1) * 4


def test_groups_are_for_speed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tensors(300, 1, True)
    whole = call(made, True, "chunked")
    monkeypatch.setattr(CHUNKED, "GROUP", 128)
    parts = call(made, True, "chunked")
    torch.testing.assert_close(parts, whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backend": "fast"}, "'fast'; use one of"),
        ({"backend": "triton"}, "triton"),
        ({"causal": False, "log_decay": torch.zeros(1)}, "log_decay only with causal=True"),
        ({"causal": False, "state": torch.zeros(1)}, "state only with causal=True"),
        ({"log_decay": torch.zeros(1, 1, 3, 3)}, "3 channels; use 1 per head or 2"),
        ({"query": torch.zeros(1, 1, 4, 2)}, "as many queries as keys, got 4 and 3"),
        ({"query": torch.zeros(1, 1, 3, 5)}, "must be .B, H, N, D. and agree"),
        ({"value": torch.zeros(1, 1, 2, 5)}, "must agree in .B, H, N."),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, object], message: str) -> None:
    plain = torch.zeros(1, 1, 3, 2)
    given = {"query": plain, "key": plain, "value": plain, "causal": True} | change
    with pytest.raises(UserError, match=message):
        linear_attention(**given)  # pyright: ignore
