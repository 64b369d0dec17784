"""CaiT, and how timm saves it."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.blocks import ClassAttentionBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.embeddings import PatchEmbedding
from headway.core.feedforward import MLP
from headway.core.heads import ClassificationHead
from headway.core.init import init_transformer_, truncated_normal_
from headway.core.layout import Layout
from headway.core.mixers import ClassAttention, TalkingHeadsAttention
from headway.core.norms import LayerNorm
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.core.weights.table import Rule, Table, join, rename, under
from headway.vision.layers import ImageTokens
from headway.vision.models.classifier import POOLINGS, Images
from headway.vision.models.families import Family, Row
from headway.vision.models.vit import ViT


@system(
    id=None,
    name="CaiT",
    paper="https://arxiv.org/abs/2103.17239",
    claim="a class token that comes late and only reads, equal to timm's with copied weights",
    test="packages/vision/tests/models/test_cait.py",
)
class CaiT(ViT):
    """A deep ViT of patches alone, whose class token comes late and gathers what they say.

    Pictures of any size whose sides are multiples of the patch will do.

    Args:
        image_size: Side, or (height, width), in pixels that position embeddings are made for.
        num_classes: Classes; with 0 the model returns the pooled vector.
        dim: Channels of a token.
        depth: Blocks of the patches.
        class_depth: Blocks of the class token.
        heads: Heads of the mixers.
        embedding: Builds the patch embedding, ``(dim)``; patch size and channels are its arguments.
        mixer: Builds the token mixer of the patches, ``(dim, heads)``; a sequence is cycled over the depth.
        class_mixer: Builds the mixer through which the class token reads, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        layer_scale: Where the learned scale of each branch starts; none if None.
        drop_path: Rate of stochastic depth of every block of the patches; it does not rise with depth here.
        head: Builds the head, ``(dim, num_classes)``.

    Shape:
        images: (B, channels, H, W). Output: (B, num_classes).

    Source:
        Touvron et al. 2021, https://arxiv.org/abs/2103.17239.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("class_token",)

    def __init__(
        self,
        *,
        image_size: int | Sequence[int] = 224,
        num_classes: int = 1000,
        dim: int = 192,
        depth: int = 24,
        class_depth: int = 2,
        heads: int = 4,
        embedding: Callable[[int], nn.Module] = PatchEmbedding,
        mixer: MixerFactories = TalkingHeadsAttention,
        class_mixer: MixerFactory = ClassAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        layer_scale: float | None = 1e-5,
        drop_path: float = 0.0,
        head: Callable[[int, int], ClassificationHead] = ClassificationHead,
    ) -> None:
        super().__init__(
            image_size=image_size,
            num_classes=num_classes,
            dim=dim,
            depth=depth,
            heads=heads,
            embedding=embedding,
            tokens=partial(ImageTokens, class_token=False),
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            final_norm=False,
            layer_scale=layer_scale,
            drop_path=[drop_path] * depth,
            head=head,
        )
        self.class_token = nn.Parameter(truncated_normal_(torch.empty(1, 1, dim)))
        self.reader = Encoder(
            dim,
            class_depth,
            heads,
            mixer=class_mixer,
            feedforward=feedforward,
            norm=norm,
            block=ClassAttentionBlock,
            layer_scale=layer_scale,
        )
        init_transformer_(self.reader)

    @property
    def final_norm(self) -> nn.Module | None:
        """The norm of class token and patches, behind the last block."""
        return self.reader.norm

    @property
    def num_prefix_tokens(self) -> int:
        """The class token, in front of the encoded patches."""
        return 1

    def encode(self, images: Images) -> tuple[Tensor, Layout | None]:
        """Returns the encoded tokens and their layout, the class token in front."""
        return self.finish(*super().encode(images))

    def finish(self, x: Tensor, layout: Layout | None) -> tuple[Tensor, Layout | None]:
        """Lets the class token read what the blocks made of the patches."""
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        layout = layout if layout is not None else Layout()
        return self.reader(x, layout.replace(prefix=1))

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Returns patterns that sort parameters by depth, as timm's layer decay reads them."""
        return {
            "stem": r"^(?:embedding|tokens|class_token)",
            "blocks": [(r"^encoder\.blocks\.(\d+)", None), (r"^reader\.", (99999,))],
        }


def make_cait(row: Row, *, channels: int, patch_size: int, dropout: float, **sizes: Any) -> CaiT:
    """Makes the model of a row."""
    return CaiT(
        dim=int(row["dim"]),
        depth=int(row["depth"]),
        heads=int(row["heads"]),
        embedding=partial(PatchEmbedding, patch=patch_size, channels=channels),
        norm=partial(LayerNorm, eps=1e-6),
        layer_scale=float(row["layer_scale"]),
        head=partial(
            ClassificationHead, pooling=POOLINGS[row.get("pooling", "token")], dropout=dropout
        ),
        **sizes,
    )


def _seen(state: Mapping[str, Tensor]) -> Row:
    """Returns what timm's tensors tell."""
    tokens, dim = state["pos_embed"].shape[1:]
    patch = state["patch_embed.proj.weight"].shape[-1]
    blocks = {found[1] for name in state if (found := re.match(r"blocks\.(\d+)\.", name))}
    return {
        "image": str(patch * round(tokens**0.5)),
        "dim": str(dim),
        "depth": str(len(blocks)),
        "heads": str(len(state["blocks.0.attn.proj_l.weight"])),
    }


def _block(*attention: Rule) -> list[Rule]:
    return [
        rename("mixer.norm.*", "norm1.*"),
        rename("feedforward.norm.*", "norm2.*"),
        rename("mixer.scale.gamma", "gamma_1"),
        rename("feedforward.scale.gamma", "gamma_2"),
        *under("mixer.function.", "attn.", *attention, rename("projection.*", "proj.*")),
        rename("feedforward.function.*", "mlp.*"),
    ]


CAIT = Family(
    name="CaiT",
    table="cait.tsv",
    make=make_cait,
    tiny={"image": "32", "dim": "24", "depth": "1", "heads": "3"},
    timm=Table(
        rename("embedding.*", "patch_embed.proj.*"),
        rename("tokens.position.table", "pos_embed"),
        rename("class_token", "cls_token"),
        under(
            "encoder.blocks.{n}.",
            "blocks.{n}.",
            *_block(
                rename("qkv.*", "qkv.*"),
                rename("mix_scores.*", "proj_l.*"),
                rename("mix_weights.*", "proj_w.*"),
            ),
        ),
        under(
            "reader.blocks.{n}.",
            "blocks_token_only.{n}.",
            *_block(rename("q.*", "q.*"), join("kv.*", ["k.*", "v.*"])),
        ),
        rename("reader.norm.*", "norm.*"),
        rename("head.classifier.*", "head.*"),
    ),
    timm_marks=frozenset(
        {"patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.0.attn.proj_l.weight"}
    ),
    seen=_seen,
    pooled={word: {"pooling": word} for word in ("token", "avg")},
    global_pool="token",
    words={"init_values": "layer_scale"},
    told=("num_heads",),
)
