"""Which test windows a score is taken over."""

from headway.core.errors import UserError

FULL = "full"
_LEGACY = "legacy-drop-last:"


def counted_windows(protocol: str, windows: int) -> int:
    """Returns how many of the test windows count, from the first one on.

    Many published tables were made with a loader that left out the last incomplete batch of the test part,
    so that their numbers depend on the batch size. ``legacy-drop-last:32`` repeats this for batches of 32,
    to compare with such a table; ``full`` counts every window.

    Args:
        protocol: ``full`` or ``legacy-drop-last:BATCH``.
        windows: Windows of the test part.

    Raises:
        UserError: If the protocol is unknown, or leaves no window.
    """
    if protocol == FULL:
        return windows
    batch = protocol.removeprefix(_LEGACY)
    if not protocol.startswith(_LEGACY) or not batch.isdigit() or int(batch) < 1:
        raise UserError(
            f"protocol {protocol!r} is unknown; use {FULL!r}, or '{_LEGACY}32' for tables made with batches "
            "of 32"
        )
    kept = windows // int(batch) * int(batch)
    if not kept:
        raise UserError(
            f"protocol {protocol} leaves none of the {windows} test windows; use a smaller batch or {FULL!r}"
        )
    return kept
