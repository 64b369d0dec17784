"""Decode attention is attention with a mask, whoever computes it; rows read their own keys alone."""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from headway.core.errors import UserError
from headway.core.mixers import SelfAttention
from headway.core.ops import attention, decode_attention
from headway.core.ops.decode import native, operator
from headway.core.positions import ALiBi, Rotary
from headway.core.testing.operators import operators_of, runs_under_checkpointing


def inputs(
    heads: int = 6,
    kv_heads: int = 2,
    tokens: int = 1,
    keys: int = 70,
    width: int = 32,
    values: int = 32,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(keys + tokens)
    shapes = [(3, heads, tokens, width), (3, kv_heads, keys, width), (3, kv_heads, keys, values)]
    made = [torch.randn(x, generator=generator, dtype=torch.float64).to(dtype) for x in shapes]
    lengths = torch.tensor([keys - tokens + 1, 1, keys // 2])
    return made[0], made[1], made[2], lengths


@pytest.fixture
def compiled() -> None:
    reason = native.reason_against(*inputs()[:3])
    if reason is not None:
        pytest.skip(reason)


SIZES = {
    "one": {},
    "one-key": {"keys": 1},
    "plain-heads": {"kv_heads": 6},
    "four-tokens": {"tokens": 4},
    "splits": {"keys": 1300, "width": 64},
    "values-wider": {"width": 16, "values": 64},
    "widest": {"width": 256, "values": 256, "kv_heads": 1},
    # Widths that the vectors of some machine, or of every one, do not divide.
    "eight": {"width": 8, "values": 8},
    "odd": {"width": 7, "values": 3, "tokens": 2},
    "in-between": {"width": 80, "values": 100, "keys": 600},
}


@pytest.mark.parametrize("backend", ["attention", "native"])
@pytest.mark.parametrize("window", [None, 0, 9, 600])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_every_backend_is_the_reference(
    sizes: dict[str, int], window: int | None, backend: str, compiled: None
) -> None:
    query, keys, values, lengths = inputs(**sizes)
    wanted = decode_attention(
        query.double(), keys.double(), values.double(), lengths, window=window, backend="reference"
    )
    found = decode_attention(query, keys, values, lengths, window=window, backend=backend)
    assert (found.double() - wanted).abs().max() <= 2e-5


def test_the_reference_is_attention_row_by_row() -> None:
    query, keys, values, lengths = inputs(tokens=3, dtype=torch.float64)
    found = decode_attention(query, keys, values, lengths, window=20, backend="reference")
    for row in range(3):
        for token in range(3):
            last = int(lengths[row]) + token
            here = slice(max(0, last - 21), last)
            one = attention(
                query[row : row + 1, :, token : token + 1],
                keys[row : row + 1, :, here],
                values[row : row + 1, :, here],
            )
            torch.testing.assert_close(found[row, :, token], one[0, :, 0])


@pytest.mark.parametrize("width", [1, 5, 8, 12, 24, 48, 96, 255])
def test_heads_of_any_width_are_read_to_their_end_and_no_further(
    width: int, compiled: None
) -> None:
    query, keys, values, lengths = inputs(width=width, values=width)
    wanted = decode_attention(query, keys, values, lengths, backend="reference")
    padded = [torch.nn.functional.pad(x, (0, 16), value=torch.nan) for x in (query, keys, values)]
    cut = [x[..., :width] for x in padded]
    assert native.reason_against(*cut) is None
    found = decode_attention(*cut, lengths, backend="native")
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=0)


def test_heads_above_the_widest_are_refused_everywhere_alike(compiled: None) -> None:
    reason = native.reason_against(*inputs(width=257)[:3])
    assert reason == "native: heads of 257 channels are above 256; use backend='attention'"


@pytest.mark.parametrize("keys", [70, 1300])
def test_what_lies_behind_the_length_of_a_row_is_never_read(keys: int, compiled: None) -> None:
    query, buffer, values, lengths = inputs(keys=keys)
    lengths[1] = 0
    wanted = decode_attention(query, buffer, values, lengths, backend="native")
    assert bool((wanted[1] == 0).all())
    behind = (torch.arange(keys) >= lengths[:, None])[:, None, :, None]
    dirty = [x.masked_fill(behind, torch.nan) for x in (buffer, values)]
    assert torch.equal(decode_attention(query, *dirty, lengths, backend="native"), wanted)


def test_views_and_threads_change_nothing(compiled: None) -> None:
    query, keys, values, lengths = inputs(keys=1300)
    wanted = decode_attention(query, keys, values, lengths, backend="native")
    views = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (query, keys, values)]
    assert torch.equal(decode_attention(*views, lengths, backend="native"), wanted)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(decode_attention(query, keys, values, lengths, backend="native"), wanted)
    finally:
        torch.set_num_threads(before)


def test_gradients_of_the_operator_are_those_of_the_reference(compiled: None) -> None:
    made = inputs(tokens=2)
    for window in (None, 9):
        leaves = [x.requires_grad_() for x in made[:3]]
        doubles = [x.detach().double().requires_grad_() for x in leaves]
        wanted = decode_attention(*doubles, made[3], window=window, backend="reference")
        found = decode_attention(*leaves, made[3], window=window, backend="native")
        grad = torch.randn_like(found)
        for one, exact in zip(
            torch.autograd.grad(found, leaves, grad, create_graph=True),
            torch.autograd.grad(wanted, doubles, grad.double(), create_graph=True),
            strict=True,
        ):
            assert (one.double() - exact).abs().max() <= 2e-5 * (1 + exact.abs().max())
            options = {"retain_graph": True, "materialize_grads": True, "allow_unused": True}
            second = torch.autograd.grad(one.square().sum(), leaves, **options)
            second_exact = torch.autograd.grad(exact.square().sum(), doubles, **options)
            for two, exact_two in zip(second, second_exact, strict=True):
                assert (two - exact_two).abs().max() <= 1e-4 * (1 + exact_two.abs().max())


def test_the_operator_passes_the_checks_of_torch_library(compiled: None) -> None:
    query, keys, values, lengths = inputs(tokens=2)
    leaves = [x.requires_grad_() for x in (query, keys, values)]
    for window in (None, 9):
        torch.library.opcheck(operator.decode_attention, (*leaves, lengths, window, 0.2, "native"))


def test_it_compiles_in_one_graph_for_any_length(compiled: None) -> None:
    torch.compiler.reset()
    graph = torch.compile(decode_attention, fullgraph=True, backend="aot_eager", dynamic=True)
    for keys in (70, 90):
        made = inputs(keys=keys)
        torch.testing.assert_close(graph(*made), decode_attention(*made))


class Call(torch.nn.Module):
    def forward(self, query: Tensor, keys: Tensor, values: Tensor, lengths: Tensor) -> Tensor:
        return decode_attention(query, keys, values, lengths)


def test_it_exports_with_free_batch_and_keys_as_standard_operators() -> None:
    batch, keys = torch.export.Dim("batch"), torch.export.Dim("keys")
    sides = ({0: batch}, {0: batch, 2: keys}, {0: batch, 2: keys}, {0: batch})
    program = torch.export.export(Call(), inputs(), dynamic_shapes=sides)
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not any(name.startswith("headway") for name in names)
    more = inputs(keys=90)
    torch.testing.assert_close(program.module()(*more), decode_attention(*more))


def test_vmap_is_a_loop(compiled: None) -> None:
    query, keys, values, lengths = inputs()
    stacked = torch.stack([query, 2 * query])
    for backend in ("auto", "native"):
        found = torch.vmap(
            lambda q, b=backend: decode_attention(q, keys, values, lengths, backend=b)
        )(stacked)
        for n in range(2):
            torch.testing.assert_close(
                found[n], decode_attention(stacked[n], keys, values, lengths)
            )


def test_autocast_checkpointing_and_counts(compiled: None) -> None:
    made = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        assert decode_attention(*made).dtype == torch.bfloat16
    leaves = [x.requires_grad_() for x in made[:3]]
    runs, _ = runs_under_checkpointing(
        lambda *x: decode_attention(*x, made[3], backend="native"),
        leaves,
        torch.ops.headway.decode_attention.default,
    )
    assert runs == 1
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        decode_attention(*made, backend="native")
    assert counter.get_total_flops() == 2 * 3 * 6 * 70 * (32 + 32)


OPTIONS: dict[str, dict[str, object]] = {
    "grouped": {"kv_heads": 1, "position": Rotary},
    "window": {"window": 3},
    "alibi": {"position": ALiBi},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_mixer_decodes_as_it_attends(options: dict[str, object], compiled: None) -> None:
    torch.manual_seed(0)
    mixer = SelfAttention(32, 4, causal=True, **options).eval()  # pyright: ignore
    x = torch.randn(2, 9, 32)
    cache = mixer.init_cache(2, 9)
    found, names = [], []
    with torch.no_grad():
        for here in (slice(0, 5), slice(5, 6), slice(6, 9)):
            names += operators_of(lambda h=here: found.append(mixer(x[:, h], cache=cache)))
    torch.testing.assert_close(torch.cat(found, dim=1), mixer(x))
    # What a kernel for few queries cannot add takes the general way.
    fast = names.count("headway.decode_attention.default")
    assert fast == (0 if options.get("position") is ALiBi else 3)


def test_a_listener_of_weights_gets_them_from_the_cache() -> None:
    from headway.core.taps import record

    torch.manual_seed(1)
    mixer = SelfAttention(16, 2, causal=True).eval()
    x = torch.randn(1, 4, 16)
    cache = mixer.init_cache(1, 4)
    mixer(x[:, :3], cache=cache)
    with record(mixer, "weights", "keys") as taken:
        mixer(x[:, 3:], cache=cache)
    with record(mixer, "weights") as whole:
        mixer(x)
    torch.testing.assert_close(taken["weights"][""][0][:, :, 0], whole["weights"][""][0][:, :, 3])
    assert taken["keys"][""][0].shape == (1, 2, 4, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backend": "fast"}, "'fast'; use one of"),
        ({"backend": "triton"}, "triton"),
        ({"window": -1}, "window is -1"),
        ({"lengths": torch.zeros(2)}, "one number for each row"),
        ({"keys": torch.zeros(3, 4, 70, 32)}, "4 heads of keys must divide 6"),
        ({"values": torch.zeros(3, 2, 7, 32)}, "must agree in .B, Hkv, S."),
        ({"query": torch.zeros(3, 6, 30, 32), "backend": "native"}, "90 queries share a head"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, object], message: str) -> None:
    query, keys, values, lengths = inputs()
    given = {"query": query, "keys": keys, "values": values, "lengths": lengths} | change
    with pytest.raises(UserError, match=message):
        decode_attention(**given)  # pyright: ignore
