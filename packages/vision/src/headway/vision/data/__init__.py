"""Data modules of pictures, and what happens to pictures on their way to a model."""

from headway.vision.data.batch_augmentation import BatchAugmentation, Cutout, PadCropFlip
from headway.vision.data.box_transforms import BoxAugmentation, DetectionPreprocessing
from headway.vision.data.cifar10 import CIFAR10
from headway.vision.data.detection import COCODetection, VOCDetection
from headway.vision.data.digits import Digits
from headway.vision.data.fashion_mnist import FashionMNIST
from headway.vision.data.image_folder import ImageFolder
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.data.transforms import TrainingAugmentation, evaluation_transform
from headway.vision.data.trivial_augment import BatchTrivialAugment

__all__ = [
    "CIFAR10",
    "BatchAugmentation",
    "BatchTrivialAugment",
    "BoxAugmentation",
    "COCODetection",
    "Cutout",
    "DetectionPreprocessing",
    "Digits",
    "FashionMNIST",
    "ImageFolder",
    "PadCropFlip",
    "Preprocessing",
    "TrainingAugmentation",
    "VOCDetection",
    "evaluation_transform",
]
