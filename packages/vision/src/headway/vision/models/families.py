"""A family of published models: a table of its members, what builds one, and its names elsewhere."""

import csv
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from torch import Tensor

from headway.core.errors import UserError
from headway.core.weights.table import Table
from headway.vision.models.classifier import ImageClassifier
from headway.vision.models.pretrained_cfg import MEAN_STD

Row = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class HuggingFace:
    """How transformers saves a family; what ``weights/hugging_face_family.py`` reads.

    Args:
        model_type: As config.json says; the prefix of the tensors of the base model, too.
        architectures: The published classes that are read.
        table: Names of the tensors, ours beside theirs; or what returns them, of the model.
        build: Builds the model, ``(config, num_classes=, activation=, **options)``; ``activation`` is the
            class that ``hidden_act`` names.
        processor: Of the table in ``weights/hugging_face_processor.py``, for a folder without the file; what
            that says of the type if None.
        defaults: What the published class takes for keys that ``build`` does not read.
        harmless: Keys that change no answer.
    """

    model_type: str
    architectures: tuple[str, ...]
    table: Table | Callable[[Any], Table]
    build: Callable[..., ImageClassifier]
    processor: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    harmless: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Family:
    """What the factory, the listing, the adapters and the sweep of tests know of a family.

    Args:
        name: Of the family, for messages.
        table: File beside this one, tab-separated, a row for each published member. Every table has the
            columns ``name``, ``image`` (side in pixels), ``classes``, ``crop_pct`` and ``tag`` (of the
            default pretrained weights, "-" for none), and may have ``mean_std``, ``interpolation`` and
            ``crop_mode``; the others are the family's own.
        make: Makes the model of a row, ``(row, *, image_size, num_classes, channels, patch_size, dropout,
            drop_path)``.
        sized: Whether timm's models are built for a size of pictures, ``img_size``.
        patch: Side of a patch in pixels, where the table has no column of that name.
        tiny: Columns that make a small member of the last row, for tests.
        timm: Names of the tensors, ours beside timm's.
        timm_marks: timm's names of tensors that tell the family; of two whose marks a file has, the one with
            more of them is meant.
        official_marks: The same of the authors' files, where those name tensors otherwise.
        pooled: For timm's words of ``global_pool``, columns that make the head of a row read so.
        seen: Returns the columns that timm's tensors tell, for a file without a config.json.
        global_pool: How published members read the tokens, in timm's words.
        words: For timm's other arguments that members may be built with, the column that says it.
        told: timm's arguments of this family that the tensors tell.
        hugging_face: How transformers saves it; None where an adapter of its own reads it, or none does.
    """

    name: str
    table: str
    make: Callable[..., ImageClassifier]
    tiny: Mapping[str, str]
    timm: Table
    timm_marks: frozenset[str]
    official_marks: frozenset[str] = frozenset()
    patch: int = 16
    sized: bool = True
    pooled: Mapping[str, Row] = field(default_factory=dict)
    seen: Callable[[Mapping[str, Tensor]], Row] | None = None
    global_pool: str = "avg"
    words: Mapping[str, str] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    hugging_face: HuggingFace | None = None

    def rows(self) -> dict[str, Row]:
        """Returns the rows of the table by name."""
        return _rows(self.table)

    def tiny_row(self) -> Row:
        """Returns a row that was not published, of a member small enough to be tried anywhere."""
        return {**list(self.rows().values())[-1], **self.tiny}

    def build(
        self,
        row: Row,
        *,
        image_size: int | Sequence[int] | None = None,
        num_classes: int | None = None,
        channels: int = 3,
        patch_size: int | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **own: Any,
    ) -> ImageClassifier:
        """Builds the model of a row; what is None is as published.

        Args:
            row: Of the table, or one like it.
            image_size: Side, or (height, width), in pixels.
            num_classes: Classes; with 0 the model returns the pooled vector.
            channels: Channels of a picture.
            patch_size: Side of a patch in pixels.
            dropout: Probability of dropping a channel before the classifier.
            drop_path: Rate of stochastic depth of the last block.
            own: Further arguments of ``make``.
        """
        model = self.make(
            row,
            image_size=image_size if image_size is not None else int(row["image"]),
            num_classes=num_classes if num_classes is not None else int(row["classes"]),
            channels=channels,
            patch_size=patch_size or int(row.get("patch", self.patch)),
            dropout=dropout,
            drop_path=drop_path,
            **own,
        )
        built = {"input_size": model.pretrained_cfg["input_size"], "num_classes": model.num_classes}
        model.pretrained_cfg = {**model.pretrained_cfg, **published_cfg(row), **built}
        return model

    def reworded(self, row: Row, words: Mapping[str, Any]) -> Row:
        """Returns a row as timm's arguments of a model change it; what is None is as published.

        Args:
            row: The row.
            words: Such as ``reg_tokens=4``.

        Raises:
            UserError: If members of the family are not built with one of them.
        """
        changed = dict(row)
        for word, value in words.items():
            if value is None:
                continue
            if word not in self.words:
                known = ", ".join(self.words) or "none of them"
                raise UserError(
                    f"{row['name']} is not built with {word}={value!r}; of such arguments "
                    f"it takes {known}"
                )
            column = self.words[word]
            if column == "prefix":  # of several kinds of tokens one comes or goes
                kinds = [kind for kind in row[column].split("+") if kind not in ("-", "class")]
                changed[column] = "+".join(["class"] * bool(value) + kinds) or "-"
            else:
                changed[column] = str(int(value)) if isinstance(value, bool) else str(value)
        return changed

    def marks_in(self, names: Collection[str]) -> frozenset[str]:
        """Returns which marks of the family a file has, all of one kind; none if it is not of the family.

        Args:
            names: Of the tensors of the file.
        """
        kinds = [kind for kind in (self.timm_marks, self.official_marks) if kind]
        found = [kind for kind in kinds if all(name in names for name in kind)]
        return max(found, key=len, default=frozenset())

    def to_timm(self, name: str) -> str:
        """Returns timm's name of one of our parameters.

        Raises:
            KeyError: If timm has no such parameter.
        """
        return self.timm.theirs(name)[0]


