"""Properties of molecules, read by a head on top of a model of graphs."""

from collections.abc import Mapping

from torch import Tensor

from headway.core.heads import ClassificationHead, TokenPooling
from headway.molecules.models.graph_backbone import GraphBackbone
from headway.molecules.models.property_predictor import Predictor


class GraphPredictor(Predictor):
    """Reads the properties of a molecule from the vector of its graph.

    Args:
        backbone: The model of graphs: a ``Graphormer`` or ``GSM``.
        properties: As of every ``PropertyPredictor``.
        dropout: Probability of dropping a channel of the graph's vector in training.

    Shape:
        As of the ``backbone``. Output: (B, properties), logits of classes and numbers in units of their
        deviation.

    Raises:
        UserError: If a kind is not known.

    Source:
        Ying et al. 2021, https://arxiv.org/abs/2106.05234, section 3.2.
    """

    def __init__(
        self,
        *,
        backbone: GraphBackbone,
        properties: Mapping[str, str] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = ClassificationHead(backbone.width, 0, pooling=TokenPooling, dropout=dropout)
        self._take(properties or {})

    def forward(self, *graphs: Tensor) -> Tensor:
        """Returns logits of classes and numbers in units of their deviation."""
        return self.head(self.backbone(*graphs))

    def answer(self, *inputs: Tensor) -> Tensor:
        """Returns what ``forward`` does."""
        return self(*inputs)
