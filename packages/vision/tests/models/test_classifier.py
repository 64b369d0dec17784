"""The face that every image classifier inherits, for the smallest member of each family."""

from pathlib import Path

import pytest
import timm
import torch

from headway.core.changes import changed_arguments, changed_parameters
from headway.core.errors import UserError
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.models import create_model
from headway.vision.models.classifier import ImageClassifier
from headway.vision.models.factory import FAMILIES
from headway.vision.models.families import Family
from headway.vision.models.poolformer import POOLFORMER
from headway.vision.models.swin_variants import SWIN
from headway.vision.models.vit_variants import VIT

every = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def small(family: Family) -> ImageClassifier:
    torch.manual_seed(0)
    return family.build(family.tiny_row(), num_classes=3).eval()


@every
def test_inherited_changes_are_watched_and_come_back_from_a_folder(
    family: Family, tmp_path: Path
) -> None:
    model = small(family)
    model.reset_classifier(5)
    model.set_input_size(64)
    model.set_channels(1)
    assert changed_arguments(model) == {"num_classes": 5, "image_size": 64, "channels": 1}
    started = changed_parameters(model, "reinitialised")
    assert started == {f"head.classifier.{kind}" for kind in ("weight", "bias")}
    assert "embedding.weight" in changed_parameters(model, "extended")
    assert model.pretrained_cfg["input_size"] == (1, 64, 64)
    again = from_pretrained(save_pretrained(model, tmp_path / "model")).eval()
    images = torch.randn(2, 1, 64, 64)
    torch.testing.assert_close(again(images), model(images))
    assert again.pretrained_cfg["num_classes"] == 5


@every
def test_the_parts_of_a_forward_give_its_answer(family: Family) -> None:
    model, images = small(family), torch.randn(2, 3, 32, 32)
    expected = model(images)
    final, taken = model.forward_intermediates(images)
    torch.testing.assert_close(model.forward_head(final), expected)
    torch.testing.assert_close(model.forward_features(images), final)
    pooled = model.forward_head(final, pre_logits=True)
    torch.testing.assert_close(model.get_classifier()(pooled), expected)
    assert [m.shape[1] for m in taken] == [info["num_chs"] for info in model.feature_info]
    rows = model.embedding.grid((32, 32))[0] * model.embedding.patch[0]
    shapes = [-(-rows // info["reduction"]) for info in model.feature_info]
    assert [m.shape[2] for m in taken] == shapes
    modules = dict(model.named_modules())
    assert all(info["module"] in modules for info in model.feature_info)
    model.set_grad_checkpointing()
    torch.testing.assert_close(model.train()(images), expected, atol=1e-5, rtol=1e-5)


@every
def test_layer_groups_name_every_parameter_between_stem_and_head(family: Family) -> None:
    model = small(family)
    matcher = timm.models.group_parameters(model, model.group_matcher(), reverse=True)
    coarse = timm.models.group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    assert matcher["embedding.weight"] == coarse["embedding.weight"] == 0
    last = max(matcher.values())
    assert all(matcher[name] == last for name in matcher if name.startswith("head."))
    inner = [matcher[name] for name in matcher if ".blocks." in name]
    assert inner
    assert all(0 < depth < last for depth in inner)
    assert max(coarse.values()) <= last


def test_another_pooling_is_kept_in_a_folder_and_equals_timms(tmp_path: Path) -> None:
    theirs = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=3).eval()
    ours = VIT.build(
        {**VIT.rows()["vit_tiny_patch16_224"], "depth": "1"}, image_size=32, num_classes=3
    )
    assert ours.global_pool == "token"
    for model in (ours, theirs):
        model.reset_classifier(3, global_pool="avg")
    state = theirs.state_dict()
    ours.load_state_dict({name: state[VIT.to_timm(name)] for name in ours.state_dict()})
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(images), theirs(images), atol=1e-5, rtol=1e-5)
    again = from_pretrained(save_pretrained(ours, tmp_path / "model")).eval()
    torch.testing.assert_close(again(images), ours(images))
    assert again.global_pool == "avg"


