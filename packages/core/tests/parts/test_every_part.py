"""Every mixer and position that headway exports, through all that a user may do with one.

A new export must be given a case here, or the first test fails. What a part cannot do it declares: by
``supports`` (padding, causality and caches are tried where they are named, and must be refused elsewhere), and
by ``free_tokens``.
"""

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headway.core import mixers, positions
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers import SelfAttention, TokenMixer
from headway.core.norms import RMSNorm
from headway.core.passed import arguments
from headway.core.stacks import Encoder

DIM, HEADS, TOKENS, CONTEXT = 16, 2, 12, 8
Arrange = Callable[[int], Layout]
Factory = Callable[[int, int], TokenMixer]


def sequence(tokens: int) -> Layout:
    return Layout()


def picture(tokens: int) -> Layout:
    return Layout(grid=(tokens // 4, 4))


def placed(tokens: int) -> Layout:
    return Layout(positions=torch.full((1, tokens, 2), 0.3))


def memory(tokens: int) -> Layout:
    return Layout(levels=((tokens // 4, 4),))


m, p = mixers, positions
CASES: dict[str, tuple[Factory, Arrange]] = {
    "DiagonalStateSpace": (partial(m.DiagonalStateSpace, states=4), sequence),
    "SelfAttention": (SelfAttention, sequence),
    "SelfAttention-causal": (partial(SelfAttention, causal=True), sequence),
    "SelfAttention-grouped": (partial(SelfAttention, causal=True, window=3, kv_heads=1), sequence),
    "SelfAttention-chunks": (partial(SelfAttention, chunks=(4, 1), window=(5, None)), sequence),
    "SelfAttention-norm": (partial(SelfAttention, norm=RMSNorm), sequence),
    "Rotary": (partial(SelfAttention, causal=True, position=p.Rotary), sequence),
    "Rotary-share": (
        partial(SelfAttention, causal=True, position=partial(p.Rotary, share=0.5)),
        sequence,
    ),
    "Rotary-picture": (partial(SelfAttention, position=partial(p.Rotary, axes=2)), picture),
    "ALiBi": (partial(SelfAttention, causal=True, position=p.ALiBi), sequence),
    "RelativeBias": (partial(SelfAttention, position=partial(p.RelativeBias, grid=(4,))), sequence),
    "BucketedBias": (
        partial(SelfAttention, position=partial(p.BucketedBias, buckets=8, max_distance=6)),
        sequence,
    ),
    "BucketedBias-causal": (
        partial(SelfAttention, causal=True, position=partial(p.BucketedBias, causal=True)),
        sequence,
    ),
    "ImageRelativeVectors": (partial(SelfAttention, position=p.ImageRelativeVectors), picture),
    "ImageRelativeVectors-cross": (
        partial(
            SelfAttention, position=partial(p.ImageRelativeVectors, method="cross", shared=False)
        ),
        picture,
    ),
    "LookHere": (partial(SelfAttention, position=p.LookHere), picture),
    "ContinuousBias": (
        partial(SelfAttention, position=partial(p.ContinuousBias, grid=(3, 4))),
        picture,
    ),
    "RelativeSinusoidal": (partial(SelfAttention, position=p.RelativeSinusoidal), sequence),
    "RelativeVectors": (
        partial(SelfAttention, position=partial(p.RelativeVectors, reach=2)),
        sequence,
    ),
    "RelativeVectors-keys": (
        partial(SelfAttention, position=partial(p.RelativeVectors, reach=(3, 1), values=False)),
        sequence,
    ),
    "RelativeVectors-causal": (
        partial(SelfAttention, causal=True, kv_heads=1, position=p.RelativeVectors),
        sequence,
    ),
    "GatedBiasAttention": (
        partial(m.GatedBiasAttention, relative=partial(p.BucketedBias, buckets=8, max_distance=6)),
        sequence,
    ),
    "ScoreResidualAttention": (m.ScoreResidualAttention, sequence),
    "AdditiveAttention": (m.AdditiveAttention, sequence),
    "AutoCorrelation": (m.AutoCorrelation, sequence),
    "AutoCorrelationCross": (m.AutoCorrelationCross, sequence),
    "ClassAttention": (m.ClassAttention, sequence),
    "ConvAttention": (partial(m.ConvAttention, stride=2, window=4), sequence),
    "ConvolutionMixer": (partial(m.ConvolutionMixer, axes=1, window=3, causal=True), sequence),
    "ConvolutionMixer-picture": (partial(m.ConvolutionMixer, window=3), picture),
    "CrossAttention": (m.CrossAttention, sequence),
    "DeformableAttention": (partial(m.DeformableAttention, levels=1, points=2), placed),
    "FactorizedAttention": (m.FactorizedAttention, picture),
    "FourierMixer": (m.FourierMixer, sequence),
    "GatedConvolutionMixer": (partial(m.GatedConvolutionMixer, window=3), sequence),
    "GatedConvolutionMixer-narrow": (partial(m.GatedConvolutionMixer, window=3, width=5), sequence),
    "GatedConvolutionMixer-causal": (
        partial(m.GatedConvolutionMixer, window=4, causal=True, norm=RMSNorm),
        sequence,
    ),
    "GatedLinearAttention": (partial(m.GatedLinearAttention, expansion=2, waves=2), sequence),
    "GraphAttention": (
        partial(m.GraphAttention, nodes=20, edges=[(k, k + 1) for k in range(19)]),
        sequence,
    ),
    "InterleavedConvolution": (partial(m.InterleavedConvolution, window=4), sequence),
    "LegendreMemory": (partial(m.LegendreMemory, order=4, window=6), sequence),
    "LinearAttention": (m.LinearAttention, sequence),
    "LinearAttention-fixed": (
        partial(m.LinearAttention, causal=True, decay=m.FixedDecay, norm=RMSNorm),
        sequence,
    ),
    "LinearAttention-learned": (
        partial(m.LinearAttention, causal=True, decay=m.LearnedDecay),
        sequence,
    ),
    "GeneralizedRandomFeatures": (
        partial(m.LinearAttention, feature_map=m.GeneralizedRandomFeatures),
        sequence,
    ),
    "RandomFeatures": (partial(m.LinearAttention, feature_map=m.RandomFeatures), sequence),
    "ScaledFeatures": (
        partial(
            m.LinearAttention,
            causal=True,
            feature_map=m.ScaledFeatures,
            decay=m.LearnedDecay,
            norm=RMSNorm,
            gate=torch.nn.SiLU,
        ),
        sequence,
    ),
    "ReLUFeatures": (partial(m.LinearAttention, feature_map=m.ReLUFeatures), sequence),
    "MaskUnitAttention": (partial(m.MaskUnitAttention, window=2), picture),
    "NeighbourhoodAttention": (partial(m.NeighbourhoodAttention, window=(3,)), sequence),
    "NeighbourhoodAttention-picture": (partial(m.NeighbourhoodAttention, window=3), picture),
    "NormalizedLinearCrossAttention": (m.NormalizedLinearCrossAttention, sequence),
    "NystromAttention": (partial(m.NystromAttention, landmarks=6), sequence),
    "NystromAttention-conv": (partial(m.NystromAttention, landmarks=4, conv=3), sequence),
    "PoolingMixer": (m.PoolingMixer, sequence),
    "PositionedSelfAttention": (m.PositionedSelfAttention, sequence),
    "PositionedCrossAttention": (m.PositionedCrossAttention, sequence),
    "ProbSparseAttention": (partial(m.ProbSparseAttention, factor=1), sequence),
    "ProbSparseAttention-causal": (partial(m.ProbSparseAttention, factor=1, causal=True), sequence),
    "ProbSparseCrossAttention": (partial(m.ProbSparseCrossAttention, factor=1), sequence),
    "SelectiveScan": (partial(m.SelectiveScan, states=4), sequence),
    "TalkingHeadsAttention": (m.TalkingHeadsAttention, sequence),
    "TalkingHeadsAttention-causal": (partial(m.TalkingHeadsAttention, causal=True), sequence),
    "CosineWindowAttention": (partial(m.CosineWindowAttention, window=2, shift=1), picture),
    "WindowAttention": (partial(m.WindowAttention, window=2, shift=1), picture),
}
# Added to tokens by models, not by attention; tried below by themselves.
EMBEDDINGS: dict[str, tuple[Callable[[], nn.Module], Arrange]] = {
    "LearnedPosition": (lambda: p.LearnedPosition(DIM, (TOKENS,)), sequence),
    "SinusoidalPosition": (lambda: p.SinusoidalPosition(DIM), sequence),
    "NormalizedSinusoidalPosition": (lambda: p.NormalizedSinusoidalPosition(DIM), picture),
}
# Reads places, not a layout: tried with its models in tests/language/test_decoder.py.
OF_MODELS = {"PositionTable"}
ABSTRACT = {"TokenMixer", "FeatureMap", "Position", *OF_MODELS}
every = pytest.mark.parametrize("name", CASES)
SLOW = [pytest.mark.slow]
# Graphs take most of the time: one of each class in `make test`, its variants in `make test-all`.
every_graph = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=SLOW if "-" in name and not name.endswith("-causal") else [])
        for name in CASES
    ],
)


def test_every_export_is_tried() -> None:
    built = [repr(build(name)) for name in CASES] + [
        repr(make()) for make, _ in EMBEDDINGS.values()
    ]
    exported = {
        name
        for room in (mixers, positions)
        for name in room.__all__
        if inspect.isclass(getattr(room, name)) and name not in ABSTRACT
    }
    missing = {name for name in exported if not any(f"{name}(" in text for text in built)}
    assert not missing, f"give these a case in {__file__}: {sorted(missing)}"


def test_a_mixer_that_passes_options_on_takes_all_of_its_base() -> None:
    checked = []
    for name in mixers.__all__:
        kind = getattr(mixers, name)
        signature = inspect.signature(kind) if inspect.isclass(kind) else inspect.Signature()
        own = signature.parameters.values()
        if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in own):
            assert arguments(kind).keys() >= arguments(kind.__mro__[1]).keys() - {"kwargs"}, name
            checked.append(name)
    assert "CosineWindowAttention" in checked


def build(name: str) -> Any:
    torch.manual_seed(0)
    mixer = CASES[name][0](DIM, HEADS)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
        for part in mixer.modules():
            # What never learns stays what it is.
            for place in part.unbiased if isinstance(part, FusedLinear) else []:
                part.bias[place] = 0.0
    return mixer


def crosses(mixer: TokenMixer) -> bool:
    return "context" in mixer.supports


def inputs(mixer: TokenMixer, name: str, batch: int = 2, tokens: int = TOKENS) -> dict[str, Any]:
    given: dict[str, Any] = {"x": draw(batch, tokens), "layout": CASES[name][1](tokens)}
    return given | (context_for(mixer, draw(batch, CONTEXT)) if crosses(mixer) else {})


def context_for(mixer: TokenMixer, context: Tensor) -> dict[str, Any]:
    deformable = isinstance(mixer, m.DeformableAttention)
    return {"context": context, "context_layout": memory(CONTEXT) if deformable else Layout()}


def draw(batch: int, tokens: int) -> Tensor:
    generator = torch.Generator().manual_seed(tokens)
    return torch.randn(batch, tokens, DIM, generator=generator)


def call(mixer: Any, given: dict[str, Any]) -> Tensor:
    # ProbSparse draws its sample in training.
    torch.manual_seed(7)
    return mixer(**given)


def results(mixer: Any, parameters: list[nn.Parameter], given: dict[str, Any]) -> list[Tensor]:
    x = given["x"].detach().requires_grad_()
    out = call(mixer, given | {"x": x})
    loss = out.square().sum()
    return [out, *torch.autograd.grad(loss, [x, *parameters], materialize_grads=True)]


@every_graph
def test_compiled_it_is_one_graph_for_two_lengths_with_equal_gradients(name: str) -> None:
    torch.compiler.reset()
    mixer = build(name)
    parameters = list(mixer.parameters())
    compiled = torch.compile(mixer, fullgraph=True, backend="aot_eager")
    for tokens in (12, 20):
        given = inputs(mixer, name, tokens=tokens)
        found, wanted = (results(one, parameters, given) for one in (compiled, mixer))
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


class Call(nn.Module):
    """A mixer as a module of tensors alone, whose layout goes by their sizes."""

    def __init__(self, mixer: TokenMixer, arrange: Arrange) -> None:
        super().__init__()
        self.mixer, self.arrange = mixer, arrange

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        others = {} if context is None else context_for(self.mixer, context)
        return self.mixer(x, self.arrange(x.shape[1]), **others)


def exported(name: str, free: bool) -> tuple[Any, Call]:
    mixer = build(name).eval()
    module = Call(mixer, CASES[name][1])
    batch = torch.export.Dim("batch")
    rows = torch.export.Dim("rows", min=2, max=64)
    tokens = 4 * rows if CASES[name][1] is picture else torch.export.Dim("tokens", min=2, max=256)
    arguments, sides = [draw(3, TOKENS)], [{0: batch, 1: tokens} if free else {0: batch}]
    if crosses(mixer):
        arguments.append(draw(3, CONTEXT))
        sides.append({0: batch})
    with torch.no_grad():
        program = torch.export.export(module, tuple(arguments), dynamic_shapes=tuple(sides))
    return program.module(), module


@every_graph
def test_it_exports_with_named_dimensions(name: str) -> None:
    free = build(name).free_tokens
    program, module = exported(name, free)
    for batch, tokens in ((3, TOKENS), (2, 20), (1, 8)):
        given = [draw(batch, tokens if free else TOKENS)]
        given += [draw(batch, CONTEXT)] if crosses(module.mixer) else []
        torch.testing.assert_close(program(*given), module(*given), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in CASES if not build(name).free_tokens])
