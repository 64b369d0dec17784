"""Windows against a loop over pairs of tokens, in float64."""

import copy

import pytest
import torch

from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import WindowAttention


def build(**options: object) -> WindowAttention:
    torch.manual_seed(0)
    mixer = WindowAttention(8, 2, **options).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return mixer


def reference(mixer: WindowAttention, x, grid, window, shift):
    """Each token attends to those of its window that lay beside it before the shift; no padding."""
    (rows, columns), out = grid, torch.zeros_like(x)
    query, key, value = (
        part.unflatten(-1, (mixer.heads, -1)) for part in mixer.qkv(x).chunk(3, dim=-1)
    )

    def home(place: int, axis: int) -> tuple[int, int]:
        # The window, and the piece of the grid that the token came from.
        moved = (place - shift[axis]) % grid[axis]
        return moved // window[axis], int(place < shift[axis])

    places = [(i, j) for i in range(rows) for j in range(columns)]
    wide = 2 * mixer.window[1] - 1
    for a, (i, j) in enumerate(places):
        mine = (home(i, 0), home(j, 1))
        seen = [b for b, (k, m) in enumerate(places) if (home(k, 0), home(m, 1)) == mine]
        # Within a window places count from its corner, so differences are those of the shifted grid.
        index = [
            (i - places[b][0] + mixer.window[0] - 1) * wide + j - places[b][1] + mixer.window[1] - 1
            for b in seen
        ]
        scores = torch.einsum("bhd,bshd->bhs", query[:, a], key[:, seen]) / query.shape[-1] ** 0.5
        scores = scores + mixer.position.table[index].T
        out[:, a] = torch.einsum("bhs,bshd->bhd", scores.softmax(-1), value[:, seen]).flatten(1)
    return mixer.projection(out)


CASES = {
    "plain": ((4, 6), 2, 0, (2, 2), (0, 0)),
    "shifted": ((4, 6), 2, 1, (2, 2), (1, 1)),
    "not square": ((6, 8), (3, 4), (1, 2), (3, 4), (1, 2)),
    "one window on one axis": ((3, 8), 4, 2, (3, 4), (0, 2)),
    "one window": ((3, 2), 4, 2, (3, 2), (0, 0)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("pad", ["before", "after"])
def test_outputs_and_gradients_equal_the_loop(case: str, pad: str) -> None:
    grid, window, shift, real_window, real_shift = CASES[case]
    mixer = build(window=window, shift=shift, pad=pad)
    x = torch.randn(2, grid[0] * grid[1], 8, dtype=torch.float64, requires_grad=True)
    out = mixer(x, Layout(grid=grid))
    expected = reference(mixer, x, grid, real_window, real_shift)
    torch.testing.assert_close(out, expected)
    weight = torch.randn_like(out)
    inputs = [x, *mixer.parameters()]
    one = torch.autograd.grad((out * weight).sum(), inputs)
    two = torch.autograd.grad((expected * weight).sum(), inputs)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("pad", ["before", "after"])
def test_a_grid_that_windows_do_not_divide_is_filled_with_zeros(pad: str) -> None:
    mixer = build(window=3, pad=pad)
    picture = torch.randn(1, 5, 7, 8).double()
    filled = torch.zeros(1, 6, 9, 8).double()
    filled[:, :5, :7] = picture
    expected = mixer(filled.flatten(1, 2), Layout(grid=(6, 9))).unflatten(1, (6, 9))[:, :5, :7]
    out = mixer(picture.flatten(1, 2), Layout(grid=(5, 7)))
    torch.testing.assert_close(out.unflatten(1, (5, 7)), expected)


def test_the_same_mixer_takes_one_grid_after_another() -> None:
    mixer = build(window=2, shift=1)
    x = torch.randn(1, 24, 8).double()
    first = mixer(x, Layout(grid=(4, 6)))
    other = mixer(x, Layout(grid=(6, 4)))
    assert not torch.allclose(first, other)
    torch.testing.assert_close(mixer(x, Layout(grid=(4, 6))), first)
    torch.testing.assert_close(copy.deepcopy(mixer)(x, Layout(grid=(4, 6))), first)


def test_what_it_lacks_is_refused_by_name() -> None:
    mixer = build(window=2)
    x = torch.randn(1, 24, 8).double()
    with pytest.raises(UserError, match="WindowAttention does not support prefix"):
        mixer(x, Layout(grid=(1, 23), prefix=1))
    with pytest.raises(UserError, match="does not support valid"):
        mixer(x, Layout(grid=(4, 6), valid=torch.ones(1, 24, dtype=torch.bool)))
    with pytest.raises(UserError, match="on their grid"):
        mixer(x, Layout())
    for options, message in (
        ({"window": 0}, "at least one token"),
        ({"window": 4, "shift": 4}, "between 0 and the window"),
        ({"window": (2, 2, 2)}, "one number or"),
        ({"pad": "both"}, "'before' or 'after'"),
    ):
        with pytest.raises(UserError, match=message):
            build(**options)


def test_patches_are_filled_up_with_zeros_where_asked() -> None:
    embedding = PatchEmbedding(8, patch=4, remainder="pad")
    images = torch.randn(2, 3, 9, 8)
    tokens, layout = embedding(images)
    assert layout.grid == (3, 2)
    filled = torch.cat([images, torch.zeros(2, 3, 3, 8)], dim=2)
    torch.testing.assert_close(tokens, embedding(filled)[0])
