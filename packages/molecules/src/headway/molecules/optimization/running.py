"""Running an optimiser until the budget of its oracle is spent, in a folder where it can go on."""

import heapq
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from headway.core.errors import InputError, UserError, one_line
from headway.core.files import atomic_write
from headway.molecules.optimization.base import Optimizer
from headway.molecules.optimization.history import History
from headway.molecules.scoring import Oracle, Scorer

TABLE, STATE = "molecules.csv", "state.pt"
# Steps without a new molecule after which nothing is expected any more.
PATIENCE = 50
# Steps between two states on the disk.
EVERY = 20
# The best whose scores tell whether a run has settled, and the calls before which it has not.
BEST, EARLY = 100, 1000


class Run:
    """An optimiser at work on an objective.

    The folder gets ``molecules.csv`` (everything that was proposed) and ``state.pt``. A run that was broken
    off goes on from its last state, as if it had not been.

    Args:
        optimizer: What proposes.
        scorer: What is optimised.
        budget: Most calls of the scorer.
        folder: Where the run lies; nothing is written if None.
        resume: Whether to go on with what lies there.
        facts: What must be the same when it goes on, such as the method and the task.
        settled: Steps in a row that change none of the best 100 scores, after which the run ends; never if
            None. PMO's code takes 5, after 1,000 calls.

    Raises:
        InputError: If there is nothing to go on with, or it is another run.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        scorer: Scorer,
        budget: int,
        *,
        folder: Path | None = None,
        resume: bool = False,
        facts: dict[str, Any] | None = None,
        settled: int | None = None,
    ) -> None:
        if settled is not None and settled < 1:
            raise UserError(f"settled is {settled}; it must be at least 1 step, or None for never")
        self.optimizer, self.folder, self.facts = optimizer, folder, facts or {}
        self.history: History | None = None
        self.settled, self.still = settled, 0
        self.idle, self._spent_before = 0, 0.0
        known: dict[str, float] = {}
        if folder is not None:
            state = _read_state(folder / STATE, self.facts) if resume else None
            folder.mkdir(parents=True, exist_ok=True)
            rows = None if state is None else state["rows"]
            self.history = History(folder / TABLE, rows, optimizer.proteins)
            known = self.history.known
            if state is not None:
                optimizer.load_state_dict(state["optimizer"])
                self.idle, self._spent_before = state["idle"], state["cpu_seconds"]
                self.still = state.get("still", 0)
        self.oracle = Oracle(scorer, budget, known=known)
        self._clock = time.process_time()
        self._saved_at = optimizer.step

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of all threads since the run began, its earlier parts included."""
        return self._spent_before + time.process_time() - self._clock

    @property
    def done(self) -> bool:
        """Whether the budget is spent, the run has settled, or nothing new came for ``PATIENCE`` steps."""
        still = self.settled is not None and self.still >= self.settled
        return self.oracle.spent or self.idle >= PATIENCE or still

    def go(
        self, *, progress: Callable[[int], None] | None = None, steps: int | None = None
    ) -> None:
        """Runs to the end.

        Args:
            progress: Is told how many calls a step has cost.
            steps: At most so many steps; to the end if None.
        """
        taken, best = 0, self._best()
        while not self.done and taken != steps:
            before = self.oracle.calls
            proposal = self.optimizer.ask()
            answers = self.oracle(proposal.smiles, proposal.proteins)
            if self.history is not None:
                self.history.add(self.optimizer.step, proposal, answers)
            self.optimizer.tell(answers)
            cost = self.oracle.calls - before
            self.idle = 0 if cost else self.idle + 1
            if self.settled is not None:
                known, best = best, self._best()
                same = best == known and self.oracle.calls > EARLY
                self.still = self.still + 1 if same else 0
            taken += 1
            if progress is not None:
                progress(cost)
            if self.optimizer.step - self._saved_at >= EVERY:
                self.save()
        self.save()

    def _best(self) -> list[float]:
        return heapq.nlargest(BEST, self.oracle.scores.values())

    def save(self) -> None:
        """Writes the state, whole or not at all."""
        if self.folder is None or self.history is None:
            return
        state = {
            "facts": self.facts,
            "rows": self.history.rows,
            "idle": self.idle,
            "still": self.still,
            "cpu_seconds": self.cpu_seconds,
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic_write(self.folder / STATE) as file:
            torch.save(state, file)
        self._saved_at = self.optimizer.step

    def close(self) -> None:
        """Closes the table."""
        if self.history is not None:
            self.history.close()


def _read_state(path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(str(path), "is not there: nothing to go on with; begin anew")
    try:
        state = torch.load(path, weights_only=True)
        known = {name: state["facts"].get(name) for name in facts}
    except (
        OSError,
        RuntimeError,
        KeyError,
        EOFError,
        AttributeError,
        pickle.UnpicklingError,
    ) as error:
        raise InputError(str(path), f"cannot be read ({one_line(error)[:120]})") from None
    other = [
        f"{name} {known[name]!r}, not {value!r}"
        for name, value in facts.items()
        if known[name] != value
    ]
    if other:
        raise InputError(str(path), f"is of another run: {'; '.join(other)}")
    return state
