"""Generation that leans towards its conditions: what they change about the next token is made larger."""

from typing import Any

from torch import Tensor

from headway.core.cache import Cache, CacheGroup
from headway.core.generation.generate import CausalModel


class Guided:
    """A model of sequences whose logits go from those without conditions towards those with them, and beyond.

    Both are asked at each step, so generation takes about twice the time.

    Args:
        model: It has ``read``, and was trained with its conditions left out now and then.
        scale: 1 is the model as it is, 0 ignores the conditions, more than 1 exaggerates them.

    Source:
        Ho and Salimans 2022, https://arxiv.org/abs/2207.12598, eq. 6; for language: Sanchez et al. 2023,
        https://arxiv.org/abs/2306.17806, eq. 7.
    """

    def __init__(self, model: Any, scale: float) -> None:
        self.model: Any = model
        self.scale = scale

    def init_cache(self, batch: int, max_length: int) -> CacheGroup:
        """Returns two empty caches: of what was told the conditions, and of what was not."""
        model: CausalModel = self.model
        return CacheGroup(
            {name: model.init_cache(batch, max_length) for name in ("told", "untold")}
        )

    def read(
        self, tokens: Tensor, *, lengths: Tensor | None, cache: Cache, **conditions: Any
    ) -> None:
        """Takes the beginning of rows into both caches, the conditions into one."""
        assert isinstance(cache, CacheGroup)
        self.model.read(tokens, lengths=lengths, cache=cache["told"], **conditions)
        self.model.read(tokens, lengths=lengths, cache=cache["untold"])

    def __call__(self, tokens: Tensor, *, cache: Cache, **conditions: Any) -> Tensor:
        """Returns the logits of what follows each token."""
        assert isinstance(cache, CacheGroup)
        told = self.model(tokens, cache=cache["told"], **conditions).float().log_softmax(dim=-1)
        untold = self.model(tokens, cache=cache["untold"]).float().log_softmax(dim=-1)
        return untold + self.scale * (told - untold)
