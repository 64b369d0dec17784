"""SegFormer against transformers: same files, same logits, same loss, same gradients, same masks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import (
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
    SegformerModel,
)
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from headway.core.errors import UserError
from headway.core.finetune import HeadOnly, LoRA
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, open_checkpoint, save_published
from headway.vision.models import MixTransformer, create_model, pretrained_segmenter
from headway.vision.models.segformer import SegFormer
from headway.vision.verbs.segmenting import Looking, load_segmenter, segmented
from headway.vision.weights.hugging_face_segformer import adapter

SIZES = {"dims": (8, 16), "depths": (2, 1), "heads": (1, 2), "reductions": (4, 1)}
CONFIG = {
    "num_encoder_blocks": 2, "depths": [2, 1], "sr_ratios": [4, 1], "hidden_sizes": [8, 16],
    "patch_sizes": [7, 3], "strides": [4, 2], "num_attention_heads": [1, 2], "mlp_ratios": [4, 4],
    "decoder_hidden_size": 12, "num_labels": 5,
}  # fmt: skip
KINDS = (SegformerForSemanticSegmentation, SegformerForImageClassification, SegformerModel)


def published(folder: Path, kind: type = KINDS[0], **config: object):
    """Returns a model of transformers, and its folder, with the names of 4.x."""
    torch.manual_seed(0)
    theirs = kind(SegformerConfig(**{**CONFIG, **config})).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    theirs.save_pretrained(folder)
    return theirs


@pytest.fixture
def peers(tmp_path: Path):
    theirs = published(tmp_path / "published")
    ours = from_pretrained(tmp_path / "published")
    assert isinstance(ours, SegFormer)
    return ours.eval(), theirs


def test_logits_loss_and_gradients_equal_transformers(peers, tmp_path: Path) -> None:
    ours, theirs = peers
    images = torch.randn(2, 3, 48, 72)
    labels = torch.randint(5, (2, 48, 72))
    labels[:, :5] = 255
    expected = theirs(images, labels=labels)
    torch.testing.assert_close(ours.coarse(images), expected.logits, rtol=0, atol=1e-5)
    loss = F.cross_entropy(ours(images), labels, ignore_index=255)
    torch.testing.assert_close(loss, expected.loss, rtol=0, atol=1e-5)
    loss.backward()
    expected.loss.backward()
    checkpoint = open_checkpoint(tmp_path / "published")
    table = adapter.table(checkpoint, ours)
    grads = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    found = table.to_ours({**theirs.state_dict(), **grads}, ours)
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        # A bias of all keys changes no attention: its gradient is rounding around 0.
        torch.testing.assert_close(parameter.grad, found[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("size", [(33, 70), (64, 48), (180, 240)])
def test_every_pixel_gets_logits_whatever_the_size(size: tuple[int, int]) -> None:
    model = SegFormer(num_classes=5, dim=12, **SIZES).eval()
    assert model(torch.randn(1, 3, *size)).shape == (1, 5, *size)


def test_stages_that_differ_in_number_are_refused() -> None:
    with pytest.raises(UserError, match="give each stage one"):
        SegFormer(num_classes=5, dims=(8, 16), depths=(1,), heads=(1, 2), reductions=(1, 1))


def test_scores_are_probabilities_at_the_size_that_is_asked_for(peers) -> None:
    ours, theirs = peers
    images = torch.randn(2, 3, 48, 72)
    found = ours.semantic(images, (31, 50))
    wanted = F.interpolate(theirs(images).logits, (31, 50), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, wanted.softmax(1), rtol=0, atol=1e-5)
    assert ours.semantic(images).shape == (2, 5, 48, 72)


def test_other_classes_get_a_new_classifier_alone(peers) -> None:
    ours, _ = peers
    kept = {k: v.clone() for k, v in ours.state_dict().items() if not k.startswith("classifier")}
    ours.pretrained_cfg["label_names"] = ("a",) * 5
    ours.reset_classifier(3)
    assert ours.init_args["num_classes"] == ours.num_classes == 3
    assert "label_names" not in ours.pretrained_cfg
    assert ours.semantic(torch.randn(1, 3, 40, 40)).shape == (1, 3, 40, 40)
    for name, tensor in kept.items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=0, atol=0)


def test_files_return_bit_for_bit_with_names_of_both_generations(peers, tmp_path: Path) -> None:
    ours, theirs = peers
    old = load_file(tmp_path / "published" / "model.safetensors")
    assert "segformer.encoder.block.0.1.attention.self.query.weight" in old
    check_round_trip(tmp_path / "published", tmp_path / "back")
    new = tmp_path / "new"
    new.mkdir()
    (new / "config.json").write_text((tmp_path / "published" / "config.json").read_text())
    save_file(theirs.state_dict(), new / "model.safetensors")
    check_round_trip(new, tmp_path / "back_of_new")
    images = torch.randn(1, 3, 40, 40)
    torch.testing.assert_close(from_pretrained(new).eval()(images), ours(images), rtol=0, atol=0)


def test_masks_equal_those_of_transformers_with_their_processor(tmp_path: Path) -> None:
    theirs = published(tmp_path, id2label={k: f"class {k}" for k in range(5)})
    processor = SegformerImageProcessorPil(size={"height": 64, "width": 48}, do_reduce_labels=True)
    processor.save_pretrained(tmp_path)
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (50, 70, 3), dtype=np.uint8))
    loaded = load_segmenter(str(tmp_path), "cpu")
    [found] = segmented(loaded, [image], Looking())
    inputs = processor(image, return_tensors="pt")
    mine = loaded.preprocessing.tensor(image)[None]
    torch.testing.assert_close(mine, inputs["pixel_values"], rtol=0, atol=1e-5)
    with torch.no_grad():
        output = theirs(**inputs)
    [labels] = processor.post_process_semantic_segmentation(output, [(50, 70)])
    logits = F.interpolate(output.logits, (50, 70), mode="bilinear", align_corners=False)
    best = logits[0].softmax(0).amax(0)
    torch.testing.assert_close(found.scores, best, rtol=0, atol=1e-5)
    assert (found.labels == labels).float().mean() > 0.999
    # Reduced labels: the first class has the id 1 in masks, and 0 is none.
    assert loaded.classes.ids == (1, 2, 3, 4, 5)
    assert loaded.classes.ignore == (0,)
    assert loaded.classes.names[0] == "class 0"


def test_an_encoder_classifies_and_begins_a_segmenter(tmp_path: Path) -> None:
    theirs = published(tmp_path / "published", SegformerForImageClassification)
    ours = from_pretrained(tmp_path / "published").eval()
    images = torch.randn(2, 3, 48, 40)
    torch.testing.assert_close(ours(images), theirs(images).logits, rtol=0, atol=1e-5)
    check_round_trip(tmp_path / "published", tmp_path / "back")
    bare = published(tmp_path / "bare", SegformerModel)
    segmenter = pretrained_segmenter(str(tmp_path / "bare"), num_classes=3)
    assert segmenter.semantic(images).shape == (2, 3, 48, 40)
    maps = bare(images, output_hidden_states=True).hidden_states
    for mine, other in zip(segmenter.eval().features(images), maps, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)


def test_other_classes_go_back_to_transformers(peers, tmp_path: Path) -> None:
    ours = pretrained_segmenter(str(tmp_path / "published"), num_classes=3)
    ours.pretrained_cfg["label_names"] = ["road", "car", "sky"]
    save_published(ours, tmp_path / "back", like=tmp_path / "published")
    theirs = SegformerForSemanticSegmentation.from_pretrained(tmp_path / "back").eval()
    assert theirs.config.id2label == {0: "road", 1: "car", 2: "sky"}
    images = torch.randn(1, 3, 48, 40)
    torch.testing.assert_close(ours.eval().coarse(images), theirs(images).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mlp_ratios": [4, 2]}, r"has mlp_ratios \[4, 2\]"),
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"hidden_dropout_prob": 0.1}, "hidden_dropout_prob"),
    ],
)
def test_what_is_not_read_is_refused(
    tmp_path: Path, config: dict[str, object], message: str
) -> None:
    published(tmp_path, **config)
    with pytest.raises(UserError, match=message):
        from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        ({"size": {"shortest_edge": 3}}, "known are height and width"),
        ({"resample": 3}, "resample=3"),
        ({"rescale_factor": 1}, "rescale_factor=1 is not read"),
    ],
)
def test_processors_that_do_something_else_are_refused(
    peers, tmp_path: Path, processor: dict[str, object], message: str
) -> None:
    (tmp_path / "published" / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(UserError, match=message):
        from_pretrained(tmp_path / "published")


@pytest.mark.parametrize("size", ["b0", "b3"])
@pytest.mark.parametrize("kind", ["segformer", "mit"])
def test_published_sizes_have_the_tensors_of_transformers(kind: str, size: str) -> None:
    wide = {
        "hidden_sizes": [64, 128, 320, 512],
        "depths": [3, 4, 18, 3],
        "decoder_hidden_size": 768,
    }
    config = SegformerConfig(**({} if size == "b0" else wide), num_labels=150)
    with torch.device("meta"):
        theirs = KINDS[kind == "mit"](config)
        ours = create_model(f"{kind}_{size}", num_classes=150)
    table = adapter.table(_Like(theirs.state_dict()), ours)  # pyright: ignore
    found = table.to_ours(theirs.state_dict(), ours)
    assert {k: v.shape for k, v in found.items()} == {
        k: v.shape for k, v in ours.state_dict().items()
    }


class _Like:
    """What the adapter asks of a checkpoint."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        self.state = state


@pytest.mark.parametrize("finetune", [HeadOnly(), LoRA(rank=2, targets=["query", "value"])])
def test_the_whole_head_learns_where_the_encoder_is_frozen(finetune) -> None:
    model = SegFormer(num_classes=3, dim=8, **SIZES)
    finetune.apply(model)
    learns = {name for name, one in model.named_parameters() if one.requires_grad}
    head = {name for name, _ in model.named_parameters() if not name.startswith("stages.")}
    assert head <= learns
    assert "stages.0.patches.weight" not in learns
    assert bool(learns - head) == isinstance(finetune, LoRA)


def test_published_names_refuse_what_they_do_not_take() -> None:
    with pytest.raises(UserError, match="img_size is not for segformer_b0"):
        create_model("segformer_b0", img_size=64)
    with pytest.raises(UserError, match="from_pretrained reads published weights"):
        create_model("mit_b0", pretrained=True)
    assert isinstance(create_model("mit_b0", num_classes=4, drop_path_rate=0.0), MixTransformer)
