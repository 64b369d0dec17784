"""What the vision domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain

domain = Domain(name="vision", help="Image classification with ViT, DeiT, DeiT-III and DINOv2.")
