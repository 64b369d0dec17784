"""The adapters of every family of image classifiers."""

from headway.core.weights.adapter import Adapter
from headway.vision.models.factory import FAMILIES
from headway.vision.models.hiera_variants import HIERA
from headway.vision.models.pit import PIT
from headway.vision.models.swin_v2_variants import SWIN_V2
from headway.vision.models.swin_variants import SWIN
from headway.vision.models.vit_variants import VIT
from headway.vision.weights import hugging_face, hugging_face_swin
from headway.vision.weights.hugging_face_family import HuggingFaceFamily
from headway.vision.weights.timm import TimmFamily
from headway.vision.weights.timm_hiera import TimmHiera
from headway.vision.weights.timm_pit import TimmPiT
from headway.vision.weights.timm_swin import TimmSwin
from headway.vision.weights.timm_swin_v2 import TimmSwinV2
from headway.vision.weights.timm_vit import TimmViT

# Of families whose files tell more than names and shapes of stages.
OWN: dict[str, type[TimmFamily]] = {
    VIT.name: TimmViT,
    SWIN.name: TimmSwin,
    SWIN_V2.name: TimmSwinV2,
    HIERA.name: TimmHiera,
    PIT.name: TimmPiT,
}

adapters: tuple[Adapter, ...] = (
    *(OWN.get(family.name, TimmFamily)(family) for family in FAMILIES),
    *(
        HuggingFaceFamily(family.name, family.hugging_face)
        for family in FAMILIES
        if family.hugging_face is not None
    ),
    hugging_face.adapter,
    hugging_face_swin.adapter,
)