@pytest.mark.parametrize("pool", ["avg", "token"])
@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "vit_base_patch16_gap_224", "vit_base_patch16_siglip_224"]
)
def test_a_model_built_with_a_pooling_has_timms_parameters(name: str, pool: str) -> None:
    options = {"global_pool": pool, "num_classes": 3}
    with torch.device("meta"):
        try:
            theirs = timm.create_model(name, **options)
        except AssertionError:  # there is no class token
            with pytest.raises(UserError, match="no token or pooling"):
                create_model(name, **options)
            return
        ours = create_model(name, **options)
    assert {VIT.to_timm(key) for key in ours.state_dict()} == set(theirs.state_dict())
    assert ours.global_pool == pool


@pytest.mark.parametrize(
    ("family", "word"), [(SWIN, "token"), (POOLFORMER, "map"), (VIT, "map"), (VIT, "median")]
)
def test_a_pooling_that_does_not_fit_is_refused(family: Family, word: str) -> None:
    model = small(family)
    with pytest.raises(UserError, match=f"no global_pool='{word}'; it takes"):
        model.reset_classifier(3, word)
    name = list(family.rows())[-1]
    refused = pytest.raises(UserError, match="is not built with global_pool='median'")
    with torch.device("meta"), refused:
        create_model(name, global_pool="median")


def test_distilled_models_keep_their_tokens_and_lists_go_into_a_vit() -> None:
    with torch.device("meta"), pytest.raises(UserError, match="no token or pooling for 'avg'"):
        create_model("deit_tiny_distilled_patch16_224", global_pool="avg")
    with torch.device("meta"):
        model = create_model("deit_tiny_distilled_patch16_224")
    with pytest.raises(UserError, match="reads tokens of its own"):
        model.reset_classifier(3, "avg")
    with pytest.raises(UserError, match="a list goes into a ViT"):
        small(SWIN)([torch.randn(3, 32, 32)])
    with pytest.raises(UserError, match="dynamic_img_size"):
        create_model("vit_tiny_patch16_224", dynamic_img_size=False)


WORDS = [
    {"reg_tokens": 4},
    {"qk_norm": True},
    {"init_values": 0.1},
    {"class_token": False, "global_pool": "avg"},
    {"reg_tokens": 2, "qk_norm": True, "init_values": 1e-4, "in_chans": 1, "img_size": 96},
]


@pytest.mark.parametrize("words", WORDS, ids=str)
def test_timms_arguments_of_a_model_do_what_they_do_there(words: dict, tmp_path: Path) -> None:
    options = {"num_classes": 3, **words}
    theirs = timm.create_model("vit_tiny_patch16_224", depth=2, **options).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    with torch.device("meta"):
        ours = create_model("vit_tiny_patch16_224", **options)
    names = {name for name in VIT.timm.to_theirs(ours.state_dict()) if "blocks." not in name}
    assert names == {name for name in theirs.state_dict() if "blocks." not in name}
    # A folder that was saved with them is read.
    timm.models.save_for_hf(
        theirs, tmp_path, safe_serialization=True, model_args=options | {"depth": 2}
    )
    again = from_pretrained(tmp_path).eval()
    images = torch.randn(2, *again.pretrained_cfg["input_size"])
    torch.testing.assert_close(again(images), theirs(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "words", "match"),
    [
        ("vit_tiny_patch16_224", {"class_token": False}, "needs global_pool='avg'"),
        ("swin_tiny_patch4_window7_224", {"reg_tokens": 4}, "not built with reg_tokens=4"),
        ("cait_xxs24_224", {"qk_norm": True}, "qk_norm=True; .*it takes init_values"),
        ("vit_tiny_patch16_224", {"output_stride": 8}, "not built with output_stride=8"),
        ("vit_tiny_patch16_224", {"qk_norm": True, "pretrained": True}, "published weights do not"),
    ],
)
def test_an_argument_that_a_model_does_not_take_is_refused_by_name(
    name: str, words: dict, match: str
) -> None:
    with torch.device("meta"), pytest.raises(UserError, match=match) as refused:
        create_model(name, **words)
    assert "\n" not in str(refused.value)
