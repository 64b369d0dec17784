"""What models of vision are trained for."""

from headway.vision.tasks.aligned_loss import AlignedLoss
from headway.vision.tasks.classification import ImageClassification
from headway.vision.tasks.detection import ObjectDetection
from headway.vision.tasks.detection_loss import DetectionLoss
from headway.vision.tasks.distillation import Distillation
from headway.vision.tasks.fine_loss import FineLoss
from headway.vision.tasks.focal_loss import FocalLoss
from headway.vision.tasks.focal_mask_loss import FocalMaskLoss
from headway.vision.tasks.mask_classification import MaskClassification
from headway.vision.tasks.mask_loss import MaskLoss
from headway.vision.tasks.mixing import Mixing
from headway.vision.tasks.point_loss import PointMaskLoss
from headway.vision.tasks.segmentation import Segmentation
from headway.vision.tasks.set_loss import SetLoss
from headway.vision.tasks.varifocal_loss import VarifocalLoss

__all__ = [
    "AlignedLoss",
    "DetectionLoss",
    "Distillation",
    "FineLoss",
    "FocalLoss",
    "FocalMaskLoss",
    "ImageClassification",
    "MaskClassification",
    "MaskLoss",
    "Mixing",
    "ObjectDetection",
    "PointMaskLoss",
    "Segmentation",
    "SetLoss",
    "VarifocalLoss",
]
