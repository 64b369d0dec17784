"""What became of the inputs of a verb, and what it does with one that cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from headway.core.errors import InputError
from headway.core.training.invalid import InvalidItems

Policy = Literal["raise", "skip", "keep"]


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

    @contextmanager
    def parts(self, policy: Policy) -> Iterator[InvalidItems]:
        """Gives what the reader of a file notes its bad parts in; afterwards they are refused.

        Args:
            policy: That of ``--on-invalid``.
        """
        invalid = InvalidItems("raise" if policy == "raise" else "skip", self.items)
        yield invalid
        for error in invalid.errors:
            self.refuse(error, policy)

    def as_dict(self) -> dict[str, Any]:
        """Returns what is left out, for JSON."""
        invalid = [{"name": error.name, "reason": error.reason} for error in self.invalid]
        return {"ignored": self.ignored, "invalid": invalid}

    def lines(self, what: str) -> str:
        """Returns what was done and what was left out, a line for each input that was.

        Args:
            what: Such as ``"predictions written to p.csv"``, behind their number.
        """
        parts = [f"{self.done} {what}", f"{len(self.invalid)} {self.items} not read"]
        if self.ignored:
            parts.append(f"{self.ignored} other files ignored")
        return "\n".join([*(f"not read: {error}" for error in self.invalid), ", ".join(parts)])
