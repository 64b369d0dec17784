"""Learning the actions of trajectories."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.training import Passed, Task, TrainingOptions
from headway.rl.batch import Batch
from headway.rl.data import TrajectoryData
from headway.rl.environments import make_vector
from headway.rl.metrics import evaluate, summarise
from headway.rl.models import DecisionModel
from headway.rl.models.base import form
from headway.rl.spaces import Box, Discrete, Space

# Episodes that choose a checkpoint are not those that headway rollout plays.
VALIDATION_SEED = 10**6


class ImitationOptions(TrainingOptions, total=False):
    """What an ``Imitation`` passes on besides its ``backbone``."""

    targets: Sequence[float]
    episodes: int
    environments: int


class Imitation(Task):
    """Trains a decision model to say the next action: decision transformers and behaviour cloning.

    It logs ``train_loss`` and ``val_loss``; and with ``episodes`` the mean return in the environment for
    each target, as ``val_return_<target>``. The best checkpoint is then the one with the highest return
    for the highest target, for the loss says little about what a policy can do.

    Args:
        backbone: A model of trajectories.
        targets: Returns to ask for in the environment.
        episodes: Episodes for each target after every validation; 0 for none.
        environments: How many environments run side by side.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a ``headway.rl.data.Batch``.
    """

    def __init__(
        self,
        *,
        backbone: nn.Module,
        targets: Sequence[float] = (),
        episodes: int = 0,
        environments: int = 16,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        if episodes < 0 or environments < 1:
            raise UserError(
                f"episodes is {episodes} and environments {environments}; at least 0 and 1 are needed"
            )
        if episodes and not targets:
            raise UserError("episodes need targets: the returns that are asked for")
        self.targets = tuple(targets)
        self.episodes, self.environments = episodes, environments
        if episodes:
            self.monitor, self.monitor_mode = f"val_return_{max(self.targets):g}", "max"

    @property
    def model(self) -> DecisionModel:
        """The decision model."""
        assert isinstance(self.backbone, DecisionModel)
        return self.backbone

    def setup(self, stage: str) -> None:
        """Checks that data and model belong together, and gives the model the statistics."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, TrajectoryData):
            return
        model = self.model
        adopt_spaces(model, data)
        longest = getattr(model, "max_timestep", None)
        if longest is not None and data.longest > longest:
            raise UserError(
                f"the longest episode has {data.longest} steps, the model knows {longest}; raise the "
                "model's max_timestep"
            )
        if stage == "fit":
            model.prepare(data.statistics())

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Returns the loss of the real steps."""
        losses = self.model.loss(batch)
        self._log("train", losses, batch, on_step=False, on_epoch=True)
        return self.with_penalties(losses["loss"])

    def validation_step(self, batch: Batch, index: int) -> None:
        """Adds a batch to the loss."""
        self._log("val", self.model.loss(batch), batch)

    def predict_step(self, batch: Batch, index: int) -> Tensor:
        """Returns the likeliest actions, or logits, of each step, (B, T, action_dim)."""
        return self.model.predict(batch)

    def on_validation_epoch_end(self) -> None:
        """Plays in the environment."""
        if not self.episodes or self.trainer.sanity_checking:
            return
        envs = make_vector(self.environment("episodes"), min(self.environments, self.episodes))
        try:
            for target in self.targets:
                found = evaluate(
                    self.model, envs, target=target, episodes=self.episodes, seed=VALIDATION_SEED
                )
                self.log(f"val_return_{target:g}", summarise(found)["return_mean"], prog_bar=True)
        finally:
            envs.close()

    def environment(self, reason: str) -> str:
        """Returns the name of the environment of the data.

        Args:
            reason: The argument that needs it.

        Raises:
            UserError: If the data do not say it.
        """
        name = self.preprocessing().get("environment")
        if name is None:
            raise UserError(f"the data do not say which environment to play in; set {reason} to 0")
        return name

    def _log(self, split: str, losses: dict[str, Tensor], batch: Batch, **options: Any) -> None:
        """Logs the loss and its parts, weighted by real steps."""
        steps = int(batch["mask"].sum())
        for name, value in losses.items():
            self.log(
                f"{split}_{name}",
                value.detach(),
                prog_bar=name == "loss",
                batch_size=steps,
                **options,
            )


def adopt_spaces(model: DecisionModel, data: TrajectoryData) -> None:
    """Gives a model the spaces of the data where it has none yet, and compares those that it has.

    Raises:
        UserError: If they are of different environments.
    """
    found, own = data.spaces, model.spaces
    for part, wish in (("observation", "observation_dim"), ("action", "action_dim")):
        there, here = getattr(found, part), getattr(own, part)
        # Where nobody has said the space, the data may not have used the last of the choices.
        few = data.given_spaces is None and isinstance(here, Discrete)
        few = (
            few and isinstance(there, Discrete) and there.start == here.start and there.n <= here.n
        )
        if few and not model.inferred[part]:
            found = replace(found, **{part: here})
        elif not model.inferred[part] and form(there) != form(here):
            raise UserError(_remedy(part, wish, there, here))
    model.set_spaces(found.to_json())


def _remedy(part: str, wish: str, there: Space, here: Space) -> str:
    size = there.size if isinstance(there, Box) else getattr(there, "n", None)
    said = f"the {part}s of the data are {there}, those of the model {here}; "
    if type(there) is type(here) and isinstance(size, int):
        return said + f"set the model's {wish} to {size}"
    heads = {Box: "ContinuousActions", Discrete: "DiscreteActions"}
    if part == "action":
        name = heads.get(type(there), "MultiDiscreteActions")
        return said + f"set the model's actions to headway.rl.layers.{name}"
    return said + f"leave the model's {wish} and observations out, and they are those of the data"
