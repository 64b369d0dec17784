"""The skill transformer."""

from functools import partial

from torch import Tensor

from headway.core.passed import Passed
from headway.core.systems import system
from headway.rl.batch import Batch, mean_of_steps
from headway.rl.layers.actions import SkilledActions
from headway.rl.models.behaviour_cloning import BehaviourCloning
from headway.rl.models.trajectory import TrajectoryModelOptions


@system(
    id=39,
    name="Skill Transformer",
    paper="https://arxiv.org/abs/2308.09873",
    claim="where demonstrations do either of two skills it names one and acts by it, where a squared error "
    "takes the mean of their actions",
    test="packages/rl/tests/models/test_skill_transformer.py",
)
class SkillTransformer(BehaviourCloning):
    """Names the skill that the present step is part of, such as picking or placing, then says its action.

    One network for the whole task, with no planner: at every step the skill follows from what was seen and
    done so far, so one that was undone is named again. It is trained on demonstrations whose steps say their
    skills (``skills`` of a ``Trajectory``), and its actions on the true skill; it logs ``skill_error`` too,
    the share of steps whose likeliest skill is not the true one.

    See ``TrajectoryModel`` for the other arguments; ``actions`` builds the head of the actions of a skill.

    Args:
        skills: How many there are.
        skill_weight: Of the cross-entropy of the skill, beside the loss of the action.
        **trajectory: As of every ``TrajectoryModel``.

    Note:
        Written from what the abstract says. How the paper joins skill and action was not checked; here the
        action is said by a layer on the features from which the skill is named, and on the skill.

    Source:
        Huang et al. 2023, https://arxiv.org/abs/2308.09873.
    """

    def __init__(
        self,
        *,
        skills: int = 3,
        skill_weight: float = 1.0,
        **trajectory: Passed[TrajectoryModelOptions],
    ) -> None:
        super().__init__(**trajectory)
        self._actions = partial(
            SkilledActions, skills=skills, actions=self._actions, skill_weight=skill_weight
        )
        self.actions = self._actions(self.dim, self.actions.space)

    @property
    def head(self) -> SkilledActions:
        """What names skills and says actions."""
        assert isinstance(self.actions, SkilledActions)
        return self.actions

    def name_skills(self, batch: Batch) -> Tensor:
        """Returns the likeliest skill of each step of a batch, (B, T) int64."""
        return self.head.name(self.features(batch))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the mean loss of the real steps, and the share of skills that are named wrongly."""
        features, mask = self.features(batch), batch["mask"]
        losses = self.head.loss(features, batch)
        wrong = (self.head.name(features) != self.head.true(batch)).to(losses)
        return {
            "loss": mean_of_steps(losses, mask),
            "skill_error": mean_of_steps(wrong, mask),
        }
