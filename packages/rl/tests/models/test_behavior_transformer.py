"""Behavior Transformer: clusters of actions with offsets.

Against the authors' MinGPT (github.com/notmahi/bet) with copied weights, in float64, three seeds, 2 layers, 7
clusters, focal exponent 2, offset weight 3: losses differ by 2e-15 of 4 to 10, gradients by 2e-15.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.weights import from_pretrained, save_pretrained
from headway.rl.data import TwoWayData
from headway.rl.layers import BinsAndOffsets, ContinuousActions, Streams
from headway.rl.layers.clusters import k_means
from headway.rl.models import BehaviorTransformer, SequencePolicy


def head(bins: int = 5, **options) -> BinsAndOffsets:
    torch.manual_seed(0)
    made = BinsAndOffsets(6, 2, bins=bins, **options)
    made.prepare(torch.rand(200, 2) * 4 - 1)
    return made


def small(**options) -> BehaviorTransformer:
    torch.manual_seed(0)
    model = BehaviorTransformer(
        observation_dim=3,
        action_dim=2,
        dim=16,
        depth=2,
        heads=2,
        context_length=5,
        max_timestep=30,
        **options,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.actions.prepare(torch.rand(100, 2))
    return model.eval()


def test_clusters_are_found_and_depend_on_the_seed_alone() -> None:
    wanted = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    points = (wanted[:, None] + 0.1 * torch.randn(3, 50, 2)).flatten(0, 1)
    found = k_means(points, 3, seed=1)
    assert torch.cdist(wanted, found).amin(dim=1).max() < 0.1
    assert torch.equal(found, k_means(points, 3, seed=1))
    assert k_means(torch.zeros(4, 2), 3).tolist() == [[0.0, 0.0]] * 3
    with pytest.raises(UserError, match="3 clusters of 0 points"):
        k_means(torch.zeros(0, 2), 3)


def test_the_loss_is_focal_on_the_nearest_cluster_and_squared_on_its_offset() -> None:
    made = head(focus=2.0, offset_weight=3.0)
    features, actions = torch.randn(4, 3, 6), torch.rand(4, 3, 2)
    nearest = torch.cdist(made.scaled(actions).reshape(-1, 2), made.middles).argmin(dim=1)
    entropy = F.cross_entropy(made.head(features).flatten(0, 1), nearest, reduction="none")
    offsets = made.offset(features).reshape(12, 5, 2)[torch.arange(12), nearest]
    error = (made.middles[nearest] + offsets - made.scaled(actions).reshape(12, 2)).square().mean(1)
    wanted = (1 - (-entropy).exp()) ** 2 * entropy + 3 * error
    torch.testing.assert_close(made.loss(features, {"actions": actions}).flatten(), wanted)


def test_clusters_are_drawn_by_their_probability_each_row_by_its_own_stream() -> None:
    made = head(bins=3)
    nn.init.zeros_(made.offset.weight)
    nn.init.zeros_(made.offset.bias)
    features = torch.randn(1, 6).expand(3000, 6)
    drawn = made.sample(features, Streams(range(3000)))
    shares = torch.bincount(made.bin_of(drawn), minlength=3) / 3000
    torch.testing.assert_close(shares, made.head(features[0]).softmax(dim=0), atol=0.03, rtol=0.0)
    assert torch.equal(drawn[7:9], made.sample(features[:2], Streams([7, 8])))
    assert torch.equal(made.sample(features), made.predict(features))


def test_clusters_are_kept_when_training_goes_on_and_lie_in_the_checkpoint(tmp_path: Path) -> None:
    model = small()
    before = model.actions.middles.clone()
    model.actions.prepare(10 * torch.rand(100, 2))
    assert torch.equal(model.actions.middles, before)
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path).eval()
    assert torch.equal(again.actions.middles, before)
    seen = torch.randn(2, 4, 3)
    given = (seen, torch.zeros(2, 4, 2), torch.zeros(2, 4), torch.arange(4).expand(2, 4))
    assert torch.equal(again(*given), model(*given))
    with pytest.raises(UserError, match="bins is 0"):
        BinsAndOffsets(6, 2, bins=0)


def test_a_rollout_with_a_cache_equals_the_full_pass_past_the_end_of_the_context() -> None:
    model = small()
    policy, random = SequencePolicy(model), np.random.default_rng(0)
    state, start, histories = None, None, [[], []]
    for step in range(14):
        seen = random.standard_normal((2, 3)).astype(np.float32)
        if start is not None:
            for row in np.flatnonzero(start):
                histories[row] = []
        actions, state = policy.predict(seen, state, start)
        for row, history in enumerate(histories):
            history.append((seen[row], len(history)))
            last = history[-5:]
            given = torch.tensor(np.stack([one for one, _ in last]))[None]
            times = torch.tensor([time for _, time in last])[None]
            zeros = torch.zeros(1, len(last))
            wanted = model(given, torch.zeros(1, len(last), 2), zeros, times)[0, -1]
            np.testing.assert_allclose(actions[row], wanted.detach().numpy(), atol=1e-5)
        start = np.array([step == 8, step == 3])


def test_what_is_drawn_does_not_depend_on_the_number_of_environments(ways) -> None:
    model = BehaviorTransformer(observation_dim=2, action_dim=2, dim=16, depth=1, max_timestep=50)
    model.actions.prepare(torch.rand(100, 2) * 2 - 1)
    found = [ways(model, 6, number)[2] for number in (1, 4)]
    for one, other in zip(*found, strict=True):
        assert (one.total, one.steps) == (other.total, other.steps)


HEADS = {"clusters": BinsAndOffsets, "squared error": ContinuousActions}


@pytest.mark.learns
@pytest.mark.parametrize("name", HEADS)
def test_both_ways_are_kept_where_a_squared_error_takes_their_mean(
    name: str, seed: int, measured, train, ways
) -> None:
    """Seed 0: clusters reach the goal in 0.89 of the episodes, 0.40 by the rarer way, a squared error in 0.46.

    The recipe, four times as long, has successes of 0.96 to 0.98 and 0.44 to 0.53 over the disc (seeds 0 to 2).
    """
    torch.manual_seed(seed)
    data = TwoWayData(data_seed=seed, number=64)
    model = BehaviorTransformer(
        dim=48,
        depth=2,
        heads=2,
        context_length=8,
        max_timestep=50,
        dropout=0.0,
        actions=HEADS[name],
    )
    train(model, data, steps=300)
    over, under, _ = ways(model, 100)
    if name == "clusters":
        measured("success", over + under, above=0.75)
        measured("rarer way", min(over, under), above=0.1)
    else:
        measured("success", over + under, below=0.6)
