"""What stands beside the weights of a model: classes, scalers, tokenizers, statistics."""

from pathlib import Path
from typing import Any

from headway.core.reading import read_json


def read_preprocessing(source: str | Path) -> dict[str, Any]:
    """Reads ``preprocessing.json`` beside a model; empty if it has none.

    Args:
        source: A run folder, a file in its ``checkpoints``, or a directory of a model.

    Raises:
        UserError: If the file is not JSON, or holds no mapping.
    """
    source = Path(source)
    folder = source if source.is_dir() else source.parent
    for place in (folder / "model", folder, folder.parent / "model"):
        file = place / "preprocessing.json"
        if file.is_file():
            return read_json(file)
    return {}
