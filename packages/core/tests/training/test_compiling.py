"""Models that are compiled for training."""

from functools import partial

import pytest
import torch
from headway_toy import ToyData, ToyModel, ToyTask
from lightning.pytorch import Trainer, seed_everything

from headway.core.training import SGD


def trained(folder, compiled: bool) -> tuple[ToyTask, dict[str, torch.Tensor]]:
    seed_everything(0, verbose=False)
    task = ToyTask(backbone=ToyModel(), optimizer=SGD(lr=0.5), compile=compiled)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        default_root_dir=folder,
    )
    trainer.fit(task, ToyData())
    return task, task.backbone.state_dict()


def test_a_compiled_model_learns_the_same_and_keeps_its_names(
    tmp_path, monkeypatch: pytest.MonkeyPatch
):
    # The compiler's own code generator takes a minute; what goes around it is the same.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    plain, weights = trained(tmp_path, False)
    task, found = trained(tmp_path, True)
    assert plain.backbone._compiled_call_impl is None
    assert task.backbone._compiled_call_impl is not None
    assert list(found) == list(weights)
    for name, value in weights.items():
        torch.testing.assert_close(found[name], value, msg=name)
