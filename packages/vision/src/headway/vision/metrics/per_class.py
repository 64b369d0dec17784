"""Scores of each class, read from a confusion matrix."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from headway.core.files import atomic_write, write_csv

COLUMNS: tuple[str, ...] = ("class", "pictures", "recall", "precision", "f1", "most_confused_with")


def per_class(matrix: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Returns one row of scores per class.

    A class without pictures has a recall of 0, one that was never predicted a precision of 0.

    Args:
        matrix: Number of pictures of each true class (row) and predicted class (column).
        classes: Names of the classes.

    Shape:
        matrix: (K, K).
    """
    counts = matrix.double()
    correct, true, predicted = counts.diag(), counts.sum(1), counts.sum(0)
    recall = correct / true.clamp_min(1)
    precision = correct / predicted.clamp_min(1)
    f1 = 2 * correct / (true + predicted).clamp_min(1)
    wrong = counts - counts.diag().diag()
    rows = []
    for k, name in enumerate(classes):
        worst = int(wrong[k].argmax())
        values = (
            name,
            int(true[k]),
            round(recall[k].item(), 6),
            round(precision[k].item(), 6),
            round(f1[k].item(), 6),
            classes[worst] if wrong[k, worst] > 0 else "",
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def write_per_class(path: Path, matrix: Tensor, classes: Sequence[str]) -> None:
    """Writes the rows of ``per_class`` as CSV."""
    with atomic_write(path, "w") as file:
        write_csv(file, COLUMNS, per_class(matrix, classes))
