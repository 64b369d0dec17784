"""What happens to bad items: the first one stops the work, or all are left out and counted."""

import logging
from typing import Literal

from headway.core.errors import InputError, UserError

OnInvalid = Literal["raise", "skip"]
log = logging.getLogger(__name__)


class InvalidItems:
    """The bad items of one data set.

    Args:
        policy: ``raise`` stops at the first bad item, ``skip`` leaves bad items out and counts them.
        items: What the items are, in the plural.

    Attributes:
        errors: What was skipped, in the order of discovery.
    """

    def __init__(self, policy: OnInvalid, items: str = "files") -> None:
        if policy not in ("raise", "skip"):
            raise UserError(f"on_invalid is 'raise' or 'skip', got {policy!r}")
        self.policy: OnInvalid = policy
        self.items = items
        self.errors: list[InputError] = []

    def add(self, error: InputError) -> None:
        """Raises or remembers, as the policy says."""
        if self.policy == "raise":
            raise InputError(error.name, f"{error.reason}; remove it or set on_invalid to skip")
        self.errors.append(error)

    def report(self, total: int) -> str | None:
        """Returns one line that counts and names what was skipped, or None if nothing was."""
        if not self.errors:
            return None
        shown = "; ".join(str(error) for error in self.errors[:3])
        more = f"; and {len(self.errors) - 3} more" if len(self.errors) > 3 else ""
        return f"skipped {len(self.errors)} of {total} {self.items}: {shown}{more}"

    def log(self, total: int) -> None:
        """Writes the report to the log."""
        line = self.report(total)
        if line:
            log.warning(line)