@cache
def _rows(table: str) -> dict[str, Row]:
    text = resources.files("headway.vision.models").joinpath(table).read_text(encoding="utf-8")
    return {row["name"]: row for row in csv.DictReader(text.splitlines(), delimiter="\t")}


def numbers(text: str) -> list[int]:
    """Returns the whole numbers of a column with one for each stage, such as ``2,2,6,2``."""
    return [int(part) for part in text.split(",")]


def blocks_of_stages(state: Iterable[str], stages: str) -> list[int]:
    """Returns the number of blocks of each stage, counted in names such as ``stages.0.blocks.1.norm``.

    Args:
        state: Names of tensors.
        stages: What stands in front of the number of a stage.
    """
    found: dict[int, set[str]] = {}
    for name in state:
        if match := re.match(rf"{stages}\.(\d+)\.blocks\.(\d+)\.", name):
            found.setdefault(int(match.group(1)), set()).add(match.group(2))
    return [len(found[stage]) for stage in sorted(found)]


def published_cfg(row: Row, channels: int = 3) -> dict[str, Any]:
    """Returns how the published weights of a row want their pictures."""
    mean, std = MEAN_STD[row.get("mean_std", "imagenet")]
    return {
        "architecture": row["name"],
        "tag": "" if row["tag"] == "-" else row["tag"],
        "input_size": (channels, int(row["image"]), int(row["image"])),
        "num_classes": int(row["classes"]),
        "mean": mean,
        "std": std,
        "interpolation": row.get("interpolation", "bicubic"),
        "crop_pct": float(row["crop_pct"]),
        "crop_mode": row.get("crop_mode", "center"),
    }
