import random
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from headway.core.cache import CacheError, CacheGroup, CrossCache, KeyValueCache, RecurrentCache
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.positions import ALiBi, RelativeVectors, Rotary
from headway.core.stacks import Encoder
from headway.core.taps import listen, record, tap, wants


def filled(rows: int = 3, steps: int = 2) -> KeyValueCache:
    cache = KeyValueCache(batch=rows, heads=1, max_length=4, head_dim=1)
    for step in range(steps):
        value = torch.arange(rows).reshape(rows, 1, 1, 1) * 10.0 + step
        cache.append(value, value)
    return cache


def test_rows_are_independent_when_one_is_reset() -> None:
    cache = filled()
    cache.reset(torch.tensor([1]))
    new = torch.full((3, 1, 1, 1), 99.0)
    keys, _, first = cache.append(new, new)
    assert cache.lengths.tolist() == [3, 1, 3]
    seen = [keys[row, 0, : int(first[row]), 0].tolist() for row in range(3)]
    assert seen == [[0, 1, 99], [99], [20, 21, 99]]


def test_select_reorders_and_rewind_forgets_the_last_tokens() -> None:
    cache = filled()
    cache.select(torch.tensor([2, 2, 0]))
    assert cache.keys[:, 0, 0, 0].tolist() == [20, 20, 0]
    cache.rewind(torch.tensor([1, 2, 0]))
    new = torch.full((3, 1, 1, 1), 99.0)
    keys, _, first = cache.append(new, new)
    seen = [keys[row, 0, : int(first[row]), 0].tolist() for row in range(3)]
    assert seen == [[20, 99], [20, 21, 99], [99]]


def test_a_full_cache_says_how_much_it_holds() -> None:
    cache = filled(steps=4)
    with pytest.raises(CacheError, match="holds 4 tokens, 4 are taken and 1 more"):
        cache.append(torch.zeros(3, 1, 1, 1), torch.zeros(3, 1, 1, 1))
    cache.reset(torch.tensor([0, 1, 2]))  # the bound on the host is loose, the rows are free
    cache.append(torch.zeros(3, 1, 1, 1), torch.zeros(3, 1, 1, 1))


def test_rewinding_forward_and_recurrent_caches_is_refused() -> None:
    with pytest.raises(CacheError, match="cannot rewind to"):
        filled().rewind(torch.tensor([3, 0, 0]))
    cache = RecurrentCache(torch.ones(2, 3))
    with pytest.raises(CacheError, match="snapshot"):
        cache.rewind(torch.tensor([0, 0]))
    before = cache.snapshot()
    cache.reset()
    assert cache.state.sum() == 0
    cache.restore(before)
    assert cache.state.sum() == 6


def test_listening_costs_nothing_and_reports_by_module_name() -> None:
    encoder, x = Encoder(8, 2, 2), torch.randn(1, 4, 8)
    assert not wants(encoder.blocks[0].mixer.function, "weights")
    with record(encoder, "weights") as taken:
        listened = encoder(x)[0]
    assert list(taken["weights"]) == [f"blocks.{i}.mixer.function" for i in range(2)]
    torch.testing.assert_close(listened, encoder(x)[0])
    weights = taken["weights"]["blocks.0.mixer.function"][0]
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 4))


def test_a_listener_after_compiling_is_not_missed() -> None:
    encoder, x = Encoder(8, 1, 2), torch.randn(1, 4, 8)
    compiled = torch.compile(encoder, backend="aot_eager", fullgraph=True)
    compiled(x)
    with record(compiled, "weights") as taken:
        compiled(x)
    assert list(taken["weights"]) == ["blocks.0.mixer.function"]


def test_another_model_is_not_heard() -> None:
    one, two = SelfAttention(8, 2), SelfAttention(8, 2)
    heard: list[str] = []
    with listen(one, "keys", listener=lambda module, name, value: heard.append(name)):
        two(torch.randn(1, 3, 8))
        assert heard == []
        one(torch.randn(1, 3, 8))
    assert heard == ["keys"]