def test_what_cannot_leave_the_number_of_tokens_free_says_so(name: str) -> None:
    with pytest.raises(
        Exception, match=f"{name}.* cannot be exported with a free number of tokens"
    ):
        exported(name, True)


@every
@pytest.mark.parametrize("way", ["to_empty", "assign"])
def test_it_comes_back_from_the_meta_device(name: str, way: str) -> None:
    mixer = build(name).eval()
    with torch.device("meta"):
        other = CASES[name][0](DIM, HEADS)
    assert all(x.is_meta for x in (*other.parameters(), *other.buffers()))
    if way == "to_empty":
        other.to_empty(device="cpu")
        with torch.no_grad():
            for tensor in (*other.parameters(), *other.buffers()):
                if tensor.is_floating_point() and not is_constant(other, tensor):
                    tensor.fill_(torch.nan)
    other.load_state_dict(mixer.state_dict(), assign=way == "assign")
    given = inputs(mixer, name)
    assert torch.equal(call(other.eval(), given), call(mixer, given))


def is_constant(module: nn.Module, tensor: Tensor) -> bool:
    saved = {x.data_ptr() for x in module.state_dict().values()}
    return tensor.data_ptr() not in saved


@every
def test_an_empty_batch_gives_an_empty_batch(name: str) -> None:
    mixer = build(name)
    given = inputs(mixer, name, batch=0)
    x = given["x"].requires_grad_()
    out = call(mixer, given)
    assert out.shape == x.shape
    out.sum().backward()


