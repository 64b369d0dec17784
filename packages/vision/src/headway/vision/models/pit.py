"""PiT, and how timm saves it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.blocks.block import BlockFactory, MixerFactories
from headway.core.embeddings import OverlappingPatchEmbedding
from headway.core.heads import ClassificationHead
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.passed import Passed
from headway.core.sublayer import Sublayer
from headway.core.systems import system
from headway.core.weights.table import Reshaped, Rule, Table, combine, rename, under
from headway.vision.layers import ConvPooling, ImageTokens
from headway.vision.models.classifier import Images
from headway.vision.models.families import Family, Row, blocks_of_stages, numbers
from headway.vision.models.pyramid import Pyramid, PyramidSizes
from headway.vision.models.vit_distilled import Distilled

_NORM = partial(LayerNorm, eps=1e-6)
# Positions stand on patches alone.
_TOKENS = partial(ImageTokens, position_on_prefix=False)


class PiTSizes(PyramidSizes, total=False):
    """What ``PiT`` passes on to ``Pyramid``."""

    block: BlockFactory


class PiTOptions(PiTSizes, total=False):
    """What a PiT with tokens of its own passes on to ``PiT``."""

    dims: Sequence[int]
    depths: Sequence[int]
    heads: Sequence[int]
    embedding: Callable[[int], nn.Module]
    mixer: MixerFactories
    norm: Callable[[int], nn.Module]
    resampler: Callable[[int, int], Sublayer]


@system(
    id=483,
    name="PiT",
    paper="https://arxiv.org/abs/2103.16302",
    claim="a ViT whose map a convolution of each channel halves between stages, equal to timm's with copied "
    "weights",
    test="packages/vision/tests/models/test_pit.py",
)
class PiT(Pyramid):
    """A ViT in stages: between two of them the map is halved, and the class token goes along.

    Pictures of any size of at least a patch will do.

    Args:
        dims: Channels of a token of each stage, each a multiple of the one before.
        depths: Blocks of each stage.
        heads: Heads of the mixers of each stage.
        embedding: Builds the patch embedding, ``(dim)``; patch size and channels are its arguments.
        tokens: Builds what adds class tokens and positions, ``(dim, grid)``.
        mixer: Builds the token mixer, ``(dim, heads)``. A sequence is cycled over each stage, or has one
            entry for every block of the model.
        norm: Builds the norms, ``(dim)``.
        resampler: Builds what stands between two stages, ``(dim, next dim)``.
        head: Builds the head, ``(dim of the last stage, num_classes)``.
        **options: As of every ``Pyramid``: image_size, num_classes, feedforward, block, final_norm and
            drop_path.

    Shape:
        images: (B, channels, H, W). Output: (B, num_classes).

    Source:
        Heo et al. 2021, https://arxiv.org/abs/2103.16302.
    """

    def __init__(
        self,
        *,
        dims: Sequence[int] = (144, 288, 576),
        depths: Sequence[int] = (2, 6, 4),
        heads: Sequence[int] = (3, 6, 12),
        embedding: Callable[[int], nn.Module] = partial(  # noqa: B008
            OverlappingPatchEmbedding, patch=8, kernel=16, padding=0
        ),
        tokens: Callable[[int, Sequence[int]], ImageTokens] = _TOKENS,
        mixer: MixerFactories = SelfAttention,
        norm: Callable[[int], nn.Module] = _NORM,
        resampler: Callable[[int, int], Sublayer] = ConvPooling,
        head: Callable[[int, int], ClassificationHead] = ClassificationHead,
        **options: Passed[PiTSizes],
    ) -> None:
        super().__init__(
            dims=dims,
            depths=depths,
            heads=heads,
            embedding=embedding,
            mixer=mixer,
            norm=norm,
            resampler=resampler,
            head=head,
            **options,
        )
        size = self.pretrained_cfg["input_size"][1:]
        self.tokens = tokens(dims[0], self.embedding.grid(size))

    @property
    def num_prefix_tokens(self) -> int:
        """Class and distillation tokens in front of the patches."""
        return self.tokens.prefix

    def embed(self, images: Images) -> tuple[Tensor, Layout]:
        """Returns what the first stage reads."""
        return self.tokens(*super().embed(images))

    @property
    def position_embedding(self) -> nn.Module | None:
        """That of the tokens."""
        return self.tokens.position

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Returns patterns that sort parameters by depth, as timm's layer decay reads them."""
        return {**super().group_matcher(coarse), "stem": r"^(?:embedding|tokens)\."}

    def layer_depth(self, name: str) -> int:
        """Returns how deep a parameter stands, counted in blocks; what leads to a stage is its first."""
        return 0 if name.startswith("tokens.") else super().layer_depth(name)


