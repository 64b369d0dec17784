"""What all models of graphs have in common."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from headway.core.module import Module


class GraphBackbone(Module):
    """Reads graphs.

    Attributes:
        width: Channels of what it says.
        graphs: The form in which it reads them, of ``headway.molecules.graphs.FORMS``.

    Shape:
        Output: (B, N + 1, width), a vector of the graph in front of those of its atoms.
    """

    graphs: ClassVar[str]
    width: int

    @abstractmethod
    def forward(self, *graphs: Tensor) -> Tensor:
        """Returns a vector of the graph and one of each atom."""
