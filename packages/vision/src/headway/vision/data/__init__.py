"""Data modules of pictures, and what happens to pictures on their way to a model."""

from typing import TYPE_CHECKING

from headway.core.lazy import lazily
from headway.vision.data.batch_augmentation import BatchAugmentation, Cutout, PadCropFlip
from headway.vision.data.box_transforms import BoxAugmentation, DetectionPreprocessing
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.data.transforms import TrainingAugmentation, evaluation_transform
from headway.vision.data.trivial_augment import BatchTrivialAugment

if TYPE_CHECKING:
    from headway.vision.data.cifar10 import CIFAR10
    from headway.vision.data.coco_segmentation import COCOSegmentation
    from headway.vision.data.detection import COCODetection, VOCDetection
    from headway.vision.data.detection_folder import DetectionFolder
    from headway.vision.data.digits import Digits
    from headway.vision.data.fashion_mnist import FashionMNIST
    from headway.vision.data.image_folder import ImageFolder
    from headway.vision.data.segmentation_folder import SegmentationFolder

__all__ = [
    "CIFAR10",
    "BatchAugmentation",
    "BatchTrivialAugment",
    "BoxAugmentation",
    "COCODetection",
    "COCOSegmentation",
    "Cutout",
    "DetectionFolder",
    "DetectionPreprocessing",
    "Digits",
    "FashionMNIST",
    "ImageFolder",
    "PadCropFlip",
    "Preprocessing",
    "SegmentationFolder",
    "TrainingAugmentation",
    "VOCDetection",
    "evaluation_transform",
]

# They need Lightning, which loads when one of them does.
__getattr__ = lazily(
    __name__,
    {
        "CIFAR10": "cifar10",
        "COCODetection": "detection",
        "COCOSegmentation": "coco_segmentation",
        "VOCDetection": "detection",
        "DetectionFolder": "detection_folder",
        "Digits": "digits",
        "FashionMNIST": "fashion_mnist",
        "ImageFolder": "image_folder",
        "SegmentationFolder": "segmentation_folder",
    },
)
