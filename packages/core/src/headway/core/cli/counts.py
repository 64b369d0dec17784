"""What became of the inputs of a verb, and what it does with one that cannot be used."""

import argparse
import sys
from dataclasses import dataclass, field
from typing import Any, Literal

from headway.core.errors import InputError, UserError

Policy = Literal["raise", "skip", "keep"]
MOST = 10**8
"""Of pictures, episodes, molecules, steps ... at a time or in all."""


@dataclass
class Counts:
    """What became of the inputs.

    Args:
        items: What the inputs are, in the plural, such as ``"pictures"``.
        done: Inputs that were read and answered.
        ignored: Files of folders that are no such input by their extension.
        invalid: Inputs that could not be used.
    """

    items: str
    done: int = 0
    ignored: int = 0
    invalid: list[InputError] = field(default_factory=list)

    def refuse(self, error: InputError, policy: Policy) -> None:
        """Notes an input that cannot be used.

        Raises:
            InputError: If the policy is ``raise``.
        """
        if policy == "raise":
            remedy = "remove it or use --on-invalid skip or keep"
            raise InputError(error.name, f"{error.reason}; {remedy}")
        self.invalid.append(error)

    def as_dict(self) -> dict[str, Any]:
        """Returns what is left out, for JSON."""
        invalid = [{"name": error.name, "reason": error.reason} for error in self.invalid]
        return {"ignored": self.ignored, "invalid": invalid}

    def report(self, what: str) -> None:
        """Says on stderr what was done and what was left out.

        Args:
            what: Such as ``"predictions written to p.csv"``, behind their number.
        """
        for error in self.invalid:
            print(f"not read: {error}", file=sys.stderr)
        parts = [f"{self.done} {what}", f"{len(self.invalid)} {self.items} not read"]
        if self.ignored:
            parts.append(f"{self.ignored} other files ignored")
        print(", ".join(parts), file=sys.stderr)


def check_positive(args: argparse.Namespace, *names: str) -> None:
    """Raises if one of these options is below 1, or larger than anything that fits."""
    for name in names:
        value = getattr(args, name)
        if not 1 <= value <= MOST:
            beyond = "below 1" if value < 1 else f"above {MOST:,}"
            raise UserError(f"--{name.replace('_', '-')} {value} is {beyond}")


def check_seed(seed: int) -> None:
    """Raises if a seed is none that every generator takes."""
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed {seed} is no whole number from 0 to {2**32 - 1:,}")
