"""Offline data of a MuJoCo body, made by soft actor-critic: medium, medium-replay and mixed.

    MINARI_DATASETS_PATH=DIR python tools/data/sac.py --env Hopper-v5 --out runs/sac

SAC (stable-baselines3, its own settings but for the first random steps) learns for `--steps` steps and is
kept every tenth of them. "Medium" is the first policy kept whose mean return of 20 episodes is at least a
third of that of the last (where returns are negative: a third of the way there). Three data sets of Minari
come of it: `headway/<body>/medium-sac-v0`, episodes in which the medium policy draws its actions,
`--recorded` steps; `headway/<body>/medium-replay-sac-v0`, all episodes that SAC has played until then; and
`headway/<body>/mixed-sac-v0`, in which every policy that was kept plays a tenth of the steps. Returns, and
the hash of each file, go to `<out>/<body>.json`. None of this is D4RL.

From stable-baselines3 2.9, one thread.
"""

import argparse
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback

from headway.rl.data.collecting import Recording, record, write_minari
from headway.rl.environments import make_vector
from headway.rl.verbs.collect import free_name

# Seeds of the episodes that judge, and of those that are recorded.
JUDGED, RECORDED, MIXED = 10**6, 2 * 10**6, 3 * 10**6
KINDS = ("medium", "medium-replay", "mixed")


class Learned:
    """A policy of stable-baselines3, for ``record``."""

    spaces = None

    def __init__(self, learner: SAC) -> None:
        self.learner = learner

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = True,
        *,
        seeds: NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], Any]:
        """Returns the actions."""
        actions, _ = self.learner.predict(observation, deterministic=deterministic)
        return actions, None

    def observe(self, state: Any, reward: NDArray[Any] | float) -> None:
        """Needs no rewards."""

    def fork(self, state: Any, rows: NDArray[Any]) -> None:
        """Remembers nothing."""


