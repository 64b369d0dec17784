"""Pictures of a batch that are of one size."""

from collections.abc import Sequence

from torch import Tensor

from headway.core.errors import UserError


def checked_sizes(images: Tensor, sizes: Tensor | Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Returns height and width of each picture.

    Raises:
        UserError: If one does not lie in its batch.
    """
    pairs = [(int(height), int(width)) for height, width in sizes]
    for height, width in pairs:
        if not (0 < height <= images.shape[-2] and 0 < width <= images.shape[-1]):
            raise UserError(
                f"a picture of {height}x{width} does not lie in a batch of "
                f"{images.shape[-2]}x{images.shape[-1]}"
            )
    return pairs


def same_size(
    images: Tensor, sizes: Tensor | Sequence[Sequence[int]] | None
) -> list[tuple[list[int], Tensor]]:
    """Returns the pictures of each size without their padding, and which ones these are.

    Args:
        images: Padded on the right and at the bottom.
        sizes: Height and width of each; all as large as the batch if None.

    Raises:
        UserError: If one does not lie in its batch.
    """
    if sizes is None:
        return [(list(range(len(images))), images)]
    pairs = checked_sizes(images, sizes)
    groups = []
    for size in dict.fromkeys(pairs):
        rows = [place for place, pair in enumerate(pairs) if pair == size]
        group = images if len(rows) == len(pairs) else images[rows]
        groups.append((rows, group[:, :, : size[0], : size[1]]))
    return groups
