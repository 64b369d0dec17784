"""ACT: chunks of actions.

Against lerobot's (policies/act/modeling_act.py of 2026-08, its networks alone) with copied weights, in float64, two
vectors seen, three seeds, 2 to 4 blocks of each encoder, 1 and 3 of the decoder, chunks with padding: chunks differ by
2e-15, losses by 4e-8 of 22 to 40 (their table of places is in single precision), gradients by 5e-8; 15 steps of temporal
ensembling by 5e-7 in float32.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from headway.core.errors import UserError
from headway.core.weights import from_pretrained, save_pretrained
from headway.rl.data import InMemoryTrajectories, checked
from headway.rl.models import ACT, ChunkPolicy
from headway.rl.spaces import Box, Dict, Spaces

SEEN = {
    "vector": Box(shape=(3,)),
    "picture": Box(shape=(16, 16, 3), dtype="uint8"),
    "both": Dict(parts={"camera": Box(shape=(16, 16, 3), dtype="uint8"), "hand": Box(shape=(3,))}),
}


def small(seen="vector", **options) -> ACT:
    torch.manual_seed(0)
    spaces = Spaces(observation=SEEN[seen], action=Box(shape=(2,))).to_json()
    sizes = {"dim": 16, "depth": 1, "style_depth": 1, "heads": 2, "style_dim": 3, "horizon": 4}
    model = ACT(**{"spaces": spaces, "dropout": 0.0, **sizes, **options})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def drawn(space, *shape: int):
    if isinstance(space, Dict):
        return {name: drawn(one, *shape) for name, one in space.parts.items()}
    if space.is_image:
        return torch.randint(256, (*shape, *space.shape), dtype=torch.uint8)
    return torch.randn(*shape, *space.shape)


def batch(space, lengths=(4, 4, 2), steps: int = 4) -> dict:
    number = torch.tensor(lengths)
    return {
        "observations": drawn(space, len(lengths), steps),
        "actions": torch.randn(len(lengths), steps, 2),
        "timesteps": torch.arange(steps).expand(len(lengths), -1),
        "lengths": number,
        "mask": torch.arange(steps) < number[:, None],
    }


@pytest.mark.parametrize("seen", SEEN)
def test_vectors_and_pictures_give_chunks_and_a_loss(seen: str, tmp_path: Path) -> None:
    model = small(seen).train()
    losses = model.loss(batch(SEEN[seen]))
    losses["loss"].backward()
    torch.testing.assert_close(losses["loss"], losses["error"] + 10 * losses["divergence"])
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    observed = drawn(SEEN[seen], 2, 1)
    assert model.eval()(observed).shape == (2, 4, 2)
    save_pretrained(model, tmp_path)
    assert torch.equal(from_pretrained(tmp_path).eval()(observed), model(observed))


def test_what_pads_a_chunk_changes_nothing_even_as_nan() -> None:
    model = small().train()
    given = batch(SEEN["vector"], lengths=(2, 3))
    found = []
    for filled in (0.0, float("nan")):
        torch.manual_seed(0)
        given["actions"] = given["actions"].masked_fill(~given["mask"][..., None], filled)
        model.zero_grad()
        model.loss(given)["loss"].backward()
        found.append([parameter.grad.clone() for parameter in model.parameters()])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    with pytest.raises(
        UserError, match="stretches have 3 steps, the model reads 4; set the data's"
    ):
        model.loss(batch(SEEN["vector"], lengths=(3,), steps=3))


def test_the_style_tells_chunks_apart_that_begin_with_the_same_observation() -> None:
    model = small()
    given = batch(SEEN["vector"])
    chunk = model.chunk(given)
    mean, log_variance = model.style(chunk.seen, chunk.actions, chunk.mask)
    assert mean.shape == log_variance.shape == (3, 3)
    other, _ = model.style(chunk.seen, chunk.actions + 1, chunk.mask)
    assert not torch.allclose(mean, other)
    one, two = (model.decode(chunk.seen, style) for style in (mean, other))
    assert not torch.allclose(one, two)


def test_chunks_are_averaged_with_the_oldest_weighing_most() -> None:
    """Against the formula of algorithm 2, two environments of which one begins anew."""
    model = small(ensemble=0.5)
    policy, random = ChunkPolicy(model), np.random.default_rng(0)
    state, start, histories = None, None, [[], []]
    for step in range(9):
        seen = random.standard_normal((2, 3)).astype(np.float32)
        if start is not None:
            for row in np.flatnonzero(start):
                histories[row] = []
        actions, state = policy.predict(seen, state, start)
        chunks = model(torch.tensor(seen)[:, None]).detach().numpy()
        for row, history in enumerate(histories):
            history.append(chunks[row])
            last = history[-4:]
            said = [chunk[len(last) - 1 - place] for place, chunk in enumerate(last)]
            weights = np.exp(-0.5 * np.arange(len(last)))
            wanted = (weights[:, None] * said).sum(axis=0) / weights.sum()
            np.testing.assert_allclose(actions[row], wanted, atol=1e-5)
        start = np.array([False, step == 5])


def test_chunks_are_carried_out_in_part_each_environment_at_its_own_place() -> None:
    model = small(taken=3)
    policy, random = ChunkPolicy(model), np.random.default_rng(0)
    state, start, used, chunks = None, None, [3, 3], [None, None]
    for step in range(10):
        seen = random.standard_normal((2, 3)).astype(np.float32)
        if start is not None:
            used = [3 if anew else one for one, anew in zip(used, start, strict=True)]
        if step == 4:
            alone, _ = policy.predict(seen[::-1], policy.fork(state, np.array([1, 0])), start)
        actions, state = policy.predict(seen, state, start)
        if step == 4:
            np.testing.assert_allclose(alone[::-1], actions)
        for row in range(2):
            if used[row] == 3:
                chunks[row], used[row] = model(torch.tensor(seen[row])[None, None])[0], 0
            wanted = chunks[row][used[row]].detach().numpy()
            np.testing.assert_allclose(actions[row], wanted, atol=1e-5)
            used[row] += 1
        start = np.array([False, step == 4])
    for wrong in ({"taken": 5}, {"horizon": 0}, {"style_dim": 0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            small(**wrong)


def test_chunks_reach_past_the_end_of_an_episode_only_where_it_is_asked_for() -> None:
    steps = np.arange(10, dtype=np.float32)
    episodes = [
        checked("one", observations=steps[:, None], actions=steps[:, None], rewards=0 * steps)
    ] * 3
    for any_start, last in ((False, 6), (True, 9)):
        data = InMemoryTrajectories(episodes, context_length=4, any_start=any_start, val=1)
        data.setup()
        torch.manual_seed(0)
        drawn = [data.train_set[0] for _ in range(300)]
        starts = [int(one["timesteps"][0]) for one in drawn]
        assert max(starts) == last
        assert all(int(o["lengths"]) == min(4, 10 - s) for o, s in zip(drawn, starts, strict=True))


def waiting(seed: int, horizon: int) -> InMemoryTrajectories:
    """Somebody who goes from -1 to 1 in tenths and waits in the middle, 3 to 6 steps."""
    random = np.random.default_rng(seed)
    episodes = []
    for number in range(60):
        speeds = [0.1] * 10 + [0.0] * int(random.integers(3, 7)) + [0.1] * 10
        speeds = np.array(speeds) + 0.01 * random.standard_normal(len(speeds)) * (
            np.array(speeds) > 0
        )
        places = -1 + np.cumsum([0.0, *speeds[:-1]])
        episodes.append(
            checked(
                f"episode {number}",
                observations=places[:, None].astype(np.float32),
                actions=speeds[:, None].astype(np.float32),
                rewards=np.zeros(len(speeds)),
            )
        )
    options = {"context_length": horizon, "any_start": True, "batch_size": 64}
    return InMemoryTrajectories(episodes, **options, number=64)


@pytest.mark.learns
@pytest.mark.parametrize("horizon", [10, 1])
def test_chunks_get_over_waiting_that_holds_up_single_steps(
    horizon: int, seed: int, measured, train
) -> None:
    """With chunks of 10 all arrive at seeds 0 to 4, with single steps none: the median speed in the middle is 0."""
    torch.manual_seed(seed)
    model = ACT(dim=32, depth=1, style_depth=1, heads=2, horizon=horizon, style_dim=4, dropout=0.0)
    train(model, waiting(seed, horizon), steps=300, rate=3e-3)
    policy = model.policy()
    place, state = np.linspace(-1.03, -0.97, 16, dtype=np.float32)[:, None], None
    for _ in range(40):
        speed, state = policy.predict(place, state)
        place = place + speed
    arrived = float((place > 0.9).mean())
    if horizon > 1:
        measured("arrived", arrived, above=0.75)
    else:
        measured("arrived", arrived, below=0.25)