class DistilledPiT(Distilled, PiT):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A PiT with a second head that reads a distillation token.

    In training it returns both logits; in evaluation their mean.

    Args:
        tokens: Builds the tokens in front; must have a class and a distillation token.
        **options: As of every ``PiT``: image_size, num_classes, dims, depths, heads, embedding, mixer,
            feedforward, norm, block, resampler, final_norm and drop_path.

    Source:
        Heo et al. 2021, https://arxiv.org/abs/2103.16302, section 4.1.
    """

    def __init__(
        self,
        *,
        tokens: Callable[[int, Sequence[int]], ImageTokens] = partial(  # noqa: B008
            _TOKENS, distillation_token=True
        ),
        **options: Passed[PiTOptions],
    ) -> None:
        super().__init__(tokens=tokens, head=ClassificationHead, **options)
        self.make_classifier()


def _make(row: Row, *, channels: int, patch_size: int, dropout: float, **sizes: Any) -> PiT:
    """Makes the model of a row; patches overlap by half."""
    options: dict[str, Any] = {
        "dims": numbers(row["dims"]),
        "depths": numbers(row["depths"]),
        "heads": numbers(row["heads"]),
        "embedding": partial(
            OverlappingPatchEmbedding,
            patch=patch_size // 2,
            kernel=patch_size,
            padding=0,
            channels=channels,
        ),
        **sizes,
    }
    if row["distilled"] == "1":
        return DistilledPiT(**options)
    return PiT(head=partial(ClassificationHead, dropout=dropout), **options)


def _seen(state: Mapping[str, Tensor]) -> Row:
    """Returns what timm's tensors tell; heads double from stage to stage and stand in no tensor."""
    depths = blocks_of_stages(state, "transformers")
    norms = [f"transformers.{stage}.blocks.0.norm1.weight" for stage in range(len(depths))]
    return {
        "dims": ",".join(str(len(state[name])) for name in norms),
        "depths": ",".join(map(str, depths)),
        "distilled": str(int("head_dist.weight" in state)),
    }


def pit_table(grid: Sequence[int], *, distilled: bool) -> Table:
    """Returns timm's names, ours beside them.

    Args:
        grid: (H, W) of the table of positions, which is a map there.
        distilled: Whether class and distillation token stand in one tensor there.
    """
    positions = Reshaped(
        lambda value: value.flatten(2).transpose(1, 2).contiguous(),
        lambda value: value.transpose(1, 2).unflatten(2, tuple(grid)).contiguous(),
    )
    tokens: Rule = rename("tokens.class_token", "cls_token")
    if distilled:
        tokens = combine(
            ["tokens.class_token", "tokens.distillation_token"],
            ["cls_token"],
            read=lambda both: (both[:, :1].clone(), both[:, 1:].clone()),
            write=lambda first, second: torch.cat([first, second], dim=1),
        )
    return Table(
        rename("embedding.*", "patch_embed.conv.*"),
        rename("tokens.position.table", "pos_embed", form=positions),
        tokens,
        # Official files keep what stands between stages apart.
        rename(
            "stages.{s+1}.downsample.conv.*", "transformers.{s+1}.pool.conv.*", "pools.{s}.conv.*"
        ),
        rename(
            "stages.{s+1}.downsample.prefix.*", "transformers.{s+1}.pool.fc.*", "pools.{s}.fc.*"
        ),
        under(
            "stages.{s}.blocks.{b}.",
            "transformers.{s}.blocks.{b}.",
            rename("mixer.norm.*", "norm1.*"),
            rename("feedforward.norm.*", "norm2.*"),
            rename("mixer.function.qkv.*", "attn.qkv.*"),
            rename("mixer.function.projection.*", "attn.proj.*"),
            rename("feedforward.function.*", "mlp.*"),
        ),
        rename("norm.*", "norm.*"),
        rename("head.classifier.*", "head.*"),
        rename("distillation_classifier.*", "head_dist.*"),
    )


PIT = Family(
    name="PiT",
    table="pit.tsv",
    make=_make,
    patch=16,
    tiny={"image": "32", "dims": "8,16", "depths": "1,1", "heads": "1,2", "distilled": "0"},
    timm=pit_table((27, 27), distilled=False),
    timm_marks=frozenset({"patch_embed.conv.weight", "transformers.0.blocks.0.norm1.weight"}),
    seen=_seen,
    global_pool="token",
    told=("heads",),
)
