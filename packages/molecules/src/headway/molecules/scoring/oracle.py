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
    together. A molecule for another protein is another one: its key is ``SMILES SEQUENCE`` (``pair_key``).

    Args:
        scorer: What is asked.
        budget: Most calls.
        known: Scores of an earlier part of the run by canonical SMILES, or keys of pairs, in the order of the
            calls.

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

    def __call__(
        self, smiles: Sequence[str], proteins: Sequence[str] | None = None
    ) -> list[Answer]:
        """Returns one answer for each SMILES.

        Args:
            smiles: The molecules.
            proteins: The sequence that each was written for; None where there is none.
        """
        texts = [canonical(text) for text in smiles]
        about = [None] * len(texts) if proteins is None else proteins
        keys = [
            None if text is None else pair_key(text, protein)
            for text, protein in zip(texts, about, strict=True)
        ]
        wanted = list(dict.fromkeys(key for key in keys if key is not None))
        new = [key for key in wanted if key not in self.scores][: self.budget - self.calls]
        for key, score in zip(new, self._asked(new, proteins is not None), strict=True):
            self.scores[key] = score
            self._calls[key] = self.calls
        fresh = set(new)
        answers = []
        for text, key in zip(texts, keys, strict=True):
            if key is None or key not in self.scores:
                answers.append(Answer(text, 0.0, None, False))
                continue
            answers.append(Answer(text, self.scores[key], self._calls[key], key in fresh))
            fresh.discard(key)
        return answers

    def _asked(self, keys: Sequence[str], paired: bool) -> Sequence[float]:
        """Returns what the scorer says of what is new."""
        if not keys:
            return ()
        pairs = [parted(key) for key in keys]
        told = [protein or "" for _, protein in pairs] if paired else None
        return self.scorer.score([text for text, _ in pairs], told).values


def pair_key(smiles: str, protein: str | None) -> str:
    """Returns the name of a molecule for a protein: its SMILES, and behind a space the sequence if any."""
    return smiles if protein is None else f"{smiles} {protein}"


def parted(key: str) -> tuple[str, str | None]:
    """Returns the molecule of a key, and its protein; None if it has none."""
    text, _, protein = key.partition(" ")
    return text, protein or None