class Recorded(gymnasium.Wrapper):
    """Keeps all episodes that were played to their end."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.episodes: list[Recording] = []
        self.present: Recording | None = None

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begins to record an episode."""
        observation, info = super().reset(**options)
        self.present = Recording(int(options.get("seed") or 0), observation.copy())
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Records a step."""
        observation, reward, terminated, truncated, info = super().step(action)
        one = self.present
        assert one is not None
        one.actions.append(np.array(action))
        one.rewards.append(float(reward))
        one.observations.append(observation.copy())
        one.terminated, one.truncated = terminated, truncated
        if terminated or truncated:
            self.episodes.append(one)
        return observation, reward, terminated, truncated, info


class Keeping(BaseCallback):
    """Keeps the policy every so many steps, and says how good it is."""

    def __init__(self, every: int, folder: Path, env: str, recorded: Recorded) -> None:
        super().__init__()
        self.every, self.folder, self.env, self.recorded = every, folder, env, recorded
        self.kept: list[dict[str, Any]] = []

    def _on_step(self) -> bool:
        if self.num_timesteps % self.every == 0:
            path = self.folder / f"sac_{self.num_timesteps}.zip"
            self.model.save(path)
            mean = float(np.mean([one.total for one in judge(self.model, self.env, 20)]))
            played = len(self.recorded.episodes)
            self.kept.append({"steps": self.num_timesteps, "return": mean, "episodes": played})
            said = f"{self.num_timesteps} steps: {mean:.0f}, {played} episodes"
            print(f"{said}, {time.process_time():.0f} CPU-s", flush=True)
        return True


def judge(learner: Any, env: str, episodes: int) -> list[Recording]:
    envs = make_vector(env, episodes)
    try:
        return record(Learned(learner), envs, episodes=episodes, seed=JUDGED)
    finally:
        envs.close()


def drawn(policy: Path, env: str, steps: int, *, seed: int, first: int) -> list[Recording]:
    """Returns episodes in which a policy that was kept draws its actions.

    Args:
        policy: File of stable-baselines3.
        env: Name of the environment.
        steps: About how many, in whole episodes.
        seed: Of the actions.
        first: Seed of the first episode.
    """
    learner = SAC.load(policy, device="cpu")
    learner.set_random_seed(seed)
    found: list[Recording] = []
    envs = make_vector(env, 1)
    while sum(len(one.rewards) for one in found) < steps:
        one = first + len(found)
        found += record(Learned(learner), envs, episodes=1, seed=one, deterministic=False)
    envs.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="Hopper-v5", help="Hopper-v5, HalfCheetah-v5, Walker2d-v5")
    parser.add_argument("--steps", type=int, default=100_000, help="of training (100,000)")
    parser.add_argument(
        "--random", type=int, default=5_000, help="steps before training begins (5,000)"
    )
    parser.add_argument(
        "--recorded", type=int, default=100_000, help="steps of medium data, about (100,000)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder of the policies")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    body = args.env.rsplit("-v", 1)[0].lower()
    names = {kind: f"headway/{body}/{kind}-sac-v0" for kind in KINDS}
    folders = {kind: free_name(name, overwrite=False) for kind, name in names.items()}

    env = Recorded(gymnasium.make(args.env))
    learner = SAC("MlpPolicy", env, seed=args.seed, learning_starts=args.random, device="cpu")
    keeping = Keeping(max(1, args.steps // 10), args.out, args.env, env)
    learner.learn(args.steps, callback=keeping)
    # Of a body whose returns begin below zero, a third of the way from the worst to the last.
    last, worst = keeping.kept[-1]["return"], min(one["return"] for one in keeping.kept)
    least = last / 3 if worst > 0 else worst + (last - worst) / 3
    medium = next(one for one in keeping.kept if one["return"] >= least)

    def policy(steps: int) -> Path:
        return args.out / f"sac_{steps}.zip"

    options = {"env": args.env, "seed": args.seed}
    found = drawn(policy(medium["steps"]), steps=args.recorded, first=RECORDED, **options)
    mixed: list[Recording] = []
    for one in keeping.kept:
        steps = args.recorded // len(keeping.kept)
        mixed += drawn(policy(one["steps"]), steps=steps, first=MIXED + len(mixed), **options)
    sets = {
        "medium": found,
        "medium-replay": env.episodes[: medium["episodes"]],
        "mixed": mixed,
    }
    facts: dict[str, Any] = {
        "environment": args.env,
        "seed": args.seed,
        "kept": keeping.kept,
        "medium": medium,
        "cpu_seconds": round(time.process_time()),
    }
    if not sets["medium-replay"]:
        raise SystemExit(
            f"{args.env}: the medium policy came before a whole episode; give more --steps"
        )
    for kind, episodes in sets.items():
        until = keeping.kept[-1] if kind == "mixed" else medium
        said = f"SAC of stable-baselines3, seed {args.seed}, {until['steps']} steps ({kind})"
        write_minari(names[kind], episodes, args.env, description=said, author="SAC")
        facts[names[kind]] = about(Path(folders[kind]), episodes)
    text = json.dumps(facts, indent=2)
    (args.out / f"{body}.json").write_text(text + "\n")
    print(text)


def about(folder: Path, episodes: list[Recording]) -> dict[str, Any]:
    """Returns what a data set holds, and the hash of its file."""
    file = next(folder.rglob("*.hdf5"))
    totals = np.array([one.total for one in episodes])
    return {
        "episodes": len(episodes),
        "steps": sum(len(one.rewards) for one in episodes),
        "returns": dict(zip(("least", "median", "mean", "most"), summary(totals), strict=True)),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "bytes": os.path.getsize(file),
    }


def summary(totals: NDArray[Any]) -> list[float]:
    found = (totals.min(), np.median(totals), totals.mean(), totals.max())
    return [round(float(value), 1) for value in found]


if __name__ == "__main__":
    main()
