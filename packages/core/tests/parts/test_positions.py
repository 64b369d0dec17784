import numpy as np
import pytest
import torch

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.ops import attention
from headway.core.positions import ALiBi, LearnedPosition, RelativeBias, Rotary, SinusoidalPosition


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
@pytest.mark.parametrize("axes", [1, 2])
def test_rotary_scores_depend_only_on_the_difference_of_places(axes: int, pairing: str) -> None:
    rotary = Rotary(2, 8, axes=axes, pairing=pairing)
    q, k = torch.randn(2, 1, 2, 5, 8).unbind(0)
    places = torch.randint(0, 9, (1, 5, axes)).float()

    def scores(shift: float) -> torch.Tensor:
        a, b = rotary.rotate(q, k, places + shift, places + shift)
        return a @ b.mT

    torch.testing.assert_close(scores(0.0), scores(17.0), atol=1e-4, rtol=1e-4)
    other, _ = rotary.rotate(q, k, places + 1, places)
    assert not torch.allclose(
        other @ rotary.rotate(q, k, places, places)[1].mT, scores(0.0), atol=1e-3
    )


def test_rotary_turns_pairs_by_the_angles_of_the_paper() -> None:
    x, place = torch.randn(1, 1, 1, 4), 3.0
    turned, _ = Rotary(1, 4, pairing="interleaved").rotate(
        x, x, *[torch.full((1, 1, 1), place)] * 2
    )
    expected = []
    for pair, frequency in enumerate([1.0, 10000.0**-0.5]):
        a, b = x.flatten()[2 * pair : 2 * pair + 2].tolist()
        c, s = np.cos(place * frequency), np.sin(place * frequency)
        expected += [a * c - b * s, b * c + a * s]
    np.testing.assert_allclose(turned.flatten().numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_axis_turns_its_own_channels_alone(axis: int, pairing: str) -> None:
    """Rows turn the first channels, columns the next: two axes that are swapped would turn the others."""
    width, axes = 4, 3
    x, place = torch.randn(1, 1, 1, axes * width), torch.zeros(1, 1, axes)
    place[..., axis] = 3.0
    turned, key = Rotary(1, axes * width, axes=axes, pairing=pairing).rotate(x, x, place, place)
    own = slice(axis * width, (axis + 1) * width)
    alone = Rotary(1, width, pairing=pairing).rotate(
        x[..., own], x[..., own], *[place[..., [axis]]] * 2
    )
    expected = x.clone()
    expected[..., own] = alone[0]
    torch.testing.assert_close(turned, expected)
    torch.testing.assert_close(key, expected)
    assert not torch.allclose(turned[..., own], x[..., own], atol=1e-2)


def test_a_token_at_place_zero_is_not_turned() -> None:
    x = torch.randn(1, 1, 1, 8)
    turned, _ = Rotary(1, 8, axes=2).rotate(x, x, torch.zeros(1, 1, 2), torch.zeros(1, 1, 2))
    torch.testing.assert_close(turned, x)


def test_rotary_refuses_what_it_cannot_split() -> None:
    with pytest.raises(UserError, match="head_dim 6 cannot be split.*multiple of 4"):
        Rotary(1, 6, axes=2)


@pytest.mark.parametrize(("heads", "first"), [(8, [0.5, 0.25]), (12, [0.5, 0.25])])
def test_alibi_has_the_slopes_of_the_paper(heads: int, first: list[float]) -> None:
    slopes = ALiBi(heads, 4).slopes
    assert slopes[:2].tolist() == first
    assert len(slopes.unique()) == heads
    if heads == 12:  # the remaining ones lie between those of the power of two below
        torch.testing.assert_close(slopes[8], torch.tensor(2**-0.5))


def test_alibi_lowers_scores_by_distance_and_leaves_the_prefix_alone() -> None:
    places = Layout(prefix=1).token_positions(4)
    spec = ALiBi(2, 4).bias_spec(torch.zeros(1, 2, 4, 4), places, places, prefix=1)
    bias = spec["bias"][0, 0]
    assert bias[0].tolist() == [0, 0, 0, 0]
    assert bias[1].tolist() == [0, 0, -0.0625, -0.125]


def test_relative_bias_reads_the_same_row_for_the_same_difference() -> None:
    relative = RelativeBias(2, 4, grid=(3, 3))
    places = Layout(grid=(3, 3)).token_positions(9)
    index = relative.index(places, places)[0]
    assert len(index.unique()) == 25
    for a in range(9):
        for b in range(9):
            step = (a // 3 - b // 3, a % 3 - b % 3)
            assert index[a, b] == (step[0] + 2) * 5 + step[1] + 2


def test_relative_bias_of_prefix_tokens_is_zero_and_the_table_learns() -> None:
    relative = RelativeBias(2, 4, grid=(2, 2))
    places = Layout(grid=(2, 2), prefix=1).token_positions(5)
    q = torch.randn(1, 2, 5, 4)
    spec = relative.bias_spec(q, places, places, prefix=1)
    dense = torch.nn.functional.embedding(spec["index"], spec["table"]).movedim(-1, 0)
    assert dense[:, 0].abs().sum() == 0
    assert dense[:, :, 0].abs().sum() == 0
    assert dense[:, 1:, 1:].abs().min() > 0
    attention(q, q, q, **spec).square().sum().backward()
    assert relative.table.grad is not None
    assert relative.table.grad.abs().sum() > 0


def test_sinusoids_equal_the_formula() -> None:
    out = SinusoidalPosition(6, grid=(1,))(Layout(), 5)[0].numpy()
    for place in range(5):
        for pair in range(3):
            angle = place / 10000 ** (2 * pair / 6)
            np.testing.assert_allclose(
                out[place, 2 * pair : 2 * pair + 2], [np.sin(angle), np.cos(angle)], atol=1e-6
            )


def test_sinusoids_of_a_picture_split_rows_and_columns_and_spare_the_prefix() -> None:
    out = SinusoidalPosition(8, grid=(1, 1))(Layout(grid=(2, 3), prefix=1), 7)[0]
    assert out[0].abs().sum() == 0
    torch.testing.assert_close(out[1, :4], out[3, :4])  # same row
    torch.testing.assert_close(out[1, 4:], out[4, 4:])  # same column
    assert not torch.allclose(out[1, :4], out[4, :4])


def test_learned_positions_resize_bilinear_trends_exactly_inside() -> None:
    learned = LearnedPosition(1, grid=(8, 8), prefix=1)
    with torch.no_grad():
        learned.table[0, 1:, 0] = torch.arange(8.0).repeat_interleave(8)
        learned.table[0, 0] = 99.0
    out = learned(Layout(grid=(16, 8), prefix=1), 129)
    assert out[0, 0, 0] == 99
    rows = out[0, 1:, 0].reshape(16, 8)[:, 0]
    torch.testing.assert_close(rows[6:10], torch.tensor([2.75, 3.25, 3.75, 4.25]))
