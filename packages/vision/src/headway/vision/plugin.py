"""What the vision domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain, Verb

domain = Domain(
    name="vision",
    help="Image classification with ViT, DeiT, DINOv2, CaiT, Swin, Swin V2, Hiera, PiT, PoolFormer; "
    "detection with DETR, Conditional DETR, Deformable DETR, RT-DETR, D-FINE, YOLOS, LW-DETR, RF-DETR, ViDT; "
    "segmentation with SegFormer, Mask2Former, MaskFormer, EoMT, PEM.",
    adapters=(
        "headway.vision.weights.families:adapters",
        "headway.vision.weights.hugging_face_detr:adapter",
        "headway.vision.weights.hugging_face_conditional_detr:adapter",
        "headway.vision.weights.hugging_face_d_fine:adapter",
        "headway.vision.weights.hugging_face_deformable_detr:adapter",
        "headway.vision.weights.hugging_face_eomt:adapter",
        "headway.vision.weights.hugging_face_mask2former:adapter",
        "headway.vision.weights.hugging_face_maskformer:adapter",
        "headway.vision.weights.hugging_face_lw_detr:adapter",
        "headway.vision.weights.hugging_face_rf_detr:adapter",
        "headway.vision.weights.hugging_face_rt_detr:adapter",
        "headway.vision.weights.hugging_face_segformer:adapter",
        "headway.vision.weights.hugging_face_yolos:adapter",
        "headway.vision.weights.roboflow_rf_detr:adapter",
        "headway.vision.weights.vidt_files:adapter",
    ),
    models=("headway.vision.models:list_models",),
    requires=("lightning", "torchvision", "PIL", "sklearn", "scipy", "pycocotools"),
    verbs={
        "predict": Verb(
            module="headway.vision.verbs.predict", help="predict the classes of pictures"
        ),
        "data": Verb(
            module="headway.vision.verbs.data",
            help="check pictures with boxes or masks: classes, sizes, what is wrong",
        ),
        "detect": Verb(
            module="headway.vision.verbs.detect",
            help="find objects in pictures and draw their boxes",
        ),
        "segment": Verb(
            module="headway.vision.verbs.segment",
            help="give each pixel of pictures a class and draw the masks",
        ),
        "explain": Verb(
            module="headway.vision.verbs.explain", help="draw what in a picture an answer rests on"
        ),
        "export": Verb(
            module="headway.vision.verbs.export", help="write a model as ONNX or torch.export file"
        ),
    },
)
