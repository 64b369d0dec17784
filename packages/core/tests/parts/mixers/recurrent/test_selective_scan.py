"""The mixer of Mamba against that of transformers, at once, step by step and padded."""

import pytest
import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import SelectiveScan


def build(**options: object) -> SelectiveScan:
    torch.manual_seed(0)
    mixer = SelectiveScan(16, **options).double()  # pyright: ignore
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return mixer


PEERS = {
    "expand": "in_proj",
    "convolution": "conv1d",
    "select": "x_proj",
    "step": "dt_proj",
    "projection": "out_proj",
    "log_rates": "A_log",
    "skip": "D",
}


def name_of(name: str) -> str:
    """What a parameter is called there."""
    first, dot, rest = name.partition(".")
    return PEERS[first] + dot + rest


def peer(mixer: SelectiveScan, bias: bool) -> nn.Module:
    """The mixer of transformers with the same weights."""
    mamba = pytest.importorskip("transformers.models.mamba.modeling_mamba")
    from transformers import MambaConfig

    config = MambaConfig(
        hidden_size=16,
        state_size=mixer.states,
        conv_kernel=mixer.window,
        expand=mixer.inner // 16,
        time_step_rank=mixer.rank,
        use_bias=bias,
        use_mambapy=False,
    )
    other = mamba.MambaMixer(config, layer_idx=0).to(mixer.skip.dtype)
    state = mixer.state_dict()
    other.load_state_dict({name_of(name): tensor for name, tensor in state.items()})
    return other


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("bias", [False, True])
def test_it_is_the_mixer_of_transformers_in_outputs_and_all_gradients(
    bias: bool, dtype: torch.dtype
) -> None:
    mixer = build(bias=bias, states=8, rank=3, window=3).to(dtype)
    other = peer(mixer, bias)
    x = torch.randn(2, 37, 16, dtype=dtype, requires_grad=True)
    found, wanted = mixer(x), other(x)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    names = [name for name, _ in mixer.named_parameters()]
    weight = torch.randn_like(found)
    ours = torch.autograd.grad((found * weight).sum(), [x, *mixer.parameters()])
    parameters = [other.get_parameter(name_of(name)) for name in names]
    theirs = torch.autograd.grad((wanted * weight).sum(), [x, *parameters])
    for name, one, exact in zip(["x", *names], ours, theirs, strict=True):
        error = (one - exact).abs().max() / (1 + exact.abs().max())
        assert error <= 1e-5, f"{name}: {error}"


def test_step_by_step_equals_all_at_once_and_rows_restart() -> None:
    mixer = build()
    x = torch.randn(3, 10, 16).double()
    full = mixer(x)
    cache = mixer.init_cache(3, 10)
    first = mixer(x[:, :4], Layout(lengths=torch.tensor([4, 1, 3])), cache=cache)
    torch.testing.assert_close(first[0], full[0, :4])
    assert cache.lengths.tolist() == [4, 1, 3]
    before = cache.snapshot()
    # Each row goes on behind its own last token.
    step = torch.stack([x[0, 4], x[1, 1], x[2, 3]])[:, None]
    wanted = torch.stack([full[0, 4], full[1, 1], full[2, 3]])
    torch.testing.assert_close(mixer(step, cache=cache)[:, 0], wanted)
    cache.restore(before)
    torch.testing.assert_close(mixer(step, cache=cache)[:, 0], wanted)
    cache.reset(torch.tensor([1]))
    again = mixer(torch.stack([x[0, 5], x[1, 0], x[2, 4]])[:, None], cache=cache)
    torch.testing.assert_close(again[:, 0], torch.stack([full[0, 5], full[1, 0], full[2, 4]]))


def test_the_state_does_not_grow() -> None:
    mixer = build()
    assert mixer.init_cache(2, 5).state.shape == mixer.init_cache(2, 5000).state.shape


@pytest.mark.parametrize("side", ["right", "left"])
def test_an_item_alone_is_the_item_in_a_padded_batch(side: str) -> None:
    mixer = build().float()
    lengths = torch.tensor([9, 2, 5])
    real = torch.arange(9) < lengths[:, None]
    layout = Layout(lengths=lengths)
    if side == "left":
        real = real.flip(1)
        layout = Layout(valid=real)
    x = torch.randn(3, 9, 16)
    padded = x.masked_fill(~real[..., None], 1e3).requires_grad_()
    out = mixer(padded, layout)
    parameters = list(mixer.parameters())
    grads = torch.autograd.grad(out[real].square().sum(), [padded, *parameters])
    assert bool((grads[0][~real] == 0).all())
    loss = torch.zeros(())
    for row in range(3):
        alone = mixer(x[row, real[row]][None])
        torch.testing.assert_close(out[row, real[row]], alone[0], atol=1e-5, rtol=1e-5)
        loss = loss + alone.square().sum()
    for one, other in zip(grads[1:], torch.autograd.grad(loss, parameters), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_token_sees_itself_and_what_came_before_however_far() -> None:
    mixer = build()
    x = torch.randn(1, 40, 16).double()
    changed = x.clone()
    changed[:, 10] += 1
    moved = (mixer(changed) - mixer(x)).abs().amax(dim=(0, 2)) > 1e-12
    # Further than the convolution alone: that is the scan.
    assert moved.tolist() == [place >= 10 for place in range(40)]


def test_the_step_is_chosen_by_the_token() -> None:
    # With a step that no token moves, the scan is a fixed convolution: linear in what enters it.
    mixer = build()
    entered = torch.randn(2, 1, 12, mixer.inner).double()

    def scanned(values: Tensor) -> Tensor:
        from headway.core.ops import selective_scan

        delta, B, C = mixer.select(values).split([mixer.rank, 16, 16], dim=-1)
        rates = -mixer.log_rates.exp()
        return selective_scan(values, mixer.step(delta), rates, B, C, softplus=True)[0]

    both = scanned(entered[0] + entered[1])
    assert (both - scanned(entered[0]) - scanned(entered[1])).abs().max() > 1e-3


def test_the_first_steps_are_spread_over_the_range() -> None:
    torch.manual_seed(1)
    mixer = SelectiveScan(512, step_range=(0.01, 0.5))
    steps = nn.functional.softplus(mixer.step.bias)
    assert steps.min() >= 0.0099
    assert steps.max() <= 0.501
    middle = (0.01 * 0.5) ** 0.5
    assert 0.4 < (steps < middle).float().mean() < 0.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"states": 0}, "states must be at least 1, got 0"),
        ({"step_range": (0.1, 0.01)}, "two positive steps in order"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SelectiveScan(8, **options)  # pyright: ignore
