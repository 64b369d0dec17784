"""Detectors that read the last map of a backbone."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.stacks import Stack
from headway.vision.models.detector import ObjectDetector, maps_of
from headway.vision.models.sizes import same_size


class MapDetector(ObjectDetector):
    """The encoded tokens of the last map; subclasses add a decoder, ``decoder``, that asks them.

    Pictures of a batch may differ in size: each goes through the backbone by itself, and the tokens that
    fill up the map are masked. So a picture gives in any batch what it gives alone, which a convolution
    over padded pictures would not.

    Args:
        num_classes: Classes of objects.
        name: Of the architecture.
        backbone: Gives a list of maps and says in ``feature_info`` how many channels they have.
        dim: Channels of a token.
        encoder: Encodes the tokens.
        position: Builds what tells tokens their position, ``(dim)``.
    """

    decoder: Stack

    def __init__(
        self,
        *,
        num_classes: int,
        name: str,
        backbone: nn.Module,
        dim: int,
        encoder: Stack,
        position: Callable[[int], nn.Module],
    ) -> None:
        super().__init__(num_classes=num_classes, name=name)
        self.backbone = backbone
        self.projection = nn.Conv2d(maps_of(backbone)[-1]["num_chs"], dim, 1)
        self.position = position(dim)
        self.encoder = encoder
        init_transformer_(self.encoder)

    def encode(
        self, images: Tensor, sizes: Tensor | Sequence[Sequence[int]] | None = None
    ) -> tuple[Tensor, Layout]:
        """Returns the encoded tokens of the last map and their layout."""
        maps, valid = self._maps(images, sizes)
        x = self.projection(maps)
        layout = Layout(grid=tuple(x.shape[2:]), valid=valid)
        x = x.flatten(2).transpose(1, 2)
        embedding = self.position(layout, x.shape[1]).to(x)
        x, _ = self.encoder(x, layout.replace(embedding=embedding))
        return x, layout.replace(embedding=embedding)

    def _maps(
        self, images: Tensor, sizes: Tensor | Sequence[Sequence[int]] | None
    ) -> tuple[Tensor, Tensor | None]:
        """Returns the last map of every picture, filled up with zeros, and where it is real."""
        if sizes is None:
            return self.backbone(images)[-1], None
        found: dict[int, Tensor] = {}
        for members, group in same_size(images, sizes):
            found.update(zip(members, self.backbone(group)[-1], strict=True))
        rows = max(one.shape[1] for one in found.values())
        columns = max(one.shape[2] for one in found.values())
        filled, valid = [], torch.zeros(len(found), rows, columns, dtype=torch.bool)
        for place in range(len(found)):
            height, width = found[place].shape[1:]
            filled.append(F.pad(found[place], (0, columns - width, 0, rows - height)))
            valid[place, :height, :width] = True
        if valid.all():
            return torch.stack(filled), None
        return torch.stack(filled), valid.flatten(1).to(images.device)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Chooses whether blocks are recomputed in the backward pass to save memory."""
        self.encoder.checkpointing = self.decoder.checkpointing = enable
