"""The vision transformer."""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.heads import ClassificationHead
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.vision.layers import ImageTokens
from headway.vision.models.classifier import ImageClassifier, Images, sides


class ViTOptions(TypedDict, total=False):
    """What a ViT with a head of its own passes on to ``ViT``."""

    image_size: int | Sequence[int]
    num_classes: int
    dim: int
    depth: int
    heads: int
    embedding: Callable[[int], nn.Module]
    mixer: MixerFactories
    feedforward: FeedForwardFactory
    norm: Callable[[int], nn.Module]
    block: BlockFactory
    final_norm: bool
    layer_scale: float | None
    drop_path: float | Sequence[float]


@system(
    id=486,
    name="ViT",
    paper="https://arxiv.org/abs/2010.11929",
    claim="a plain transformer over patches, equal to timm's with copied weights, at any image size",
    test="packages/vision/tests/models/test_vit_parity.py",
)
class ViT(ImageClassifier):
    """A transformer encoder over the patches of a picture.

    One class for ViT, DeiT, DeiT-III, DINOv2 and their relatives: they differ in the parts passed in.
    A picture of any size whose sides are multiples of the patch will do; position embeddings are
    resized on the fly. A list of pictures of different sizes is packed into one sequence, and each
    gives what it would give alone.

    Args:
        image_size: Side, or (height, width), in pixels that position embeddings are made for.
        num_classes: Classes; with 0 the model returns the pooled vector.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        embedding: Builds the patch embedding, ``(dim)``; patch size and channels are its arguments.
        tokens: Builds what adds class tokens and positions, ``(dim, grid)``.
        mixer: Builds the token mixer, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        final_norm: Whether a norm ends the encoder.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Rate of stochastic depth of the last block, to which it rises linearly from 0; or of each.
        head: Builds the head, ``(dim, num_classes)``.

    Shape:
        images: (B, channels, H, W), or a list of (channels, H, W). Output: (B, num_classes).

    Source:
        Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929.
    """

    def __init__(
        self,
        *,
        image_size: int | Sequence[int] = 224,
        num_classes: int = 1000,
        dim: int = 192,
        depth: int = 12,
        heads: int = 3,
        embedding: Callable[[int], nn.Module] = PatchEmbedding,
        tokens: Callable[[int, Sequence[int]], ImageTokens] = ImageTokens,
        mixer: MixerFactories = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = PreNormBlock,
        final_norm: bool = True,
        layer_scale: float | None = None,
        drop_path: float | Sequence[float] = 0.0,
        head: Callable[[int, int], ClassificationHead] = ClassificationHead,
    ) -> None:
        super().__init__(image_size, num_classes, dim=dim, embedding=embedding)
        self.tokens = tokens(dim, self.embedding.grid(sides(image_size)))
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            block=block,
            final_norm=final_norm,
            layer_scale=layer_scale,
            drop_path=drop_path,
        )
        init_transformer_(self.encoder)
        self.head = head(dim, num_classes)

    @property
    def steps(self) -> Sequence[nn.Module]:
        """The blocks."""
        return self.encoder.blocks  # pyright: ignore[reportReturnType]

    @property
    def final_norm(self) -> nn.Module | None:
        """The norm that ends the encoder."""
        return self.encoder.norm

    def normed(self, place: int) -> bool:
        """The final norm is made for every block: all of them are alike."""
        return True

    @property
    def num_prefix_tokens(self) -> int:
        """Class, distillation and register tokens in front of the patches."""
        return self.tokens.prefix

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, reduction and module name of the output of each block."""
        return [
            {
                "num_chs": self.embed_dim,
                "reduction": self.embedding.patch[0],
                "module": f"encoder.blocks.{place}",
            }
            for place in range(len(self.encoder.blocks))
        ]

    def embed(self, images: Images) -> tuple[Tensor, Layout]:
        """Returns what the first block reads."""
        if isinstance(images, Tensor):
            return self.tokens(*self.embedding(images))
        if not images:
            raise UserError("got an empty list of pictures")
        items = [self.tokens(*self.embedding(image[None])) for image in images]
        lengths = [x.shape[1] for x, _ in items]
        device = items[0][0].device
        positions = [
            layout.token_positions(length, device)
            for (_, layout), length in zip(items, lengths, strict=True)
        ]
        layout = Layout(
            prefix=self.tokens.prefix,
            offsets=torch.tensor([0, *lengths], device=device).cumsum(0),
            max_length=max(lengths),
            positions=torch.cat(positions, dim=1),
        )
        return torch.cat([x for x, _ in items], dim=1), layout

    def encode(self, images: Images) -> tuple[Tensor, Layout | None]:
        """Returns the encoded tokens and their layout."""
        return self.encoder(*self.embed(images))

    @property
    def position_embedding(self) -> nn.Module | None:
        """That of the tokens."""
        return self.tokens.position

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Returns patterns that sort parameters by depth, as timm's layer decay reads them."""
        return {
            "stem": r"^(?:embedding|tokens)\.",
            "blocks": [(r"^encoder\.blocks\.(\d+)", None), (r"^encoder\.norm", (99999,))],
        }
