"""VQ-BeT and diffusion policies of LeRobot: folders as LeRobot 0.4.4 writes them, with what it answered.

Weights are a formula of name and place, so that only names, shapes and answers lie beside this file. Outside the tree,
with random weights and statistics: VQ-BeT with a camera of 48 x 56 (ResNet-18, two blocks, all words at once and one
after the other), the likeliest words: chunks differ by 2e-6 and 3e-6 of 1 to 2, the loss of the words (all at once) by
1e-5 of 4. Diffusion: with a camera in 10 of 20 steps, with two cameras of their own networks and without gains, and
with vectors alone, the same noise in both: chunks differ by 6e-7 to 9e-6 of 3.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from headway.core.backbones import SpatialSoftmax
from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_pretrained
from headway.rl.layers import CameraKeypoints
from headway.rl.models import DiffusionUNet, VQBeT

FILES = Path(__file__).parent / "files"
KINDS = {"lerobot_vq_bet": VQBeT, "lerobot_diffusion": DiffusionUNet}


def weight(number: int | None, dtype: str, shape: list[int]) -> torch.Tensor:
    """The tensor of a place in the sorted list of names; zeros where it has no number."""
    if number is None:
        made = torch.ones if dtype == "bool" else torch.zeros
        return made(shape, dtype=getattr(torch, dtype))
    size = int(np.prod(shape))
    x = (torch.arange(size) * 1103515245 + 12345 + number * 7919) & 0x7FFFFFFF
    x = ((x ^ (x >> 13)) * 1103515245) & 0x7FFFFFFF
    wave = ((x.double() / 2**30 - 1) * 3**0.5).view(shape)
    if len(shape) > 1:
        return (wave * (1.5 / max(1, size // shape[0])) ** 0.5).float()
    return (0.1 * wave).float()


def written(name: str, there: Path) -> Path:
    shutil.copytree(FILES / name, there)
    listed = json.loads((there / "tensors.json").read_text())
    state = {}
    for key, (number, dtype, shape) in listed.items():
        value = weight(number, dtype, shape)
        if ".final_conv.1." in key:
            # Little is said of the noise, so that actions are not cut to their bounds.
            value = 0.05 * value
        gain = key.endswith("cluster_size") or (len(shape) == 1 and key.endswith("weight"))
        state[key] = 1 + 3 * value if gain and number is not None else value
    save_file(state, there / "model.safetensors")
    for extra in ("tensors.json", "answers.json"):
        (there / extra).unlink()
    return there


def answers(name: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    said = json.loads((FILES / name / "answers.json").read_text())
    chunk = torch.tensor(said.pop("chunk"))
    seen = {key: torch.tensor(value) for key, value in said.items()}
    if name == "lerobot_vq_bet":
        drawn = torch.Generator().manual_seed(0)
        torch.rand(2, 3, 3, generator=drawn)
        pictures = torch.randint(256, (2, 3, 3, 48, 56), generator=drawn)
        seen["images.top"] = pictures.to(torch.uint8).movedim(2, -1)
    return seen, chunk


def change(folder: Path, **values) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize("name", KINDS)
def test_a_folder_answers_as_lerobot_does_and_returns_as_it_was(name: str, tmp_path: Path) -> None:
    folder = written(name, tmp_path / "policy")
    model = from_pretrained(folder).eval()
    assert isinstance(model, KINDS[name])
    seen, chunk = answers(name)
    with torch.no_grad():
        said = model(seen)
    torch.testing.assert_close(said[:, : chunk.shape[1]], chunk, atol=1e-5, rtol=1e-5)
    save_pretrained(model, tmp_path / "ours")
    with torch.no_grad():
        assert torch.equal(from_pretrained(tmp_path / "ours").eval()(seen), said)
    check_round_trip(folder, tmp_path / "same")


def test_statistics_of_older_files_stand_among_the_tensors(tmp_path: Path) -> None:
    folder = written("lerobot_diffusion", tmp_path / "policy")
    seen, chunk = answers("lerobot_diffusion")
    state = load_file(folder / "model.safetensors")
    name = json.loads((folder / "policy_preprocessor.json").read_text())["steps"][-1]["state_file"]
    for key, value in load_file(folder / name).items():
        feature, _, kind = key.rpartition(".")
        front = "normalize_targets" if feature == "action" else "normalize_inputs"
        state[f"{front}.buffer_{feature.replace('.', '_')}.{kind}"] = value
    save_file(state, folder / "model.safetensors")
    for file in folder.glob("policy_*"):
        file.unlink()
    with torch.no_grad():
        said = from_pretrained(folder).eval()(seen)
    torch.testing.assert_close(said[:, : chunk.shape[1]], chunk, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("lerobot_vq_bet", {"gpt_output_dim": 8}, "gpt_output_dim 8"),
        ("lerobot_vq_bet", {"vision_backbone": "resnet50"}, "vision_backbone is 'resnet50'"),
        (
            "lerobot_vq_bet",
            {"input_features": {"observation.state": {"shape": [3]}}},
            "sees one camera",
        ),
        ("lerobot_diffusion", {"noise_scheduler_type": "DDIM"}, "noise_scheduler_type"),
        ("lerobot_diffusion", {"prediction_type": "sample"}, "prediction_type"),
        ("lerobot_diffusion", {"num_inference_steps": 21}, "num_inference_steps is 21"),
        ("lerobot_diffusion", {"normalization_mapping": {"STATE": "QUANTILES"}}, "QUANTILES"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path: Path, name: str, values, said: str) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(FILES / name, folder)
    save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
    change(folder, **values)
    with pytest.raises(UserError, match=said):
        from_pretrained(folder)


def test_keypoints_are_the_mean_places_of_maps() -> None:
    pool = SpatialSoftmax(1, keypoints=1)
    torch.nn.init.constant_(pool.look.weight, 50.0)
    maps = torch.zeros(3, 1, 3, 5)
    for row, (down, across) in enumerate([(0, 0), (2, 4), (1, 3)]):
        maps[row, 0, down, across] = 1
    wanted = torch.tensor([[[-1.0, -1.0]], [[1.0, 1.0]], [[0.5, 0.0]]])
    torch.testing.assert_close(pool(maps), wanted)
    with pytest.raises(UserError, match="keypoints 0"):
        SpatialSoftmax(1, keypoints=0)


def test_pictures_are_cut_in_the_middle_and_in_training_anywhere() -> None:
    torch.manual_seed(0)
    eye = CameraKeypoints(keypoints=2, depths=(1,), crop=(4, 6)).eval()
    pictures = torch.rand(2, 3, 3, 9, 11)
    assert eye(pictures).shape == (2, 3, 4)
    middle = eye._cropped(pictures.flatten(0, 1))
    assert torch.equal(middle, pictures.flatten(0, 1)[..., 2:6, 2:8])
    eye.train()
    places = {eye._cropped(pictures[0])[0, 0, 0, 0].item() for _ in range(40)}
    assert len(places) > 5
    with pytest.raises(UserError, match=r"crop is \[10, 6\], pictures have 9 x 11"):
        CameraKeypoints(depths=(1,), crop=(10, 6))(pictures)
