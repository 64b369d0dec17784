"""Draws which parts of a picture an answer rests on."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headway.core.cli.job import Job
from headway.core.cli.nearest import nearest
from headway.core.cli.options import check_positive
from headway.core.errors import UserError
from headway.core.files import atomic_write, save_figure, write_csv
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.data.reading import ImageError
from headway.vision.figures import explanation_figure, prediction_grid
from headway.vision.relevance import patch_relevance
from headway.vision.verbs.inputs import (
    Item,
    add_input_options,
    find_items,
    free_name,
    read_batches,
    stack,
)
from headway.vision.verbs.loading import Classifier, load_classifier

# More pictures than this are too small to see on one sheet, and take minutes to draw.
OVERVIEW = 64


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway explain`` for pictures."""
    # Every layer keeps its attention and the gradient of it.
    add_input_options(parser, batch_size=8)
    parser.add_argument(
        "--method",
        choices=("relevance", "rollout"),
        default="relevance",
        help="relevance: attention weighted by the gradient of the answer (default); "
        "rollout: attention alone, the same for every answer",
    )
    parser.add_argument(
        "--target",
        metavar="CLASS",
        help="explain this class, by name or number, instead of the predicted one",
    )
    parser.add_argument("--columns", type=int, default=8, help="pictures in a row of overview.png")


def run(args: argparse.Namespace) -> int:
    """Writes a heat map per picture, an overview and a table; returns 1 if none could be read."""
    check_positive(args, "batch_size", "columns")
    job = Job(args, "explain", items="pictures", out="folder")
    items, job.counts.ignored = find_items(args.inputs)
    classifier = load_classifier(args.checkpoint, args.device)
    target = None if args.target is None else find_class(classifier, args.target)
    sheet = _Sheet()
    rows: list[dict[str, Any]] = []
    with job.folder() as folder:
        for batch in read_batches(
            items,
            classifier.preprocessing,
            batch_size=args.batch_size,
            workers=args.workers,
            on_invalid=args.on_invalid,
            counts=job.counts,
            doing="explaining",
        ):
            images = stack(batch)
            answers = iter(() if images is None else explain(classifier, images, args, target))
            for item, found in batch:
                if not isinstance(found, ImageError):
                    answer = next(answers)
                    picture = sheet.draw(answer, item, folder)
                    rows.append({"file": item.shown, "picture": picture, **answer.row()})
                    job.counts.done += 1
                elif args.on_invalid == "keep":
                    rows.append({"file": item.shown, "error": found.reason})
        sheet.save(folder / "overview.png", args.columns)
        with atomic_write(folder / "relevance.csv", "w") as file:
            _write(file, rows)
    done = job.counts.done
    first = f" (overview.png shows the first {OVERVIEW})" if done > OVERVIEW else ""
    return job.end(f"heat maps written{job.place}{first}", explained=done)


@dataclass(frozen=True)
class Explanation:
    """An answer and what it rests on.

    Args:
        pixels: The picture as the model sees it, in 0..1.
        prediction: The name of the predicted class.
        probability: How sure the model is of it.
        target: The name of the explained class, and its probability; None if it is the predicted one or
            none at all.
        relevance: Of each patch.

    Shape:
        pixels: (C, H, W). relevance: (h, w).
    """

    pixels: Tensor
    prediction: str
    probability: float
    target: tuple[str, float] | None
    relevance: Tensor

    def row(self) -> dict[str, Any]:
        """Returns the columns of the table."""
        name, probability = self.target or (self.prediction, self.probability)
        patches = {
            f"r{y}c{x}": f"{value:.6g}"
            for y, line in enumerate(self.relevance.tolist())
            for x, value in enumerate(line)
        }
        return {
            "prediction": self.prediction,
            "probability": f"{self.probability:.6f}",
            "explained": name,
            "explained_probability": f"{probability:.6f}",
            **patches,
        }


def explain(
    classifier: Classifier, images: Tensor, args: argparse.Namespace, target: int | None
) -> Iterable[Explanation]:
    """Yields one explanation per picture.

    Args:
        classifier: The model.
        images: A batch as the model wants it.
        args: With ``method``.
        target: The class to explain; the predicted one if None.
    """
    probabilities = classifier.probabilities(images)
    maps = patch_relevance(
        classifier.model, images.to(classifier.device), method=args.method, target=target
    )
    pixels = as_seen(images, classifier.preprocessing)
    for i, best in enumerate(probabilities.argmax(1).tolist()):
        asked = None if target is None or target == best else target
        yield Explanation(
            pixels=pixels[i],
            prediction=classifier.name(best),
            probability=probabilities[i, best].item(),
            target=None
            if asked is None
            else (classifier.name(asked), probabilities[i, asked].item()),
            relevance=maps[i],
        )


def as_seen(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Returns the pixels of preprocessed pictures, in 0..1.

    Shape:
        images: (B, C, H, W). Output: the same.
    """
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    return (images.cpu() * std + mean).clamp(0, 1)


def find_class(classifier: Classifier, given: str) -> int:
    """Returns the number of a class given by name, or by number where no name is like it.

    Raises:
        UserError: If there is no such class.
    """
    names = classifier.classes or ()
    if given in names:
        return names.index(given)
    number = getattr(classifier.model, "num_classes", None) or len(names)
    if given.isdecimal() and int(given) < number:
        return int(given)
    raise UserError(
        f"--target {given}: there is no such class{nearest(given, names)}"
        f" (a name, or a number from 0 to {number - 1})"
    )


@dataclass
class _Sheet:
    """The pictures drawn so far."""

    shown: list[Explanation] = field(default_factory=list)
    taken: set[str] = field(default_factory=lambda: {"overview.png"})

    def draw(self, answer: Explanation, item: Item, folder: Path) -> str:
        """Writes the heat map of one picture and returns its name."""
        name = free_name(item.name, self.taken)
        title = f"{answer.prediction} {answer.probability:.1%}"
        below = "" if answer.target is None else f"for {answer.target[0]} {answer.target[1]:.1%}"
        figure = explanation_figure(answer.pixels, answer.relevance, title, below)
        save_figure(figure, folder / name)
        if len(self.shown) < OVERVIEW:
            self.shown.append(answer)
        return name

    def save(self, path: Path, columns: int) -> None:
        """Draws all pictures on one sheet."""
        if not self.shown:
            return
        figure = prediction_grid(
            [answer.pixels for answer in self.shown],
            [answer.prediction for answer in self.shown],
            relevance=torch.stack([answer.relevance for answer in self.shown]),
            probabilities=[answer.probability for answer in self.shown],
            columns=columns,
        )
        save_figure(figure, path)


def _write(file: Any, rows: Sequence[dict[str, Any]]) -> None:
    columns = ["file", "picture", "prediction", "probability", "explained", "explained_probability"]
    patches = next((list(row)[len(columns) :] for row in rows if "error" not in row), [])
    write_csv(file, [*columns, "error", *patches], rows)
