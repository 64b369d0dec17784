"""Problems for training, validation and test, none of which is another one turned or mirrored."""

from collections.abc import Callable, Sequence

import numpy as np

from headway.core.errors import UserError
from headway.rl.planning import Problem, Problems

# Problems in a row that are not new before it is said that there are no more.
PATIENCE = 2000


def draw_parts(
    counts: Sequence[int],
    problems: Problems,
    *,
    seed: int,
    fits: Callable[[Problem], bool] | None = None,
) -> list[list[Problem]]:
    """Draws problems and deals them out; no two of all have the same signature.

    Args:
        counts: How many in each part; the first parts do not depend on how large the later ones are.
        problems: Draws them.
        seed: Of what is drawn.
        fits: Which problems are taken; all if None.

    Raises:
        UserError: If there are not as many.
    """
    random = np.random.default_rng(seed)
    seen: set[bytes] = set()
    parts: list[list[Problem]] = []
    for count in counts:
        part: list[Problem] = []
        missed = 0
        while len(part) < count:
            problem = problems.draw(random)
            mark = problems.signature(problem)
            if mark in seen or (fits is not None and not fits(problem)):
                missed += 1
                if missed > PATIENCE:
                    many = problems.problem.name[1]
                    raise UserError(
                        f"there are hardly more than {len(seen)} different {many} of this kind with "
                        f"{problems.size} cells along a side, {sum(counts)} are asked for; ask for fewer or "
                        "larger ones"
                    )
                continue
            missed = 0
            seen.add(mark)
            part.append(problem)
        parts.append(part)
    return parts
