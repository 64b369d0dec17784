"""How the text of a recording is looked for."""

from dataclasses import dataclass

from headway.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a user asks of a search; a recogniser refuses what it cannot do.

    Args:
        beam: Readings that are followed at a time; 1 takes the best token every time.
        alternatives: Readings that are returned, the best one among them.
        curves: Whether the answer has what a picture shows over time.

    Raises:
        UserError: If a number is below 1, or more readings are asked for than are followed.
    """

    beam: int = 1
    alternatives: int = 1
    curves: bool = False

    def __post_init__(self) -> None:
        if self.beam < 1 or self.alternatives < 1:
            raise UserError(
                f"beam is {self.beam} and alternatives {self.alternatives}; both are 1 or more"
            )
        if self.alternatives > self.beam:
            raise UserError(
                f"{self.alternatives} alternatives are asked of a beam of {self.beam}; widen the beam"
            )


GREEDY = Search()
