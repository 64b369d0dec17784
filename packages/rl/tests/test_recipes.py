import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DecisionTransformerConfig, DecisionTransformerModel

import headway.rl
from headway.core.cli.main import main

QUICK = ["--trainer.max_steps", "2", "--trainer.accelerator", "cpu", "--model.schedule", "null"]
QUICK += ["--trainer.enable_progress_bar", "false"]
WALKS = ["--data.episodes", "60", "--data.number", "64", "--model.episodes", "0"]
SMALL = ["--model.backbone.dim", "16", "--model.backbone.depth", "1"]
FEW_MAZES = ["--data.number", "32", "--data.val", "4", "--data.test", "2", "--model.plans", "4"]
MAZES = {
    "mlmu_maze": [*SMALL, *FEW_MAZES],
    "searchformer_maze": [*SMALL, *FEW_MAZES, "--model.backbone.encoder_depth", "1"],
    "searchformer_sokoban": [*SMALL, *FEW_MAZES, "--model.backbone.encoder_depth", "1"],
    "searchformer_bootstrap": [*FEW_MAZES, "--data.samples", "2"],
}
RECIPES = sorted(
    path.stem for path in (Path(headway.rl.__file__).parent / "recipes").glob("*.yaml")
)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def pendulum() -> str:
    """Writes a small Minari data set of Pendulum: 3 numbers to see, 1 to choose."""
    import gymnasium
    import minari
    from minari.data_collector import EpisodeBuffer

    env = gymnasium.make("Pendulum-v1", max_episode_steps=12)
    buffers = []
    for seed in range(8):
        observations, actions, rewards = [env.reset(seed=seed)[0]], [], []
        random = np.random.default_rng(seed)
        for _ in range(12):
            actions.append(random.uniform(-2, 2, 1).astype(np.float32))
            seen, reward, *_ = env.step(actions[-1])
            observations.append(seen)
            rewards.append(reward)
        buffers.append(
            EpisodeBuffer(
                id=seed,
                observations=np.stack(observations),
                actions=np.stack(actions),
                rewards=np.array(rewards),
                terminations=np.zeros(12, bool),
                truncations=np.arange(12) == 11,
            )
        )
    minari.create_dataset_from_buffers("test/pendulum-v0", buffers, env="Pendulum-v1")
    return "test/pendulum-v0"


def published(folder: Path) -> str:
    config = DecisionTransformerConfig(
        state_dim=6, act_dim=2, hidden_size=16, max_ep_len=40, n_layer=1, n_head=2
    )
    DecisionTransformerModel(config).save_pretrained(folder)
    return str(folder)


def check_rollout(run: Path, tmp_path: Path, capsys) -> None:
    out, plot, video = (tmp_path / name for name in ("out.csv", "out.png", "out.gif"))
    words = ["rollout", "-m", str(run), "--episodes", "3", "--num-envs", "2", "--device", "cpu"]
    words += ["--targets", "1", "0", "-o", str(out), "--plot", str(plot), "--json"]
    capsys.readouterr()
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    rows = list(csv.DictReader(out.open()))
    # Who is told no return plays once, under the headline.
    asked = ("0", "1") if len(said["targets"]) > 1 else (f"{said['headline']:g}",)
    assert len(rows) == 3 * len(asked)
    for target in asked:
        returns = [float(row["return"]) for row in rows if row["target"] == target]
        assert said["targets"][target]["return_mean"] == pytest.approx(np.mean(returns), rel=1e-4)
    assert plot.read_bytes()[:4] == b"\x89PNG"
    assert main(words) == 2  # nothing is overwritten
    if said["environment"] == "headway/KeyToDoor-v0":
        assert main([*words, "--overwrite", "--video", str(video)]) == 0
        assert video.read_bytes()[:3] == b"GIF"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_and_its_run_plays(recipe: str, tmp_path: Path, capsys) -> None:
    words = [*WALKS, *SMALL, "--data.val", "4"]
    if recipe == "bot_half_cheetah":
        pytest.importorskip("mujoco")
        words = [*SMALL, "--data.steps", "10"]
    if recipe == "babyai_red_ball":
        pytest.importorskip("minigrid")
    if recipe.endswith("_minari"):
        words = [*SMALL, "--data.path", pendulum(), "--data.val", "2"]
        words += ["--model.backbone.observation_dim", "3", "--model.backbone.action_dim", "1"]
    elif recipe in MAZES:
        words = MAZES[recipe]
        if recipe == "searchformer_bootstrap":
            first = tmp_path / "runs" / "rl" / "searchformer_maze" / "1"
            assert (
                main(["fit", "-c", "rl/searchformer_maze", *QUICK, *MAZES["searchformer_maze"]])
                == 0
            )
            words = [*words, "--model.backbone.source", str(first), "--data.source", str(first)]
    elif recipe == "s4_online_pendulum":
        assert main(["fit", "-c", "rl/s4_pendulum", *QUICK, *words]) == 0
        first = tmp_path / "runs" / "rl" / "s4_pendulum" / "1"
        words = [*WALKS, "--data.val", "4", "--model.backbone.source", str(first)]
    elif recipe == "finetune":
        words = ["--data.path", pendulum(), "--data.val", "2"]
        words += ["--model.backbone.source", published(tmp_path / "published")]
        words += ["--model.backbone.observation_dim", "3", "--model.backbone.action_dim", "1"]
    assert main(["fit", "-c", f"rl/{recipe}", *QUICK, *words]) == 0
    run = tmp_path / "runs" / "rl" / recipe / "1"
    notes = json.loads((run / "model" / "preprocessing.json").read_text())
    assert notes["returns"]["least"] <= notes["returns"]["most"]
    assert main(["validate", "-m", str(run)]) == 0
    check_rollout(run, tmp_path, capsys)


