"""Several adapters of one base model, by name."""

import copy
from pathlib import Path

from torch import nn

from headway.core.errors import UserError
from headway.core.finetune.adapter_files import is_adapted, load_adapter


class Adapters:
    """Gives the model of each adapter; all of them share the weights of the base.

    ``adapters["birds"]`` is a whole model: it may have other classes or another vocabulary than the base,
    which stays as it was.

    Args:
        base: The model that the adapters were trained on; it carries none itself.
    """

    def __init__(self, base: nn.Module) -> None:
        if is_adapted(base):
            raise UserError("the base of Adapters carries an adapter itself; merge(model) first")
        self.base = base
        self._models: dict[str, nn.Module] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the adapters, in the order of loading."""
        return tuple(self._models)

    def load(self, name: str, folder: str | Path) -> nn.Module:
        """Reads an adapter and returns its model.

        Args:
            name: What to call it.
            folder: Where ``save_adapter`` wrote it.

        Raises:
            UserError: If the name is taken, or the adapter does not fit the base.
        """
        if name in self._models:
            raise UserError(f"there is an adapter {name!r} already; choose another name")
        # A copy of the structure; parameters are the base's own until the adapter replaces some.
        shared = {id(parameter): parameter for parameter in self.base.parameters()}
        learns = {parameter: parameter.requires_grad for parameter in shared.values()}
        model = copy.deepcopy(self.base, dict(shared))
        try:
            load_adapter(model, folder)
        finally:
            # An adapted layer freezes its base, which is not its own here.
            for parameter, before in learns.items():
                parameter.requires_grad_(before)
        self._models[name] = model
        return model

    def __getitem__(self, name: str) -> nn.Module:
        if name not in self._models:
            known = ", ".join(self._models) or "none"
            raise UserError(f"there is no adapter {name!r}; loaded: {known}")
        return self._models[name]
