"""Which conditions a text is told in training: any of them, in any order."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.language.conditions import ABSENT


class StochasticContext:
    """Draws for each text which of its properties it is told, in which order, and a piece of it.

    How many properties are told is drawn first, evenly from none to all, then which; so single conditions
    are learned as well as all together, and going without, too.

    Args:
        fragment: Share of the texts that are told a piece of themselves.
        told: Share of the texts that are told properties at all.

    Raises:
        UserError: If a share is not between 0 and 1.

    Source:
        Dobberstein et al. 2024, https://doi.org/10.1186/s13321-024-00863-8 (stochastic context learning, a
        random piece of the SMILES as fragment); how often each is drawn is ours.
    """

    def __init__(self, *, fragment: float = 0.5, told: float = 1.0) -> None:
        for name, share in (("fragment", fragment), ("told", told)):
            if not 0 <= share <= 1:
                raise UserError(f"{name} is {share}; a share lies between 0 and 1")
        self.fragment, self.told = fragment, told

    def __call__(
        self,
        values: Tensor,
        tokens: Tensor,
        lengths: Tensor,
        *,
        max_fragment: int,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Returns ``values``, ``fragments`` and ``ranks`` as a ``ConditionalLanguageModel`` takes them.

        Args:
            values: All properties, nan where one is unknown.
            tokens: The texts, with start and end.
            lengths: Real tokens of each.
            max_fragment: Most tokens of a piece.
            generator: What is drawn from; the global one if None.

        Shape:
            values: (B, P). tokens: (B, T) int64. lengths: (B,) int64.
        """
        rows, count = values.shape

        def drawn(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator).to(values.device)

        kept = (drawn(rows) * (count + 1)).long() * (drawn(rows) < self.told)
        chosen = drawn(rows, count).argsort(dim=1).argsort(dim=1) < kept[:, None]
        inner = (lengths - 2).clamp_min(0)
        most = inner.clamp_max(max_fragment)
        size = ((drawn(rows) * most).long() + 1).minimum(most) * (drawn(rows) < self.fragment)
        start = 1 + (drawn(rows) * (inner - size + 1)).long()
        places = torch.arange(min(max_fragment, tokens.shape[1]), device=tokens.device)
        index = (start[:, None] + places).clamp_max(tokens.shape[1] - 1)
        fragments = tokens.gather(1, index).masked_fill(places >= size[:, None], ABSENT)
        return {
            "values": values.masked_fill(~chosen, torch.nan),
            "fragments": fragments,
            "ranks": drawn(rows, count + 1).argsort(dim=1),
        }
