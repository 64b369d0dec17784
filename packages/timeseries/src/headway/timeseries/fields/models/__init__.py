"""Models of fields; they need torch alone."""

from headway.timeseries.fields.models.factformer import FactFormer
from headway.timeseries.fields.models.gnot import GNOT
from headway.timeseries.fields.models.pde_transformer import PDETransformer
from headway.timeseries.fields.models.pde_transformer_sc import PDETransformerSC
from headway.timeseries.fields.models.simulator import Simulator
from headway.timeseries.fields.models.swin_lstm import SwinLSTM

__all__ = [
    "GNOT",
    "FactFormer",
    "PDETransformer",
    "PDETransformerSC",
    "Simulator",
    "SwinLSTM",
    "list_models",
]


def list_models() -> list[str]:
    """Returns the names that ``headway ls models`` shows."""
    return [name for name in __all__ if name[0].isupper() and name != "Simulator"]
