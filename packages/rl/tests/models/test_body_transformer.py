"""Body transformer: attention along the joints of a body.

Against the authors' BodyNet (github.com/carlosferrazza/BodyTransformer) with copied weights, in float64, on the bodies
of Ant, HalfCheetah, Hopper and Walker2d, 4 blocks, hard and mixed: outputs differ by 6e-16, gradients by 9e-16.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.core.weights import from_pretrained, save_pretrained
from headway.rl.bodies import KNOWN_BODIES, Body, Limb
from headway.rl.data import HalfCheetahData, InMemoryTrajectories, Trajectory
from headway.rl.environments import make_vector
from headway.rl.metrics import evaluate
from headway.rl.models import BodyTransformer


def small(**options: Any) -> BodyTransformer:
    torch.manual_seed(0)
    return BodyTransformer(**{"body": "HalfCheetah-v5", "dim": 16, "heads": 2, **options}).eval()


def reach(model: BodyTransformer) -> set[int]:
    """The numbers of an observation that the last motor of the cheetah answers to."""
    seen = torch.randn(1, 1, 17, requires_grad=True)
    model(seen)[0, 0, -1].backward()
    assert seen.grad is not None
    return set(seen.grad[0, 0].nonzero()[:, 0].tolist())


def test_what_is_known_moves_by_one_joint_in_each_block() -> None:
    body = KNOWN_BODIES["HalfCheetah-v5"]
    chain = ["ffoot", "fshin", "fthigh", "torso"]
    for depth in (1, 2, 3):
        near = {place for name in chain[: depth + 1] for place in body.limbs[name].sensors}
        assert reach(small(attention="hard", depth=depth)) == near
    assert reach(small(attention="full", depth=1)) == set(range(17))
    assert reach(small(attention="mix", depth=2)) == set(range(17))
    assert reach(small(attention="mix", depth=1)) != set(range(17))


@pytest.mark.parametrize("name", KNOWN_BODIES)
def test_known_bodies_are_those_of_mujoco(name: str) -> None:
    """Each limb's joints, speeds, motors and forces, and what it hangs on, as the model of the simulator says."""
    pytest.importorskip("mujoco")
    import gymnasium

    env: Any = gymnasium.make(name).unwrapped
    model, shown = env.model, env.observation_structure
    skipped = shown["skipped_qpos"]
    assert env.observation_space.shape == (KNOWN_BODIES[name].sensors,)
    found: dict[int, tuple[set[int], set[int]]] = {}
    jointed = [b for b in range(model.nbody) if model.body_jntnum[b]]
    for body in jointed:
        places = set()
        for joint in np.flatnonzero(model.jnt_bodyid == body):
            widths = (7, 6) if model.jnt_type[joint] == 0 else (1, 1)
            at = int(model.jnt_qposadr[joint]) - skipped
            places |= {place for place in range(at, at + widths[0]) if place >= 0}
            at = int(model.jnt_dofadr[joint]) + shown["qpos"]
            places |= set(range(at, at + widths[1]))
        moved = np.flatnonzero(model.jnt_bodyid[model.actuator_trnid[:, 0]] == body)
        found[body] = (places, set(moved.tolist()))
    if "cfrc_ext" in shown:
        for body in range(1, model.nbody):
            # What is fixed to the torso belongs to the hip that turns behind it.
            owner = body if body in found else body + 1
            at = shown["qpos"] + shown["qvel"] + 6 * (body - 1)
            found[owner][0].update(range(at, at + 6))
    body = KNOWN_BODIES[name]
    assert [(set(one.sensors), set(one.motors)) for one in body.limbs.values()] == [*found.values()]
    hangs = set()
    for one in jointed[1:]:
        above = int(model.body_parentid[one])
        while above not in found:
            above = int(model.body_parentid[above])
        hangs.add((jointed.index(above), jointed.index(one)))
    assert set(body.edges) == hangs


def test_a_body_of_ones_own_lies_in_the_checkpoint(tmp_path: Path) -> None:
    arm = {
        "limbs": {
            "shoulder": {"sensors": [0, 1], "motors": [1]},
            "elbow": {"sensors": [2], "motors": [0]},
            "hand": {"sensors": [3]},
        },
        "joints": [["shoulder", "elbow"], ["elbow", "hand"]],
    }
    model = small(body=arm, attention="hard", observation_dim=5, action_dim=2)
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path).eval()
    seen = torch.randn(3, 2, 5)
    assert torch.equal(again(seen), model(seen))
    assert Body.from_json(again.init_args["body"]) == Body.from_json(arm)
    assert (model(seen) == model(seen + torch.tensor([0, 0, 0, 0, 1.0]))).all()  # no limb reads it


