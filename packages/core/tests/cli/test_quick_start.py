"""Verbs and the Python interface start without Lightning, which takes longer to load than all the rest."""

import subprocess
import sys

SCRIPT = """
import importlib, sys
from headway.core.plugins import domains
for domain in domains().values():
    for verb in domain.verbs.values():
        importlib.import_module(verb.module)
from headway.timeseries import Forecaster
print("lightning" in sys.modules)
"""


def test_nothing_that_only_reads_a_model_loads_lightning() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=600
    )
    assert done.stdout.strip() == "False"
