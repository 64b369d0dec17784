import pytest
import torch
from torch.utils import _pytree

from headway.core.errors import UserError
from headway.core.layout import Layout


def test_two_kinds_of_padding_are_refused() -> None:
    with pytest.raises(UserError, match="lengths and valid"):
        Layout(lengths=torch.tensor([2]), valid=torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(UserError, match="max_length"):
        Layout(offsets=torch.tensor([0, 2]))


def test_places_of_a_grid_stand_behind_the_prefix() -> None:
    places = Layout(grid=(2, 3), prefix=2).token_positions(8)
    expected = [[0, 0], [0, 0], [0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert places[0].tolist() == expected


def test_left_padded_tokens_are_counted_from_the_first_valid_one() -> None:
    valid = torch.tensor([[False, False, True, True], [True, True, True, True]])
    assert Layout(valid=valid).token_positions(4)[..., 0].tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]


def test_packed_tokens_are_counted_anew_in_each_item() -> None:
    layout = Layout(offsets=torch.tensor([0, 3, 5]), max_length=3)
    assert layout.token_positions(5)[0, :, 0].tolist() == [0, 1, 2, 0, 1]


def test_a_wrong_number_of_tokens_is_named() -> None:
    with pytest.raises(UserError, match="got 5 tokens.*prefix 1 and grid"):
        Layout(grid=(2, 3), prefix=1).check(torch.zeros(1, 5, 2))


def test_a_layout_is_a_pytree_whose_leaves_are_its_tensors() -> None:
    layout = Layout(prefix=1, lengths=torch.tensor([2, 3]))
    leaves, spec = _pytree.tree_flatten(layout)
    assert sum(isinstance(leaf, torch.Tensor) for leaf in leaves) == 1
    again = _pytree.tree_unflatten(leaves, spec)
    assert again.prefix == 1
    assert torch.equal(again.lengths, layout.lengths)


def test_a_layout_passes_through_compile_and_export() -> None:
    def masked(x: torch.Tensor, layout: Layout) -> torch.Tensor:
        mask = layout.token_mask(x.shape[1])
        assert mask is not None
        return x * mask[..., None]

    layout, x = Layout(lengths=torch.tensor([2, 3])), torch.ones(2, 4, 1)
    compiled = torch.compile(masked, backend="aot_eager", fullgraph=True)
    assert compiled(x, layout).sum() == 5
