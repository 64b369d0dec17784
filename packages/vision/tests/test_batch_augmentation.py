import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as VF

from headway.core.errors import UserError
from headway.vision.data.batch_augmentation import BatchAugmentation, Cutout, PadCropFlip
from headway.vision.data.randomness import integers, keys, uniform
from headway.vision.data.trivial_augment import BatchTrivialAugment

KEYS = keys(0, 0, np.arange(64))
ALL = [PadCropFlip(), PadCropFlip(mode="reflect"), Cutout(), BatchTrivialAugment()]


def images(count: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator)


def test_draws_are_uniform_and_unrelated() -> None:
    draws = uniform(keys(3, 1, np.arange(20_000)), 4, salt=5)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert np.abs(draws.mean(0) - 0.5).max() < 0.01
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 0.03
    assert np.abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.03
    assert set(integers(draws[:, 0], -1, 1)) == {-1, 0, 1}


def test_seed_epoch_and_index_all_change_the_draws() -> None:
    found = {
        keys(seed, epoch, np.array([i]))[0] for seed in (0, 1) for epoch in (0, 1) for i in (0, 1)
    }
    assert len(found) == 8


@pytest.mark.parametrize("augmentation", ALL, ids=lambda a: type(a).__name__)
def test_a_picture_does_not_depend_on_its_batch(augmentation: BatchAugmentation) -> None:
    batch = images()
    before = batch.clone()
    together = augmentation(batch, KEYS)
    alone = torch.cat([augmentation(batch[i : i + 1], KEYS[i : i + 1]) for i in range(64)])
    assert torch.equal(together, alone)
    assert torch.equal(batch, before)
    assert together.dtype == torch.uint8
    assert not torch.equal(together, batch)


def test_crops_are_windows_of_the_padded_picture() -> None:
    batch = images(1).repeat(64, 1, 1, 1)
    padded = torch.nn.functional.pad(batch[0], (2, 2, 2, 2))
    windows = {
        w.numpy().tobytes()
        for y in range(5)
        for x in range(5)
        for w in (padded[:, y : y + 16, x : x + 16], padded[:, y : y + 16, x : x + 16].flip(-1))
    }
    seen = {w.numpy().tobytes() for w in PadCropFlip(padding=2)(batch, KEYS)}
    assert seen <= windows
    assert len(seen) > 20


def test_no_padding_and_no_flip_changes_nothing() -> None:
    assert torch.equal(PadCropFlip(padding=0, flip=0.0)(images(), KEYS), images())


def test_cutout_hides_one_square() -> None:
    black = torch.zeros(64, 3, 16, 16, dtype=torch.uint8)
    hidden = (Cutout(size=4, value=9)(black, KEYS) == 9).all(1)
    assert hidden.sum((1, 2)).max() == 16
    assert hidden.sum((1, 2)).min() >= 4


REFERENCES = {
    "brightness": lambda i, m: VF.adjust_brightness(i, 1 + 0.99 * m),
    "saturation": lambda i, m: VF.adjust_saturation(i, 1 + 0.99 * m),
    "contrast": lambda i, m: VF.adjust_contrast(i, 1 + 0.99 * m),
    "sharpness": lambda i, m: VF.adjust_sharpness(i, 1 + 0.99 * m),
    "rotate": lambda i, m: VF.rotate(i, 135 * m),
    "translate_x": lambda i, m: VF.affine(i, 0, [int(8 * m), 0], 1, [0, 0]),
    "translate_y": lambda i, m: VF.affine(i, 0, [0, int(8 * m)], 1, [0, 0]),
    "shear_x": lambda i, m: VF.affine(
        i, 0, [0, 0], 1, [np.degrees(np.arctan(0.99 * m)), 0], center=[0, 0]
    ),
    "shear_y": lambda i, m: VF.affine(
        i, 0, [0, 0], 1, [0, np.degrees(np.arctan(0.99 * m))], center=[0, 0]
    ),
    "posterize": lambda i, m: VF.posterize(i, int(8 - round(6 * abs(m)))),
    "solarize": lambda i, m: VF.solarize(i, 256 * (1 - abs(m))),
    "autocontrast": lambda i, m: VF.autocontrast(i),
    "equalize": lambda i, m: VF.equalize(i),
}


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("name", REFERENCES)
def test_batched_operations_equal_torchvisions(name: str, sign: float) -> None:
    batch, strength = images(3), torch.tensor([0.3, 0.7, 1.0])
    ours = BatchTrivialAugment().apply(name, batch, strength, torch.full((3,), sign))
    theirs = [
        REFERENCES[name](image, m)
        for image, m in zip(batch, (sign * strength).tolist(), strict=True)
    ]
    # Colours are rounded at one place more or less.
    assert (ours.int() - torch.stack(theirs).int()).abs().max() <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: PadCropFlip(padding=-1),
        lambda: PadCropFlip(flip=2),
        lambda: Cutout(size=0),
        lambda: BatchTrivialAugment(translate=-1),
    ],
)
def test_wrong_values_are_refused(wrong) -> None:
    with pytest.raises(UserError):
        wrong()
