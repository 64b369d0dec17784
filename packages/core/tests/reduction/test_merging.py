"""Tokens merged for a branch: what each gets back, what is never merged, what is refused."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from headway.core.blocks import MacaronBlock, ParallelBlock, PostNormBlock
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import (
    ConvolutionMixer,
    FourierMixer,
    LinearAttention,
    ProbSparseAttention,
    SelfAttention,
    WindowAttention,
)
from headway.core.positions import ALiBi, Rotary
from headway.core.reduction import (
    MergedFeedForward,
    MostSimilar,
    Neighbours,
    is_merged,
    merge_tokens,
    unmerge_model,
)
from headway.core.stacks import Decoder, Encoder
from headway.core.weights import save_pretrained

HALF = MostSimilar(ratio=0.5)


def stack(kind=Encoder, **options):
    torch.manual_seed(0)
    return kind(16, 2, 2, **options).double().eval()


def tokens(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, 16, generator=generator, dtype=torch.float64)


class Seen(nn.Module):
    """Squares what it sees, and remembers it."""

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        self.x, self.layout = x, layout
        return x.square()


def test_every_token_gets_the_result_of_the_weighted_mean() -> None:
    a, b, c, d = torch.eye(4, dtype=torch.float64)
    x = torch.stack([a, 2 * a, b, c, d, b + 0.1 * d])[None]
    sizes = torch.tensor([[3.0, 1, 1, 1, 1, 1]])
    seen = Seen()
    out = MergedFeedForward(seen, MostSimilar(amount=2))(x, Layout(grid=(6,), sizes=sizes))
    # 0 and 1 point the same way, 2 and 5 nearly; the others stay.
    first, second = (3 * a + 2 * a) / 4, (2 * b + 0.1 * d) / 2
    torch.testing.assert_close(seen.x[0], torch.stack([first, c, d, second]))
    assert seen.layout.sizes[0].tolist() == [4, 1, 1, 2]
    assert seen.layout.positions[0, :, 0].tolist() == [0.25, 3, 4, 3.5]
    # No token is lost or replaced by another one: both places hold f of the mean, not f of one of them.
    want = torch.stack([first, first, second, c, d, second]).square()
    torch.testing.assert_close(out[0], want)


@pytest.mark.parametrize("where", ["mixer", "feedforward"])
@pytest.mark.parametrize("mixer", [SelfAttention, LinearAttention])
def test_merging_what_is_equal_loses_nothing(mixer, where: str) -> None:
    # The first two stand there twice: merged, they must count twice beside the single ones.
    model, x = stack(mixer=mixer), tokens(2, 8)
    x[:, 1], x[:, 3] = x[:, 0], x[:, 2]
    before = model(x)[0]
    merge_tokens(model, MostSimilar(amount=2), where=where)
    torch.testing.assert_close(model(x)[0], before)
    different = tokens(2, 10)
    assert not torch.allclose(model(different)[0], unmerge_model(model)(different)[0], atol=1e-2)


@pytest.mark.parametrize("where", ["mixer", "feedforward"])
def test_nothing_to_merge_is_the_identity_and_undoing_is_exact(where: str) -> None:
    model, x = stack(), tokens(2, 7)
    before, modules = model(x)[0], dict(model.named_modules())
    merge_tokens(model, MostSimilar(amount=0), where=where)
    assert torch.equal(model(x)[0], before)
    assert is_merged(model)
    merge_tokens(unmerge_model(model), HALF, where=where)
    assert not torch.equal(model(x)[0], before)
    unmerge_model(model)
    assert dict(model.named_modules()) == modules
    assert torch.equal(model(x)[0], before)


MODELS = {
    "similar": (Encoder, {}, HALF),
    "rotary": (Encoder, {"mixer": partial(SelfAttention, position=Rotary)}, HALF),
    "macaron": (Encoder, {"block": partial(MacaronBlock, convolution=None)}, MostSimilar(amount=3)),
    "parallel": (Encoder, {"block": ParallelBlock}, HALF),
    "post": (Encoder, {"block": PostNormBlock}, HALF),
    "causal": (Decoder, {}, Neighbours(threshold=0.0)),
    "alibi": (
        Decoder,
        {"mixer": partial(SelfAttention, causal=True, position=ALiBi)},
        Neighbours(threshold=-0.1),
    ),
    "linear": (Decoder, {"mixer": partial(LinearAttention, causal=True)}, Neighbours(threshold=-1)),
}


@pytest.mark.parametrize("where", ["mixer", "feedforward"])
@pytest.mark.parametrize("kind", ["lengths", "left", "anywhere"])
@pytest.mark.parametrize("name", MODELS)
def test_an_item_alone_is_the_item_in_a_padded_batch(name: str, kind: str, where: str) -> None:
    make, options, matching = MODELS[name]
    model = merge_tokens(stack(make, **options), matching, where=where)
    x, real = tokens(3, 12), torch.ones(3, 12, dtype=torch.bool)
    # The last item has a single token.
    hidden = {"lengths": slice(7, None), "left": slice(None, 5), "anywhere": slice(1, 11, 2)}
    real[1, hidden[kind]] = False
    real[2] = False
    real[2, 0 if kind == "lengths" else 11] = True
    padded = x.masked_fill(~real[..., None], torch.nan)
    if kind == "lengths":
        layout = Layout(lengths=real.sum(1))
    else:
        layout = Layout(valid=real)
    out, back = model(padded, layout)
    assert back is layout
    parameters = list(model.parameters())
    for row in range(3):
        alone = model(x[row : row + 1, real[row]])[0]
        torch.testing.assert_close(out[row, real[row]], alone[0], atol=1e-5, rtol=1e-5)
    one = torch.autograd.grad(out[1, real[1]].square().sum(), parameters, allow_unused=True)
    alone = model(x[1:2, real[1]])[0]
    two = torch.autograd.grad(alone.square().sum(), parameters, allow_unused=True)
    for first, second in zip(one, two, strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("where", ["mixer", "feedforward"])
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.3])
@pytest.mark.parametrize("mixer", [SelfAttention, LinearAttention])
def test_nothing_is_known_before_its_time(mixer, threshold: float, where: str) -> None:
    model = stack(Decoder, mixer=partial(mixer, causal=True))
    merge_tokens(model, Neighbours(threshold=threshold), where=where)
    # Tokens that resemble each other or not: a changed token changes what is merged.
    x = tokens(1, 13) + 1.0
    before = model(x)[0]
    for place in range(13):
        for value in (x[:, place - 1] + 0.01, -x[:, place], 5 * x[:, 0] - x[:, place]):
            changed = x.clone()
            changed[:, place] = value
            after = model(changed)[0]
            torch.testing.assert_close(after[:, :place], before[:, :place], atol=1e-12, rtol=0)
            assert (after[:, place:] - before[:, place:]).abs().max() > 1e-6


def test_neighbours_merge_behind_what_they_resemble() -> None:
    a, b, c, _ = torch.eye(4, dtype=torch.float64)
    # Places:        0  1  2  3   4  5  6  7
    x = torch.stack([a, a, a, 2 * a, b, b, b, c])[None]
    seen = Seen()
    out = MergedFeedForward(seen, Neighbours(threshold=0.9))(x)
    # 2 and 3 become one; 6 resembles 5, but 7 does not resemble 6; 4 does not resemble 3.
    torch.testing.assert_close(seen.x[0], torch.stack([a, a, 1.5 * a, b, b, b, c]))
    assert seen.layout.positions[0, :, 0].tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert seen.layout.sizes[0].tolist() == [1, 1, 2, 1, 1, 1, 1]
    # 2 reads 1, as 3 is not known yet; 3 reads the mean.
    torch.testing.assert_close(
        out[0], torch.stack([a, a, a, 2.25 * a, b, b, b, c]), atol=1e-12, rtol=0
    )


def test_prefix_tokens_stay_as_they_are() -> None:
    seen = Seen()
    x = tokens(2, 9)
    x[:, :3] = x[:, 3:4]  # the prefix would be merged first
    MergedFeedForward(seen, MostSimilar(ratio=0.5))(x, Layout(prefix=3))
    assert seen.x.shape[1] == 6
    assert torch.equal(seen.x[:, :3], x[:, :3])
    assert (seen.layout.sizes[:, :3] == 1).all()
    MergedFeedForward(seen, Neighbours(threshold=-1.0))(x, Layout(prefix=3))
    assert (seen.layout.sizes[:, :3] == 1).all()
    # Behind the prefix: 3, 4, (5, 6), (7, 8).
    assert seen.layout.sizes[0].tolist() == [1, 1, 1, 1, 1, 2, 2]


def test_half_of_the_tokens_are_about_half_of_the_work() -> None:
    def flops(model) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(x)
        return counter.get_total_flops()

    model = Encoder(64, 1, 2, feedforward=partial(MLP, mlp_ratio=8.0))
    x = torch.randn(1, 64, 64)
    whole = flops(model)
    feedforward = 2 * 2 * 64 * 64 * 512
    matching = 2 * 32 * 32 * 64
    merge_tokens(model, HALF, where="feedforward")
    assert flops(model) == whole - feedforward // 2 + matching
    assert flops(merge_tokens(unmerge_model(model), HALF)) < whole


def test_what_cannot_work_is_refused_with_the_reason() -> None:
    similar, neighbours = MostSimilar(amount=2), Neighbours(threshold=0.5)
    for mixer in (WindowAttention, ConvolutionMixer, FourierMixer, ProbSparseAttention):
        remedy = f"{mixer.__name__} cannot take merged tokens.*where='feedforward'"
        with pytest.raises(UserError, match=remedy):
            merge_tokens(stack(mixer=mixer), similar)
        merge_tokens(stack(mixer=mixer), similar, where="feedforward")
    for where in ("mixer", "feedforward"):
        with pytest.raises(UserError, match="SelfAttention is causal.*use Neighbours"):
            merge_tokens(stack(Decoder), similar, where=where)
        model = merge_tokens(stack(Decoder), neighbours, where=where)
        with pytest.raises(UserError, match=r"cannot run step by step.*unmerge_model"):
            model.init_cache(1, 8)
        unmerge_model(model).init_cache(1, 8)
        with pytest.raises(UserError, match="merged here already; call unmerge_model"):
            merge_tokens(merge_tokens(model, neighbours, where=where), neighbours, where=where)
    with pytest.raises(UserError, match="Linear has no stack of blocks with a mixer"):
        merge_tokens(nn.Linear(2, 2), similar)
    model = merge_tokens(stack(), similar)
    packed = Layout(offsets=torch.tensor([0, 3, 6]), max_length=3)
    with pytest.raises(UserError, match="MergedMixer does not support offsets"):
        model(tokens(1, 6), packed)
    with pytest.raises(UserError, match="MergedMixer does not support mask"):
        model(tokens(1, 6), mask=torch.ones(6, 6, dtype=torch.bool))
    with pytest.raises(UserError, match="amount or as ratio"):
        MostSimilar()
    with pytest.raises(UserError, match="ratio must be between 0 and 0.5"):
        MostSimilar(ratio=0.8)
    with pytest.raises(UserError, match="must not be negative, got -1"):
        MostSimilar(amount=-1)


def test_a_merged_model_is_not_saved(tmp_path) -> None:
    with pytest.raises(UserError, match="no part of a checkpoint; call unmerge_model"):
        save_pretrained(merge_tokens(stack(), HALF), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_merged_model_compiles_and_learns() -> None:
    model, x = merge_tokens(stack(), HALF), tokens(2, 8)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x)[0], model(x)[0])
    model(x)[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
