import pytest
import torch
from headway_toy import ToyData, ToyModel, ToyTask
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import nn

from headway.core.errors import UserError
from headway.core.training import SGD
from headway.core.training.averaging import WeightAverage


def test_average_follows_its_formula_and_forgets_early_weights():
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(0.0)
    average = WeightAverage(module, decay=0.99)
    expected = 0.0
    for count in range(5):
        module.weight.data.fill_(1.0)
        average.update(module)
        decay = min(0.99, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay)
    assert average.tensors["weight"].item() == pytest.approx(expected)


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.99, 0.999])
def test_after_many_updates_the_decay_is_the_one_that_was_asked_for(decay: float):
    module = nn.Linear(1, 1, bias=False)
    average = WeightAverage(module, decay=decay)
    # From here on (1 + n) / (10 + n) is above every decay.
    average.updates = 100_000
    average.tensors["weight"].fill_(0.0)
    module.weight.data.fill_(1.0)
    for _ in range(3):
        average.update(module)
    assert average.tensors["weight"].item() == pytest.approx(1 - decay**3, rel=1e-4)


def test_tied_weights_and_half_precision_survive_the_exchange():
    module = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}).bfloat16()
    module["b"].weight = module["a"].weight
    average = WeightAverage(module, decay=0.9)
    before = module["a"].weight.clone()
    module["a"].weight.data.add_(1.0)
    average.update(module)
    trained, exact = module["a"].weight.clone(), average.tensors["a.weight"].clone()
    with average.applied(module):
        torch.testing.assert_close(module["b"].weight.float(), exact, rtol=1e-2, atol=1e-2)
        assert not torch.equal(module["a"].weight, trained)
    assert torch.equal(module["a"].weight, trained)
    assert torch.equal(average.tensors["a.weight"], exact)
    assert exact.dtype == torch.float32
    assert not torch.equal(before, trained)


class Spy(Callback):
    """Takes the weights that were validated and those that were trained."""

    def on_validation_batch_start(self, trainer, task, *args):
        self.validated = task.backbone.head.weight.clone()

    def on_train_epoch_end(self, trainer, task):
        self.trained = task.backbone.head.weight.clone()


def test_validation_uses_the_average_and_training_does_not(tmp_path):
    seed_everything(0, verbose=False)
    task, spy = ToyTask(backbone=ToyModel(), optimizer=SGD(lr=0.5), ema=0.95), Spy()
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        callbacks=[spy],
        default_root_dir=tmp_path,
    )
    trainer.fit(task, ToyData())
    assert torch.equal(spy.validated, task.average.tensors["backbone.head.weight"])
    assert torch.equal(spy.trained, task.backbone.head.weight)
    assert not torch.equal(spy.validated, spy.trained)

    trainer.save_checkpoint(tmp_path / "x.ckpt", weights_only=False)
    fresh = ToyTask(backbone=ToyModel(), optimizer=SGD(lr=0.5), ema=0.95)
    trainer.validate(
        fresh, ToyData(), ckpt_path=tmp_path / "x.ckpt", weights_only=True, verbose=False
    )
    assert torch.equal(spy.validated, task.average.tensors["backbone.head.weight"])
    assert torch.equal(fresh.backbone.head.weight, spy.trained)


def test_decay_outside_its_range_is_named():
    with pytest.raises(UserError, match=r"ema is 1\.0"):
        ToyTask(backbone=ToyModel(), optimizer=SGD(lr=0.5), ema=1.0)
