"""Regret of a decision-pretrained transformer on new bandits, beside Thompson sampling and others.

    python tools/studies/bandit_regret.py RUN [--bandits 200] [--plot regret.png]

All play the same bandits, `headway/Bandit-v0` with seeds from 10**6. Thompson sampling knows the noise, and
mean and variance of the means as its prior.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headway.core.figures import new_figure
from headway.core.files import save_figure
from headway.core.weights import from_pretrained
from headway.rl.environments import BANDIT
from headway.rl.environments.bandit import Bandit
from headway.rl.models import DecisionPretrainedTransformer

FIRST = 10**6
# Of means drawn evenly between 0 and 1.
PRIOR = (0.5, 1 / 12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder of a run of rl/in_context_bandits")
    parser.add_argument("--bandits", type=int, default=200)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    model = from_pretrained(args.run).eval()
    assert isinstance(model, DecisionPretrainedTransformer)
    seeds = FIRST + np.arange(args.bandits)
    found = {
        "DPT, drawn": of_model(model, seeds, deterministic=False),
        "DPT, likeliest": of_model(model, seeds, deterministic=True),
        "Thompson sampling": of_rule(seeds, thompson),
        "best mean so far": of_rule(seeds, greedy),
        "chance": of_rule(seeds, lambda pulls, paid, random: random.integers(len(pulls))),
    }
    print(f"{BANDIT}, {args.bandits} bandits: regret after all pulls, 95 % interval of the mean")
    for name, regret in found.items():
        low, high = interval(regret[:, -1])
        print(f"{name:18} {regret[:, -1].mean():6.2f}  {low:6.2f} to {high:6.2f}")
    if args.plot is not None:
        save_figure(draw(found), args.plot)


def of_model(
    model: DecisionPretrainedTransformer, seeds: NDArray[np.int64], *, deterministic: bool
) -> NDArray[np.float64]:
    """Returns the regret of each bandit after each pull."""
    envs = [Bandit(horizon=model.horizon) for _ in seeds]
    seen = np.stack([env.reset(seed=int(seed))[0] for env, seed in zip(envs, seeds, strict=True)])
    means = np.stack([env.means for env in envs])
    policy, state, lost = model.policy(), None, []
    for _ in range(model.horizon):
        pulls, state = policy.predict(seen, state, None, deterministic, seeds=seeds)
        rewards = [env.step(pull)[1] for env, pull in zip(envs, pulls, strict=True)]
        policy.observe(state, np.array(rewards))
        lost.append(means.max(axis=1) - means[np.arange(len(pulls)), pulls])
    return np.cumsum(np.stack(lost, axis=1), axis=1)


def of_rule(seeds: NDArray[np.int64], rule, horizon: int = 100) -> NDArray[np.float64]:
    """Returns the regret of a rule that knows how often each arm was pulled and what it has paid."""
    lost = np.zeros((len(seeds), horizon))
    for row, seed in enumerate(seeds):
        env, random = Bandit(horizon=horizon), np.random.default_rng(int(seed))
        env.reset(seed=int(seed))
        pulls, paid = np.zeros(env.arms), np.zeros(env.arms)
        for step in range(horizon):
            arm = int(rule(pulls, paid, random))
            reward = env.step(np.int64(arm))[1]
            pulls[arm] += 1
            paid[arm] += reward
            lost[row, step] = env.means.max() - env.means[arm]
    return lost.cumsum(axis=1)


def thompson(pulls, paid, random: np.random.Generator) -> int:
    """Pulls the arm that is best in a draw from the posterior of normal means."""
    precision = 1 / PRIOR[1] + pulls / 0.3**2
    mean = (PRIOR[0] / PRIOR[1] + paid / 0.3**2) / precision
    return int(np.argmax(random.normal(mean, precision**-0.5)))


def greedy(pulls, paid, random: np.random.Generator) -> int:
    """Pulls each arm once, then the one with the best mean."""
    return int(np.argmax(np.where(pulls == 0, np.inf, paid / np.maximum(pulls, 1))))


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the bootstrap interval of the mean."""
    random = np.random.default_rng(0)
    means = values[random.integers(len(values), size=(2000, len(values)))].mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def draw(found: dict[str, NDArray[np.float64]]):
    """Draws the mean regret over the pulls."""
    figure = new_figure(6, 4.5)
    axes = figure.add_subplot()
    for name, regret in found.items():
        axes.plot(np.arange(1, regret.shape[1] + 1), regret.mean(axis=0), label=name)
    axes.set(xlabel="pulls", ylabel="regret")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    main()
