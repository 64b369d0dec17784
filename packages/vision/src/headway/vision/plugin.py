"""What the vision domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain

domain = Domain(
    name="vision",
    help="Image classification with ViT, DeiT, DeiT-III and DINOv2.",
    adapters=(
        "headway.vision.weights.timm:adapter",
        "headway.vision.weights.hugging_face:adapter",
    ),
    models="headway.vision.models:list_models",
    requires=("lightning", "torchvision", "PIL", "sklearn"),
)
