"""What models of vision are trained for."""

from headway.vision.tasks.classification import ImageClassification
from headway.vision.tasks.detection import ObjectDetection
from headway.vision.tasks.detection_loss import DetectionLoss
from headway.vision.tasks.distillation import Distillation
from headway.vision.tasks.mixing import Mixing

__all__ = ["DetectionLoss", "Distillation", "ImageClassification", "Mixing", "ObjectDetection"]
