import pytest
import torch
from torch import nn

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.resample import Distilling


def published(distilling: Distilling) -> nn.Sequential:
    """The layer as the published code has it."""
    dim = distilling.convolution.out_channels
    convolution = nn.Conv1d(dim, dim, 3, padding=distilling.padding, padding_mode="circular")
    convolution.load_state_dict(distilling.convolution.state_dict())
    norm = nn.BatchNorm1d(dim)
    norm.load_state_dict(distilling.norm.state_dict())
    return nn.Sequential(convolution, norm, nn.ELU(), nn.MaxPool1d(3, stride=2, padding=1))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("padding", [1, 2])
@pytest.mark.parametrize("tokens", [5, 12])
def test_it_equals_the_published_layer(tokens: int, padding: int, training: bool) -> None:
    torch.manual_seed(0)
    ours = Distilling(4, padding=padding).double().train(training)
    theirs = published(ours).double().train(training)
    x = torch.randn(3, tokens, 4, dtype=torch.float64)
    out, _ = ours(x)
    expected = theirs(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(out, expected)
    assert out.shape[1] == (tokens + 2 * padding - 3) // 2 + 1
    out.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.convolution.weight.grad, theirs[0].weight.grad)


@pytest.mark.parametrize("padding", [1, 2])
def test_a_padded_item_gives_what_it_gives_alone(padding: int) -> None:
    torch.manual_seed(0)
    layer = Distilling(4, padding=padding).eval()
    lengths = torch.tensor([12, 5, 8])
    x = torch.randn(3, 12, 4)
    padded = x.masked_fill((torch.arange(12) >= lengths[:, None])[..., None], torch.nan)
    padded.requires_grad_()
    out, layout = layer(padded, Layout(lengths=lengths))
    out.square().sum().backward()
    weight = layer.convolution.weight.grad.clone()
    layer.zero_grad()
    for row, length in enumerate(lengths.tolist()):
        alone, _ = layer(x[row : row + 1, :length])
        assert layout.lengths[row] == alone.shape[1]
        torch.testing.assert_close(out[row, : alone.shape[1]], alone[0])
        assert (out[row, alone.shape[1] :] == 0).all()
        alone.square().sum().backward()
    torch.testing.assert_close(weight, layer.convolution.weight.grad, atol=1e-5, rtol=1e-4)
    assert padded.grad.isfinite().all()


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(UserError, match="not prefix, valid or offsets"):
        Distilling(4)(torch.randn(1, 6, 4), Layout(prefix=1))
    with pytest.raises(UserError, match="padding is 1"):
        Distilling(4, padding=3)
