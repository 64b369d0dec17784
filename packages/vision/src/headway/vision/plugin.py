"""What the vision domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain, Verb

domain = Domain(
    name="vision",
    help="Image classification with ViT, DeiT, DeiT-III and DINOv2.",
    verbs={
        "predict": Verb(
            module="headway.vision.verbs.predict", help="predict the classes of pictures"
        ),
    },
    requires=("torchvision", "PIL", "lightning"),
)
