"""What a maze transformer is taught about the path, and what it may look at for that."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.module import Module
from headway.core.systems import system

# Logits (B, T, V) of tokens (B, T), some of which (B, T) nobody but themselves may look at.
Logits = Callable[[Tensor, Tensor | None], Tensor]


class PathObjective(Module):
    """A way to learn paths; ``causal`` says whether a token sees itself and those before alone."""

    causal: ClassVar[bool]

    def __init__(self) -> None:
        # An argument-free constructor of its own: its record is empty, and read back as that.
        super().__init__()

    @abstractmethod
    def loss(self, logits: Logits, tokens: Tensor, path: Tensor, *, mask: int) -> Tensor:
        """Returns the mean loss of the tokens that are to be said.

        Args:
            logits: The model.
            tokens: Right-padded, (B, T).
            path: True where a token belongs to the path, its end included, (B, T).
            mask: The token that stands for one that is hidden.
        """


class NextToken(PathObjective):
    """Each token of the path follows from those before."""

    causal: ClassVar[bool] = True

    def loss(self, logits: Logits, tokens: Tensor, path: Tensor, *, mask: int) -> Tensor:
        """Returns the mean loss of the tokens of the path."""
        said = logits(tokens[:, :-1], None)
        wanted = path[:, 1:]
        return F.cross_entropy(said[wanted].float(), tokens[:, 1:][wanted])


@system(
    id=119,
    name="MLM-U",
    paper="https://arxiv.org/abs/2412.05117",
    claim="a hidden token of a path is said from what is not hidden, on either side of it; next tokens "
    "alone do not teach that",
    test="packages/rl/tests/models/test_maze_transformer.py",
)
class UniformMasking(PathObjective):
    """Tokens of the path are hidden at a rate that is drawn anew for each path, evenly between 0 and 1.

    A hidden token is said from those that are not, on either side; hidden ones do not see each other, so
    what is known of one does not depend on how many others are hidden.

    Source:
        Nolte et al. 2024, https://arxiv.org/abs/2412.05117, section 3 (their code: recipe/models/past.py,
        ``absorbing``).
    """

    causal: ClassVar[bool] = False

    def hidden(self, path: Tensor) -> Tensor:
        """Draws what is hidden, (B, T); at least one token of each path."""
        rates = torch.rand(len(path), 1, device=path.device)
        chances = torch.rand(path.shape, device=path.device).masked_fill(~path, 2.0)
        return (chances < rates) | (chances == chances.amin(dim=1, keepdim=True)) & path

    def loss(self, logits: Logits, tokens: Tensor, path: Tensor, *, mask: int) -> Tensor:
        """Returns the mean loss of the hidden tokens."""
        hidden = self.hidden(path)
        said = logits(tokens.masked_fill(hidden, mask), hidden)
        return F.cross_entropy(said[hidden].float(), tokens[hidden])
