"""Properties of molecules, read by a head on top of a graph transformer."""

from collections.abc import Mapping

from torch import Tensor

from headway.core.heads import ClassificationHead, TokenPooling
from headway.molecules.models.graphormer import Graphormer
from headway.molecules.models.property_predictor import Predictor


class GraphPredictor(Predictor):
    """Reads the properties of a molecule from the token of its graph.

    Args:
        backbone: The graph transformer.
        properties: As of every ``PropertyPredictor``.
        dropout: Probability of dropping a channel of the graph's token in training.

    Shape:
        As of ``graphs.Graphs``. Output: (B, properties), logits of classes and numbers in units of their
        deviation.

    Raises:
        UserError: If a kind is not known.

    Source:
        Ying et al. 2021, https://arxiv.org/abs/2106.05234, section 3.2.
    """

    def __init__(
        self,
        *,
        backbone: Graphormer,
        properties: Mapping[str, str] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = ClassificationHead(backbone.width, 0, pooling=TokenPooling, dropout=dropout)
        self._take(properties or {})

    def forward(
        self,
        atoms: Tensor,
        degrees: Tensor,
        distances: Tensor,
        bonds: Tensor,
        hops: Tensor,
        lengths: Tensor,
    ) -> Tensor:
        """Returns logits of classes and numbers in units of their deviation."""
        return self.head(self.backbone(atoms, degrees, distances, bonds, hops, lengths))

    def answer(self, *inputs: Tensor) -> Tensor:
        """Returns what ``forward`` does."""
        return self(*inputs)
