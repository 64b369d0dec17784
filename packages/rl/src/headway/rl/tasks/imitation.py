"""Learning the actions of trajectories."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.training import Passed, Task, TrainingOptions
from headway.rl.data import TrajectoryData, Window
from headway.rl.environments import make_vector
from headway.rl.metrics import evaluate, summarise

# Episodes that choose a checkpoint are not those that headway rollout plays.
VALIDATION_SEED = 10**6


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
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema.

    Shape:
        A batch is a ``headway.rl.data.Window``.
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
    def model(self) -> Any:
        """The decision model."""
        return self.backbone

    def setup(self, stage: str) -> None:
        """Checks that data and model belong together, and gives the model the statistics."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, TrajectoryData):
            return
        model = self.model
        for name in ("observation_dim", "action_dim"):
            if model.inferred[name] and (
                name != "action_dim" or data.action_kind == model.actions.kind
            ):
                getattr(model, f"set_{name}")(getattr(data, name))
        if data.observation_dim != model.observation_dim:
            raise UserError(
                f"the data show {data.observation_dim} numbers, the model reads "
                f"{model.observation_dim}; set the model's observation_dim to {data.observation_dim}"
            )
        if data.action_kind != model.actions.kind:
            name = "DiscreteActions" if data.action_kind == "discrete" else "ContinuousActions"
            raise UserError(
                f"the actions of the data are {data.action_kind}, those of the model "
                f"{model.actions.kind}; set the model's actions to headway.rl.layers.{name}"
            )
        # Without a space nobody knows whether the data have used the last of the choices.
        few = data.action_space is None and data.action_kind == "discrete"
        few = few and data.action_dim <= model.action_dim
        if data.action_dim != model.action_dim and not few:
            raise UserError(
                f"the data have actions of {data.action_dim}, the model of {model.action_dim}; set the "
                f"model's action_dim to {data.action_dim}"
            )
        if data.longest > model.max_timestep:
            raise UserError(
                f"the longest episode has {data.longest} steps, the model knows "
                f"{model.max_timestep}; raise the model's max_timestep"
            )
        if stage == "fit":
            model.set_statistics(*data.statistics())
            if data.action_kind == "continuous":
                model.actions.set_bounds(*data.action_bounds())

    def training_step(self, batch: Window, index: int) -> Tensor:
        """Returns the loss of the real steps."""
        loss, steps = self._loss(batch)
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=steps)
        return loss

    def validation_step(self, batch: Window, index: int) -> None:
        """Adds a batch to the loss."""
        loss, steps = self._loss(batch)
        self.log("val_loss", loss, prog_bar=True, batch_size=steps)

    def predict_step(self, batch: Window, index: int) -> Tensor:
        """Returns the predictions of each step, (B, K, action_dim)."""
        return self.model(*batch)

    def on_validation_epoch_end(self) -> None:
        """Plays in the environment."""
        name = self.preprocessing().get("environment")
        if not self.episodes or self.trainer.sanity_checking:
            return
        if name is None:
            raise UserError("the data do not say which environment to play in; set episodes to 0")
        envs = make_vector(name, min(self.environments, self.episodes))
        try:
            for target in self.targets:
                found = evaluate(
                    self.model, envs, target=target, episodes=self.episodes, seed=VALIDATION_SEED
                )
                self.log(f"val_return_{target:g}", summarise(found)["return_mean"], prog_bar=True)
        finally:
            envs.close()

    def _loss(self, batch: Window) -> tuple[Tensor, int]:
        model = self.model
        losses = model.actions.loss(model(*batch), batch.actions)
        real = batch.mask
        return torch.where(real, losses, 0.0).sum() / real.sum(), int(real.sum())
