"""Models as graphs that run without headway: what goes in, what comes out, and whether it is the same."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.vision.models.detections import corner_shares
from headway.vision.models.detector import ObjectDetector
from headway.vision.models.segmenter import Segmenter
from headway.vision.verbs.loading import Classifier, Detector
from headway.vision.verbs.segmenting import LoadedSegmenter

# Of the largest logit; float32 sums in another order differ by a hundredth of this.
TOLERANCE = 1e-3

LEAST = 64
"""Pixels of a side that is free: the strides of backbones leave a map of over one place there."""

Run = Callable[[Tensor], tuple[Tensor, ...]]


class ExportError(RuntimeError):
    """A model could not be exported, or what was written computes something else."""


class Graph(ABC):
    """A model that is exported.

    Attributes:
        module: ``images -> tensors``, or one tensor.
        outputs: Names of these tensors.
        example: Shape of the images that it is traced with.
        free: Names of the axes that may have any size, and the least.
        trials: Shapes of images that the result is tried with.
        notes: What a user of the file must know, as JSON values.
    """

    module: nn.Module
    outputs: ClassVar[tuple[str, ...]]
    example: tuple[int, ...]
    free: dict[int, tuple[str, int]]
    trials: Sequence[tuple[int, ...]]
    notes: dict[str, Any]

    @abstractmethod
    def difference(self, images: Tensor, found: tuple[Tensor, ...]) -> tuple[float, float]:
        """Returns how far an answer is from the model's, and how far it may be.

        Raises:
            ExportError: If it has another shape.
        """

    def shapes(self) -> tuple[dict[int, Any]]:
        """Returns the free axes in torch's words."""
        dims = {
            axis: torch.export.Dim(name, min=least) for axis, (name, least) in self.free.items()
        }
        return (dims,)

    def input_shape(self) -> list[str | int]:
        """Returns the shape of the input with names in the place of free axes."""
        return [self.free[k][0] if k in self.free else side for k, side in enumerate(self.example)]


class ClassifierGraph(Graph):
    """Pictures of one size to logits, for any batch.

    Args:
        classifier: The model.
    """

    outputs = ("logits",)

    def __init__(self, classifier: Classifier) -> None:
        size = classifier.preprocessing.input_size
        self.module, self.free = classifier.model, {0: ("batch", 1)}
        self.example, self.trials = (2, *size), [(batch, *size) for batch in (1, 3)]
        activation = "sigmoid" if classifier.multi_label else "softmax"
        self.notes = {
            "domain": "vision",
            "input": {"name": "images", "shape": self.input_shape()},
            "output": {"name": "logits", "activation": activation},
            "classes": None if classifier.classes is None else list(classifier.classes),
            "multi_label": classifier.multi_label,
            **classifier.preprocessing.as_dict(),
        }

    def difference(self, images: Tensor, found: tuple[Tensor, ...]) -> tuple[float, float]:
        """Compares the logits."""
        expected = self.module(images)
        _check_shapes(images, found[0], expected)
        apart = (found[0] - expected).abs().max().item()
        return apart, TOLERANCE * max(1.0, expected.abs().max().item())


class DetectorGraph(Graph):
    """Pictures to scores, labels and boxes of each query, for any batch and, where given none, any size.

    All pictures of a batch have its size; boxes are shares of it, so whoever resizes a picture, whatever
    its proportions, multiplies them by its own width and height.

    Args:
        detector: The model.
        size: Height and width of the pictures; any from ``LEAST`` on if None.
    """

    outputs = ("scores", "labels", "boxes")

    def __init__(self, detector: Detector, size: tuple[int, int] | None = None) -> None:
        self.model, self.module = detector.model, _Answer(detector.model)
        self.free = {0: ("batch", 1)}
        if size is None:
            self.free |= {2: ("height", LEAST), 3: ("width", LEAST)}
            self.trials = [(1, 3, 96, 128), (3, 3, 131, 75)]
        else:
            self.trials = [(batch, 3, *size) for batch in (1, 3)]
        self.example = (2, 3, *(size or (96, 128)))
        self.notes = {
            "domain": "vision",
            "task": "detection",
            "input": {"name": "images", "shape": self.input_shape(), "least": LEAST},
            "outputs": {
                "scores": "of each query, in 0..1",
                "labels": "places in classes and category_ids",
                "boxes": "left, top, right, bottom as shares of the picture",
            },
            "classes": list(detector.classes),
            "category_ids": list(detector.category_ids),
            **detector.preprocessing.as_dict(),
        }

    def difference(self, images: Tensor, found: tuple[Tensor, ...]) -> tuple[float, float]:
        """Compares scores and boxes; where two classes are as likely, either label will do."""
        output = self.model(images)
        probabilities, scores, labels, boxes = output.probabilities(), *self.module(images)
        for mine, theirs in zip((scores, labels, boxes), found, strict=True):
            _check_shapes(images, theirs, mine)
        if not ((found[1] >= 0) & (found[1] < probabilities.shape[-1])).all():
            raise ExportError(
                "the exported model answers with classes that the model does not have"
            )
        chosen = probabilities.gather(-1, found[1][..., None])[..., 0]
        apart = [(found[0] - scores), (chosen - scores), (found[2] - boxes)]
        return torch.cat([one.flatten() for one in apart]).abs().max().item(), TOLERANCE


