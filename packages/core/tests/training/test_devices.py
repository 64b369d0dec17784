"""What holds with several processes, told without starting any."""

import pytest
import torch
from headway_toy import ToyModel
from lightning.pytorch import LightningModule
from torch import nn

from headway.core.training.fingerprint import fingerprint
from headway.core.training.sampling import EpochOrder, SharedBatches
from headway.core.training.warnings import warn_of_batch_norm


@pytest.mark.parametrize("world", [1, 2, 3, 5, 11])
@pytest.mark.parametrize("number", [1, 4, 7])
def test_all_processes_take_as_many_batches_and_none_is_left_out(world: int, number: int) -> None:
    batches = [[k] for k in range(number)]
    parts = [SharedBatches(batches, rank=rank, world=world) for rank in range(world)]
    taken = [list(part) for part in parts]
    assert {len(one) for one in taken} == {len(parts[0])} == {-(-number // world)}
    seen = [index for one in taken for [index] in one]
    assert set(seen) == set(range(number))
    assert len(seen) - number < world


def test_the_order_of_everyone_is_that_of_one_process() -> None:
    alone = EpochOrder(23, seed=4)
    parts = [EpochOrder(23, seed=4, rank=rank, world=3) for rank in range(3)]
    for order in (alone, *parts):
        order.epoch = 2
        assert order.everyone().tolist() == list(alone)
    assert {index for part in parts for index in part} == set(range(23))


def test_batch_norm_on_several_devices_is_warned_of(recwarn) -> None:
    model = ToyModel()
    warn_of_batch_norm(model)
    assert "1 batch norms (norm ...)" in str(recwarn.pop().message)
    warn_of_batch_norm(nn.SyncBatchNorm.convert_sync_batchnorm(model))
    warn_of_batch_norm(ToyModel().eval())
    assert not recwarn.list


def test_means_of_an_epoch_are_those_of_all_devices(monkeypatch) -> None:
    from headway_toy import ToyTask

    from headway.core.training import AdamW

    logged = {}
    monkeypatch.setattr(
        LightningModule, "log", lambda self, name, value, **o: logged.update({name: o})
    )
    task = ToyTask(backbone=ToyModel(), optimizer=AdamW(lr=0.1))
    task._trainer = type("Trainer", (), {"world_size": 2, "training": True})()
    task.log("train_loss", torch.tensor(1.0), on_step=False, on_epoch=True)
    task.log("step", torch.tensor(1.0))
    assert logged["train_loss"]["sync_dist"]
    assert "sync_dist" not in logged["step"]
    task._trainer.training = False
    task.log("val_loss", torch.tensor(1.0))
    assert logged["val_loss"]["sync_dist"]


def test_fingerprints_tell_other_data_and_not_copies(tmp_path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        (folder / "a").mkdir(parents=True)
        (folder / "a/x.png").write_bytes(b"12")
        (folder / "labels.csv").write_text("1")
    assert fingerprint(one) == fingerprint(two)
    (two / "labels.csv").write_text("2")
    assert fingerprint(one) != fingerprint(two)
    (two / "labels.csv").write_text("1")
    (two / "a/x.png").rename(two / "a/y.png")
    assert fingerprint(one) != fingerprint(two)
    assert fingerprint(tmp_path / "nothing") is None
