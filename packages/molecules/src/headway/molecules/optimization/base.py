"""What every optimiser of molecules can do."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn

from headway.molecules.optimization.targets import Targets
from headway.molecules.scoring import Answer


class Proposal(NamedTuple):
    """Molecules to be scored.

    Args:
        smiles: As they were written.
        nll: Negative log-likelihood of each under what proposed it; None where nothing has one.
        proteins: The sequence that each was written for; None where there is none.
    """

    smiles: list[str]
    nll: list[float] | None = None
    proteins: list[str] | None = None


class Optimizer(ABC):
    """Proposes molecules and learns from their scores, step by step.

    What is drawn in a step follows from the seed and the number of the step, and the rest of its state is
    data, so that a run that is broken off goes on as if it had not been.

    Args:
        seed: Of all that is drawn.

    Attributes:
        targets: The proteins that it writes for; None where it is told none.
    """

    targets: Targets | None = None

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed
        self.step = 0

    @abstractmethod
    def ask(self) -> Proposal:
        """Returns the molecules of a step."""

    @abstractmethod
    def learn(self, answers: Sequence[Answer]) -> None:
        """Learns from what the oracle says of the molecules of ``ask``, in their order."""

    @property
    def proteins(self) -> dict[str, str] | None:
        """Sequences by name of the proteins that it writes for; None where it is told none."""
        targets = self.targets
        return None if targets is None else dict(zip(targets.names, targets.sequences, strict=True))

    @property
    def tuned_model(self) -> nn.Module | None:
        """The model that has learned to write; None where there is none."""
        return None

    def tell(self, answers: Sequence[Answer]) -> None:
        """Learns from the answers to ``ask``, and goes on to the next step."""
        self.learn(answers)
        self.step += 1

    def state_dict(self) -> dict[str, Any]:
        """Returns what is needed to go on: numbers, texts, tensors and containers of them."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state."""
        self.step = state["step"]
