"""Sizes of splits."""

from headway.core.errors import UserError


def part_size(part: int | float, total: int, name: str, items: str = "items") -> int:
    """Returns how many of ``total`` items a split takes.

    Args:
        part: A share in 0..1 (float) or a number of items (int).
        total: All items.
        name: What the split is called, for the message.
        items: What the items are, in the plural.

    Raises:
        UserError: If nothing would be left.
    """
    count = round(part * total) if isinstance(part, float) else part
    if isinstance(part, float) and not 0 <= part < 1:
        raise UserError(f"{name} {part} is outside [0, 1); a number of {items} is an int")
    if not 0 <= count < total:
        raise UserError(f"{name} {part} of {total} {items} leaves none to train on; lower it")
    return count
