"""The skill transformer: it names a skill, then acts by it. Official code was not run (none was published)."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headway.core.errors import UserError
from headway.core.weights import from_pretrained, save_pretrained
from headway.rl.data import InMemoryTrajectories, RearrangeData
from headway.rl.data.trajectory import from_tensors, to_tensors
from headway.rl.environments import DISTURBED, Rearrange, RearrangeExpert, make_vector
from headway.rl.environments.rearrange import OPEN, PICK, PLACE, SKILLS
from headway.rl.layers import BinsAndOffsets, DiscreteActions, SkilledActions, Streams
from headway.rl.metrics import evaluate
from headway.rl.models import BehaviourCloning, SkillTransformer
from headway.rl.spaces import Discrete

SIZES = {"dim": 16, "depth": 1, "heads": 2, "context_length": 5, "max_timestep": 80}


def small(**options: Any) -> SkillTransformer:
    torch.manual_seed(0)
    model = SkillTransformer(**SIZES, **options)
    model.set_spaces(RearrangeData().given_spaces.to_json())
    return model.eval()


def some(episodes: int = 6, **options: Any) -> RearrangeData:
    data = RearrangeData(episodes=episodes, val=2, **options)
    data.setup()
    return data


def play(expert: RearrangeExpert, *, disturbed: bool, seed: int) -> tuple[float, list[int]]:
    env = Rearrange(disturbed=disturbed)
    seen, _ = env.reset(seed=seed)
    paid, ended, cut = 0.0, False, False
    while not (ended or cut):
        seen, paid, ended, cut, _ = env.step(expert(seen))
    return paid, expert.skills


def test_what_is_undone_is_done_again_by_who_watches_and_not_by_a_fixed_sequence() -> None:
    for watches, disturbed, low, high in (
        (True, False, 1.0, 1.0),
        (False, False, 1.0, 1.0),
        (True, True, 1.0, 1.0),
        (False, True, 0.0, 0.3),  # 0.105 of 200
    ):
        random = np.random.default_rng(0)
        played = [
            play(RearrangeExpert(random, watches=watches), disturbed=disturbed, seed=seed)
            for seed in range(30)
        ]
        assert low <= np.mean([paid for paid, _ in played]) <= high


def test_the_order_of_skills_depends_on_what_is_seen_and_on_a_coin() -> None:
    found = set()
    for seed in range(60):
        _, skills = play(RearrangeExpert(np.random.default_rng(seed)), disturbed=False, seed=seed)
        changes = [0, *(k for k in range(1, len(skills)) if skills[k] != skills[k - 1])]
        found.add(tuple(skills[k] for k in changes))
    assert found == {(PICK, PLACE), (OPEN, PICK, PLACE), (PICK, OPEN, PLACE)}


def test_skills_go_along_with_steps() -> None:
    data = some()
    one = data.parts["train"][0]
    assert one.skills is not None
    assert len(one.skills) == len(one)
    assert set(one.skills.tolist()) <= set(range(len(SKILLS)))
    again = from_tensors(to_tensors(one))
    assert again.skills is not None
    assert np.array_equal(again.skills, one.skills)
    batch = data.collate([data.train_set[0] for _ in range(3)])
    assert batch.get("skills", torch.empty(0)).shape == batch["mask"].shape
    assert "skills" not in data.spaces.to_json()["observation"]


def test_an_action_is_that_of_the_skill_that_is_named() -> None:
    model, data = small(), some()
    batch = data.collate([data.train_set[0] for _ in range(3)])
    features = model.features(batch)
    head = model.head
    with torch.no_grad():
        answers = []
        for skill in range(len(SKILLS)):
            head.skill.bias.zero_()
            head.skill.bias[skill] = 100.0
            assert (model.name_skills(batch) == skill).all()
            told = head.head.predict(head.under(features, torch.full(batch["mask"].shape, skill)))
            torch.testing.assert_close(model.predict(batch), told)
            torch.testing.assert_close(head.sample(features[:, 0]), told[:, 0])
            answers.append(told)
    assert (answers[0] - answers[1]).abs().amax(dim=-1).min() > 1e-3
    # In training the true skill stands in its place, whichever is named.
    before = head.loss(features, batch) - torch.nn.functional.cross_entropy(
        head.skill(features).transpose(1, 2), batch["skills"], reduction="none"
    )
    wanted = head.head.loss(head.under(features, batch["skills"]), batch)
    torch.testing.assert_close(before, wanted, atol=1e-4, rtol=1e-4)


def test_skills_are_drawn_where_actions_are() -> None:
    head = SkilledActions(8, Discrete(n=4, start=2), skills=3, actions=DiscreteActions)
    features = torch.randn(1, 8).expand(300, 8)
    drawn = head.sample(features, Streams.drawn(0, 300))
    assert len(drawn.unique()) > 1
    assert len(head.sample(features).unique()) == 1
    head.space = Discrete(n=4, start=0)
    assert int(head.blank(1)) == 0
    bins = SkilledActions(8, 2, skills=3, actions=partial(BinsAndOffsets, bins=4))
    bins.prepare(torch.randn(50, 2))
    assert bins.sample(torch.randn(5, 8), Streams.drawn(0, 5)).shape == (5, 2)


def test_it_lies_in_a_folder_and_plays(tmp_path: Path) -> None:
    model = small()
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path).eval()
    found = [
        [one.total for one in evaluate(each, make_vector(DISTURBED, n), episodes=3, seed=2)]
        for each, n in ((again, 1), (model, 3))
    ]
    assert found[0] == found[1]


def test_data_without_skills_or_with_more_are_refused() -> None:
    with pytest.raises(UserError, match="at least 1 skill"):
        SkillTransformer(**SIZES, skills=0)
    data = some()
    batch = data.collate([data.train_set[0]])
    with pytest.raises(UserError, match="the model knows 0 to 0"):
        small(skills=1).loss({**batch, "skills": batch["skills"].clamp_min(1)})
    bare = InMemoryTrajectories(
        [replace(one, skills=None) for one in data.parts["train"]], context_length=5
    )
    bare.setup()
    with pytest.raises(UserError, match="a batch has no skills"):
        small().loss(bare.collate([bare.train_set[0]]))


@pytest.mark.learns
@pytest.mark.parametrize("skilled", [True, False], ids=["with skills", "plain cloning"])
def test_one_skill_is_named_where_a_squared_error_takes_the_mean(
    skilled: bool, seed: int, measured, train, two_choices
) -> None:
    """Half of the demonstrations do about 1 throughout, half about -1; each is a skill. First actions."""
    torch.manual_seed(seed)
    episodes = [
        replace(one, skills=(one.actions[:, 0] > 0).astype(np.int64))
        for one in two_choices(seed).trajectories
    ]
    data = InMemoryTrajectories(episodes, context_length=4, batch_size=64)
    sizes = {**SIZES, "dropout": 0.0}
    model = SkillTransformer(**sizes, skills=2) if skilled else BehaviourCloning(**sizes)
    train(model, data, steps=150, rate=3e-3)
    batch = data.collate([data.train_set[0] for _ in range(2)])
    first = model.features(batch)[0, 0]
    action = float(model.actions.sample(first[None]).detach())
    if not skilled:
        measured("size of the first action", abs(action), below=0.6)
        return
    measured("size of the first action", abs(action), above=0.8)
    assert isinstance(model, SkillTransformer)
    told = model.head.under(first.expand(2, -1), torch.arange(2))
    acts = model.head.head.predict(told).detach().flatten()
    measured("action of the first skill", float(acts[0]), below=-0.8)
    measured("action of the second skill", float(acts[1]), above=0.8)
