"""Vision models, under timm's names."""

from headway.vision.models.cait import CaiT
from headway.vision.models.conditional_detr import ConditionalDETR
from headway.vision.models.deformable_detr import DeformableDETR
from headway.vision.models.detections import Detections, SigmoidDetections
from headway.vision.models.detr import DETR
from headway.vision.models.dfine import DFINE
from headway.vision.models.eomt import EoMT
from headway.vision.models.factory import create_model, list_models
from headway.vision.models.features import Features
from headway.vision.models.hiera import Hiera
from headway.vision.models.lw_detr import LWDETR, RFDETR
from headway.vision.models.mask2former import Mask2Former
from headway.vision.models.maskformer import MaskFormer
from headway.vision.models.masks import Masks
from headway.vision.models.mix_transformer import MixTransformer
from headway.vision.models.pem import PEM
from headway.vision.models.pit import DistilledPiT, PiT
from headway.vision.models.poolformer import PoolFormer
from headway.vision.models.pretrained import (
    pretrained,
    pretrained_detector,
    pretrained_segmenter,
)
from headway.vision.models.pyramid import Pyramid
from headway.vision.models.rt_detr import RTDETR
from headway.vision.models.segformer import SegFormer
from headway.vision.models.swin import Swin
from headway.vision.models.swin_v2 import SwinV2
from headway.vision.models.vidt import ViDT, reconfigured_swin
from headway.vision.models.vit import ViT
from headway.vision.models.vit_distilled import DistilledLogits, DistilledViT
from headway.vision.models.yolos import YOLOS

__all__ = [
    "DETR",
    "DFINE",
    "LWDETR",
    "PEM",
    "RFDETR",
    "RTDETR",
    "YOLOS",
    "CaiT",
    "ConditionalDETR",
    "DeformableDETR",
    "Detections",
    "DistilledLogits",
    "DistilledPiT",
    "DistilledViT",
    "EoMT",
    "Features",
    "Hiera",
    "Mask2Former",
    "MaskFormer",
    "Masks",
    "MixTransformer",
    "PiT",
    "PoolFormer",
    "Pyramid",
    "SegFormer",
    "SigmoidDetections",
    "Swin",
    "SwinV2",
    "ViDT",
    "ViT",
    "create_model",
    "list_models",
    "pretrained",
    "pretrained_detector",
    "pretrained_segmenter",
    "reconfigured_swin",
]