def test_wrong_bodies_are_refused_in_one_line() -> None:
    limb = {"sensors": [0], "motors": [0]}
    for body, said in (
        ("Cat-v5", "there is no body 'Cat-v5'; known are Ant-v5"),
        ({"limbs": {}}, "at least one limb"),
        ({"limbs": {"a": limb}, "joints": [["a", "b"]]}, r"joint \['a', 'b'\] is no pair"),
        ({"limbs": {"a": limb, "b": limb}}, "each motor from 0 on belongs to one limb"),
        ({"limbs": {"a": {"eyes": [0]}}}, "a body has limbs, each with sensors and motors"),
        ({"limbs": {"a": {"sensors": [-1], "motors": [0]}}}, "places in the observation"),
    ):
        with pytest.raises(UserError, match=said):
            small(body=body)
    with pytest.raises(UserError, match="the body has 3 motors, actions have 6 numbers"):
        small(body="Hopper-v5", observation_dim=17, action_dim=6)
    with pytest.raises(UserError, match="sensors up to place 16, observations have 11 numbers"):
        small(observation_dim=11, action_dim=6)
    with pytest.raises(UserError, match="it is hard, mix or full"):
        small(attention="soft")


def test_padding_changes_neither_loss_nor_gradient() -> None:
    model = small()
    seen, actions = torch.randn(2, 4, 17), torch.rand(2, 4, 6)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    losses = []
    for filling in (0.0, torch.nan):
        hidden = seen.masked_fill(~mask[..., None], filling)
        batch: Any = {"observations": hidden, "actions": actions, "mask": mask}
        loss = model.loss(batch)["loss"]
        losses.append((loss, *torch.autograd.grad(loss, [*model.encoder.parameters()])))
    assert all(torch.equal(one, other) for one, other in zip(*losses, strict=True))


def test_it_plays_the_cheetah() -> None:
    pytest.importorskip("mujoco")
    data = HalfCheetahData(episodes=2, steps=10, val=1)
    data.setup()
    model = small()
    model.set_spaces(data.spaces.to_json())
    model.prepare(data.statistics())
    played = evaluate(model, make_vector("HalfCheetah-v5", 2, max_episode_steps=8), episodes=3)
    assert [one.steps for one in played] == [8, 8, 8]
    with pytest.raises(UserError, match="steps is 0"):
        HalfCheetahData(steps=0)


LIMBS, JOINTS = 7, [(0, 1), (1, 2), (0, 3), (3, 4), (0, 5), (5, 6)]


def tree(joints: list[tuple[int, int]]) -> dict[str, Any]:
    limbs = {str(k): Limb(sensors=(2 * k, 2 * k + 1), motors=(k,)) for k in range(LIMBS)}
    return Body(limbs=limbs, joints=tuple((str(a), str(b)) for a, b in joints)).to_json()


def swings(episodes: int, seed: int) -> list[Trajectory]:
    """States of a body of three legs, and motors that bring each limb in step with those it is joined to."""
    joined = np.zeros((LIMBS, LIMBS))
    for one, other in JOINTS:
        joined[one, other] = joined[other, one] = 1
    random, found = np.random.default_rng(seed), []
    for _ in range(episodes):
        seen = random.uniform(-2, 2, (10, 2 * LIMBS)).astype(np.float32)
        angles, speeds = seen[:, ::2], seen[:, 1::2]
        behind = np.sin(angles[:, None, :] - angles[:, :, None])
        actions = (joined * behind).sum(axis=2) / joined.sum(axis=1) - 0.3 * speeds
        rewards = np.zeros(10, np.float32)
        found.append(
            Trajectory(observations=seen, actions=actions.astype(np.float32), rewards=rewards)
        )
    return found


@pytest.mark.learns
@pytest.mark.parametrize("kind", ["the body", "another body", "no body"])
def test_the_body_is_learned_from_few_demonstrations(kind: str, seed: int, measured, train) -> None:
    """Error on new states as a share of the variance of the actions, after 20 episodes of 10 states.

    Seeds 0 to 2: 0.139, 0.152, 0.171 along the joints; 0.338, 0.323, 0.353 among all limbs; 0.549, 0.588, 0.594
    along the joints of another body.
    """
    torch.manual_seed(seed)
    data = InMemoryTrajectories(
        swings(70, seed), context_length=10, batch_size=16, val=50, split_seed=seed
    )
    # Another tree of as many joints: the legs are mixed up.
    place = [0, 4, 1, 6, 3, 2, 5]
    joints = [(place[a], place[b]) for a, b in JOINTS] if kind == "another body" else JOINTS
    attention = "full" if kind == "no body" else "hard"
    model = BodyTransformer(body=tree(joints), dim=24, depth=2, heads=4, attention=attention)
    train(model, data, steps=200, rate=2e-3)
    assert data.val_set is not None
    batch = data.collate([data.val_set[k] for k in range(len(data.val_set))])
    with torch.no_grad():
        error = (model(batch["observations"]) - batch["actions"]).square().mean()
    share = (error / batch["actions"].var()).item()
    measured("error", share, **{"below": 0.22} if kind == "the body" else {"above": 0.26})


def test_no_body_is_said_on_the_command_line(capsys) -> None:
    """A null within a class within a class, where a text might stand, too."""
    words = ["fit", "-c", "rl/bot_half_cheetah", "--model.backbone.body", "null", "--print_config"]
    assert main(words) == 0
    said = yaml.safe_load(capsys.readouterr().out)
    assert said["model"]["init_args"]["backbone"]["init_args"]["body"] is None
