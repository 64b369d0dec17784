"""What operators need to be mapped by `torch.vmap`."""

from torch import Tensor


def folded(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """Makes a mapped axis part of the first axis; a tensor that is not mapped is repeated.

    Args:
        tensor: With the axis of the items first, the mapped one not counted.
        dim: The mapped axis, or None.
        size: Its size.

    Shape:
        Output: (size * B, ...).
    """
    moved = tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
    return moved.flatten(0, 1)
