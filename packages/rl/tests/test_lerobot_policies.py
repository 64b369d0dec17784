"""Policies of LeRobot: a folder that LeRobot 0.4.4 has written, with what it answered.

Outside the tree: whole folders with two cameras of 64 x 96 (ResNet-18, 32 channels, two blocks) and with two vectors,
random weights and statistics, processors included: chunks differ by 1e-6 and 4e-7.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import resnet18
from torchvision.ops import FrozenBatchNorm2d

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_pretrained, save_published
from headway.rl.layers import CameraObservations
from headway.rl.models import ACT, pretrained
from headway.rl.spaces import Box, Dict, Spaces

FOLDER = Path(__file__).parent / "files" / "lerobot_act"
CAMERA = Box(shape=(64, 96, 3), low=0, high=255, dtype="uint8")


def answers() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    said = json.loads((FOLDER / "answers.json").read_text())
    seen = {name: torch.tensor(said[name])[:, None] for name in ("state", "environment_state")}
    return seen, torch.tensor(said["chunk"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "act"))


def demonstrations(folder: Path, *, action: int, **observations: int) -> Path:
    """Five episodes of seven steps as LeRobot lays them out."""
    import pyarrow
    from pyarrow import parquet

    sizes = {f"observation.{name}": size for name, size in observations.items()}
    sizes["action"] = action
    features = {name: {"dtype": "float32", "shape": [size]} for name, size in sizes.items()}
    drawn = np.random.default_rng(0)
    columns = {
        name: list(drawn.normal(size=(35, size)).astype("f4")) for name, size in sizes.items()
    }
    columns["episode_index"] = np.repeat(np.arange(5), 7)
    (folder / "meta").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "meta/info.json").write_text(json.dumps({"features": features}))
    parquet.write_table(pyarrow.table(columns), folder / "data/file-000.parquet")
    return folder


def change(folder: Path, **values) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_folder_answers_as_lerobot_does(tmp_path: Path) -> None:
    model = from_pretrained(FOLDER).eval()
    assert isinstance(model, ACT)
    seen, chunk = answers()
    with torch.no_grad():
        torch.testing.assert_close(model(seen), chunk, atol=1e-5, rtol=1e-5)
    assert (model.horizon, model.taken) == (4, 2)
    save_pretrained(model, tmp_path)
    with torch.no_grad():
        assert torch.equal(from_pretrained(tmp_path).eval()(seen), model(seen))


def test_statistics_of_older_files_stand_among_the_tensors(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    name = json.loads((folder / "policy_preprocessor.json").read_text())["steps"][-1]["state_file"]
    for key, value in load_file(folder / name).items():
        feature, _, kind = key.rpartition(".")
        front = "normalize_targets" if feature == "action" else "normalize_inputs"
        state[f"{front}.buffer_{feature.replace('.', '_')}.{kind}"] = value
    save_file(state, folder / "model.safetensors")
    for file in folder.glob("policy_*"):
        file.unlink()
    seen, chunk = answers()
    with torch.no_grad():
        torch.testing.assert_close(
            from_pretrained(folder).eval()(seen), chunk, atol=1e-5, rtol=1e-5
        )


def test_it_is_written_as_lerobot_reads_it(folder: Path, tmp_path: Path) -> None:
    """Names and values of all tensors are those of the file that was read."""
    check_round_trip(folder, tmp_path / "same")
    model = from_pretrained(folder)
    with torch.no_grad():
        model.queries.add_(1)
    state = load_file(save_published(model, tmp_path / "out", like=folder) / "model.safetensors")
    wanted = load_file(folder / "model.safetensors")
    wanted["model.decoder_pos_embed.weight"] += 1
    assert state.keys() == wanted.keys()
    for key, value in wanted.items():
        assert torch.equal(state[key], value), key


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"pre_norm": True}, "pre_norm"),
        ({"use_vae": False}, "use_vae"),
        ({"feedforward_activation": "glu"}, "the activation 'glu' is not known"),
        ({"input_features": {"observation.touch": {"shape": [3]}}}, "sees observation.touch"),
        ({"output_features": {}}, "says nothing"),
        ({"normalization_mapping": {"STATE": "QUANTILES"}}, "normalization_mapping says"),
    ],
)
def test_what_is_not_known_is_refused_by_name(folder: Path, values, said: str) -> None:
    change(folder, **values)
    with pytest.raises(UserError, match=said):
        from_pretrained(folder)


def test_missing_statistics_and_files_elsewhere_are_one_line(folder: Path) -> None:
    file = folder / "policy_preprocessor.json"
    text = json.loads(file.read_text())
    text["steps"][-1]["state_file"] = "../other.safetensors"
    file.write_text(json.dumps(text))
    with pytest.raises(UserError, match="outside its folder"):
        from_pretrained(folder)
    file.unlink()
    with pytest.raises(UserError, match=r"no observation.state.mean among the statistics"):
        from_pretrained(folder)


def test_cameras_give_the_maps_of_torchvision() -> None:
    torch.manual_seed(0)
    space = Dict(parts={"left": CAMERA, "right": CAMERA, "hand": Box(shape=(3,))})
    encoder = CameraObservations(16, space).eval()
    other = resnet18(norm_layer=FrozenBatchNorm2d).eval()
    for name, value in other.named_buffers():
        value.copy_(
            torch.rand_like(value) + 0.5 if "var" in name else 0.1 * torch.randn_like(value)
        )
    inner = {name: v for name, v in other.state_dict().items() if not name.startswith("fc.")}
    encoder.backbone.load_state_dict(inner)
    other.avgpool = torch.nn.Identity()
    other.fc = torch.nn.Identity()
    seen = {
        name: torch.randint(256, (2, 1, 64, 96, 3), dtype=torch.uint8) for name in ("left", "right")
    }
    tokens = encoder.tokens({**seen, "hand": torch.randn(2, 1, 3)})
    assert tokens.shape == (2, 1, 1 + 2 * 6, 16)
    assert encoder.learned_positions == 1
    assert encoder.fixed_positions().shape == (12, 16)
    for number, pictures in enumerate(seen.values()):
        x = (pictures[:, 0] / 255 - encoder.means[0]) / encoder.stds[0]
        maps = other(x.movedim(-1, 1)).view(2, 512, 2, 3)
        wanted = encoder.projection(maps).flatten(2).movedim(1, 2)
        found = tokens[:, 0, 1 + 6 * number : 7 + 6 * number]
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    for wrong in (
        Dict(parts={"hand": Box(shape=(3,))}),
        Dict(parts={"a": Box(shape=(8, 8, 1), dtype="uint8")}),
    ):
        with pytest.raises(UserError, match="cameras are pictures"):
            CameraObservations(16, wrong)


def test_places_of_a_map_are_told_apart_by_row_and_column() -> None:
    places = CameraObservations(16, Dict(parts={"eye": CAMERA}), depths=(1,)).fixed_positions()
    grid = places.view(16, 24, 16)
    assert torch.equal(grid[3, :, :8], grid[3, :1, :8].expand(24, -1))
    assert torch.equal(grid[:, 5, 8:], grid[:1, 5, 8:].expand(16, -1))
    assert torch.pdist(places).min() > 0.01


def test_act_with_cameras_learns_plays_and_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    eyes = Box(shape=(32, 32, 3), low=0, high=255, dtype="uint8")
    spaces = Spaces(
        observation=Dict(parts={"eye": eyes, "hand": Box(shape=(3,))}), action=Box(shape=(2,))
    )
    sizes = {"dim": 16, "depth": 1, "style_depth": 1, "heads": 2, "horizon": 4}
    model = ACT(spaces=spaces.to_json(), observations=CameraObservations, **sizes)
    seen = {
        "eye": torch.randint(256, (2, 4, 32, 32, 3), dtype=torch.uint8),
        "hand": torch.randn(2, 4, 3),
    }
    batch = {
        "observations": seen,
        "actions": torch.randn(2, 4, 2),
        "timesteps": torch.arange(4).expand(2, -1),
        "lengths": torch.tensor([4, 3]),
        "mask": torch.arange(4) < torch.tensor([[4], [3]]),
    }
    model.loss(batch)["loss"].backward()
    assert model.observation_embedding.backbone.conv1.weight.grad.abs().sum() > 0
    save_pretrained(model, tmp_path)
    now = {name: part[:, 0].numpy() for name, part in seen.items()}
    again = from_pretrained(tmp_path).eval().policy().predict(now)[0]
    assert again.tolist() == model.eval().policy().predict(now)[0].tolist()


def test_another_arm_goes_on_from_a_published_policy(
    folder: Path, tmp_path: Path, monkeypatch
) -> None:
    """Fine-tuning by the recipe with another size of actions, broken off and resumed."""
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    data = demonstrations(tmp_path / "data", state=3, environment_state=2, action=5)
    words = ["fit", "-c", "rl/finetune", "--trainer.accelerator", "cpu", "--model.schedule", "null"]
    words += ["--data", "LeRobotData", "--data.path", str(data), "--data.context_length", "4"]
    words += ["--data.val", "2", "--model.backbone.source", str(folder)]
    words += ["--model.backbone.action_dim", "5", "--trainer.enable_progress_bar", "false"]
    assert main([*words, "--trainer.max_epochs", "2"]) == 0
    assert main([*words, "--trainer.max_epochs", "1"]) == 0
    runs = tmp_path / "runs" / "rl" / "finetune"
    assert main(["fit", "--resume", str(runs / "2"), "--trainer.max_epochs", "2"]) == 0
    states = [
        torch.load(runs / n / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for n in ("1", "2")
    ]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    assert pretrained(str(runs / "2")).action_dim == 5
