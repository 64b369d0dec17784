"""A scorer that is asked about each molecule once, and only so often."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from headway.core.errors import UserError
from headway.molecules.chemistry import canonical
from headway.molecules.scoring.base import Scorer


class Answer(NamedTuple):
    """What the oracle says of one SMILES.

    Args:
        canonical: Its canonical SMILES; None if it is no molecule.
        score: From 0 to 1; 0 for what is no molecule, and for new molecules when the budget is spent.
        call: At which call the molecule was scored, from 1; None if it was not.
        new: Whether that was now.
    """

    canonical: str | None
    score: float
    call: int | None
    new: bool


class Oracle:
    """Scores molecules and counts the calls as PMO does: different molecules, each once.

    Repeated molecules and what is no molecule cost nothing; the scorer sees only what is new, all of a batch
    together.

    Args:
        scorer: What is asked.
        budget: Most calls.
        known: Scores of an earlier part of the run by canonical SMILES, in the order of the calls.

    Raises:
        UserError: If the budget is below 1.

    Source:
        Gao et al. 2022, https://arxiv.org/abs/2206.12411 (PMO), section 3.
    """

    def __init__(
        self, scorer: Scorer, budget: int, *, known: Mapping[str, float] | None = None
    ) -> None:
        if budget < 1:
            raise UserError(f"budget is {budget}; it must be at least 1")
        self.scorer, self.budget = scorer, budget
        self.scores = dict(known or {})
        self._calls = {text: call for call, text in enumerate(self.scores, 1)}

    @property
    def calls(self) -> int:
        """How many calls have been made."""
        return len(self.scores)

    @property
    def spent(self) -> bool:
        """Whether no call is left."""
        return self.calls >= self.budget

    def __call__(self, smiles: Sequence[str]) -> list[Answer]:
        """Returns one answer for each SMILES."""
        texts = [canonical(text) for text in smiles]
        wanted = list(dict.fromkeys(x for x in texts if x is not None and x not in self.scores))
        new = wanted[: self.budget - self.calls]
        for text, score in zip(new, self.scorer.score(new).values if new else (), strict=True):
            self.scores[text] = score
            self._calls[text] = self.calls
        fresh = set(new)
        answers = []
        for text in texts:
            if text is None or text not in self.scores:
                answers.append(Answer(text, 0.0, None, False))
                continue
            answers.append(Answer(text, self.scores[text], self._calls[text], text in fresh))
            fresh.discard(text)
        return answers
