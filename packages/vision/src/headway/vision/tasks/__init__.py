"""What models of vision are trained for."""

from headway.vision.tasks.classification import ImageClassification
from headway.vision.tasks.distillation import Distillation
from headway.vision.tasks.mixing import Mixing

__all__ = ["Distillation", "ImageClassification", "Mixing"]
