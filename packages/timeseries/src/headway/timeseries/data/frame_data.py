"""A panel from a frame in memory."""

import pandas as pd

from headway.core.training import Passed
from headway.timeseries.data.panel import Panel, panel_of
from headway.timeseries.data.panel_data import PanelData, PanelOptions


class FrameData(PanelData):
    """The series of a long frame.

    Args:
        frame: One row for each series and moment.
        **panel: As of ``PanelData``, without a path.
    """

    def __init__(self, frame: pd.DataFrame, **panel: Passed[PanelOptions]) -> None:
        super().__init__(path="frame", **panel)
        self.frame = frame

    def read(self) -> Panel:
        """Returns the series of the frame."""
        return panel_of(
            self.frame, "frame", covariates=self.columns, invalid=self.invalid, freq=self.freq
        )
