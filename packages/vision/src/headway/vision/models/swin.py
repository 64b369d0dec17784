"""The Swin transformer."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import WindowAttention
from headway.core.module import Module, undecayed_names
from headway.core.norms import LayerNorm
from headway.core.resample import PatchMerging
from headway.core.stacks.stack import BlockFactory, depth_rates
from headway.core.sublayer import Sublayer
from headway.core.systems import system
from headway.vision.layers import Stage
from headway.vision.models.pretrained_cfg import default_pretrained_cfg
from headway.vision.models.vit import take_indices

# Plain and shifted windows in turns, as published.
WINDOWS = (partial(WindowAttention, window=7), partial(WindowAttention, window=7, shift=3))


@system(
    id=None,
    name="Swin",
    paper="https://arxiv.org/abs/2103.14030",
    claim="shifted windows connect neighbouring windows at linear cost, equal to timm's with copied weights",
    test="packages/vision/tests/models/test_swin.py",
)
class Swin(Module):
    """Stages of blocks; between two of them 2 x 2 tokens become one of twice the width.

    Pictures of any size will do: what patches, merging and windows do not divide is filled up with
    zeros. Any mixer for tokens on a grid may take the place of the windows.

    Args:
        image_size: Side, or (height, width), in pixels that the model prefers; any other will do.
        num_classes: Classes; with 0 the model returns the pooled vector.
        dim: Channels of a token of the first stage.
        depths: Blocks of each stage.
        heads: Heads of the mixers of each stage.
        embedding: Builds the patch embedding, ``(dim)``; patch size and channels are its arguments.
        mixer: Builds the token mixer, ``(dim, heads)``. A sequence is cycled over each stage, or has one
            entry for every block of the model.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        resampler: Builds what stands between two stages, ``(dim, 2 * dim)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Rate of stochastic depth of the last block; it rises linearly from 0.
        head: Builds the head, ``(dim of the last stage, num_classes)``.

    Shape:
        images: (B, channels, H, W). Output: (B, num_classes).

    Source:
        Liu et al. 2021, https://arxiv.org/abs/2103.14030.
    """

    def __init__(
        self,
        *,
        image_size: int | Sequence[int] = 224,
        num_classes: int = 1000,
        dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        embedding: Callable[[int], nn.Module] = partial(  # noqa: B008
            PatchEmbedding, patch=4, norm=LayerNorm, remainder="pad"
        ),
        mixer: MixerFactories = WINDOWS,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = PreNormBlock,
        resampler: Callable[[int, int], Sublayer] = PatchMerging,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        head: Callable[[int, int], ClassificationHead] = partial(  # noqa: B008
            ClassificationHead, pooling=AveragePooling
        ),
    ) -> None:
        super().__init__()
        if not depths or len(depths) != len(heads) or min(depths) < 1:
            raise UserError(
                f"depths {list(depths)} and heads {list(heads)} need one positive number per stage"
            )
        size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        self.num_classes = num_classes
        self.embed_dim = dim
        self.num_features = self.head_hidden_size = dim * 2 ** (len(depths) - 1)
        self.embedding: Any = embedding(dim)
        mixers, rates = _per_block(mixer, depths), depth_rates(drop_path, sum(depths))
        stages, start = [], 0
        for place, depth in enumerate(depths):
            stages.append(
                Stage(
                    dim * 2**place,
                    heads[place],
                    mixers=mixers[start : start + depth],
                    drop_path=rates[start : start + depth],
                    in_dim=dim * 2 ** max(place - 1, 0),
                    resampler=resampler if place else None,
                    feedforward=feedforward,
                    norm=norm,
                    block=block,
                    layer_scale=layer_scale,
                )
            )
            start += depth
        self.stages = nn.ModuleList(stages)
        init_transformer_(self.stages)
        self.norm = norm(self.num_features)
        self.head = head(self.num_features, num_classes)
        self.pretrained_cfg: dict[str, Any] = default_pretrained_cfg(
            self.embedding.channels, size, num_classes
        )

    @property
    def default_cfg(self) -> dict[str, Any]:
        """The same as ``pretrained_cfg``."""
        return self.pretrained_cfg

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, reduction and module name of the output of each stage."""
        return [
            {
                "num_chs": self.embed_dim * 2**place,
                "reduction": self.embedding.patch[0] * 2**place,
                "module": f"stages.{place}",
            }
            for place in range(len(self.stages))
        ]

    def encode(self, images: Tensor) -> tuple[Tensor, Layout | None]:
        """Returns the encoded tokens and their layout."""
        x, layout = self.embedding(images)
        for stage in self.stages:
            x, layout = stage(x, layout)
        return self.norm(x), layout

    def forward_features(self, images: Tensor) -> Tensor:
        """Returns the encoded tokens, (B, N, dim of the last stage)."""
        return self.encode(images)[0]

    def forward_head(self, x: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Returns the logits of encoded tokens, or with ``pre_logits`` what the classifier reads."""
        return self.head.pool(x) if pre_logits else self.head(x)

    def forward(self, images: Tensor) -> Tensor:
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
    ) -> Any:
        """Returns the encoded tokens and the outputs of some stages.

        Args:
            images: Pictures.
            indices: Which stages (negative from the end), how many of the last ones, or all.
            norm: Whether to apply the final norm to the output of the last stage.
            output_fmt: "NCHW" for maps or "NLC" for tokens.
            intermediates_only: Whether to return the list alone.
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise UserError(f"output_fmt is 'NCHW' or 'NLC', got {output_fmt!r}")
        wanted = take_indices(len(self.stages), indices)
        x, layout = self.embedding(images)
        taken: list[Tensor] = []
        for place, stage in enumerate(self.stages):
            x, layout = stage(x, layout)
            if place in wanted:
                last = place == len(self.stages) - 1
                out = self.norm(x) if norm and last else x
                if output_fmt == "NCHW":
                    out = out.transpose(1, 2).unflatten(2, layout.grid)
                taken.append(out)
        return taken if intermediates_only else (self.norm(x), taken)

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
        """Makes another image size the preferred one; nothing in the model depends on it."""
        size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        self.init_args["image_size"] = list(size)
        channels = self.embedding.channels
        self.pretrained_cfg = {**self.pretrained_cfg, "input_size": (channels, *size)}

    def set_channels(self, channels: int) -> None:
        """Takes pictures with another number of channels, keeping what was learned."""
        self.embedding.set_channels(channels)
        size = self.pretrained_cfg["input_size"][1:]
        fitting = default_pretrained_cfg(channels, size, self.num_classes)
        self.init_args["embedding"] = partial(self.init_args["embedding"], channels=channels)
        # Mean and deviation of three colours say nothing about other channels.
        changed = {name: fitting[name] for name in ("input_size", "mean", "std")}
        self.pretrained_cfg = {**self.pretrained_cfg, **changed}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Chooses whether blocks are recomputed in the backward pass to save memory."""
        for stage in self.stages:
            stage.checkpointing = enable  # pyright: ignore[reportArgumentType]

    def no_weight_decay(self) -> set[str]:
        """Returns the names of parameters that weight decay leaves alone."""
        return undecayed_names(self)

    def layer_depth(self, name: str) -> int:
        """Returns how deep a parameter stands, counted in blocks; what leads to a stage is its first."""
        if name.startswith("embedding."):
            return 0
        depths = [len(stage.blocks) for stage in self.stages]  # pyright: ignore[reportArgumentType]
        if not name.startswith("stages."):
            return sum(depths) + 1
        _, stage, part, *rest = name.split(".")
        place = int(rest[0]) if part == "blocks" else 0
        return sum(depths[: int(stage)]) + place + 1


def _per_block(mixer: MixerFactories, depths: Sequence[int]) -> list[MixerFactory]:
    """Returns the mixer of each block of the model."""
    if not isinstance(mixer, Sequence):
        return [mixer] * sum(depths)
    if not mixer:
        raise UserError("the sequence of mixers is empty; name at least one")
    if len(mixer) == sum(depths):
        return list(mixer)
    return [mixer[place % len(mixer)] for depth in depths for place in range(depth)]
