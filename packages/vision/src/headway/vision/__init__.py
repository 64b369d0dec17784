"""Image classification with ViT, DeiT, DeiT-III and DINOv2."""