@every
def test_in_bfloat16_it_is_nearly_the_same(name: str) -> None:
    mixer = build(name).eval()
    given = inputs(mixer, name)
    wanted = call(mixer, given)
    narrow = {k: v.bfloat16() if isinstance(v, Tensor) else v for k, v in given.items()}
    found = call(copy.deepcopy(mixer).bfloat16(), narrow)
    assert found.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = call(mixer, given)
    for one in (found, under_autocast):
        assert (one.float() - wanted).abs().max() < 0.1 * wanted.abs().max()


@every
def test_copies_and_states_are_the_mixer(name: str) -> None:
    mixer = build(name).eval()
    given = inputs(mixer, name)
    wanted = call(mixer, given)
    other = CASES[name][0](DIM, HEADS).eval()
    other.load_state_dict(mixer.state_dict())
    for one in (copy.deepcopy(mixer), other):
        assert torch.equal(call(one, given), wanted)


@every
def test_mapped_it_is_a_loop(name: str) -> None:
    mixer = build(name).eval()
    given = inputs(mixer, name)
    stacked = torch.stack([given["x"], 2 * given["x"]])
    found = torch.vmap(lambda x: mixer(**(given | {"x": x})))(stacked)
    for one, x in zip(found, stacked, strict=True):
        torch.testing.assert_close(one, mixer(**(given | {"x": x})), atol=1e-4, rtol=1e-4)


