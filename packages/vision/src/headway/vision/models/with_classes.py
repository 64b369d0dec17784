"""What answers for classes in a part of a picture: boxes, pixels, masks."""

from abc import abstractmethod
from typing import Any

from torch import nn

from headway.core.errors import UserError
from headway.core.module import Module, undecayed_names


class WithClasses(Module):
    """Knows its classes, and can be given others.

    Args:
        num_classes: Classes that it answers for.
        name: Of the architecture.

    Raises:
        UserError: If there is no class.

    Attributes:
        pretrained_cfg: How it wants its pictures: mean, std and sizes; and what is known of its classes:
            label_names, category_ids.
    """

    def __init__(self, *, num_classes: int, name: str) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"num_classes is {num_classes}; it must be at least 1")
        self.num_classes = num_classes
        self.pretrained_cfg: dict[str, Any] = {"architecture": name, "num_classes": num_classes}

    @abstractmethod
    def get_classifier(self) -> nn.Module | tuple[nn.Module, ...]:
        """Returns the layers that know the classes."""

    @abstractmethod
    def new_classifier(self, num_classes: int) -> None:
        """Replaces all that knows the classes by new layers."""

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the layers that know the classes by new ones; the rest stays."""
        self.new_classifier(num_classes)
        self.num_classes = self.init_args["num_classes"] = num_classes
        # The names of the old classes say nothing about the new ones.
        dropped = ("label_names", "category_ids")
        kept = {k: v for k, v in self.pretrained_cfg.items() if k not in dropped}
        self.pretrained_cfg = {**kept, "num_classes": num_classes}

    def no_weight_decay(self) -> set[str]:
        """Returns the names of parameters that weight decay leaves alone."""
        return undecayed_names(self)