def test_a_tap_without_listener_keeps_no_tensor() -> None:
    module = nn.Identity()
    assert tap(module, "x", torch.ones(1)) is None


WINDOWS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rotary": {"position": Rotary},
    "alibi": {"position": ALiBi},
    "vectors": {"position": partial(RelativeVectors, reach=2)},
    "grouped": {"kv_heads": 1},
}


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_needs_no_more_memory_however_long_the_sequence(name: str) -> None:
    """Two rows of which one begins anew, and right-padded steps of many sizes."""
    torch.manual_seed(0)
    mixer = SelfAttention(8, 2, causal=True, window=(3, 0), **WINDOWS[name]).eval()
    assert mixer.init_cache(2, 3).max_length == 3
    cache = mixer.init_cache(2, 10**6)
    drawn, history, wanted = random.Random(0), [torch.zeros(0, 8)] * 2, []
    with torch.no_grad():
        for step in range(60):
            if step in (7, 30):
                cache.reset(torch.tensor([step == 30, step == 7]))
                history[step == 7] = torch.zeros(0, 8)
            tokens = 17 if step == 20 else drawn.randint(1, 4)
            lengths = torch.tensor([drawn.randint(1, tokens), tokens])
            x = torch.randn(2, tokens, 8)
            out = mixer(x, Layout(lengths=lengths), cache=cache)
            for row, length in enumerate(lengths.tolist()):
                history[row] = torch.cat([history[row], x[row, :length]])
                wanted = mixer(history[row][None])[0, -length:]
                torch.testing.assert_close(out[row, :length], wanted, atol=1e-5, rtol=1e-4)
            assert cache.lengths.tolist() == [len(one) for one in history]
            assert cache.max_length <= (8 if step < 20 else 20)
    assert cache.max_length == 8


def test_a_window_of_chunks_needs_no_more_memory_either() -> None:
    torch.manual_seed(0)
    mixer = SelfAttention(8, 2, chunks=(4, 1), position=ALiBi).eval()
    cache, x = mixer.init_cache(1, 10**6), torch.randn(1, 80, 8)
    with torch.no_grad():
        parts = [mixer(part, cache=cache) for part in x.split(4, dim=1)]
        torch.testing.assert_close(torch.cat(parts, 1), mixer(x), atol=1e-5, rtol=1e-4)
    assert cache.max_length == 16


def test_what_was_left_behind_cannot_be_rewound_to() -> None:
    cache = KeyValueCache(batch=1, heads=1, max_length=100, head_dim=1, reach=2)
    for step in range(7):
        cache.append(torch.full((1, 1, 1, 1), 1.0 * step), torch.zeros(1, 1, 1, 1))
    cache.rewind(torch.tensor([6]))
    keys, _, first = cache.append(torch.full((1, 1, 1, 1), 9.0), torch.zeros(1, 1, 1, 1))
    assert keys[0, 0, : int(first[0]), 0].tolist()[-3:] == [4, 5, 9]
    with pytest.raises(CacheError, match=r"reaches 2 tokens back .* the first \[4\] are left"):
        cache.rewind(torch.tensor([3]))


def test_rows_that_read_the_same_memory_are_moved_without_a_copy_of_it() -> None:
    cross, grown = CrossCache(4), filled(rows=4)
    memory = torch.randn(2, 2, 5, 3).repeat_interleave(2, dim=0)
    cross.store(memory, memory + 1)
    rows = torch.tensor([1, 1, 3, 2])
    wanted = grown.keys[rows].clone()
    cross.reset(torch.tensor([3]))
    CacheGroup([cross, grown]).reorder(rows)
    assert cross.keys is memory
    assert cross.stale is not None
    assert cross.stale.tolist() == [False, False, True, False]
    assert torch.equal(grown.keys, wanted)
