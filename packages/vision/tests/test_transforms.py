import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from headway.core.errors import UserError
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.data.reading import ImageError
from headway.vision.data.transforms import TrainingAugmentation, evaluation_transform, normalize

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def noise(height: int, width: int) -> Image.Image:
    random = np.random.default_rng(height)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 1.0])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(3, 96, 96), (3, 64, 112)])
def test_evaluation_equals_timm(
    crop_mode: str, crop_pct: float, interpolation: str, size: tuple[int, int, int]
) -> None:
    timms = create_transform(
        size,
        mean=MEAN,
        std=STD,
        interpolation=interpolation,
        crop_pct=crop_pct,
        crop_mode=crop_mode,
    )
    ours = evaluation_transform(
        Preprocessing(
            input_size=size,
            mean=MEAN,
            std=STD,
            interpolation=interpolation,
            crop_pct=crop_pct,
            crop_mode=crop_mode,
        )
    )
    for shape in ((131, 200), (200, 131), (50, 41)):
        torch.testing.assert_close(ours(noise(*shape)), timms(noise(*shape)), atol=1e-5, rtol=0)


def test_keys_of_timm_are_read_and_others_ignored() -> None:
    cfg = {"architecture": "vit", "input_size": (3, 384, 384), "mean": None, "crop_pct": 1.0}
    found = Preprocessing.from_cfg(cfg)
    assert found.input_size == (3, 384, 384)
    assert found.mean == (0.485, 0.456, 0.406)
    assert Preprocessing.from_cfg(found.as_dict()) == found


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("crop_pct", 1.2, "1.2"),
        ("crop_mode", "middle", "center, squash, border"),
        ("interpolation", "cubic", "bicubic"),
        ("std", (0.1, 0.0, 0.1), "positive"),
        ("mean", (0.5,), "3 channels"),
        ("input_size", (4, 8, 8), "1 or 3 channels"),
    ],
)
def test_a_wrong_value_is_named(field: str, value: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Preprocessing.from_cfg({field: value})


@pytest.mark.parametrize("auto", ["none", "autoaugment", "randaugment", "trivialaugment", "augmix"])
def test_training_is_a_function_of_the_seed(auto: str) -> None:
    preprocessing = Preprocessing(input_size=(3, 24, 32))
    transform = TrainingAugmentation(auto=auto, erasing=0.5).transform(preprocessing)  # pyright: ignore
    torch.manual_seed(0)
    first, other = transform(noise(50, 60)), transform(noise(50, 60))
    torch.manual_seed(0)
    assert first.shape == (3, 24, 32)
    assert torch.equal(first, transform(noise(50, 60)))
    assert not torch.equal(first, other)


@pytest.mark.parametrize("wrong", [{"input_size": (3, 10**9, 8)}, {"crop_pct": 1e-300}])
def test_sizes_that_would_take_all_memory_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError, match="needs pictures of over 16,384 pixels a side"):
        Preprocessing(**wrong)


def test_normalize_equals_the_definition() -> None:
    images = torch.randint(0, 256, (4, 3, 5, 6), dtype=torch.uint8)
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    expected = (images / 255 - mean) / std
    torch.testing.assert_close(
        normalize(images, Preprocessing(input_size=(3, 5, 6), mean=MEAN, std=STD)), expected
    )


@pytest.mark.parametrize(
    "wrong", [{"scale": (0.5, 0.1)}, {"erasing": 2.0}, {"magnitude": 40}, {"auto": "auto"}]
)
def test_a_wrong_augmentation_is_refused(wrong: dict) -> None:
    with pytest.raises(UserError):
        TrainingAugmentation(**wrong)


def test_narrow_pictures_are_refused_before_the_resize() -> None:
    transform = evaluation_transform(Preprocessing())
    with pytest.raises(
        ImageError, match=r"60000x1 would be resized to 3,932,160,000 pixels.*67,108,864"
    ):
        transform(Image.new("RGB", (60_000, 1)))
    assert transform(Image.new("RGB", (900, 1))).shape == (3, 224, 224)
    squash = evaluation_transform(Preprocessing(crop_mode="squash"))
    assert squash(Image.new("RGB", (60_000, 1))).shape == (3, 224, 224)
