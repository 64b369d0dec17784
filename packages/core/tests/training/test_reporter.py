"""What a log file says while a run goes on."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import lightning
import pytest
from lightning.pytorch.demos.boring_classes import BoringModel

from headway.core.training import reporter
from headway.core.training.reporter import LineReporter


@pytest.mark.parametrize(("every", "said"), [(60.0, 3), (1e9, 0)])
def test_long_epochs_say_how_far_they_are(
    every: float, said: int, tmp_path: Path, capsys, monkeypatch
) -> None:
    clock = itertools.count(0, 20)  # each question comes 20 seconds after the last one
    monkeypatch.setattr(reporter, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path,
        max_epochs=1, limit_train_batches=10, limit_val_batches=0, enable_model_summary=False,
        callbacks=[LineReporter(every=every)],
    )  # fmt: skip
    trainer.fit(BoringModel())
    lines = [line for line in capsys.readouterr().out.splitlines() if "batch" in line]
    assert len(lines) == said
    for line, batch in zip(lines, (3, 6, 9), strict=False):
        assert line.startswith(f"epoch 1/1  batch {batch}/10  loss ")
        assert line.endswith(" s")
