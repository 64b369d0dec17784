"""PEM: each query reads one token in place of all."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import PositionedSelfAttention
from headway.core.norms import LayerNorm
from headway.core.stacks import QueryDecoder
from headway.core.systems import system
from headway.vision.layers.modulated_decoder import ModulatedPixelDecoder
from headway.vision.layers.prototype_attention import PrototypeAttention, PrototypeBlock
from headway.vision.models.detector import maps_of
from headway.vision.models.masked_decoding import MaskedDecoding, within
from headway.vision.models.masks import Masks


@system(
    id=530,
    name="PEM",
    paper="https://arxiv.org/abs/2402.19422",
    claim="queries read the one token that is most like them instead of all, over a pyramid of deformable "
    "convolutions; equal to the authors' code with copied weights",
    test="packages/vision/tests/models/test_pem.py",
)
class PEM(MaskedDecoding):
    """A backbone, a pixel decoder of deformable convolutions, and a decoder of prototypes.

    Args:
        num_classes: Classes, without the one for no object.
        backbone: Gives a list of maps, from the largest on, each half as large as the one before, and says in
            ``feature_info`` how many channels they have (``ResNet``, ``TimmFeatures``, ``Features``). The
            masks are as large as the first; queries read the others.
        dim: Channels of a token.
        pixel_dim: Channels of the pixel decoder.
        mask_dim: Channels in which queries and pixels are compared.
        heads: Heads of the mixers.
        queries: The most masks that a picture may have.
        depth: Blocks of the decoder.
        mixer: Builds the mixer of queries, ``(dim, heads)``.
        cross: Builds what reads a map, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.

    Shape:
        images: (B, channels, H, W). Output: ``Masks``.

    Raises:
        UserError: If a number is below 1, or the backbone has a single map.

    Source:
        Cavagnero et al. 2024, https://arxiv.org/abs/2402.19422.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: nn.Module,
        dim: int = 256,
        pixel_dim: int = 128,
        mask_dim: int = 256,
        heads: int = 8,
        queries: int = 100,
        depth: int = 6,
        mixer: MixerFactories = PositionedSelfAttention,
        cross: MixerFactory = PrototypeAttention,
        feedforward: FeedForwardFactory = partial(MLP, hidden_dim=2048, activation=nn.ReLU),  # noqa: B008
        norm: Callable[[int], nn.Module] = partial(LayerNorm, eps=1e-5),  # noqa: B008
    ) -> None:
        super().__init__(num_classes=num_classes, name="pem")
        if min(queries, pixel_dim, mask_dim, depth) < 1:
            raise UserError(
                f"queries {queries}, pixel_dim {pixel_dim}, mask_dim {mask_dim} and depth {depth} must be at "
                "least 1"
            )
        channels = [one["num_chs"] for one in maps_of(backbone)]
        self.backbone = backbone
        self.pixels = ModulatedPixelDecoder(channels, pixel_dim, mask_dim)
        self.projections = nn.ModuleList([nn.Conv2d(pixel_dim, dim, 1) for _ in channels[1:]])
        decoder = QueryDecoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            cross=cross,
            feedforward=feedforward,
            norm=norm,
            block=PrototypeBlock,
        )
        self.begin_decoder(decoder, dim, mask_dim, queries=queries, levels=len(self.projections))

    def forward(self, images: Tensor) -> Masks:
        """Returns class and mask of every query."""
        pixels, maps = self.pixels(self.backbone(images))
        read = [layer(one) for layer, one in zip(self.projections, maps, strict=True)]
        return self.decode(pixels, read)

    def may_read(self, masks: Tensor, grid: tuple[int, ...] | None) -> Tensor:
        """Returns which tokens of a map each query may read.

        As in the authors' code, a query whose mask is empty reads the first token, and all read everything
        where each of their masks is empty.
        """
        inside = within(masks, grid)
        return inside | ~inside.flatten(2).any(-1)[..., None, None]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Chooses whether blocks are recomputed in the backward pass to save memory."""
        self.decoder.checkpointing = enable