class SegmenterGraph(Graph):
    """Pictures to the scores of each class of each pixel, for any batch and, where given none, any size.

    Args:
        segmenter: The model.
        size: Height and width of the pictures; any from ``LEAST`` on if None.
    """

    outputs = ("scores",)

    def __init__(self, segmenter: LoadedSegmenter, size: tuple[int, int] | None = None) -> None:
        self.model, self.module = segmenter.model, _Scores(segmenter.model)
        least = max(LEAST, segmenter.preprocessing.least)
        self.free = {0: ("batch", 1)}
        if size is None:
            self.free |= {2: ("height", least), 3: ("width", least)}
            self.trials = [(1, 3, least, 2 * least), (3, 3, 2 * least + 3, least + 11)]
        else:
            self.trials = [(batch, 3, *size) for batch in (1, 3)]
        self.example = (2, 3, *(size or (least + 32, 2 * least)))
        self.notes = {
            "domain": "vision",
            "task": "segmentation",
            "outputs": {
                "scores": "of each class (in the order of classes) of each pixel, the largest is its class"
            },
            **segmenter.classes.as_dict(),
            **segmenter.preprocessing.as_dict(),
            "input": {"name": "images", "shape": self.input_shape(), "least": least},
        }

    def difference(self, images: Tensor, found: tuple[Tensor, ...]) -> tuple[float, float]:
        """Compares the scores."""
        expected = self.module(images)
        _check_shapes(images, found[0], expected)
        return (found[0] - expected).abs().max().item(), TOLERANCE


class _Scores(nn.Module):
    """A segmenter whose answer is one tensor."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Returns the scores of each pixel."""
        return self.model.semantic(images)


class _Answer(nn.Module):
    """A detector whose answer is plain tensors."""

    def __init__(self, model: ObjectDetector) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns scores, labels and corners of each query."""
        scores, labels, boxes = self.model(images).objects()
        return scores, labels, corner_shares(boxes)


def compare(graph: Graph, exported: Run) -> dict[str, float]:
    """Returns the largest difference between a model and its export for several shapes.

    Raises:
        ExportError: If they do not agree.
    """
    differences = {}
    generator = torch.Generator().manual_seed(0)
    for shape in graph.trials:
        images = torch.randn(*shape, generator=generator)
        found = exported(images)
        with torch.inference_mode():
            apart, limit = graph.difference(images, found)
        shown = "x".join(str(side) for side in shape)
        # Written so that NaN fails, too.
        if not apart <= limit:
            raise ExportError(
                f"the exported model differs by {apart:.2g} from the model (images {shown}, limit "
                f"{limit:.2g}); nothing was written"
            )
        differences[shown] = apart
    return differences


def write_program(graph: Graph, path: Path, opset: int) -> Run:
    """Writes with ``torch.export`` and returns what the file computes."""
    program = torch.export.export(
        graph.module, (torch.zeros(graph.example),), dynamic_shapes=graph.shapes(), strict=False
    )
    torch.export.save(program, path, extra_files={"preprocessing.json": json.dumps(graph.notes)})
    loaded = torch.export.load(path).module()

    def run(images: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            found = loaded(images)
        return (found,) if isinstance(found, Tensor) else tuple(found)

    return run


def write_onnx(graph: Graph, path: Path, opset: int) -> Run:
    """Writes ONNX with its notes as metadata and returns what the file computes."""
    import onnxruntime

    program = torch.onnx.export(
        graph.module,
        (torch.zeros(graph.example),),
        dynamo=True,
        input_names=["images"],
        output_names=list(graph.outputs),
        dynamic_shapes=graph.shapes(),
        opset_version=opset,
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props["headway"] = json.dumps(graph.notes, ensure_ascii=False)
    program.save(path)
    # By its path: weights of more than 2 GiB lie in a file beside it.
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> tuple[Tensor, ...]:
        found = session.run(list(graph.outputs), {"images": images.numpy()})
        return tuple(torch.from_numpy(one) for one in found)

    return run


def _check_shapes(images: Tensor, found: Tensor, expected: Tensor) -> None:
    if found.shape != expected.shape:
        raise ExportError(
            f"the exported model answers {tuple(found.shape)} to a batch of {len(images)}, "
            f"the model {tuple(expected.shape)}; nothing was written"
        )
