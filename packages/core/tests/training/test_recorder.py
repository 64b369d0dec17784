"""Which epoch is the best one."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback

from headway.core.training import RunRecorder
from headway.core.training.run_folder import RunFolder

NAN = float("nan")


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [
        ("min", [NAN, 2.0, NAN, 1.0, 3.0], [False, True, False, True, False]),
        ("max", [NAN, 2.0, NAN, 1.0, 3.0], [False, True, False, False, True]),
    ],
)
def test_what_is_no_number_is_never_best_and_hides_nothing_after_it(
    mode: str, values: list[float], best: list[bool], tmp_path
) -> None:
    recorder: Callback = RunRecorder(monitor="score", mode=mode)
    recorder.folder = RunFolder(tmp_path)
    found = []
    for value in values:
        trainer = SimpleNamespace(callback_metrics={"score": torch.tensor(value)})
        found.append(recorder._is_best(trainer, SimpleNamespace()))
    assert found == best
    assert recorder.best == (1.0 if mode == "min" else 3.0)