@pytest.mark.parametrize(
    ("start", "how"),
    [
        ("published", "lora"),
        ("own", "full"),
        pytest.param("published", "full", marks=pytest.mark.slow),
        pytest.param("own", "lora", marks=pytest.mark.slow),
    ],
)
def test_fine_tuning_goes_on_where_it_was_broken_off(
    start: str, how: str, tmp_path: Path, capsys
) -> None:
    if start == "own":
        assert main(["fit", "-c", "rl/decision_key_to_door", *QUICK, *WALKS, *SMALL]) == 0
        source = str(tmp_path / "runs" / "rl" / "decision_key_to_door" / "1")
        data = ["--data", "KeyToDoorData", "--data.episodes", "40", "--data.number", "64"]
    else:
        source = published(tmp_path / "published")
        data = ["--data.path", pendulum(), "--data.val", "2"]
        data += ["--model.backbone.observation_dim", "3", "--model.backbone.action_dim", "1"]
    words = ["fit", "-c", "rl/finetune", "--trainer.accelerator", "cpu", *data]
    words += ["--model.backbone.source", source, "--model.schedule", "null"]
    if how == "lora":
        words += ["--model.finetune", "headway.core.finetune.LoRA", "--model.finetune.rank", "2"]
    assert main([*words, "--trainer.max_epochs", "2"]) == 0
    assert main([*words, "--trainer.max_epochs", "1"]) == 0
    runs = tmp_path / "runs" / "rl" / "finetune"
    assert main(["fit", "--resume", str(runs / "2"), "--trainer.max_epochs", "2"]) == 0
    weights = [
        torch.load(runs / n / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for n in ("1", "2")
    ]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
    assert any("down" in name for name in weights[0]) == (how == "lora")
    check_rollout(runs / "2", tmp_path, capsys)


@pytest.mark.parametrize(
    "mixer",
    [
        "{class_path: SelfAttention, init_args: {causal: true}}",
        "{class_path: LinearAttention, init_args: {causal: true}}",
        "{class_path: ConvolutionMixer, init_args: {causal: true, axes: 1, window: 6}}",
        "{class_path: ProbSparseAttention, init_args: {causal: true}}",
        "{class_path: SelfAttention, init_args: {causal: true, window: 9}}",
    ],
)
def test_any_causal_mixer_from_yaml(mixer: str, tmp_path: Path) -> None:
    config = tmp_path / "mixer.yaml"
    config.write_text(f"model: {{init_args: {{backbone: {{init_args: {{mixer: {mixer}}}}}}}}}\n")
    words = ["fit", "-c", "rl/decision_key_to_door", "-c", str(config), *QUICK, *WALKS, *SMALL]
    assert main(words) == 0
    last = tmp_path / "runs" / "mixer" / "1" / "checkpoints" / "last.ckpt"
    for name, value in torch.load(last, weights_only=True)["state_dict"].items():
        assert bool(value.isfinite().all()), name


def test_wrong_use_is_one_clear_line(tmp_path: Path, capsys) -> None:
    words = ["fit", "-c", "rl/decision_key_to_door", *QUICK, *WALKS, *SMALL]

    def said(*more: str) -> str:
        assert main([*words, *more]) == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "set the model's observation_dim to 8" in said("--model.backbone.observation_dim", "7")
    assert "set the model's action_dim to 4" in said("--model.backbone.action_dim", "2")
    assert "headway.rl.layers.DiscreteActions" in said(
        "--model.backbone.actions", "headway.rl.layers.ContinuousActions"
    )
    assert "raise the model's max_timestep" in said("--model.backbone.max_timestep", "9")
    assert "choose a mixer that supports causal" in said("--model.backbone.mixer", "PoolingMixer")
    assert main(words) == 0
    run = str(sorted((tmp_path / "runs" / "rl" / "decision_key_to_door").iterdir())[-1])
    capsys.readouterr()
    for more, expected in (
        (["--env", "CartPole-v1"], "it is another environment"),
        (["--env", "Nowhere-v0"], "there is no environment Nowhere-v0"),
        (["--episodes", "0"], "--episodes 0 is below 1"),
        (["--video", "x.avi"], "must end in .mp4 or .gif"),
    ):
        assert main(["rollout", "-m", run, *more]) == 2
        assert expected in capsys.readouterr().err
    assert main(["rollout"]) == 2
    assert "rollout of what?" in capsys.readouterr().err
