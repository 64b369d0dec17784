"""Linear attention group by group, with a backward pass that keeps no state of any token.

What autograd would keep of the reference are several times the inputs; here the backward pass runs
through the groups twice, once for the states before each and once, backwards, for the gradients.
"""

import torch
from torch import Tensor

from headway.core.ops.linear_attention import reference
from headway.core.ops.linear_attention.reference import causal_gaps

# Tokens that are worked on at once: enough to make the products large, few enough for the cache.
GROUP = 512


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor | None,
    state: Tensor,
    normalize: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The output, what it was divided by (empty unless `normalize`), and the state after the last key."""
    out, total = empty_outputs(query, value, normalize)
    for start in range(0, query.shape[2], GROUP):
        q, k, v, decay = _group(start, query, key, value, log_decay, normalize)
        sums, state = reference.weighted_sums(q, k, v, decay, state)
        here = slice(start, start + GROUP)
        if normalize:
            total[:, :, here] = sums[..., -1]
            sums = reference.average(sums)
        out[:, :, here] = sums
    return out, total, _copy(state)


def backward(
    grad_out: Tensor,
    grad_state: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor | None,
    state: Tensor,
    out: Tensor,
    total: Tensor,
    normalize: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value, log_decay (empty if None) and state."""
    grads, grad_decay = empty_gradients(query, key, value, log_decay)
    starts = range(0, query.shape[2], GROUP)
    states = [state]
    for start in starts[:-1]:
        _, k, v, decay = _group(start, query, key, value, log_decay, normalize)
        states.append(_state_after(k, v, decay, states[-1]))
    later = torch.zeros_like(state) if grad_state is None else grad_state.to(state.dtype)
    for start, before in zip(reversed(starts), reversed(states), strict=True):
        here = slice(start, start + GROUP)
        q, k, v, decay = _group(start, query, key, value, log_decay, normalize)
        grad = grad_out[:, :, here].to(q.dtype)
        if normalize:
            grad = _grad_of_sums(grad, out[:, :, here], total[:, :, here])
        found = _group_gradients(grad, later, q, k, v, decay, before)
        later = found[4]
        grads[0][:, :, here], grads[1][:, :, here] = found[0], found[1]
        grads[2][:, :, here] = found[2][..., : value.shape[3]]
        if found[3] is not None:
            grad_decay[:, :, here] = found[3]
    return grads[0], grads[1], grads[2], grad_decay, _copy(later)


def empty_outputs(query: Tensor, value: Tensor, normalize: bool) -> tuple[Tensor, Tensor]:
    """Memory for the output, laid out so that heads merge for free, and for the sums of weights."""
    batch, heads, tokens = query.shape[:3]
    out = _empty_rows(value)
    sums = torch.promote_types(query.dtype, torch.float32)
    return out, query.new_empty((batch, heads, tokens) if normalize else (0,), dtype=sums)


def empty_gradients(
    query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor | None
) -> tuple[list[Tensor], Tensor]:
    """Memory for the gradients of query, key and value, and of log_decay (empty if None)."""
    decay = query.new_empty(0) if log_decay is None else log_decay.new_empty(log_decay.shape)
    return [_empty_rows(x) for x in (query, key, value)], decay


def _empty_rows(like: Tensor) -> Tensor:
    batch, heads, tokens, width = like.shape
    return like.new_empty((batch, tokens, heads, width)).transpose(1, 2)


def _copy(state: Tensor) -> Tensor:
    """What an operator returns may not be what it was given."""
    return state.clone(memory_format=torch.contiguous_format)


