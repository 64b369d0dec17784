"""Publishing a model with a card that says what it is."""

import json
import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from headway.core.files import atomic_write
from headway.core.weights.pretrained import save_pretrained


def model_card(
    model: nn.Module, *, name: str, license: str, metrics: dict[str, float], description: str
) -> str:
    """Returns a model card in the hub's format: YAML header, what it is, how to load it, scores."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    scores = "\n".join(f"| {key} | {value:.4f} |" for key, value in metrics.items())
    table = f"\n## Scores\n\n| metric | value |\n|---|---|\n{scores}\n" if metrics else ""
    return f"""---
library_name: headway
license: {license}
tags:
- headway
---

# {name}

{description}

A {type(model).__name__} with {parameters:,} parameters.

```python
from headway.core.weights import from_pretrained

model = from_pretrained("{name}")
```
{table}"""


def push_to_hub(
    model: nn.Module,
    name: str,
    *,
    license: str,
    description: str,
    metrics: dict[str, float] | None = None,
    preprocessing: dict[str, Any] | None = None,
    private: bool = False,
    api: Any = None,
) -> str:
    """Uploads a model, its configuration and a model card to the Hugging Face hub.

    Args:
        model: A model built from parts of headway.
        name: ``owner/name``.
        license: Licence of the weights, such as "apache-2.0".
        description: What the model does and what it was trained on.
        metrics: Scores for the card.
        preprocessing: What a user needs besides the weights (classes, image size).
        private: Whether only the owner sees it.
        api: A ``huggingface_hub.HfApi``; the default one, with the token of the machine, if None.

    Returns:
        The address of the commit.
    """
    from huggingface_hub import HfApi

    api = api if api is not None else HfApi()
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder)
        if preprocessing is not None:
            with atomic_write(Path(folder) / "preprocessing.json", "w") as file:
                json.dump(preprocessing, file, indent=2, ensure_ascii=False)
        with atomic_write(Path(folder) / "README.md", "w") as file:
            file.write(
                model_card(
                    model,
                    name=name,
                    license=license,
                    metrics=metrics or {},
                    description=description,
                )
            )
        api.create_repo(name, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=folder))
