"""Times rollouts and training steps of decision transformers on the CPU against transformers'.

One thread, process CPU time, the contestants in turn over many rounds; a ratio above one means that headway
is faster, by the least time of each and, in brackets, by the median. ``sliding`` has the weights of the
peer, and its actions are compared with the peer's before anything is timed; the others stream: their mixers
forget by themselves, so that a step costs its new tokens alone.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import DecisionTransformerConfig, DecisionTransformerModel

from headway.core.mixers import ConvolutionMixer, LinearAttention, SelectiveScan, SelfAttention
from headway.core.weights import from_pretrained
from headway.rl.models import DecisionConvFormer, DecisionTransformer, SequencePolicy

SEEN, TAKEN, CONTEXT, DIM, DEPTH = 11, 3, 20, 128, 3
SIZES: dict[str, Any] = {"observation_dim": SEEN, "action_dim": TAKEN, "dim": DIM, "depth": DEPTH}
MIXERS: dict[str, Any] = {
    "window": partial(SelfAttention, causal=True, window=(3 * CONTEXT - 1, 0)),
    "convolution": partial(ConvolutionMixer, axes=1, window=6, causal=True),
    # A state is as large as the square of the width of a head.
    "linear": lambda dim, heads: LinearAttention(dim, 4, causal=True),
    "scan": SelectiveScan,
}
TARGETS = {"sliding": (1.3, 1.3, 1.3), "training": (1.0,)}
CACHEABLE = (2.5, 8.0, 8.0)


class Peer:
    """Steps transformers' model with a window that is full, as its users do."""

    def __init__(self, model: DecisionTransformerModel, batch: int) -> None:
        self.model = model
        self.states = torch.zeros(batch, CONTEXT, SEEN)
        self.actions = torch.zeros(batch, CONTEXT, TAKEN)
        self.returns = torch.zeros(batch, CONTEXT, 1)
        self.times = torch.zeros(batch, CONTEXT, dtype=torch.int64)
        self.mask = torch.zeros(batch, CONTEXT, dtype=torch.int64)
        self.time = 0

    @torch.no_grad()
    def step(self, seen: np.ndarray) -> np.ndarray:
        """Returns the next actions."""

        def push(past: torch.Tensor, new: Any) -> torch.Tensor:
            return torch.cat([past[:, 1:], torch.as_tensor(new, dtype=past.dtype)[:, None]], dim=1)

        batch = len(seen)
        self.states = push(self.states, seen)
        self.returns = push(self.returns, torch.full((batch, 1), 1.0))
        self.times = push(self.times, torch.full((batch,), self.time))
        self.mask = push(self.mask, torch.ones(batch))
        self.actions = push(self.actions, torch.zeros(batch, TAKEN))
        chosen = self.model(
            states=self.states,
            actions=self.actions,
            returns_to_go=self.returns,
            timesteps=self.times,
            attention_mask=self.mask,
        ).action_preds[:, -1]
        self.actions[:, -1] = chosen
        self.time += 1
        return chosen.numpy()


class Ours:
    """Steps a policy of headway."""

    def __init__(self, model: Any) -> None:
        self.policy, self.state = SequencePolicy(model.eval(), target_return=1.0), None

    def step(self, seen: np.ndarray) -> np.ndarray:
        """Returns the next actions."""
        chosen, self.state = self.policy.predict(seen, self.state)
        return chosen


def timed(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU times of each function in seconds: in turn, each often enough in a row to find its own pace."""

    def once(function: Callable[[], object], repeats: int) -> float:
        start = time.process_time()
        for _ in range(repeats):
            function()
        return (time.process_time() - start) / repeats

    repeats = {
        name: max(1, round(0.03 / once(function, 3))) for name, function in functions.items()
    }
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(once(function, repeats[name]))
    return times


def report(what: str, name: str, mine: list[float], theirs: list[float], target: float) -> None:
    ratio = min(theirs) / min(mine)
    middle = statistics.median(theirs) / statistics.median(mine)
    print(
        f"{what:<10} {name:<14} {min(mine) * 1e3:>8.2f}ms {min(theirs) * 1e3:>8.2f}ms "
        f"{ratio:>6.2f} ({middle:.2f}) {target:>5.2f}{'' if ratio >= target else '  short'}",
        flush=True,
    )


def rollouts(
    peer: DecisionTransformerModel, same: Any, batch: int, place: int, rounds: int
) -> None:
    """Prints a line for each model that plays in ``batch`` environments."""
    seen = np.random.default_rng(0).standard_normal((batch, SEEN)).astype(np.float32)
    theirs, players = Peer(peer, batch), {"sliding": Ours(same)}
    for _ in range(2 * CONTEXT):
        wanted, found = theirs.step(seen), players["sliding"].step(seen)
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    for name, mixer in MIXERS.items():
        players[name] = Ours(DecisionTransformer(mixer=mixer, streaming=True, **SIZES))
    players["convformer"] = Ours(DecisionConvFormer(streaming=True, **SIZES))
    for player in players.values():
        for _ in range(2 * CONTEXT):
            player.step(seen)
    steps = {name: partial(player.step, seen) for name, player in players.items()}
    times = timed({"theirs": partial(theirs.step, seen), **steps}, rounds)
    for name in players:
        target = TARGETS.get(name, CACHEABLE)[place]
        report(f"{batch} playing", name, times[name], times["theirs"], target)


def training(peer: DecisionTransformerModel, same: Any, batch: int, rounds: int) -> None:
    """Prints a line for a training step without its optimizer, with dropout in both."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(batch, CONTEXT, *shape, generator=generator)

    mask = torch.ones(batch, CONTEXT, dtype=torch.bool)
    given: Any = {
        "observations": drawn(SEEN),
        "actions": drawn(TAKEN).tanh(),
        "returns_to_go": drawn(),
        "timesteps": torch.arange(CONTEXT).expand(batch, -1),
        "mask": mask,
        "lengths": mask.sum(1),
    }

    def ours() -> None:
        same.zero_grad()
        same.loss(given)["loss"].backward()

    def theirs() -> None:
        peer.zero_grad()
        found = peer(
            states=given["observations"],
            actions=given["actions"],
            returns_to_go=given["returns_to_go"][..., None],
            timesteps=given["timesteps"],
            attention_mask=mask.long(),
        ).action_preds
        (found - given["actions"])[mask].square().mean().backward()

    peer.train(), same.train()
    ours(), theirs()
    times = timed({"ours": ours, "theirs": theirs}, rounds)
    report(f"{batch} learned", "sliding", times["ours"], times["theirs"], TARGETS["training"][0])
    peer.eval(), same.eval()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--environments", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--training", type=int, default=12, metavar="ROUNDS")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = DecisionTransformerConfig(
        state_dim=SEEN, act_dim=TAKEN, hidden_size=DIM, n_layer=DEPTH, n_head=1, max_ep_len=1000
    )
    peer = DecisionTransformerModel(config).eval()
    with tempfile.TemporaryDirectory() as folder:
        peer.save_pretrained(folder)
        same = from_pretrained(folder).eval()
    for place, batch in enumerate(options.environments):
        rollouts(peer, same, batch, min(place, 2), options.rounds)
    if options.training:
        training(peer, same, 64, options.training)


if __name__ == "__main__":
    main()