def _group(
    start: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor | None,
    normalize: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    dtype = torch.promote_types(query.dtype, torch.float32)
    here = slice(start, start + GROUP)
    q, k, v = (x[:, :, here].to(dtype) for x in (query, key, value))
    decay = None if log_decay is None else log_decay[:, :, here]
    return q, k, reference.with_ones(v) if normalize else v, decay


def _state_after(k: Tensor, v: Tensor, decay: Tensor | None, state: Tensor) -> Tensor:
    if decay is None:
        return state + k.mT @ v
    summed = decay.cumsum(dim=2)
    whole = summed[:, :, -1:]
    return whole.mT.exp() * state + (k * (whole - summed).exp()).mT @ v


def _grad_of_sums(grad: Tensor, out: Tensor, total: Tensor) -> Tensor:
    """The gradient of the sums of which `out` is the quotient, that of the weights last."""
    some = (total > 0)[..., None]
    share = 1 / torch.where(some, total[..., None], 1.0)
    weights = -(grad * out).sum(dim=-1, keepdim=True) * share
    return torch.cat([grad * share, torch.where(some, weights, 0.0)], dim=-1)


def _group_gradients(
    grad: Tensor,
    later: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor | None,
    state: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]:
    """Gradients of q, k, v, decay and of the state before the group.

    Args:
        grad: Of the weighted sums.
        later: Gradient of the state after the group.
        q: Queries.
        k: Keys.
        v: Values.
        decay: Logarithms of decay, or None.
        state: The state before the group.
    """
    tokens = q.shape[2]
    channels = decay is not None and decay.shape[3] > 1
    size = reference.CHUNK_OF_CHANNELS if channels else reference.CHUNK
    grad, q, k, v = (reference.chunks(x, size) for x in (grad, q, k, v))
    if decay is None:
        added, taken = k.mT @ v, q.mT @ grad
        before = added.cumsum(dim=2) - added + state[:, :, None]
        summed = taken.flip(2).cumsum(dim=2).flip(2)
        after = summed - taken + later[:, :, None]
        pairs, scores = (grad @ v.mT).tril_(), (q @ k.mT).tril_()
        grad_q = pairs @ k + grad @ before.mT
        grad_k = pairs.mT @ q + v @ after.mT
        grad_v = scores.mT @ grad + k @ after
        found = [x.flatten(2, 3)[:, :, :tokens] for x in (grad_q, grad_k, grad_v)]
        return found[0], found[1], found[2], None, summed[:, :, 0] + later
    summed = reference.chunks(decay, size).cumsum(dim=3)
    whole = summed[:, :, :, -1:]
    from_start, to_end = summed.exp(), (whole - summed).exp()
    steps = whole.squeeze(3).exp()[..., None]  # (B, H, C, 1 or D, 1)
    before, last = _running((k * to_end).mT @ v, steps, state)
    taken = ((q * from_start).mT @ grad).flip(2)
    after, first = _running(taken, steps.flip(2), later)
    after = after.flip(2)
    left = causal_gaps(summed).exp()
    pairs = grad @ v.mT
    if channels:
        left = left * pairs[..., None]
        grad_q = (left * k[..., None, :, :]).sum(dim=-2)
        grad_k = (left * q[..., :, None, :]).sum(dim=-3)
        scores = reference.decayed_scores(q, k, summed)
    else:
        left = left.squeeze(-1)
        pairs, scores = pairs * left, (q @ k.mT) * left
        grad_q, grad_k = pairs @ k, pairs.mT @ q
    grad_q = grad_q + (grad @ before.mT) * from_start
    grad_k = grad_k + (v @ after.mT) * to_end
    grad_v = scores.mT @ grad + (k * to_end) @ after
    # A weight is exp(summed[query] - summed[key]) times what q and k make of it; what the state after a
    # chunk passes on counts for its last token.
    moved = q * grad_q - k * grad_k
    following = torch.cat([before[:, :, 1:], last[:, :, None]], dim=2)
    passed = (following * after).sum(dim=-1)
    if not channels:
        moved, passed = moved.sum(dim=-1, keepdim=True), passed.sum(dim=-1, keepdim=True)
    grad_decay = moved.flip(3).cumsum(dim=3).flip(3) + passed[..., None, :]
    found = [x.flatten(2, 3)[:, :, :tokens] for x in (grad_q, grad_k, grad_v, grad_decay)]
    return found[0], found[1], found[2], found[3], first


def _running(added: Tensor, steps: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The state before each chunk, (B, H, C, D, E), and after the last."""
    before = torch.empty_like(added)
    for number in range(added.shape[2]):
        before[:, :, number] = state
        state = steps[:, :, number] * state + added[:, :, number]
    return before, state
