"""What all models of graphs have in common."""

from typing import ClassVar

from headway.core.module import Module


class GraphBackbone(Module):
    """Reads graphs; ``forward`` takes what the batches of its form hold, in order.

    Attributes:
        width: Channels of what it says.
        graphs: The form in which it reads them, of ``headway.molecules.graphs.FORMS``.

    Shape:
        Output: (B, N + 1, width), a vector of the graph in front of those of its atoms.
    """

    graphs: ClassVar[str]
    width: int
