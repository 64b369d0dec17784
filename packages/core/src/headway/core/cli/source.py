"""What can be told about a checkpoint without loading it."""

import re
from pathlib import Path

from headway.core.reading import check_path, read_json, read_text

_DOMAIN = re.compile(r"headway\.(?!core\b)(\w+)\.")


def domain_of(source: str) -> str | None:
    """Returns the domain of a run folder, a checkpoint in one, or an exported model; None if unknown.

    Args:
        source: What ``-m`` was given.
    """
    check_path(source)
    path = Path(source)
    if path.is_file() and path.suffix == ".ckpt":
        # RUN/checkpoints/last.ckpt
        path = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    elif path.is_file():
        notes = path.with_suffix(".json")
        if path.suffix == ".onnx" and notes.is_file():
            # headway export writes them beside the graph.
            named = read_json(notes).get("domain")
            return named if isinstance(named, str) else None
        path = path.parent
    for file in (path / "model" / "config.json", path / "config.json"):
        if file.is_file():
            named = read_json(file).get("class_path", "")
            if match := _DOMAIN.match(str(named)):
                return match.group(1)
    config = path / "config.yaml"
    if config.is_file() and (match := _DOMAIN.search(read_text(config))):
        return match.group(1)
    return None
