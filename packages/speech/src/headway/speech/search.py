"""How the text of a recording is looked for."""

from dataclasses import dataclass

from headway.core.errors import UserError
from headway.core.language import LanguageModel


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a user asks of a search; a recogniser refuses what it cannot do.

    Args:
        beam: Readings that are followed at a time; 1 takes the best token every time.
        alternatives: Readings that are returned, the best one among them.
        curves: Whether the answer has what a picture shows over time.
        language_model: Says which texts are likely, besides; it knows the recogniser's tokens by name.
        language_weight: Of its log-probabilities.
        hot_words: Words that are expected, such as names.
        hot_bonus: Log-probability that each token of such a word gets.

    Raises:
        UserError: If a number is below 1, or more readings are asked for than are followed.
    """

    beam: int = 1
    alternatives: int = 1
    curves: bool = False
    language_model: LanguageModel | None = None
    language_weight: float = 0.3
    hot_words: tuple[str, ...] = ()
    hot_bonus: float = 1.5

    def __post_init__(self) -> None:
        if self.beam < 1 or self.alternatives < 1:
            raise UserError(
                f"beam is {self.beam} and alternatives {self.alternatives}; both are 1 or more"
            )
        if self.alternatives > self.beam:
            raise UserError(
                f"{self.alternatives} alternatives are asked of a beam of {self.beam}; widen the beam"
            )
        if self.guided and self.beam < 2:
            raise UserError(
                "a language model and hot words need a beam of 2 or more; widen the beam"
            )

    @property
    def guided(self) -> bool:
        """Whether something besides the recogniser says which texts are likely."""
        return self.language_model is not None or bool(self.hot_words)


GREEDY = Search()