LENGTHS = torch.tensor([5, TOKENS, 8])
REAL = torch.arange(TOKENS) < LENGTHS[:, None]
PADDINGS = {"lengths": {"lengths": LENGTHS}, "valid": {"valid": REAL}}


def padded(name: str, kind: str) -> Layout | None:
    """The layout, or None where it says nothing of sequences."""
    return Layout(**PADDINGS[kind]) if CASES[name][1] is sequence else None


@every
@pytest.mark.parametrize("kind", PADDINGS)
def test_padding_of_nan_reaches_no_result_and_no_gradient(name: str, kind: str) -> None:
    mixer, layout = build(name).eval(), padded(name, kind)
    if layout is None:
        return
    given = inputs(mixer, name, batch=3) | {"layout": layout}
    if kind not in mixer.supports:
        with pytest.raises(UserError, match=f"{type(mixer).__name__} does not support {kind}"):
            mixer(**given)
        return
    x = given["x"].masked_fill(~REAL[..., None], torch.nan).requires_grad_()
    out = mixer(**(given | {"x": x}))
    gradients = torch.autograd.grad(out[REAL].square().sum(), [x, *mixer.parameters()])
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (gradients[0][~REAL] == 0).all()
    for row, length in enumerate(LENGTHS.tolist()):
        alone = {k: v[row : row + 1] if isinstance(v, Tensor) else v for k, v in given.items()}
        alone |= {"x": given["x"][row : row + 1, :length], "layout": Layout()}
        torch.testing.assert_close(out[row, :length], mixer(**alone)[0], atol=1e-4, rtol=1e-4)


