"""Every model of the domain, copied, moved, saved and exported with a free batch."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from headway.core.embeddings import PatchEmbedding
from headway.core.mixers import SelfAttention
from headway.core.testing.models import Case, assert_constants, check_copies, check_graph
from headway.vision import models
from headway.vision.layers import ImageTokens, TiledAttention, TiledTokens
from headway.vision.models import (
    DETR,
    DFINE,
    LWDETR,
    PEM,
    RFDETR,
    RTDETR,
    YOLOS,
    ConditionalDETR,
    DeformableDETR,
    DistilledViT,
    EoMT,
    Features,
    Mask2Former,
    MaskFormer,
    MixTransformer,
    Pyramid,
    SegFormer,
    Swin,
    ViDT,
    ViT,
    create_model,
    list_models,
    reconfigured_swin,
)
from headway.vision.models.classifier import ImageClassifier
from headway.vision.models.factory import FAMILIES
from headway.vision.models.families import Family
from headway.vision.models.pit import PIT

VIT = {"image_size": 32, "num_classes": 3, "dim": 24, "depth": 1, "heads": 3}


def tiny(family: Family) -> ImageClassifier:
    """The smallest member of a family: a new one is tried without a word here."""
    return family.build(family.tiny_row(), num_classes=3)


def swin() -> Swin:
    return Swin(image_size=32, num_classes=3, dim=12, depths=(1, 1), heads=(2, 4))


def pyramid() -> Pyramid:
    return Pyramid(image_size=32, num_classes=3, dims=(8, 24), depths=(1, 2), heads=(2, 3))


def detr() -> DETR:
    backbone = Features(swin(), [1])
    sizes = {"dim": 16, "heads": 2, "queries": 4, "encoder_depth": 1, "decoder_depth": 1}
    return DETR(num_classes=3, backbone=backbone, **sizes)


def conditional_detr() -> ConditionalDETR:
    sizes = {"dim": 16, "heads": 2, "queries": 4, "encoder_depth": 1, "decoder_depth": 2}
    return ConditionalDETR(num_classes=3, backbone=Features(swin(), [1]), **sizes)


def deformable_detr(**options: bool) -> DeformableDETR:
    sizes = {
        "dim": 16,
        "heads": 2,
        "queries": 4,
        "levels": 2,
        "encoder_depth": 1,
        "decoder_depth": 2,
    }
    backbone = Features(swin(), [0, 1])
    return DeformableDETR(num_classes=3, backbone=backbone, **sizes, **options)


def d_fine() -> DFINE:
    sizes = {"dim": 16, "heads": 2, "queries": 4, "depth": 2}
    return DFINE(num_classes=3, backbone=Features(swin(), [0, 1]), **sizes)


def rt_detr() -> RTDETR:
    sizes = {"dim": 16, "heads": 2, "queries": 4, "depth": 2}
    return RTDETR(num_classes=3, backbone=Features(swin(), [0, 1]), **sizes)


def vidt() -> ViDT:
    swin = reconfigured_swin(dim=16, depths=(1, 1), heads=(2, 2), window=4, position_dim=16)
    sizes = {"dim": 16, "heads": 2, "queries": 4, "depth": 1}
    return ViDT(num_classes=3, backbone=swin, **sizes, overlaps=True, labels=True)


def yolos() -> YOLOS:
    return YOLOS(num_classes=3, image_size=32, dim=24, depth=2, heads=3, queries=4)


def plain(*, registers: bool = False) -> Features:
    """Maps of a plain ViT, whose first block sees tiles of a map alone."""
    tokens = TiledTokens if registers else partial(ImageTokens, class_token=False)
    options = {"tokens": partial(tokens, tiles=2) if registers else tokens, "final_norm": registers}
    mixer = [partial(TiledAttention, tiles=2), SelfAttention]
    cut = partial(PatchEmbedding, patch=8)
    sizes = {"image_size": 32, "num_classes": 0, "dim": 16, "depth": 2, "heads": 2}
    return Features(ViT(embedding=cut, mixer=mixer, **sizes, **options), [0, 1])


def lw_detr() -> LWDETR:
    sizes = {"dim": 16, "heads": 2, "cross_heads": 2, "queries": 4, "groups": 2, "depth": 2}
    return LWDETR(num_classes=3, backbone=plain(), **sizes)


def rf_detr() -> RFDETR:
    sizes = {"dim": 16, "heads": 2, "cross_heads": 2, "queries": 4, "groups": 2, "depth": 2}
    return RFDETR(num_classes=3, backbone=plain(registers=True), **sizes)


def segformer() -> SegFormer:
    sizes = {"dims": (8, 16), "depths": (1, 1), "heads": (1, 2), "reductions": (2, 1)}
    return SegFormer(num_classes=3, dim=8, **sizes)


def mix_transformer() -> MixTransformer:
    sizes = {"dims": (8, 16), "depths": (1, 1), "heads": (1, 2), "reductions": (2, 1)}
    return MixTransformer(num_classes=3, **sizes)


def distilled_pit() -> ImageClassifier:
    return PIT.build({**PIT.tiny_row(), "distilled": "1"}, num_classes=3)


def mask2former() -> Mask2Former:
    sizes = {"dim": 16, "mask_dim": 8, "heads": 2, "queries": 4, "levels": 2}
    backbone = Features(
        Swin(image_size=32, num_classes=0, dim=12, depths=(1,) * 3, heads=(2,) * 3), [0, 1, 2]
    )
    return Mask2Former(num_classes=3, backbone=backbone, encoder_depth=1, decoder_depth=2, **sizes)


def eomt() -> EoMT:
    return EoMT(
        num_classes=3, backbone=ViT(**{**VIT, "num_classes": 0, "depth": 2}), queries=4, joint=1
    )


def pem() -> PEM:
    sizes = {"dim": 16, "pixel_dim": 8, "mask_dim": 8, "heads": 2, "queries": 4, "depth": 1}
    return PEM(num_classes=3, backbone=Features(swin(), [0, 1]), **sizes)


def maskformer() -> MaskFormer:
    sizes = {"dim": 16, "pixel_dim": 16, "mask_dim": 8, "heads": 2, "queries": 4, "depth": 1}
    return MaskFormer(num_classes=3, backbone=Features(swin(), [0, 1]), **sizes)


def pictures(batch: int, size: int) -> tuple[Tensor]:
    return (torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(0)),)


CASES = {
    "DistilledViT": Case(make=lambda: DistilledViT(**VIT), inputs=pictures),
    "DistilledPiT": Case(make=distilled_pit, inputs=pictures),
    "Pyramid": Case(make=pyramid, inputs=pictures),
    **{
        type(tiny(family)).__name__: Case(make=partial(tiny, family), inputs=pictures)
        for family in FAMILIES
    },
    "Features": Case(make=lambda: Features(swin()), inputs=pictures),
    "MixTransformer": Case(make=mix_transformer, inputs=pictures),
    "SegFormer": Case(make=segformer, inputs=pictures),
    # What a query may read is a matter of signs, which half precision moves.
    "Mask2Former": Case(make=mask2former, inputs=pictures, narrow=False),
    # So is what a query may read here.
    "EoMT": Case(make=eomt, inputs=pictures, narrow=False),
    # Of tokens that are nearly as much alike, half precision reads others.
    "PEM": Case(make=pem, inputs=pictures, narrow=False),
    "MaskFormer": Case(make=maskformer, inputs=pictures),
    "DETR": Case(make=detr, inputs=pictures),
    "ConditionalDETR": Case(make=conditional_detr, inputs=pictures),
    "DeformableDETR": Case(make=deformable_detr, inputs=pictures),
    "DFINE": Case(make=d_fine, inputs=pictures, narrow=False),
    # Of candidates that are nearly as good, half precision chooses others.
    "RTDETR": Case(make=rt_detr, inputs=pictures, narrow=False),
    "LWDETR": Case(make=lw_detr, inputs=pictures, narrow=False),
    "RFDETR": Case(make=rf_detr, inputs=pictures, narrow=False),
    "ViDT": Case(make=vidt, inputs=pictures),
    "YOLOS": Case(make=yolos, inputs=pictures),
}


# What other cases hold is tried by itself in `make test-all`.
PARTS, SLOW = ("Swin", "Features"), [pytest.mark.slow]


def test_every_model_has_a_case() -> None:
    classes = [getattr(models, name) for name in models.__all__]
    assert CASES.keys() == {
        cls.__name__ for cls in classes if isinstance(cls, type) and issubclass(cls, nn.Module)
    }


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW if name in PARTS else []) for name in CASES]
)
def test_copies_of_a_model_answer_as_it_does(name: str, tmp_path: Path) -> None:
    check_copies(CASES[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_it_exports_with_a_free_batch(name: str, tmp_path: Path) -> None:
    check_graph(CASES[name], tmp_path / "model.pt2")


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_a_published_name_loses_nothing_on_the_meta_device(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name)
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    assert_constants(model)
