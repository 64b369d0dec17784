"""Average precision of detectors as COCO computes it, of all objects and of each class."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from headway.core.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What COCO's evaluation gives that is logged.
SCORES: tuple[str, ...] = (
    "map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_100",
)  # fmt: skip
COLUMNS: tuple[str, ...] = ("class", "objects", "map", "map_50", "map_75", "mar_100")


class AveragePrecision(MeanAveragePrecision):
    """COCO's evaluation by pycocotools; ``compute`` gives what ``MeanAveragePrecision`` does.

    Args:
        masks: Whether masks are compared, not boxes.
    """

    def __init__(self, *, masks: bool = False) -> None:
        kind = "segm" if masks else "bbox"
        super().__init__(iou_type=kind, backend="pycocotools", extended_summary=True)
        # COCO's average is over its own list of 1, 10 and 100 objects; more of them are no mistake.
        self.warn_on_many_detections = False  # pyright: ignore[reportArgumentType]

    def objects(self) -> list[int]:
        """Returns the classes of the objects that were to be found, crowds aside, one entry for each."""
        return [
            label
            for labels, crowds in zip(self.groundtruth_labels, self.groundtruth_crowds, strict=True)
            for label in labels[crowds == 0].tolist()  # pyright: ignore[reportArgumentType, reportCallIssue]
        ]


def class_scores(
    values: dict[str, Any], objects: Sequence[int], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Returns one row of scores per class; those of a class without objects are None.

    Args:
        values: What ``AveragePrecision`` computed.
        objects: The class of each object that was to be found.
        classes: Names of the classes.
    """
    # Of thresholds, recalls, classes, areas (the first is all), and objects at most (the last is 100).
    precision, recall = (values[name][..., 0, -1] for name in ("precision", "recall"))
    places = {int(label): place for place, label in enumerate(values["classes"].reshape(-1))}
    rows, numbers = [], Counter(objects)
    for label, name in enumerate(classes):
        number = numbers[label]
        of_class = [None] * (len(COLUMNS) - 2)
        if number:
            at = precision[..., places[label]]
            # COCO's thresholds are .5, .55 ... .95.
            parts = (at, at[0], at[5], recall[..., places[label]])
            of_class = [round(_mean(part), 6) for part in parts]
        rows.append(dict(zip(COLUMNS, (name, number, *of_class), strict=True)))
    return rows


def class_figure(rows: Sequence[dict[str, Any]], title: str = "") -> "Figure":
    """Draws average precision of each class, at an overlap of one half and over all overlaps."""
    shown = [row for row in rows if row["objects"]]
    figure = new_figure(7, 1.2 + 0.35 * len(shown))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    names = [f"{row['class']} ({row['objects']})" for row in shown]
    for column, shade in (("map_50", 0.4), ("map", 1.0)):
        values = [row[column] for row in shown]
        axes.barh(names, values, color="tab:blue", alpha=shade, label=column)
    for place, row in enumerate(shown):
        axes.text(row["map_50"] + 0.01, place, f"{row['map_50']:.3f}", va="center", size=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.1), xlabel="average precision", title=title)
    figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    return figure


def _mean(values: Tensor) -> float:
    # -1 stands where COCO's evaluation has nothing to say.
    return values[values > -1].mean().item()