@every
@pytest.mark.parametrize("kind", PADDINGS)
def test_padding_of_nan_ends_where_a_stack_begins(name: str, kind: str) -> None:
    mixer, layout = build(name), padded(name, kind)
    if layout is None or crosses(mixer) or kind not in mixer.supports:
        return
    torch.manual_seed(0)
    stack = Encoder(DIM, 2, HEADS, mixer=CASES[name][0]).eval()
    x = draw(3, TOKENS)
    out, _ = stack(x.masked_fill(~REAL[..., None], torch.nan), layout)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, _ = stack(x[row : row + 1, :length], Layout())
        torch.testing.assert_close(out[row, :length], alone[0], atol=1e-4, rtol=1e-4)


@every
def test_what_is_causal_never_looks_ahead(name: str) -> None:
    mixer = build(name).eval()
    given = inputs(mixer, name)
    x = given["x"].requires_grad_()
    (gradient,) = torch.autograd.grad(call(mixer, given)[:, 4].sum(), x)
    # Which queries of ProbSparse attend is decided over the whole sequence, without a gradient.
    # A memory by FFT rounds what it does not see.
    ahead = gradient[:, 5:].abs().max() > 1e-6 * gradient.abs().max()
    assert not (ahead and mixer.causal)


@every
def test_step_by_step_equals_all_at_once_or_is_refused(name: str) -> None:
    mixer = build(name).eval()
    given = inputs(mixer, name)
    x, options = given.pop("x"), given
    if "cache" not in mixer.supports:
        with pytest.raises(UserError, match=f"{type(mixer).__name__} .*does not support a cache"):
            mixer.init_cache(2, TOKENS)
        return
    cache = mixer.init_cache(2, TOKENS)
    steps = [7, 1, 4]
    if chunks := getattr(mixer, "chunks", None):
        steps = [chunks[0]] * (TOKENS // chunks[0])
    elif not mixer.causal and not crosses(mixer):
        with pytest.raises(UserError, match="causal=True|SelfAttention to decode step by step"):
            mixer(x, cache=cache, **options)
        return
    with torch.no_grad():
        parts = [mixer(part, cache=cache, **options) for part in x.split(steps, dim=1)]
        torch.testing.assert_close(
            torch.cat(parts, dim=1), mixer(x, **options), atol=1e-4, rtol=1e-4
        )


@every
def test_the_last_token_alone_is_that_of_all(name: str) -> None:
    mixer = build(name).eval()
    if CASES[name][1] is not sequence or crosses(mixer):
        return
    x = draw(3, TOKENS)
    with torch.no_grad():
        wanted = call(mixer, {"x": x})
        torch.manual_seed(7)
        torch.testing.assert_close(mixer.last(x), wanted[:, -1:], atol=1e-4, rtol=1e-4)
        if "lengths" in mixer.supports:
            layout = Layout(lengths=LENGTHS)
            last = mixer(x, layout)[torch.arange(3), LENGTHS - 1]
            torch.testing.assert_close(mixer.last(x, layout)[:, 0], last, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_come_back_from_the_meta_device_and_compile(name: str) -> None:
    torch.manual_seed(0)
    make, arrange = EMBEDDINGS[name]
    position, layout = make(), arrange(TOKENS)
    with torch.device("meta"):
        other = make()
    other.to_empty(device="cpu").load_state_dict(position.state_dict())
    wanted = position(layout, TOKENS)
    assert torch.equal(other(layout, TOKENS), wanted)
    torch.compiler.reset()
    compiled = torch.compile(position, fullgraph=True, backend="aot_eager", dynamic=True)
    for tokens in (TOKENS, 20):
        torch.testing.assert_close(
            compiled(arrange(tokens), tokens), position(arrange(tokens), tokens)
        )
    assert torch.equal(copy.deepcopy(position)(layout, TOKENS), wanted)
    assert position.bfloat16()(layout, TOKENS).isfinite().all()
