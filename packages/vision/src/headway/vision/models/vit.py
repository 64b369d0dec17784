"""The vision transformer."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.heads import ClassificationHead
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.module import Module, undecayed_names
from headway.core.norms import LayerNorm
from headway.core.stacks import Encoder
from headway.core.stacks.stack import BlockFactory
from headway.core.systems import system
from headway.vision.layers import ImageTokens
from headway.vision.models.pretrained_cfg import default_pretrained_cfg


@system(
    id=486,
    name="ViT",
    paper="https://arxiv.org/abs/2010.11929",
    claim="a plain transformer over patches, equal to timm's with copied weights, at any image size",
    test="packages/vision/tests/models/test_vit_parity.py",
)
class ViT(Module):
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
        drop_path: Rate of stochastic depth of the last block.
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
        drop_path: float = 0.0,
        head: Callable[[int, int], ClassificationHead] = ClassificationHead,
    ) -> None:
        super().__init__()
        size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        self.num_classes = num_classes
        self.num_features = self.embed_dim = self.head_hidden_size = dim
        self.embedding: Any = embedding(dim)
        self.tokens = tokens(dim, self.embedding.grid(size))
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
        self.pretrained_cfg: dict[str, Any] = default_pretrained_cfg(
            self.embedding.channels, size, num_classes
        )

    @property
    def default_cfg(self) -> dict[str, Any]:
        """The same as ``pretrained_cfg``."""
        return self.pretrained_cfg

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

    def embed(self, images: Tensor | Sequence[Tensor]) -> tuple[Tensor, Layout]:
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

    def encode(self, images: Tensor | Sequence[Tensor]) -> tuple[Tensor, Layout | None]:
        """Returns the encoded tokens and their layout."""
        x, layout = self.embed(images)
        return self.encoder(x, layout)

    def forward_features(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Returns the encoded tokens, prefix tokens in front, (B, N, dim)."""
        return self.encode(images)[0]

    def forward_head(self, x: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Returns the logits of encoded tokens, or with ``pre_logits`` what the classifier reads."""
        layout = Layout(prefix=self.tokens.prefix)
        return self.head.pool(x, layout) if pre_logits else self.head(x, layout)

    def forward(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Returns the logits."""
        return self.head(*self.encode(images))

    def forward_intermediates(
        self,
        images: Tensor,
        indices: int | Sequence[int] | None = None,
        *,
        norm: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
        return_prefix_tokens: bool = False,
    ) -> Any:
        """Returns the encoded tokens and the outputs of some blocks.

        Args:
            images: Pictures.
            indices: Which blocks (negative from the end), how many of the last ones, or all.
            norm: Whether to apply the final norm to each output.
            output_fmt: "NCHW" for maps or "NLC" for tokens behind the prefix.
            intermediates_only: Whether to return the list alone.
            return_prefix_tokens: Whether each entry is a pair (map, prefix tokens).
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise UserError(f"output_fmt is 'NCHW' or 'NLC', got {output_fmt!r}")
        wanted = take_indices(len(self.encoder.blocks), indices)
        x, layout = self.embed(images)
        grid, prefix = layout.grid, layout.prefix
        taken: list[Any] = []
        for place, block in enumerate(self.encoder.blocks):
            x, _ = block(x, layout)
            if place in wanted:
                out = self.encoder.norm(x) if norm and self.encoder.norm is not None else x
                patches = out[:, prefix:]
                if output_fmt == "NCHW":
                    patches = patches.transpose(1, 2).unflatten(2, grid)
                taken.append((patches, out[:, :prefix]) if return_prefix_tokens else patches)
        if intermediates_only:
            return taken
        return (self.encoder.norm(x) if self.encoder.norm is not None else x), taken

    def get_classifier(self) -> nn.Module:
        """Returns the layer that computes the logits."""
        return self.head.classifier

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the classifier by a new one."""
        self.num_classes = num_classes
        self.head.reset(num_classes)
        self.init_args["num_classes"] = num_classes
        self.pretrained_cfg = {**self.pretrained_cfg, "num_classes": num_classes}

    def set_input_size(self, image_size: int | Sequence[int]) -> None:
        """Makes another image size the model's own, by resizing its position embeddings."""
        size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        position: Any = self.tokens.position
        grid = self.embedding.grid(size)
        if position is not None and hasattr(position, "resize"):
            position.resize(grid)
        self.init_args["image_size"] = list(size)
        self.pretrained_cfg = {
            **self.pretrained_cfg,
            "input_size": (self.embedding.channels, *size),
        }

    def set_channels(self, channels: int) -> None:
        """Takes pictures with another number of channels, keeping what was learned."""
        embedding: Any = self.embedding
        embedding.set_channels(channels)
        cfg = self.pretrained_cfg
        fitting = default_pretrained_cfg(channels, cfg["input_size"][1:], self.num_classes)
        self.init_args["embedding"] = partial(self.init_args["embedding"], channels=channels)
        # Mean and deviation of three colours say nothing about other channels.
        self.pretrained_cfg = {
            **cfg,
            "input_size": fitting["input_size"],
            "mean": fitting["mean"],
            "std": fitting["std"],
        }

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Chooses whether blocks are recomputed in the backward pass to save memory."""
        self.encoder.checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Returns the names of parameters that weight decay leaves alone."""
        return undecayed_names(self)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Returns patterns that sort parameters by depth, as timm's layer decay reads them."""
        return {
            "stem": r"^(embedding|tokens)\.",
            "blocks": [(r"^encoder\.blocks\.(\d+)", None), (r"^encoder\.norm", (99999,))],
        }


def take_indices(number: int, indices: int | Sequence[int] | None) -> list[int]:
    """Returns which of ``number`` blocks are meant, as places from 0.

    Raises:
        UserError: If a block is named that does not exist.
    """
    if indices is None:
        return list(range(number))
    if isinstance(indices, int):
        if not 0 < indices <= number:
            raise UserError(f"asked for the last {indices} blocks of {number}")
        return list(range(number - indices, number))
    wrong = [index for index in indices if not -number <= index < number]
    if wrong:
        raise UserError(f"there are {number} blocks, numbered from 0; got {wrong}")
    return [index % number for index in indices]
