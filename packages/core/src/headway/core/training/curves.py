"""The picture of a run: its loss and its validation metrics over the epochs."""

from pathlib import Path

from headway.core.files import save_figure
from headway.core.training.metrics_file import read_metrics

_NOT_A_METRIC = {"epoch", "step", "cpu_minutes", "lr"}


def draw_curves(metrics: Path, picture: Path) -> None:
    """Draws losses on the left and the other metrics on the right.

    Args:
        metrics: A metrics.csv.
        picture: The PNG to write.
    """
    columns = read_metrics(metrics)
    names = [name for name in columns if name not in _NOT_A_METRIC]
    losses = [name for name in names if "loss" in name]
    others = [name for name in names if name not in losses]
    panels = [panel for panel in (losses, others) if panel]
    if not panels:
        return
    # A figure of its own: pyplot would choose a window system and keep a global list.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(panels), 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    epochs = [(epoch or 0) + 1 for epoch in columns["epoch"]]
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        for name in panel:
            points = [(e, v) for e, v in zip(epochs, columns[name], strict=True) if v is not None]
            axes.plot([e for e, _ in points], [v for _, v in points], marker=".", label=name)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    save_figure(figure, picture)
