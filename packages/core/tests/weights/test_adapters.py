"""Every adapter that reads a published config.json says what it leaves unread."""

import pytest

from headway.core.weights.adapter import adapters

# These read notes of their own: hyper-parameters beside the weights, or shapes alone.
OTHERS = ("neuralforecast", "SAMformer", "Time-Series-Library", "Informer")


@pytest.mark.parametrize("adapter", adapters(), ids=lambda adapter: adapter.name)
def test_an_adapter_knows_the_defaults_of_what_it_does_not_read(adapter) -> None:
    if adapter.name.startswith("Hugging Face"):
        assert adapter.architectures
    if not any(name in adapter.name for name in OTHERS):
        assert isinstance(adapter.defaults, dict), adapter.name
