"""SegFormer against transformers: same weights, same logits, same loss, same gradients."""

import pytest
import torch
from torch.nn import functional as F
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from headway.core.errors import UserError
from headway.vision.models.segformer import SegFormer

SIZES = {"dims": (8, 16), "depths": (2, 1), "heads": (1, 2), "reductions": (4, 1)}
NAMES = (
    ("stages.", "segformer.stages."),
    (".patches.", ".patch_embeddings.proj."),
    (".patch_norm.", ".patch_embeddings.layer_norm."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".attention.query.", ".attention.q_proj."),
    (".attention.key.", ".attention.k_proj."),
    (".attention.value.", ".attention.v_proj."),
    (".attention.out.", ".attention.o_proj."),
    (".attention.reduce.", ".attention.sequence_reduction.sequence_reduction."),
    (".attention.norm.", ".attention.sequence_reduction.layer_norm."),
    (".feedforward.conv.", ".mlp.dwconv.dwconv."),
    (".feedforward.", ".mlp."),
)
HEAD = (
    ("projections.", "decode_head.linear_projections."),
    ("fuse.", "decode_head.linear_fuse."),
    ("norm.", "decode_head.batch_norm."),
    ("classifier.", "decode_head.classifier."),
)


def theirs_of(name: str) -> str:
    """Returns the name of a tensor in transformers."""
    if not name.startswith("stages."):
        old, new = next(pair for pair in HEAD if name.startswith(pair[0]))
        name = name.replace(old, new, 1)
        return (
            name.replace(".weight", ".proj.weight").replace(".bias", ".proj.bias")
            if (old == "projections.")
            else name
        )
    parts = name.split(".")
    if parts[2] == "norm":
        parts[2] = "layer_norm"
    name = ".".join(parts)
    for old, new in NAMES:
        name = name.replace(old, new, 1)
    return name


def peers() -> tuple[SegFormer, SegformerForSemanticSegmentation]:
    torch.manual_seed(0)
    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[2, 1],
        sr_ratios=[4, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[4, 4],
        decoder_hidden_size=12,
        num_labels=5,
    )
    theirs = SegformerForSemanticSegmentation(config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    ours = SegFormer(num_classes=5, dim=12, **SIZES)
    state = theirs.state_dict()
    assert {theirs_of(name) for name in ours.state_dict()} == state.keys()
    ours.load_state_dict({name: state[theirs_of(name)] for name in ours.state_dict()})
    return ours.eval(), theirs.eval()


def test_logits_loss_and_gradients_equal_transformers() -> None:
    ours, theirs = peers()
    images = torch.randn(2, 3, 48, 72)
    labels = torch.randint(5, (2, 48, 72))
    labels[:, :5] = 255
    expected = theirs(images, labels=labels)
    torch.testing.assert_close(ours.coarse(images), expected.logits, rtol=0, atol=1e-5)
    loss = F.cross_entropy(ours(images), labels, ignore_index=255)
    torch.testing.assert_close(loss, expected.loss, rtol=0, atol=1e-5)
    loss.backward()
    expected.loss.backward()
    their = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        wanted = their[theirs_of(name)].grad
        assert parameter.grad is not None, name
        assert wanted is not None, name
        # A bias of all keys changes no attention: its gradient is rounding around 0.
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("size", [(33, 70), (64, 48), (180, 240)])
def test_every_pixel_gets_logits_whatever_the_size(size: tuple[int, int]) -> None:
    model = SegFormer(num_classes=5, dim=12, **SIZES).eval()
    assert model(torch.randn(1, 3, *size)).shape == (1, 5, *size)


def test_stages_that_differ_in_number_are_refused() -> None:
    with pytest.raises(UserError, match="give each stage one"):
        SegFormer(num_classes=5, dims=(8, 16), depths=(1,), heads=(1, 2), reductions=(1, 1))


def test_scores_are_probabilities_at_the_size_that_is_asked_for() -> None:
    ours, theirs = peers()
    images = torch.randn(2, 3, 48, 72)
    found = ours.semantic(images, (31, 50))
    wanted = F.interpolate(theirs(images).logits, (31, 50), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, wanted.softmax(1), rtol=0, atol=1e-5)
    assert ours.semantic(images).shape == (2, 5, 48, 72)


def test_other_classes_get_a_new_classifier_alone() -> None:
    ours, _ = peers()
    kept = {k: v.clone() for k, v in ours.state_dict().items() if not k.startswith("classifier")}
    ours.pretrained_cfg["label_names"] = ("a",) * 5
    ours.reset_classifier(3)
    assert ours.init_args["num_classes"] == ours.num_classes == 3
    assert "label_names" not in ours.pretrained_cfg
    assert ours.semantic(torch.randn(1, 3, 40, 40)).shape == (1, 3, 40, 40)
    for name, tensor in kept.items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=0, atol=0)
